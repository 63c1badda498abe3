"""The bidder: hears offers, and bids on those that its worker would do.

A bid is a promise of price and an estimate of time, not a reservation: an award may still be refused as full, and the requester
then turns to the next. Bids are of this run of the node alone, and each is taken once, so a replayed award finds nothing.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import trio

from meshgen.engine.port import Engine
from meshgen.engine.several import lane_of
from meshgen.identity import Identity
from meshgen.ledger.ledger import Ledger
from meshgen.ledger.standing import Verdict
from meshgen.net.port import Channel, Gossip, Net, NetError, PeerId
from meshgen.peers.admission import Admission
from meshgen.peers.market import offer_topic
from meshgen.peers.matching import No, find_model, refusal
from meshgen.peers.orders import result_s
from meshgen.peers.overseer import Overseer
from meshgen.peers.queue import Queue
from meshgen.peers.tally import Tally
from meshgen.peers.tariff import offer_mkudos, scaled
from meshgen.protocols.advert import Advert
from meshgen.protocols.codec import Malformed
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.offer import (
    BID_PROTOCOL,
    MAX_OFFER_LIFETIME_MS,
    OFFER_PROTOCOL,
    Award,
    Bid,
    Cancel,
    Offer,
    Refusal,
    drawn,
)
from meshgen.protocols.record import Record
from meshgen.protocols.sealing import SealKey

log = logging.getLogger(__name__)

BID_LIFETIME_MS = 30_000
REACH_S = 10.0
"""A requester that was heard by gossip is given up if it can't be told the answer in this time."""
MAX_BIDS = 2048
FAMILIES_S = 10.0
MAX_ANSWERING = 64
"""Gossiped offers answered at the same time; more are dropped, their requesters offer again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A bid that was given, waiting for its award."""

    offer: Signed[Offer]
    bid: Signed[Bid]


class Bidder:
    """``own_advert`` describes this peer as it is now; what it says there is what it holds offers against."""

    def __init__(
        self,
        net: Net,
        identity: Identity,
        ledger: Ledger,
        engine: Engine,
        queue: Queue,
        admission: Admission,
        now_ms: Callable[[], int],
        own_advert: Callable[[], Advert],
        overseer: Overseer,
        tally: Tally,
    ) -> None:
        self._net = net
        self._identity = identity
        self._ledger = ledger
        self._engine = engine
        self._queue = queue
        self._admission = admission
        self._now_ms = now_ms
        self._own_advert = own_advert
        self._overseer = overseer
        self._tally = tally
        self.seal_key = SealKey.generate()
        """What its bids ask orders to be sealed to."""
        self._bids: OrderedDict[bytes, Standing] = OrderedDict()  # by bid id
        self._answers: OrderedDict[bytes, Signed[Bid]] = OrderedDict()  # by offer id: one offer, one bid, both ways
        self._answering = trio.CapacityLimiter(MAX_ANSWERING)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._net.serve(OFFER_PROTOCOL, self._asked)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._follow_families, nursery)
            task_status.started()

    def take(self, award: Signed[Award]) -> Standing | No:
        """The bid that an award is for, which is struck out, whatever becomes of the award."""
        standing = self._bids.get(award.message.bid_id)
        if standing is None or standing.offer.author != award.author:
            return No("not_mine")
        del self._bids[award.message.bid_id]
        return standing if standing.bid.message.expires_ms > self._now_ms() else No("expired")

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

    async def _hear_family(
        self, family: str, nursery: trio.Nursery, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        topic = offer_topic(self._own_advert().net, family)
        async with self._net.subscribe(topic, self._is_valid) as heard:
            task_status.started()
            async for gossip in heard:
                if self._answering.available_tokens:
                    nursery.start_soon(self._answer_gossip, gossip)

    def _is_valid(self, sender: PeerId, data: bytes) -> bool | None:
        """For the gossip layer: what is forged, stale or of another mesh goes no further. Stale may be the clock's fault."""
        try:
            signed = unsign(data, Offer)
        except Malformed:
            return False
        offer, now = signed.message, self._now_ms()
        if signed.peer != sender or offer.net != self._ledger.net:
            return False
        return True if now < offer.expires_ms <= now + MAX_OFFER_LIFETIME_MS else None

    async def _answer_gossip(self, gossip: Gossip) -> None:
        async with self._answering:
            signed = unsign(gossip.data, Offer)
            self._overseer.heard(signed)
            if signed.id in self._answers or not self._is_asked(signed):
                return  # answered on the direct way, or not this worker's business
            answer = self.consider(signed)
            try:
                with trio.move_on_after(REACH_S):
                    await self._reach(signed)
                    async with self._net.open(gossip.sender, BID_PROTOCOL) as channel:
                        await channel.send(answer.wire, last=True)
            except NetError as error:
                log.info("a requester can't be reached: %s", error)

    def _is_asked(self, offer: Signed[Offer]) -> bool:
        """It knows the model, and is of those that are to answer."""
        if find_model(self._own_advert().models, offer.message.model, b"") is None:
            return False
        return drawn(offer.id, self._identity.public_key, offer.message.sample)

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
            self._tally.refusals += 1
            return sign(self._identity, Refusal(offer.message.net, offer.id, judged.reason, judged.limit))
        bid = sign(self._identity, self._bid(offer, *judged))
        self._answers[offer.id] = bid
        self._bids[bid.id] = Standing(offer, bid)
        while len(self._answers) > MAX_BIDS:
            self._answers.popitem(last=False)
        while len(self._bids) > MAX_BIDS:
            self._bids.popitem(last=False)
        self._tally.bids += 1
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
            return No(verdict.reason, self._admission.policy.max_debt_mkudos if verdict.reason == "standing" else 0)
        room = self._admission.room(offer.author, verdict)
        return (verdict, room) if room else No("full", self._admission.policy.max_queue)

    def _price(self, offer: Offer) -> int:
        model = find_model(self._own_advert().models, offer.model, offer.digest)
        return scaled(offer_mkudos(offer, self._admission.policy.tariff, model), self._admission.policy.price_permille)

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
            start_ms=min(self._queue.wait_ms(verdict.rank, lane_of(self._engine, offer.model)), 24 * 3600 * 1000),
            picture_ms=min(round(seconds * 1000), 24 * 3600 * 1000),
            seal_key=self.seal_key.public,
            head_seq=head.seq,
            head_id=head.id,
            known_seq=self._ledger.known(signed.author).seq,
            expires_ms=self._now_ms() + BID_LIFETIME_MS,
        )
