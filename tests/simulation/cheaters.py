"""Peers that cheat, each in its own way, for as long as they are let."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import trio

from meshgen.net.guard import single_errors
from meshgen.net.port import Channel, NetError, PeerId
from meshgen.peers.directory import table_rules
from meshgen.peers.peer import Peer
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import MAX_HOLD_MS, PROTOCOL, Bill, Entry, Hold, RangeReply, RangeRequest, Receipt, Release, job_id
from meshgen.protocols.envelope import Signed
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.job import Settled
from meshgen.protocols.job_sides import ResultArrived
from meshgen.protocols.offer import Bid
from meshgen.testing import NET, Deal, Outsider, VirtualMesh, identity, now_ms
from meshgen.testing.outsiders import extend

GIVE_UP_S = 30.0
BETWEEN_S = 4.0
PRESENCE_S = 10.0
WASHED_MKUDOS = 2**40
SHORT_HOLD_MS = 20_000
LOST = 2


@dataclass
class Cheater(Outsider):
    """It is there, shows its head and answers for its chain, ``answers`` permitting. ``cheat`` is what it does over and over."""

    mesh: VirtualMesh | None = None
    partner: Cheater | None = None
    answers: Callable[[PeerId], list[Entry]] | None = None
    forks: set[int] = field(default_factory=set)
    """The places at which it has signed two entries."""

    async def live(self) -> None:
        self.net.serve(PROTOCOL, self._answer)
        while True:
            with single_errors():
                await self._show_head()
            await trio.sleep(PRESENCE_S)

    async def _show_head(self) -> None:
        head = self.chain[-1]
        await self.show_itself(roles=("requester",), models=(), head_seq=head.seq, head_id=head.id)

    async def _answer(self, channel: Channel) -> None:
        """Other questions than for entries it does not understand."""
        question = RangeRequest.decode(await channel.receive() or b"")
        if question.author != self.who.public_key:
            await channel.send(RangeReply(NET, question.author, 0, ()).encode(), last=True)
            return
        chain = self.answers(channel.peer) if self.answers else self.chain
        wires = tuple(entry.wire for entry in chain[question.from_seq - 1 : question.to_seq])
        await channel.send(RangeReply(NET, question.author, len(chain), wires).encode(), last=True)

    async def keep_cheating(self) -> None:
        while True:
            # refused, or cut off: there are others to cheat
            with trio.move_on_after(GIVE_UP_S), suppress(NetError, Malformed, AssertionError):
                await self.cheat()
            await trio.sleep(BETWEEN_S)

    async def cheat(self) -> None:
        raise NotImplementedError

    def some_worker(self) -> Peer:
        assert self.mesh is not None
        return self.mesh.nodes[self.mesh.rng.choice([name for name in sorted(self.mesh.nodes) if name.startswith("worker")])]

    async def take(self, worker: Peer, deal: Deal, vouchers: int, *, settle: bool = True, leave: bool = True) -> bool:
        """Go through with a deal: take its pictures, sign so many vouchers, then ``leave``, or wait for more; in the end sign a
        RECEIPT, or none. True: all was delivered."""
        side = deal.side()
        async with self.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
            await channel.send(deal.award.wire)
            while not side.ended:
                event = await self.receive(channel, side)
                if isinstance(event, ResultArrived):
                    if len(side.pictures) <= vouchers:
                        await channel.send(side.pay(self.who))
                    elif leave:
                        return False
            if settle and side.pictures:
                await channel.send(side.settle(self.append(side.receipt()).wire), last=True)
        return bool(side.pictures)


class Refuser(Cheater):
    """Takes three pictures and signs for none, one, two or all of them, never gives a RECEIPT, and takes its HOLD back."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._holds: list[Entry] = []

    async def cheat(self) -> None:
        while self._holds and cast(Hold, self._holds[0].content).expires_ms <= now_ms():
            self.append(Release(self._holds.pop(0).id, LOST, b""))
        worker, offer = self.some_worker(), self.offer()
        bid = await self.ask(worker, offer)
        assert isinstance(bid.message, Bid)
        bid = cast(Signed[Bid], bid)
        self._holds.append(self.append(self.hold(offer, bid, 3, expires_ms=now_ms() + SHORT_HOLD_MS)))
        assert self.mesh is not None
        deal = self.deal_on(offer, bid, 3, self._holds[-1])
        await self.take(worker, deal, self.mesh.rng.randrange(4), settle=False, leave=self.mesh.rng.random() < 0.5)


class Withholder(Cheater):
    """Pays as it should, but shows nobody any entry that it is not made to show: only its GENESIS is to be had."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.answers = lambda _peer: self.chain[:1]

    async def cheat(self) -> None:
        worker = self.some_worker()
        deal = await self.deal(worker, 2)
        assert self.mesh is not None
        if self.mesh.rng.random() < 0.5:  # without what comes before the HOLD
            deal.award = self.award(deal.offer, deal.bid, deal.hold, deal.order, chain=(deal.hold.wire,))
        await self.take(worker, deal, 2)


class Equivocator(Cheater):
    """Two workers, two histories: each is shown the one in which the other's HOLD does not stand."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._branches = [list(self.chain), list(self.chain)]
        self._shown: dict[PeerId, int] = {}
        self.answers = lambda peer: self._branches[self._branch_for(peer)]

    def _branch_for(self, peer: PeerId) -> int:
        assert self.mesh is not None
        return self._shown.setdefault(peer, self.mesh.rng.randrange(2))

    async def cheat(self) -> None:
        for number in range(2):
            worker = self.some_worker()
            self.chain = self._branches[self._branch_for(worker.net.peer_id)]
            deal = await self.deal(worker, 2)
            self._note_forks()
            with trio.move_on_after(GIVE_UP_S / 2):
                await self.take(worker, deal, vouchers=2, settle=bool(number))

    def _note_forks(self) -> None:
        one, other = self._branches
        self.forks |= {a.seq for a, b in zip(one, other, strict=False) if a.id != b.id}


class Replayer(Cheater):
    """Pays once, and then with what was paid with before: the award, the voucher, the RECEIPT."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._paid: Deal | None = None
        self._voucher = b""
        self.answers = lambda _peer: self.chain[:2] * 3  # old entries over and over

    async def cheat(self) -> None:
        worker = self.some_worker()
        if self._paid is None:
            deal = await self.deal(worker, 1)
            if await self._pay(worker, deal):
                self._paid = deal
            return
        await self.send_award(worker, self._paid.award)
        deal = await self.deal(worker, 2)
        await self.send_award(worker, self.award(self._paid.offer, deal.bid, self._paid.hold, self._paid.order))
        await self._pay_again(worker, deal)

    async def _pay(self, worker: Peer, deal: Deal) -> bool:
        side = deal.side()
        async with self.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
            await channel.send(deal.award.wire)
            while not side.ended:
                if isinstance(await self.receive(channel, side), ResultArrived):
                    self._voucher = side.pay(self.who)
                    await channel.send(self._voucher)
            await channel.send(side.settle(self.append(side.receipt()).wire), last=True)
        return True

    async def _pay_again(self, worker: Peer, deal: Deal) -> None:
        side = deal.side()
        async with self.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
            await channel.send(deal.award.wire)
            while not isinstance(await self.receive(channel, side), ResultArrived):
                pass
            await channel.send(self._voucher)
            await channel.send(Settled(self.chain[2].wire).encode(), last=True)
            await channel.receive()


class WashTrader(Cheater):
    """Two of them owe each other what nobody ever did, and ask the others for work on the strength of it.

    They fork as they wash, so that each branch has its own fortune.
    """

    async def cheat(self) -> None:
        assert self.partner is not None
        assert self.mesh is not None
        self._wash(self.partner)
        self.partner._wash(self)
        if self.mesh.rng.random() < 0.2:
            self._wash_twice(self.partner)
        worker = self.some_worker()
        await self.take(worker, await self.deal(worker, 2), vouchers=1)

    def _wash(self, payee: Cheater) -> None:
        head = payee.chain[-1]
        until = now_ms() + MAX_HOLD_MS // 2
        hold = self.append(Hold(job_id(os.urandom(32), bytes(32)), payee.who.public_key, WASHED_MKUDOS, until, head.seq, head.id))
        job = cast(Hold, hold.content).job
        plain = Bill(NET, job, hold.id, self.who.public_key, payee.who.public_key, WASHED_MKUDOS, bytes(32))
        bill = plain.sign(payee.who)
        self.append(Receipt(job, hold.id, payee.who.public_key, WASHED_MKUDOS, bytes(32), 64, bill.sig))

    def _wash_twice(self, payee: Cheater) -> None:
        """The last RECEIPT once more, for another result: half of the mesh is shown this one."""
        other = list(self.chain)
        receipt = cast(Receipt, other.pop().content)
        bill = Bill(NET, receipt.job, receipt.hold_id, self.who.public_key, receipt.payee, 1, bytes(32)).sign(payee.who)
        extend(other, self.who, Receipt(receipt.job, receipt.hold_id, receipt.payee, 1, bytes(32), 1, bill.sig))
        self.forks.add(len(other))
        even, mine = {}, self.chain

        def answer(peer: PeerId) -> list[Entry]:
            return mine if even.setdefault(peer, len(even) % 2) else other

        self.answers = answer


CAST: tuple[tuple[str, type[Cheater]], ...] = (
    ("equivocator", Equivocator),
    ("withholder", Withholder),
    ("replayer", Replayer),
    ("refuser", Refuser),
    ("wash 1", WashTrader),
    ("wash 2", WashTrader),
)
"""Six of thirty: 20 %."""


@asynccontextmanager
async def cheaters(mesh: VirtualMesh) -> AsyncIterator[list[Cheater]]:
    """All of them, cheating until the block is left; then they only answer, as they do."""
    async with trio.open_nursery() as nursery:
        made = [await nursery.start(_join, mesh, name, kind) for name, kind in CAST]
        made[-1].partner, made[-2].partner = made[-2], made[-1]
        yield made
        nursery.cancel_scope.cancel()


async def _join(
    mesh: VirtualMesh, name: str, kind: type[Cheater], task_status: trio.TaskStatus[Cheater] = trio.TASK_STATUS_IGNORED
) -> None:
    async with mesh.net.join(identity(name), table=table_rules(now_ms)) as net, trio.open_nursery() as nursery:
        cheater = kind(net, identity(name), mesh=mesh)
        nursery.start_soon(cheater.live)
        task_status.started(cheater)
        await trio.sleep_forever()
