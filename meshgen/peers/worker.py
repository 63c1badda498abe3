"""The worker: hears offers, bids on what it would do, and does what it is awarded.

A bid is a promise of price and an estimate of time, not a reservation: an award may still be refused as full, and the requester
then turns to the next. Awards are taken once, for bids of this run of the node alone, so a replayed one finds nothing.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import trio

from meshgen.engine.port import Engine, EngineError
from meshgen.identity import Identity
from meshgen.ledger.errors import Gap, LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.ledger.standing import Verdict
from meshgen.net.port import Channel, Gossip, Net, NetError, PeerId
from meshgen.peers.admission import Admission, WorkerPolicy
from meshgen.peers.archivist import Archivist
from meshgen.peers.collector import Collector
from meshgen.peers.delivery import Delivery
from meshgen.peers.market import offer_topic
from meshgen.peers.matching import No, find_model, refusal
from meshgen.peers.orders import names_what_it_needs, order_s, result_s
from meshgen.peers.overseer import Overseer
from meshgen.peers.queue import Queue, Ticket
from meshgen.peers.tariff import offer_mkudos, scaled
from meshgen.protocols.advert import Advert
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import decode_entry
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.job_sides import WorkerSide
from meshgen.protocols.job_terms import Terms, terms
from meshgen.protocols.offer import BID_PROTOCOL, MAX_OFFER_LIFETIME_MS, OFFER_PROTOCOL, Award, Bid, Cancel, Offer, Refusal
from meshgen.protocols.order import Order
from meshgen.protocols.record import Record
from meshgen.protocols.sealing import SealKey, unseal

log = logging.getLogger(__name__)

BID_LIFETIME_MS = 30_000
AWARD_S = 10.0
"""A channel that was opened for a job brings its award in this time."""
MAX_BIDS = 2048
FAMILIES_S = 10.0
FORGET_S = 60.0
MAX_INPUT_MIB = 256
"""Of all accepted jobs' pictures together; one whose pictures are beyond that is refused as full."""
MAX_ANSWERING = 64
"""Gossiped offers answered at the same time; more are dropped, their requesters offer again."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """A bid that was given, waiting for its award."""

    offer: Signed[Offer]
    bid: Signed[Bid]


@dataclass(slots=True)
class Tally:
    """What this worker did since it started; for status and metrics."""

    bids: int = 0
    refusals: int = 0
    jobs: int = 0
    pictures: int = 0
    failed: int = 0
    unpaid: int = 0


class Worker:
    """``own_advert`` describes this peer as it is now; what it says there is what it holds offers against."""

    def __init__(
        self,
        net: Net,
        identity: Identity,
        ledger: Ledger,
        archivist: Archivist,
        engine: Engine,
        queue: Queue,
        policy: WorkerPolicy,
        now_ms: Callable[[], int],
        own_advert: Callable[[], Advert],
        overseer: Overseer,
    ) -> None:
        self._net = net
        self._identity = identity
        self._ledger = ledger
        self._archivist = archivist
        self._collector = Collector(ledger, archivist, now_ms)
        self._engine = engine
        self._now_ms = now_ms
        self._own_advert = own_advert
        self._overseer = overseer
        self._seal_key = SealKey.generate()
        self._bids: OrderedDict[bytes, _Standing] = OrderedDict()  # by bid id
        self._answers: OrderedDict[bytes, Signed[Bid]] = OrderedDict()  # by offer id: one offer, one bid, both ways
        self._input_bytes = 0  # of the pictures that came, or are to come, with jobs that are not over
        self._holds: dict[bytes, int] = {}  # those that pay for a job already, and when they expire
        self._answering = trio.CapacityLimiter(MAX_ANSWERING)
        self._queue = queue
        self._admission = Admission(ledger, queue, policy)
        self.tally = Tally()

    @property
    def policy(self) -> WorkerPolicy:
        return self._admission.policy

    @policy.setter
    def policy(self, policy: WorkerPolicy) -> None:
        self._admission.policy = policy

    def verdict(self, requester: bytes) -> Verdict:
        """Would it be served now, and before whom?"""
        return self._admission.verdict(requester)

    @property
    def queued(self) -> int:
        """Pictures accepted and not yet delivered."""
        return self._queue.pictures

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        while self._ledger.standings.prepare(self._now_ms()):
            await trio.lowlevel.checkpoint()
        self._net.serve(OFFER_PROTOCOL, self._asked)
        self._net.serve(JOB_PROTOCOL, self._awarded)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collector.run)
            nursery.start_soon(self._forget_holds)
            await nursery.start(self._follow_families, nursery)
            task_status.started()

    async def _follow_families(
        self, nursery: trio.Nursery, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hear the offers of each family that there is a model of; models may be added while the node runs."""
        heard: set[str] = set()
        while True:
            for family in sorted({model.family for model in self._engine.models()} - heard):
                heard.add(family)
                await nursery.start(self._hear_family, family, nursery)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(FAMILIES_S)

    async def _forget_holds(self) -> None:
        while True:
            await trio.sleep(FORGET_S)
            now = self._now_ms()
            self._holds = {hold_id: expires_ms for hold_id, expires_ms in self._holds.items() if expires_ms > now}

    # -- offers

    async def _hear_family(
        self, family: str, nursery: trio.Nursery, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        topic = offer_topic(self._own_advert().net, family)
        async with self._net.subscribe(topic, self._is_valid) as heard:
            task_status.started()
            async for gossip in heard:
                if self._answering.available_tokens:
                    nursery.start_soon(self._answer_gossip, gossip)

    def _is_valid(self, sender: PeerId, data: bytes) -> bool:
        """For the gossip layer: what is forged, stale or of another mesh goes no further."""
        try:
            signed = unsign(data, Offer)
        except Malformed:
            return False
        offer, now = signed.message, self._now_ms()
        return signed.peer == sender and offer.net == self._ledger.net and now < offer.expires_ms <= now + MAX_OFFER_LIFETIME_MS

    async def _answer_gossip(self, gossip: Gossip) -> None:
        async with self._answering:
            signed = unsign(gossip.data, Offer)
            self._overseer.heard(signed)
            if signed.id in self._answers or find_model(self._own_advert().models, signed.message.model, b"") is None:
                return  # answered on the direct way, or not this worker's business
            answer = self.consider(signed)
            try:
                with trio.move_on_after(AWARD_S):
                    await self._reach(signed)
                    async with self._net.open(gossip.sender, BID_PROTOCOL) as channel:
                        await channel.send(answer.wire, last=True)
            except NetError as error:
                log.info("a requester can't be reached: %s", error)

    async def _reach(self, offer: Signed[Offer]) -> None:
        """Dial by its author's addresses in the offer, and no others, if the net does not know it yet."""
        if any(link.peer == offer.peer for link in self._net.links()):
            return
        for address in offer.message.addresses:
            if not address.endswith(f"/p2p/{offer.peer}"):
                continue
            try:
                await self._net.connect(address)
                return
            except (NetError, ValueError) as error:
                log.debug("an address in an offer does not answer: %s", error)

    async def _asked(self, channel: Channel) -> None:
        wire = await channel.receive()
        if wire is None:
            return
        signed: Signed[Record] = unsign(wire, Offer, Cancel)
        if signed.peer != channel.peer:
            raise Malformed(f"{signed.message.TAG}: signed by another peer than the one that sent it")
        if isinstance(signed.message, Offer):
            offer = cast(Signed[Offer], signed)
            self._overseer.heard(offer)
            await channel.send(self.consider(offer).wire, last=True)
        elif isinstance(signed.message, Cancel):
            self._strike_out(signed.message.offer_id, signed.author)

    def _strike_out(self, offer_id: bytes, author: bytes) -> None:
        """The requester needs no more bids. The answer is kept: whoever hears the offer late gets no second one."""
        bid = self._answers.get(offer_id)
        standing = self._bids.get(bid.id) if bid else None
        if standing is not None and standing.offer.author == author:
            del self._bids[standing.bid.id]

    def consider(self, offer: Signed[Offer]) -> Signed[Bid] | Signed[Refusal]:
        """The answer to one offer: always the same bid, until it expires."""
        given = self._answers.get(offer.id)
        if given is not None and given.message.expires_ms > self._now_ms():
            return given
        judged = self._judge(offer)
        if isinstance(judged, No):
            self.tally.refusals += 1
            return sign(self._identity, Refusal(offer.message.net, offer.id, judged.reason, judged.limit))
        bid = sign(self._identity, self._bid(offer, *judged))
        self._answers[offer.id] = bid
        self._bids[bid.id] = _Standing(offer, bid)
        while len(self._answers) > MAX_BIDS:
            self._answers.popitem(last=False)
        while len(self._bids) > MAX_BIDS:
            self._bids.popitem(last=False)
        self.tally.bids += 1
        return bid

    def _judge(self, offer: Signed[Offer]) -> tuple[Verdict, int] | No:
        """Its author's standing and the room for it; what is cheap to tell comes first."""
        no = refusal(offer.message, self._own_advert(), self._now_ms())
        price = self._price(offer.message)
        if no is not None or price > offer.message.max_mkudos:
            return no or No("price", price)
        verdict = self._admission.verdict(offer.author)
        if ruled := self._overseer.no_offer(offer.message, verdict):
            return ruled
        if not verdict.serve:
            return No("standing", self.policy.max_debt_mkudos)
        room = self._admission.room(offer.author, verdict)
        return (verdict, room) if room else No("full", self.policy.max_queue)

    def _price(self, offer: Offer) -> int:
        model = find_model(self._own_advert().models, offer.model, offer.digest)
        return scaled(offer_mkudos(offer, self.policy.tariff, model), self.policy.price_permille)

    def _bid(self, signed: Signed[Offer], verdict: Verdict, room: int) -> Bid:
        offer = signed.message
        advert = self._own_advert()
        model = find_model(advert.models, offer.model, offer.digest)
        assert model is not None  # refusal() has seen to it
        head = self._ledger.head()
        seconds = result_s(self._engine, offer)
        return Bid(
            net=offer.net,
            offer_id=signed.id,
            digest=model.digest,
            count=min(offer.count, advert.max_count, room),
            mkudos=self._price(offer),
            start_ms=min(self._queue.wait_ms(verdict.rank), 24 * 3600 * 1000),
            picture_ms=min(round(seconds * 1000), 24 * 3600 * 1000),
            seal_key=self._seal_key.public,
            head_seq=head.seq,
            head_id=head.id,
            known_seq=self._ledger.known(signed.author).seq,
            expires_ms=self._now_ms() + BID_LIFETIME_MS,
        )

    # -- awards

    async def _awarded(self, channel: Channel) -> None:
        with trio.fail_after(AWARD_S):
            wire = await channel.receive()
        if wire is None:
            return
        award = unsign(wire, Award)
        if award.peer != channel.peer:
            raise Malformed(f"{Award.TAG}: signed by another peer than the one that sent it")
        accepted = await self._accept(award)
        if isinstance(accepted, No):
            self.tally.refusals += 1
            no = Refusal(award.message.net, award.message.offer_id, accepted.reason, accepted.limit)
            await channel.send(sign(self._identity, no).wire, last=True)
            return
        agreed, order, verdict = accepted
        seconds = order_s(self._engine, order)
        reserved = self._ledger.standings.reserved(agreed.payer, agreed.mkudos * agreed.count)
        with self._queue.accepted(verdict.rank, agreed.count, seconds) as ticket, reserved, self._holding_inputs(agreed):
            await self._deliver(channel, agreed, order, ticket)

    @contextmanager
    def _holding_inputs(self, agreed: Terms) -> Iterator[None]:
        self._input_bytes += agreed.input_bytes
        try:
            yield
        finally:
            self._input_bytes -= agreed.input_bytes

    async def _accept(self, award: Signed[Award]) -> tuple[Terms, Order, Verdict] | No:
        standing = self._bids.get(award.message.bid_id)
        if standing is None or standing.offer.author != award.author:
            return No("not_mine")
        del self._bids[award.message.bid_id]
        if standing.bid.message.expires_ms <= self._now_ms():
            return No("expired")
        try:
            await self._learn_chain(award)
        except (Malformed, LedgerError, NetError) as error:
            log.info("an award's chain was refused: %s", error)
            return No("bad_chain")
        # from here on nothing is awaited until the job counts as taken
        verdict = self._admission.verdict(award.author)
        room = self._admission.room(award.author, verdict)
        if award.message.count > room:
            return No("full", room)
        info = self._ledger.hold_info(award.message.hold_id)
        if (
            info is None
            or info.payer != award.author
            or info.state != "open"
            or info.expires_ms <= self._now_ms()
            or info.hold_id in self._holds
        ):
            return No("bad_hold")
        if info.amount > self.policy.max_hold_mkudos:
            return No("bad_hold", self.policy.max_hold_mkudos)
        if not verdict.serve:
            return No("standing", self.policy.max_debt_mkudos)
        if ruled := self._overseer.no(verdict):
            return ruled
        try:
            hold = decode_entry(self._ledger.entries(award.author, info.seq, info.seq)[0], verify=False)
            order = unseal(award.message.sealed, self._seal_key, standing.offer.id, standing.bid.id)
            agreed = terms(standing.offer, standing.bid, award, hold, order)
        except Malformed as error:
            log.info("an award was refused: %s", error)
            return No("bad_offer")
        if not names_what_it_needs(order, self._own_advert().adapters):
            return No("bad_offer")
        if self._input_bytes + agreed.input_bytes > MAX_INPUT_MIB * 2**20:
            return No("full")
        if ruled := self._overseer.no_order(order, verdict):
            return ruled
        self._holds[info.hold_id] = info.expires_ms
        self._admission.admit(award.author, verdict, agreed.count)
        return agreed, order, verdict

    async def _learn_chain(self, award: Signed[Award]) -> None:
        """The requester's chain up to the HOLD, from the award or, if it is longer, from the requester itself."""
        try:
            await self._archivist.take(award.author, award.message.chain)
        except Gap as gap:
            log.debug("an award's chain has a gap: %s", gap)
        if self._ledger.hold_info(award.message.hold_id) is None:
            with trio.move_on_after(AWARD_S):
                await self._archivist.pull(PeerId(award.peer), award.author, dealing=True)

    async def _deliver(self, channel: Channel, agreed: Terms, order: Order, ticket: Ticket) -> None:
        side, turn = WorkerSide(agreed), partial(self._queue.turn, ticket)
        receipt: bytes | None = None
        try:
            delivery = Delivery(channel, side, order, self._engine, turn, self._identity, self._ledger.keep_due)
            with self._overseer.job(delivery.withdraw):
                receipt = await delivery.run()
        except EngineError as error:
            self.tally.failed += 1
            log.warning("a job failed (%s): %s", error.reason, error)
        finally:
            self.tally.jobs += 1
            self.tally.pictures += len(side.pictures)
            self.tally.unpaid += side.owed_mkudos > side.paid_mkudos
            with trio.CancelScope(shield=True):
                await self._collector.collect(side, receipt)
