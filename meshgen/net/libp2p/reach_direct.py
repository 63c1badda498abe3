"""From a relayed connection to a direct one, as soon as there is a way: the same LAN after all, a port that was opened, or a hole
that both peers punch into their routers.

New streams take the direct connection by themselves. What runs on the relayed one is left to end there; then it is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio
from libp2p.io.exceptions import IOException
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from multiaddr import Multiaddr

from meshgen.net.guard import log
from meshgen.net.libp2p.punch import Puncher
from meshgen.net.libp2p.reach import is_direct
from meshgen.net.port import PeerId

LOOK_S = 2.0
FIRST_S = 2.0
MOST_S = 600.0
"""A peer's direct addresses are tried after the first, then twice as late each time, after the most at last."""
AT_ONCE = 4
HEAD_START_S = 1.0
"""What direct addresses get before a hole is punched: neighbours need none."""
GOSSIP = ("/meshsub/", "/floodsub/")
"""Streams that last as long as their connection; gossip opens new ones on what is left."""


class DirectPaths:
    """``try_directly`` dials a peer's direct addresses, and tells whether it got through."""

    def __init__(self, host: Any, try_directly: Callable[[ID], Awaitable[bool]], seen_at: Callable[[], list[Multiaddr]]) -> None:
        """``seen_at``: where peers outside see this node's connections come from."""
        self._me = host.get_id()
        self._swarm = host.get_network()
        self._try_directly = try_directly
        self._puncher = Puncher(host, seen_at)
        self._due: dict[ID, tuple[float, float]] = {}
        """When to try a peer, and how long to wait after that."""
        self._trying: set[ID] = set()
        self.leave_relay: Callable[[PeerId], Awaitable[None]] = _keep
        """Closes what waits on relayed connections to a peer for somebody to use it again."""

    def forget(self) -> None:
        """Addresses changed: what failed may work now."""
        self._due.clear()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(LOOK_S)
                relayed = self._relayed()
                self._due = {peer: due for peer, due in self._due.items() if peer in relayed}
                direct = {each.muxed_conn.peer_id for each in self._swarm.get_connections() if is_direct(each)}
                for peer in relayed.keys() & direct:
                    await self.leave_relay(PeerId(str(peer)))
                    await self._hang_up_idle(relayed[peer])
                for peer in self._next(relayed.keys() - direct):
                    nursery.start_soon(self._try, peer, self._leads(peer, relayed[peer]))

    def _relayed(self) -> dict[ID, list[Any]]:
        found: dict[ID, list[Any]] = {}
        for each in self._swarm.get_connections():
            if not each.is_closed and not is_direct(each):
                found.setdefault(each.muxed_conn.peer_id, []).append(each)
        return found

    def _leads(self, peer: ID, connections: list[Any]) -> bool:
        """Is it for this node to begin? For whoever was dialled; where each dialled the other, for the lesser id."""
        ways = {each.direction for each in connections}
        return Direction.INBOUND in ways and (Direction.OUTBOUND not in ways or self._me.to_bytes() < peer.to_bytes())

    async def _hang_up_idle(self, connections: list[Any]) -> None:
        for each in connections:
            if all(str(stream.get_protocol() or "").startswith(GOSSIP) for stream in each.get_streams()):
                try:
                    await each.close()
                except (SwarmException, IOException):
                    continue  # it went by itself

    def _next(self, peers: Iterable[ID]) -> list[ID]:
        """Whose time has come, as many as may be tried at once; when to try them again is set."""
        now = trio.current_time()
        due = [peer for peer in peers if self._due.setdefault(peer, (now, FIRST_S))[0] <= now and peer not in self._trying]
        chosen = due[: AT_ONCE - len(self._trying)]
        for peer in chosen:
            wait_s = self._due[peer][1]
            self._due[peer] = (now + wait_s, min(2 * wait_s, MOST_S))
            self._trying.add(peer)
        return chosen

    async def _try(self, peer: ID, leads: bool) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_found, self._try_directly, peer, nursery.cancel_scope)
                if leads:
                    await trio.sleep(HEAD_START_S)
                    await self._until_found(self._puncher.punch, peer, nursery.cancel_scope)
        finally:
            self._trying.discard(peer)

    async def _until_found(self, way: Callable[[ID], Awaitable[bool]], peer: ID, all_ways: trio.CancelScope) -> None:
        if await way(peer):
            log.info("a peer that was reached through a relay is connected directly now")
            all_ways.cancel()


async def _keep(_peer: PeerId) -> None:
    """Nothing waits."""
