"""Peers that speak the protocols by hand, to see what happens when they speak them wrongly.

An :class:`Outsider` is a bare identity on the net with a credit chain of its own; it asks and awards like a requester, step by
step. A :class:`FalseWorker` advertises, bids better than anybody, and then plays what it was given to play.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from meshgen.engine.fake import fake_model
from meshgen.identity import Identity
from meshgen.net.memory import MemoryNet
from meshgen.net.port import Channel, PeerId, request
from meshgen.peers.directory import table_rules
from meshgen.peers.market import offer_topic
from meshgen.peers.peer import Peer
from meshgen.protocols.advert import Advert, ModelAdvert
from meshgen.protocols.credit import (
    MAX_RANGE_ENTRIES,
    Content,
    Entry,
    Genesis,
    Hold,
    RangeReply,
    RangeRequest,
    decode_entry,
    job_id,
    make_entry,
)
from meshgen.protocols.credit import PROTOCOL as LOG_PROTOCOL
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.job_sides import RequesterSide, WorkerSide
from meshgen.protocols.job_terms import terms
from meshgen.protocols.offer import OFFER_PROTOCOL, Award, Bid, Offer, Refusal
from meshgen.protocols.order import WorkOrder
from meshgen.protocols.sealing import SealKey, seal, unseal
from meshgen.testing.mesh import NET, VirtualMesh, identity, now_ms

MODEL = fake_model()
SIDE = 64
STEPS = 4
PROMPT = "what nobody else may read"


def make_chain(who: Identity, *contents: Content) -> list[Entry]:
    """A valid chain of one author: its GENESIS, then these."""
    entries: list[Entry] = []
    for content in (Genesis(b"", bytes(32), "outsider"), *contents):
        extend(entries, who, content)
    return entries


def extend(entries: list[Entry], who: Identity, content: Content) -> Entry:
    seq, prev = len(entries) + 1, entries[-1].id if entries else b""
    entries.append(make_entry(who, NET, seq, prev, now_ms(), kind=content.KIND, data=content.data()))
    return entries[-1]


@dataclass
class Deal:
    """One agreement in the making; tests exchange its parts before they are sent."""

    offer: Signed[Offer]
    bid: Signed[Bid]
    hold: Entry
    order: WorkOrder
    award: Signed[Award]

    def side(self) -> RequesterSide:
        return RequesterSide(terms(self.offer, self.bid, self.award, self.hold, self.order))


@dataclass
class Outsider:
    net: MemoryNet
    who: Identity
    chain: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chain = self.chain or make_chain(self.who)

    @property
    def peer_id(self) -> PeerId:
        return self.net.peer_id

    def append(self, content: Content) -> Entry:
        return extend(self.chain, self.who, content)

    # -- as a requester

    def offer(self, **changes: Any) -> Signed[Offer]:
        now = now_ms()
        plain = Offer(
            net=NET,
            nonce=os.urandom(16),
            model=MODEL.name,
            digest=MODEL.digest,
            family=MODEL.family,
            width=SIDE,
            height=SIDE,
            steps=STEPS,
            count=3,
            features=(),
            max_mkudos=100_000,
            created_ms=now,
            expires_ms=now + 60_000,
            addresses=(),
        )
        return sign(self.who, replace(plain, **changes))

    async def ask(self, worker: Peer, offer: Signed[Offer]) -> Signed[Bid | Refusal]:
        """The worker's answer on the direct way."""
        wire = await request(self.net, worker.net.peer_id, OFFER_PROTOCOL, offer.wire)
        return cast(Signed[Bid | Refusal], unsign(wire, Bid, Refusal))

    async def gossip(self, offer: Signed[Offer]) -> None:
        await self.net.publish(offer_topic(NET, MODEL.family), offer.wire)

    async def deal(self, worker: Peer, count: int = 3, **offer: Any) -> Deal:
        """Everything up to an award that is as it should be, not sent yet. The HOLD is in the chain."""
        offered = self.offer(count=count, **offer)
        bid = await self.ask(worker, offered)
        assert isinstance(bid.message, Bid), bid.message
        return self.deal_on(offered, cast(Signed[Bid], bid), count)

    def deal_on(self, offer: Signed[Offer], bid: Signed[Bid], count: int, hold: Entry | None = None) -> Deal:
        hold = hold or self.append(self.hold(offer, bid, count))
        order = self.order(offer, bid, count)
        return Deal(offer, bid, hold, order, self.award(offer, bid, hold, order))

    def hold(self, offer: Signed[Offer], bid: Signed[Bid], count: int, **changes: Any) -> Hold:
        terms = bid.message
        job, amount, expires_ms = job_id(os.urandom(32), offer.id), terms.mkudos * count, now_ms() + 120_000
        return replace(Hold(job, bid.author, amount, expires_ms, terms.head_seq, terms.head_id), **changes)

    def order(self, offer: Signed[Offer], bid: Signed[Bid], count: int, **changes: Any) -> WorkOrder:
        plain = WorkOrder(
            offer_id=offer.id,
            prompt=PROMPT,
            negative_prompt="",
            model=offer.message.model,
            digest=bid.message.digest,
            width=offer.message.width,
            height=offer.message.height,
            steps=offer.message.steps,
            guidance_milli=5000,
            scheduler="",
            seeds=tuple(range(count)),
            preview_every=0,
        )
        return replace(plain, **changes)

    def award(self, offer: Signed[Offer], bid: Signed[Bid], hold: Entry, order: WorkOrder, **changes: Any) -> Signed[Award]:
        chain = tuple(entry.wire for entry in self.chain[bid.message.known_seq :])
        sealed = seal(order, bid.message.seal_key, bid.id)
        plain = Award(NET, offer.id, bid.id, len(order.seeds), hold.id, chain, sealed)
        return sign(self.who, replace(plain, **changes))

    async def send_award(self, worker: Peer, award: Signed[Award]) -> str:
        """The reason of the worker's refusal; "accepted" if there is none."""
        async with self.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
            await channel.send(award.wire)
            answer = await channel.receive()
            assert answer is not None
            if not answer.startswith(b"\x93\xc4"):  # no signed message: the job has begun
                return "accepted"
            return unsign(answer, Refusal).message.reason

    async def receive(self, channel: Channel, side: RequesterSide) -> Any:
        """The next event that is no silence: something came of it."""
        while True:
            message = await channel.receive()
            assert message is not None
            event = side.feed(message)
            if event is not None:
                return event

    # -- as somebody who is there

    def advert(self, **changes: Any) -> Signed[Advert]:
        model = ModelAdvert(MODEL.name, MODEL.digest, MODEL.family, SIDE, MODEL.max_pixels, MODEL.features, 1)
        plain = Advert(
            net=NET,
            seq=now_ms(),
            expires_ms=now_ms() + 90_000,
            alias="outsider",
            agent="by hand",
            roles=("worker",),
            addresses=tuple(self.net.addresses()),
            device_kind="fake",
            device_name="",
            vram_total_mib=0,
            vram_free_mib=0,
            models=(model,),
            max_pixels=2**20,
            max_steps=100,
            max_count=8,
            policies=(),
            price_permille=1000,
            slots=1,
            queued=0,
            head_seq=0,
            head_id=b"",
        )
        return sign(self.who, replace(plain, **changes))

    async def show_itself(self, **changes: Any) -> None:
        await self.net.publish(presence_topic(), self.advert(**changes).wire)


Play = Callable[["FalseWorker", Channel, WorkerSide], Awaitable[None]]


@dataclass
class FalseWorker(Outsider):
    """Bids ``mkudos`` and no time at all for every picture, and ``play`` is what it does with an award."""

    play: Play | None = None
    mkudos: int = 10
    bid_changes: dict[str, Any] = field(default_factory=dict)
    awards: int = 0
    played: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._known: dict[bytes, int] = {}  # how much of each requester's chain it has seen
        self._key = SealKey.generate()
        self._bids: dict[bytes, tuple[Signed[Offer], Signed[Bid]]] = {}

    async def start(self) -> None:
        self.net.serve(OFFER_PROTOCOL, self.answer)
        self.net.serve(JOB_PROTOCOL, self._awarded)
        await self.show_itself()

    async def answer(self, channel: Channel) -> None:
        wire = await channel.receive()
        assert wire is not None
        await channel.send(self.bid(unsign(wire, Offer)).wire)

    def bid(self, offer: Signed[Offer], **changes: Any) -> Signed[Bid]:
        plain = Bid(
            net=NET,
            offer_id=offer.id,
            digest=MODEL.digest,
            count=offer.message.count,
            mkudos=self.mkudos,
            start_ms=0,
            picture_ms=0,
            seal_key=self._key.public,
            head_seq=self.chain[-1].seq,
            head_id=self.chain[-1].id,
            known_seq=self._known.get(offer.author, 0),
            expires_ms=now_ms() + 30_000,
        )
        bid = sign(self.who, replace(plain, **(self.bid_changes | changes)))
        self._bids[bid.id] = offer, bid
        return bid

    async def _awarded(self, channel: Channel) -> None:
        wire = await channel.receive()
        assert wire is not None
        award = unsign(wire, Award)
        self.awards += 1
        offer, bid = self._bids[award.message.bid_id]
        order = unseal(award.message.sealed, self._key, offer.id, bid.id)
        if self.play is not None:
            hold = await self._hold_of(award)
            self.played += 1
            await self.play(self, channel, WorkerSide(terms(offer, bid, award, hold, order)))

    async def _hold_of(self, award: Signed[Award]) -> Entry:
        """It came along, at the end of what this worker had not seen of the chain; unless that was too much, and is pulled."""
        wires: Sequence[bytes] = award.message.chain
        first = self._known.get(award.author, 0) + 1
        while True:
            for entry in map(decode_entry, wires):
                if entry.id == award.message.hold_id:
                    self._known[award.author] = entry.seq
                    return entry
            question = RangeRequest(NET, award.author, first, first + MAX_RANGE_ENTRIES - 1)
            wires = RangeReply.decode(await request(self.net, PeerId(award.peer), LOG_PROTOCOL, question.encode())).entries
            assert wires, "an award is for a HOLD that stands in its author's chain"
            first += len(wires)


def presence_topic() -> str:
    return f"/meshgen/{NET.hex()}/presence"


@asynccontextmanager
async def outsider(mesh: VirtualMesh, name: str = "mallory") -> AsyncIterator[Outsider]:
    async with mesh.net.join(identity(name), table=table_rules(now_ms)) as net:
        yield Outsider(net, identity(name))


@asynccontextmanager
async def false_worker(
    mesh: VirtualMesh, play: Play | None, name: str = "mallory", kind: type[FalseWorker] = FalseWorker, **given: Any
) -> AsyncIterator[FalseWorker]:
    async with mesh.net.join(identity(name), table=table_rules(now_ms)) as net:
        worker = kind(net, identity(name), play=play, **given)
        await worker.start()
        yield worker
