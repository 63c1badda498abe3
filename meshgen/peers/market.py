"""The requester's half of the market: make offers heard, gather what comes back, choose.

One signed offer goes two ways: straight to the workers already known (fast: a kept stream each) and by gossip (reach: workers
this peer never heard of). Gossip costs every node of the mesh CPU time, so it is metered: interactive use always gossips, a
flood of requests gossips only what the known workers leave undone.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import trio

from meshgen.identity import Identity
from meshgen.net.port import Channel, Net, NetError, PeerId, about, request
from meshgen.peers.directory import Directory
from meshgen.peers.line import Line
from meshgen.peers.matching import TRUST_FLOOR, No
from meshgen.peers.sampling import Sampling
from meshgen.peers.tally import Asked
from meshgen.peers.trust import Trust
from meshgen.protocols.codec import Malformed
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.offer import BID_PROTOCOL, OFFER_PROTOCOL, Bid, Offer, Refusal, drawn
from meshgen.protocols.record import Record

log = logging.getLogger(__name__)
K = TypeVar("K")
V = TypeVar("V")

MAX_ASKED = 8
SPARE_ASKED = 1
"""Workers asked directly: one a picture and so many more, the least busy first, at most MAX_ASKED. The choice of two evens out
most of the load."""
GOSSIP_GAP_S = 1.0
"""Offers that the known workers satisfy are gossiped at most this often."""
MIN_GOSSIP_GAP_S = 0.25
"""Others at most this often; what is left out is offered again in the next round."""
QUESTION_S = 10.0
PATIENCE_S = 0.25
"""An offer of many pictures that is covered waits so long for the answers still missing: it is worth spreading. One picture needs
one worker, so it waits only as long again as the first answer took."""
MAX_PARTS = 64
"""Parts of jobs that a worker gets at a time: each keeps a stream, and a worker serves 128 of one peer for all that it says."""
MAX_PAST = 256
"""Offers, and liars, remembered after they are answered: a second answer that differs from the first may come late."""


@dataclass(slots=True)
class Answers:
    """What came back for one offer; one answer a worker counts. Two that differ count against it."""

    offer: Signed[Offer]
    asked: tuple[PeerId, ...]
    avoid: Mapping[PeerId, No] = field(default_factory=dict)  # whose bids don't count, and why
    allows: Callable[[str], bool] = lambda _: True  # nor do those of peers that this is false of, known or not
    bids: dict[PeerId, Signed[Bid]] = field(default_factory=dict)
    refusals: dict[PeerId, No] = field(default_factory=dict)
    liars: dict[PeerId, tuple[bytes, bytes]] = field(default_factory=dict)  # the two answers, signed: the evidence
    covered: trio.Event = field(default_factory=trio.Event)  # the bids' capacity reaches the count
    complete: trio.Event = field(default_factory=trio.Event)  # everybody who was asked has answered
    decided: trio.Event = field(default_factory=trio.Event)  # one of the two
    first_bid_s: float | None = None  # by trio's clock
    voices: set[PeerId] = field(default_factory=set)  # workers that answered, late or not

    @property
    def heard(self) -> int:
        return len(self.voices)

    @property
    def sample(self) -> int:
        return self.offer.message.sample

    @property
    def was_covered(self) -> bool:
        return self.covered.is_set()

    def bid(self, signed: Signed[Bid]) -> None:
        worker = PeerId(signed.peer)
        if self.first_bid_s is None:
            self.first_bid_s = trio.current_time()
        if worker not in self.liars and worker not in self.avoid and self.allows(worker):
            self.refusals.pop(worker, None)
            self.bids[worker] = signed
        self._check()

    def contradicted(self, signed: Signed[Bid], now_ms: int) -> bool:
        """Is there another bid of this worker's that still stands? Then neither counts."""
        worker = PeerId(signed.peer)
        before = self.bids.get(worker)
        if before is None or before.id == signed.id or before.message.expires_ms <= now_ms:
            return False
        del self.bids[worker]
        self.liars[worker] = (before.wire, signed.wire)
        self.refusals[worker] = No("contradiction")
        self._check()
        return True

    def refuse(self, worker: PeerId, no: No) -> None:
        if worker not in self.bids and worker not in self.liars:
            self.refusals[worker] = no
        self._check()

    def _check(self) -> None:
        if sum(bid.message.count for bid in self.bids.values()) >= self.offer.message.count:
            self.covered.set()
            self.decided.set()
        if all(peer in self.bids or peer in self.refusals for peer in self.asked):
            self.complete.set()
            self.decided.set()


class Market:
    """Open offers and their answers. Bids also come by themselves, from workers that heard the gossip."""

    def __init__(
        self, net: Net, identity: Identity, mesh: bytes, directory: Directory, now_ms: Callable[[], int], rng: random.Random
    ) -> None:
        self._net = net
        self._identity = identity
        self._mesh = mesh
        self._directory = directory
        self._now_ms = now_ms
        self._open: dict[bytes, Answers] = {}
        self._past: OrderedDict[bytes, Answers] = OrderedDict()
        self._last_gossip_s = float("-inf")
        self._sampling = Sampling()
        self.trust = Trust()
        self.tally = Asked()
        self.outstanding: Counter[PeerId] = Counter()  # pictures awarded by this requester and not yet there
        self.parts: Counter[PeerId] = Counter()  # of jobs, each with a stream
        self.line = Line()
        self.evidence: OrderedDict[PeerId, tuple[bytes, bytes]] = OrderedDict()  # two signed answers to one offer
        self._rng = rng
        self.ignored = 0  # answers that no open offer explains: replays, latecomers, junk
        net.serve(BID_PROTOCOL, self._hear)

    async def ask(
        self,
        offer: Offer,
        window_s: float,
        avoid: Mapping[PeerId, No],
        nursery: trio.Nursery,
        allows: Callable[[str], bool] = lambda _: True,
    ) -> Answers:
        """Make an offer heard and gather answers: until everybody asked has answered and the count is covered, a little less
        if one of them dawdles, and ``window_s`` at most. ``avoid`` are workers not to ask, and why; nor do bids of
        others count whom ``allows`` is false of.

        Questions outlive the window, in ``nursery``: to break one off would throw its kept stream away."""
        able, others = self._directory.able(offer)
        signed = sign(self._identity, replace(offer, sample=self._sampling.choose(offer.model, offer.count, len(able))))
        asked = self._least_busy({peer: queued for peer, queued in able.items() if peer not in avoid}, offer.count)
        answers = self._open[signed.id] = Answers(signed, asked, avoid, allows, refusals={**others, **avoid})
        self._sampling.made(offer.model, answers)
        asked_s = trio.current_time()
        try:
            for peer in asked:
                nursery.start_soon(self._ask_one, peer, answers)
            nursery.start_soon(self._gossip, answers)
            with trio.move_on_after(window_s):
                await answers.covered.wait()
                taken_s = trio.current_time() - asked_s
                with trio.move_on_after(PATIENCE_S if offer.count > 1 else min(taken_s, PATIENCE_S)):
                    await answers.complete.wait()
        finally:
            del self._open[signed.id]
            _remember(self._past, signed.id, answers)
            self._count(answers, asked_s)
        return answers

    def _count(self, answers: Answers, asked_s: float) -> None:
        self.tally.offers += 1
        if answers.first_bid_s is None:
            self.tally.unanswered += 1
        else:
            self.tally.first_bid.observe(answers.first_bid_s - asked_s)

    def crowded(self) -> dict[PeerId, No]:
        """Workers that have so much of this requester's that they can't be given more."""
        return {peer: No("full") for peer, parts in self.parts.items() if parts >= MAX_PARTS}

    def _least_busy(self, able: Mapping[PeerId, int], count: int) -> tuple[PeerId, ...]:
        """Whom to ask: a few of the least busy are enough, and the rest of the mesh is spared. Ties are drawn."""

        def busy(peer: PeerId) -> tuple[float, float]:
            return (1 + able[peer] + self.outstanding[peer]) / max(self.trust.of(peer), TRUST_FLOOR), self._rng.random()

        return tuple(sorted(able, key=busy)[: min(count + SPARE_ASKED, MAX_ASKED)])

    async def _ask_one(self, peer: PeerId, answers: Answers) -> None:
        try:
            with trio.fail_after(QUESTION_S):
                wire = await request(self._net, peer, OFFER_PROTOCOL, answers.offer.wire)
            self._take(peer, wire)
        except (NetError, Malformed, trio.TooSlowError) as error:
            log.info("an offer was not answered: %s", about(peer, error))
            self.trust.silent(peer)
            answers.refuse(peer, No("silent"))

    async def _gossip(self, answers: Answers) -> None:
        if answers.asked and trio.current_time() - self._last_gossip_s < GOSSIP_GAP_S:
            with trio.move_on_after(GOSSIP_GAP_S):
                await answers.decided.wait()
            if answers.covered.is_set() or trio.current_time() - self._last_gossip_s < MIN_GOSSIP_GAP_S:
                return
        self._last_gossip_s = trio.current_time()
        await self._net.publish(offer_topic(self._mesh, answers.offer.message.family), answers.offer.wire)

    async def _hear(self, channel: Channel) -> None:
        """A worker that heard the gossip answers on a channel of its own."""
        wire = await channel.receive()
        try:
            if wire is not None:
                self._take(channel.peer, wire)
        except Malformed as error:
            self.ignored += 1
            log.info("an answer is not valid: %s", about(channel.peer, error))

    def _take(self, peer: PeerId, wire: bytes) -> None:
        signed: Signed[Record] = unsign(wire, Bid, Refusal)
        message = signed.message
        assert isinstance(message, Bid | Refusal)
        answers = self._open.get(message.offer_id)
        asked = answers or self._past.get(message.offer_id)
        if signed.peer != peer:
            raise Malformed(f"{message.TAG}: signed by another peer than the one that sent it")
        if asked and peer not in asked.asked and not drawn(message.offer_id, signed.author, asked.sample):
            raise Malformed(f"{message.TAG}: from a worker that was not to answer")
        if asked:
            asked.voices.add(peer)
        if asked and isinstance(message, Bid) and asked.contradicted(cast(Signed[Bid], signed), self._now_ms()):
            log.warning("%s signed two different answers to one offer", peer)
            self.trust.lied(peer)
            _remember(self.evidence, peer, asked.liars[peer])
        elif answers is None or message.net != self._mesh:
            self.ignored += 1
        elif isinstance(message, Refusal):
            answers.refuse(peer, No(message.reason, message.limit))
        elif message.expires_ms <= self._now_ms():
            answers.refuse(peer, No("expired"))
        else:
            answers.bid(cast(Signed[Bid], signed))


def _remember(past: OrderedDict[K, V], key: K, value: V) -> None:
    past[key] = value
    if len(past) > MAX_PAST:
        past.popitem(last=False)


def offer_topic(mesh: bytes, family: str) -> str:
    """Few topics, one a model family: a worker hears what it could do and little else."""
    return f"/meshgen/{mesh.hex()}/offer/{family}"
