"""Signs of life: who is linked and answers, and who only seems to be there.

A suspended peer stays connected, a machine that changed its address hangs on to links that lead nowhere. So a link on which
nothing is heard gets a ping; who does not answer is taken for dead: it is hung up on, and with that everything fails at once that
ran over its link. Of many links those over which nothing runs are asked less often: to be linked to many costs little. What came
back with the answers also tells round trips and others' clocks.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

import trio

from meshgen.net.port import Channel, Net, NetError, PeerId, PeerLink, request
from meshgen.peers.pulse_clock import Clocks
from meshgen.protocols.codec import Malformed
from meshgen.protocols.pulse import PROTOCOL, Ping, Pong, reading

log = logging.getLogger(__name__)

QUIET_S = 3.25
"""A link on which nothing was heard for so long, or up to a quarter less, gets a ping: of whichever side is first."""
BRISK = 8
"""With twice as many links one over which nothing runs may be quiet for twice as long; those of a job may not."""
PATIENCE_S = 5.5
"""With a look at the links each second a dead peer is noticed within 3.25 + 1 + 5.5 s: before 10. A machine that is overloaded
can stand still for some seconds, and a link that is dropped costs more than a ping."""
WAKING_PATIENCE_S = 3.0
"""After a sleep, or a new address, most links are dead, and each costs time."""
FIRST_S = 2.0
"""Within so long both sides of a new link ask, and so learn the time; not all at once, as those that start have much to do."""
TIME_S = 60.0
"""The time is asked for so often, however much else is heard."""
NO_S = 2.5
"""An error that comes as fast is the peer's own no; later, the net's word for silence."""
STALLED_S = 1.0
"""A ping that took so much longer than its patience tells of this machine, which stood still, and not of the peer."""
HANG_UP_S = 2.0
AWAY_S = 0.1
"""It may come back at once; but to let in whom the owner or the net keeps out is not for here to do."""


@dataclass(slots=True)
class _Link:
    heard_s: float
    time_s: float  # when the time is to be asked for next
    quiet_s: float = QUIET_S  # how long it may be quiet before the next ping
    asking: bool = False
    rtt_ms: int | None = None


class Pulse:
    """``look`` is to be called about once a second. ``on_dead`` hears of a peer before it is hung up on."""

    def __init__(self, net: Net, now_ms: Callable[[], int], rng: random.Random) -> None:
        self._net = net
        self._now_ms = now_ms
        self._rng = rng
        self._links: dict[PeerId, _Link] = {}
        self._slack = 1.0  # how many times longer a link may be quiet over which nothing runs
        self.deals_with: Callable[[PeerId], bool] = lambda _: False
        """Does something run over its link now?"""
        self.clocks = Clocks(trio.current_time)
        self.on_dead: list[Callable[[PeerId], None]] = []
        self.deaths = 0
        net.serve(PROTOCOL, self._answer)

    def rtt_ms(self, peer: PeerId) -> int | None:
        """The last round trip to a linked peer; None before there was one."""
        link = self._links.get(peer)
        return link.rtt_ms if link else None

    def look(
        self, links: Collection[PeerLink], nursery: trio.Nursery, patience_s: float = PATIENCE_S, *, at_once: bool = False
    ) -> None:
        """Ask whoever was quiet for too long, ``at_once`` everybody; drop who does not answer. The asking is the nursery's."""
        now = trio.current_time()
        self._listen(links)
        self._slack = max(1.0, len(self._links) / BRISK)
        for peer, link in self._links.items():
            if not link.asking and (at_once or now >= link.time_s or self._is_quiet(peer, link, now)):
                link.asking = True
                nursery.start_soon(self._ask, peer, link, patience_s)

    def _is_quiet(self, peer: PeerId, link: _Link, now: float) -> bool:
        silent_s = now - link.heard_s
        return silent_s >= link.quiet_s and (silent_s >= link.quiet_s * self._slack or self.deals_with(peer))

    def _listen(self, links: Collection[PeerLink]) -> None:
        """Who is linked, and when was it heard last?"""
        now, before = trio.current_time(), self._links
        self._links = {link.peer: before.get(link.peer) or _Link(now, now + FIRST_S * self._rng.random()) for link in links}
        for link in links:
            self._links[link.peer].heard_s = max(self._links[link.peer].heard_s, link.heard_s or float("-inf"))

    async def _answer(self, channel: Channel) -> None:
        with trio.fail_after(PATIENCE_S):
            wire = await channel.receive()
        if wire is None:
            return
        heard_ms = self._now_ms()
        ping = Ping.decode(wire)
        if link := self._links.get(channel.peer):
            self._heard(link)
        await channel.send(Pong(ping.sent_ms, heard_ms, max(heard_ms, self._now_ms())).encode(), last=True)

    async def _ask(self, peer: PeerId, link: _Link, patience_s: float) -> None:
        asked_s, asked_ms = trio.current_time(), self._now_ms()
        try:
            with trio.fail_after(patience_s):
                answer = await request(self._net, peer, PROTOCOL, Ping(asked_ms).encode())
            self._read(peer, link, Pong.decode(answer), asked_ms, asked_s)
        except (NetError, Malformed, trio.TooSlowError) as error:
            log.debug("no pulse from %s: %s", peer, type(error).__name__)
            if trio.current_time() - asked_s < NO_S:  # a no is a sign of life, too; where the link broke it is gone by itself
                self._heard(link)
                link.time_s = link.heard_s + TIME_S * self._slack
            elif self._is_dead(peer, link, asked_s, asked_ms, patience_s):
                await self._bury(peer)
        finally:
            link.asking = False

    def _is_dead(self, peer: PeerId, link: _Link, asked_s: float, asked_ms: int, patience_s: float) -> bool:
        """Unless it was heard meanwhile, or it was this machine that stood still."""
        took_s = max(trio.current_time() - asked_s, (self._now_ms() - asked_ms) / 1000)
        self._listen(self._net.links())
        return took_s < patience_s + STALLED_S and link.heard_s <= asked_s and self._links.get(peer) is link

    def _read(self, peer: PeerId, link: _Link, pong: Pong, asked_ms: int, asked_s: float) -> None:
        """The time that passed is the monotonic clock's: the other may have been set meanwhile."""
        told = reading(pong, asked_ms, asked_ms + round((trio.current_time() - asked_s) * 1000))
        link.rtt_ms = told.rtt_ms
        link.time_s = trio.current_time() + TIME_S * self._slack
        self.clocks.take(peer, told.ahead_ms)
        self._heard(link)

    def _heard(self, link: _Link) -> None:
        link.heard_s = trio.current_time()
        link.quiet_s = QUIET_S * self._rng.uniform(0.75, 1.0)

    async def _bury(self, peer: PeerId) -> None:
        log.info("%s is connected and does not answer: hung up on it", peer)
        del self._links[peer]
        self.deaths += 1
        for listener in self.on_dead:
            listener(peer)
        with trio.move_on_after(HANG_UP_S):
            await self._net.drop(peer, AWAY_S)
