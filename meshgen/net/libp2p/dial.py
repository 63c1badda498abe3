"""Reaching peers: which addresses, in which order, for how long, and again when they went away.

py-libp2p's own ``dial_peer`` waits 250 ms even when it has connected already, tries one TCP address a peer, and refuses to dial a
peer for 60 s after a failure. So addresses are dialled here, one by one, a quarter of a second apart; those through relays come
after the direct ones.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from multiaddr import Multiaddr

from meshgen.net.guard import DIAL_TIMEOUT_S, log
from meshgen.net.libp2p.reach import is_direct, own_ips
from meshgen.net.libp2p.relay_client import Circuits, is_circuit, relay_of
from meshgen.net.port import PeerId, Unreachable

STAGGER_S = 0.25
HEAD_START_S = 0.3
"""What direct addresses get before those through relays are tried as well."""
MAX_ADDRESSES = 8
MAX_CIRCUITS = 4
ADDRESS_TTL_S = 24 * 3600
REDIAL_FIRST_S = 1.0
REDIAL_MOST_S = 60.0


def parse_address(address: str) -> tuple[ID, Multiaddr]:
    """The peer and the multiaddr without it; ``.../p2p/<relay>/p2p-circuit`` of one behind a relay. Raises ValueError."""
    hint = "; one looks like /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW..."
    try:
        where, _separator, last = str(Multiaddr(address)).rpartition("/p2p/")
        peer, target = ID.from_base58(last), Multiaddr(where)
    except Exception as error:  # the library raises a dozen unrelated types for malformed text
        raise ValueError(f"{address!r} is no multiaddr of a peer{hint}") from error
    if not is_dialable(target):
        raise ValueError(f"{address!r} can't be dialled: it needs /ip4, /ip6 or /dns, /tcp and /p2p{hint}")
    return peer, target


def is_dialable(address: Multiaddr) -> bool:
    """Plain TCP, to the peer itself or to a relay."""
    names = [protocol.name for protocol in address.protocols()]
    return names[1:2] == ["tcp"] and names[2:] in ([], ["p2p", "p2p-circuit"])


class Dialer:
    """Connects a host to peers, and enters them into the routing table."""

    def __init__(self, host: Any, dht: Any, circuits: Circuits) -> None:
        self._host = host
        self._swarm = host.get_network()
        self._dht = dht
        self._circuits = circuits
        self._dialling: dict[object, trio.Lock] = {}
        self.book: Callable[[PeerId], Sequence[str]] = lambda _peer: ()
        """Asked for a peer's addresses; what does not fit is skipped."""
        self.joined = trio.Event()  # replaced by whoever waits for new connections

    def is_connected(self, peer: ID) -> bool:
        return any(not connection.is_closed for connection in self._swarm.get_connections(peer))

    async def connect(self, address: str) -> PeerId:
        """Dial one address. Raises ValueError, Unreachable."""
        peer, target = parse_address(address)
        await self.reach(peer, [target])
        return PeerId(str(peer))

    async def reach(self, peer: ID, addresses: Iterable[Multiaddr] = ()) -> None:
        """Be connected to the peer, within DIAL_TIMEOUT_S. Whoever wants the same peer at the same time shares the dial."""
        if self.is_connected(peer):
            return
        if peer == self._host.get_id():
            raise Unreachable("a peer can't dial itself")
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                async with self._turn(peer):
                    await self._connect(peer, list(addresses))
        except trio.TooSlowError as error:
            raise Unreachable(f"{peer} can't be dialled: no answer within {DIAL_TIMEOUT_S:g} s") from error

    @asynccontextmanager
    async def _turn(self, what: object) -> AsyncIterator[None]:
        """One after the other, of those who want the same."""
        lock = self._dialling.setdefault(what, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._dialling.pop(what, None)

    async def reach_directly(self, peer: ID) -> bool:
        """Try the addresses of a peer that is connected through a relay only. True: there is a direct connection now."""
        with trio.move_on_after(DIAL_TIMEOUT_S):
            await self._dial(peer, self._known_direct(peer), [])
        return self._is_direct(peer)

    def _is_direct(self, peer: ID) -> bool:
        return any(map(is_direct, self._swarm.get_connections(peer)))

    async def _connect(self, peer: ID, addresses: list[Multiaddr]) -> None:
        """At the addresses given; without any, at those known; failing these, at what the network says now."""
        reasons: list[str] = []
        tried = addresses or self._known_addresses(peer)
        await self._dial(peer, tried, reasons)
        if not addresses and not self.is_connected(peer):
            await self._dial(peer, [each for each in await self._look_up(peer) if each not in tried], reasons)
        if not self.is_connected(peer):
            raise Unreachable(f"{peer} can't be dialled: {'; '.join(reasons) or 'nobody knows its address'}")
        await self._enter(peer)

    async def _enter(self, peer: ID) -> None:
        """A connection alone leaves the routing table empty."""
        await self._dht.routing_table.add_peer(peer, skip_server_mode_check=True)
        self.joined.set()

    def _known_addresses(self, peer: ID) -> list[Multiaddr]:
        try:
            heard = self._host.get_peerstore().addrs(peer)
        except PeerStoreError:
            heard = []
        said = [target for text in self.book(PeerId(str(peer))) if (target := _target(peer, text)) is not None]
        return _dialable(peer, [*said, *heard])

    def _known_direct(self, peer: ID) -> list[Multiaddr]:
        return [each for each in self._known_addresses(peer) if not is_circuit(each)]

    async def _look_up(self, peer: ID) -> list[Multiaddr]:
        """Ask the network, once the own memory, which would answer first, is wiped: a peer moves when its provider says so."""
        self._host.get_peerstore().clear_addrs(peer)
        self._dht.routing_table.remove_peer(peer)
        info = await self._dht.find_peer(peer)
        return _dialable(peer, info.addrs) if info else []

    async def _dial(self, peer: ID, addresses: list[Multiaddr], reasons: list[str]) -> None:
        """One after the other, not waiting for the last to fail; the first to succeed cancels the others."""
        ways = sorted(_from_here(addresses), key=_is_loopback)
        circuits = [each for each in ways if is_circuit(each)][:MAX_CIRCUITS]
        ordered = [each for each in ways if not is_circuit(each)][: MAX_ADDRESSES - len(circuits)] + circuits
        direct: list[trio.Event] = []
        async with trio.open_nursery() as nursery:
            for address in ordered:
                done = trio.Event()
                if not is_circuit(address):
                    direct.append(done)
                else:
                    await _all_done(direct, HEAD_START_S)
                    direct.clear()
                nursery.start_soon(self._dial_one, peer, address, reasons, done, nursery.cancel_scope)
                with trio.move_on_after(STAGGER_S):
                    await done.wait()

    async def _dial_one(
        self, peer: ID, address: Multiaddr, reasons: list[str], done: trio.Event, all_dials: trio.CancelScope
    ) -> None:
        try:
            await (self._dial_through(peer, address) if is_circuit(address) else self._swarm.dial_addr(address, peer))
        except (SwarmException, Unreachable) as error:
            reasons.append(f"{address}: {_reason(error)}")
        else:
            self._host.get_peerstore().add_addr(peer, address, ADDRESS_TTL_S)
            all_dials.cancel()
        finally:
            done.set()

    async def _dial_through(self, peer: ID, address: Multiaddr) -> None:
        relay = relay_of(address)
        if relay in (peer, self._host.get_id()):
            raise Unreachable("that leads back here")
        await self._reach_relay(relay, address.decapsulate(Multiaddr(f"/p2p/{relay}/p2p-circuit")))
        await self._circuits.dial(peer, address)

    async def _reach_relay(self, relay: ID, address: Multiaddr) -> None:
        """Directly, there or where else it is known to be. Who waits here for a relay waits for nothing through another one, so
        two dials never wait for each other."""
        async with self._turn((relay, "directly")):
            if self._is_direct(relay):
                return
            reasons: list[str] = []
            await self._dial(relay, list(dict.fromkeys([address, *self._known_direct(relay)])), reasons)
            if not self._is_direct(relay):
                raise Unreachable(f"the relay {relay} can't be dialled: {'; '.join(reasons)}")
            await self._enter(relay)

    async def keep(self, peer: ID, ways: list[Multiaddr]) -> None:
        """Stay connected to a bootstrap peer, at any of its addresses, for as long as the task lives, with back-off."""
        if peer == self._host.get_id():
            return  # a charter's bootstrap list names the hub to the hub itself, too
        wait_s, missed = REDIAL_FIRST_S, False
        while True:
            if not self.is_connected(peer):
                try:
                    await self.reach(peer, ways)
                except Unreachable as error:
                    log.log(logging.DEBUG if missed else logging.INFO, "a bootstrap peer is tried again and again: %s", error)
                    wait_s, missed = min(wait_s * 2, REDIAL_MOST_S), True
            if self.is_connected(peer):
                if missed:
                    log.info("the bootstrap peer %s is reached again", peer)
                wait_s, missed = REDIAL_FIRST_S, False
            await trio.sleep(wait_s * random.uniform(0.8, 1.2))


def _dialable(peer: ID, addresses: Iterable[Multiaddr]) -> list[Multiaddr]:
    """Each address once; libp2p keeps some of them with the peer at their end, some without."""
    suffix = Multiaddr(f"/p2p/{peer}")
    bare = (address.decapsulate(suffix) if str(address).endswith(str(suffix)) else address for address in addresses)
    return list(dict.fromkeys(address for address in bare if is_dialable(address)))


def _target(peer: ID, text: str) -> Multiaddr | None:
    try:
        owner, target = parse_address(text)
    except ValueError:
        return None
    return target if owner == peer else None


def _from_here(addresses: list[Multiaddr]) -> list[Multiaddr]:
    """Without 127.0.0.1 of another machine, which would lead to this one: it is another if it has addresses, and none of ours."""
    ips = {str(each).split("/")[2] for each in addresses if not is_circuit(each) and not _is_loopback(each)}
    return (
        [each for each in addresses if not _is_loopback(each) or is_circuit(each)] if ips and not ips & own_ips() else addresses
    )


async def _all_done(events: list[trio.Event], within_s: float) -> None:
    with trio.move_on_after(within_s):
        for event in events:
            await event.wait()


def _is_loopback(address: Multiaddr) -> bool:
    return str(address).startswith(("/ip4/127.", "/ip6/::1/"))


def _reason(error: BaseException) -> str:
    """The innermost cause: libp2p wraps ``Connection refused`` four times, trio in a group with one try an address."""
    if isinstance(error, Unreachable):
        return str(error)
    while (inner := error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
