"""What one offer, one advert and one log entry cost a peer in meshes of 100, 1,000 and 10,000: ``python -m tests.bench.curves``.

Real peers on the in-memory net, in virtual time. They are introduced by hand, as so many cannot tell each other one by one in a
test's time: whoever asks knows as many workers as a directory holds, and nobody advertises but for the advert that is measured.
Counted are messages and their bytes, as the roles hand them over. A message of gossip counts once for each peer that hears it;
the real net makes several copies of it (:func:`overlay`), as many in a large mesh as in a small one.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from unittest.mock import patch

import trio

from meshgen.net.memory import Event
from meshgen.net.port import PeerId
from meshgen.peers.directory import LIFETIME_MS, MAX_PEERS, Directory
from meshgen.peers.market import offer_topic
from meshgen.peers.news import news_topic
from meshgen.peers.peer import Peer
from meshgen.peers.request import ImageRequest
from meshgen.protocols.credit import PROTOCOL as CREDIT_PROTOCOL
from meshgen.protocols.credit import Vouch
from meshgen.protocols.envelope import sign
from meshgen.protocols.offer import BID_PROTOCOL, OFFER_PROTOCOL
from meshgen.testing.mesh import NET, VirtualMesh, now_ms, simulate
from tests.bench.growth import column, head

SIZES = (100, 1_000, 10_000)
ARCHIVISTS = 3
SETTLE_S = 15.0
JOBS = 3
DEGREE = 6
"""Of the gossip's overlay, as meshgen.net.libp2p.gossip sets it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Messages and bytes of one thing: over all peers, the mean; and of the peer that caused it."""

    messages: float
    bytes: float
    own_messages: float
    own_bytes: float


@dataclass(frozen=True, slots=True)
class Row:
    peers: int
    offer: Cost
    advert: Cost
    entry: Cost
    copies: float
    hops: float
    """Of a gossip message, from who published it to the last peer."""


def curves(sizes: Sequence[int] = SIZES, tell: Callable[[str], None] = lambda _: None) -> list[Row]:
    rows = []
    for size in sizes:
        began = time.monotonic()
        with patch.object(Directory, "_keep_advertising", _stay_silent), patch.object(Directory, "meet", _ask_nobody):
            rows.append(simulate(lambda mesh, size=size: _measure(mesh, size), calm=True))  # type: ignore[misc]
        tell(f"{size} peers: {time.monotonic() - began:.0f} s")
    return rows


async def _stay_silent(self: Directory, nursery: trio.Nursery) -> None:
    now = self._now_ms()
    self.own = sign(self._identity, self._describe(now, now + LIFETIME_MS))
    await trio.sleep_forever()


async def _ask_nobody(self: Directory, peer: PeerId) -> None:
    """Nor do they introduce each other: that is a cost of joining."""


async def _measure(mesh: VirtualMesh, size: int) -> Row:
    asker = await mesh.requester(doors=False)
    archivists = [await mesh.add(f"archivist-{number}", "archivist", doors=False) for number in range(ARCHIVISTS)]
    workers = [
        await mesh.worker(f"worker-{number}", doors=False, worker__stranger_pictures_per_minute=0)
        for number in range(size - 1 - ARCHIVISTS)
    ]
    for known in [*workers[:MAX_PEERS], *archivists]:
        assert known.directory.own is not None
        asker.directory.learn(known.directory.own)
        for archivist in archivists:
            archivist.directory.learn(known.directory.own)
    offers = partial(_about_offers, offer_topic(NET, "other"))
    offer = await _cost(mesh, asker, offers, lambda: _ask(asker))
    advert = await _cost(mesh, workers[0], lambda event: event.name == workers[0].directory.topic, lambda: _advertise(workers[0]))
    entry = await _cost(mesh, workers[1], partial(_about_log, workers[1]), lambda: _say(workers[1]))
    copies, hops = overlay(size)
    return Row(size, offer, advert, entry, copies, hops)


Concerns = Callable[[Event], bool]


def _about_offers(topic: str, event: Event) -> bool:
    return event.name in (topic, OFFER_PROTOCOL, BID_PROTOCOL)


def _about_log(author: Peer, event: Event) -> bool:
    return event.name in (news_topic(NET), CREDIT_PROTOCOL) and author.identity.public_key in event.data


async def _cost(mesh: VirtualMesh, who: Peer, concerns: Concerns, act: Callable[[], Awaitable[int]]) -> Cost:
    """Of one ``act``, which answers how often it did it, with all that follows from it."""
    all_, own = [0, 0], [0, 0]

    def note(event: Event) -> None:
        if not concerns(event):
            return
        if event.kind == "message":
            _add(all_, 2, len(event.data))  # once sent, once received
            _add(own, int(who.peer_id in (event.peer, event.to)), len(event.data))
        elif event.kind == "gossip":
            _add(all_, sum(event.name in net._topics for net in mesh.net.nets.values()), len(event.data))
            _add(own, int(who.peer_id == event.peer), len(event.data))

    mesh.trace.listeners.append(note)
    times = await act()
    await trio.sleep(SETTLE_S)
    mesh.trace.listeners.remove(note)
    peers = len(mesh.nodes)
    return Cost(all_[0] / times / peers, all_[1] / times / peers, own[0] / times, own[1] / times)


def _add(sums: list[int], messages: int, size: int) -> None:
    sums[0] += messages
    sums[1] += messages * size


async def _ask(asker: Peer) -> int:
    assert asker.requester is not None
    for _ in range(JOBS):
        job = asker.requester.submit(ImageRequest(prompt="a fjord", steps=4))
        await job.wait()
        if job.state != "done":
            raise RuntimeError(f"the job is {job.state}: {job.error}")
        await trio.sleep(2)
    return JOBS


async def _advertise(worker: Peer) -> int:
    assert worker.directory.own is not None
    await worker.net.publish(worker.directory.topic, worker.directory.own.wire)
    return 1


async def _say(worker: Peer) -> int:
    """An entry of its own accord, which everybody hears of: it vouches for somebody."""
    await worker.ledger.append(Vouch(bytes(31) + b"\1", 1, now_ms() + 24 * 3600 * 1000, revoke=0))
    return 1


def overlay(size: int, seed: int = 1) -> tuple[float, float]:
    """(copies of a message that a peer receives, hops until the last has it) in a random overlay of the gossip's degree."""
    rng = random.Random(seed)
    neighbours: list[set[int]] = [set() for _ in range(size)]
    for one in range(size):
        while len(neighbours[one]) < min(DEGREE, size - 1):
            other = rng.randrange(size)
            if other != one and len(neighbours[other]) < 2 * DEGREE:
                neighbours[one].add(other)
                neighbours[other].add(one)
    hops, copies, edge, seen = 0, 0, [(0, -1)], {0}
    while edge:
        following = []
        for one, sender in edge:
            for other in neighbours[one] - {sender}:
                copies += 1
                if other not in seen:
                    seen.add(other)
                    following.append((other, one))
        edge, hops = following, hops + bool(following)
    return copies / size, hops


def table(rows: Sequence[Row]) -> str:
    sizes = [row.peers for row in rows]
    lines = [f"{'peers':<44}" + "".join(f"{size:>12,}" for size in sizes) + head(sizes, 10)]

    def line(shown: str, values: Sequence[float]) -> None:
        lines.append(f"{shown:<44}" + "".join(f"{value:>12.2f}" for value in values) + column(sizes, values, 10))

    for thing in ("offer", "advert", "entry"):
        for name, shown in (
            ("messages", "messages, a peer in the mean"),
            ("bytes", "bytes, a peer in the mean"),
            ("own_messages", "messages, whoever made it"),
            ("own_bytes", "bytes, whoever made it"),
        ):
            line(f"one {thing}: {shown}", [asdict(getattr(row, thing))[name] for row in rows])
    line("copies of a gossip message, a peer", [row.copies for row in rows])
    line("hops until the last peer has it", [row.hops for row in rows])
    return "\n".join(lines)


if __name__ == "__main__":
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    print(table(curves(sizes, lambda line: print(line, file=sys.stderr, flush=True))))
