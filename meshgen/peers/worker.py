"""The worker: does what it is awarded, once it has seen that offer, bid, hold and order belong together and are paid for.

Its :class:`Bidder` hears the offers and makes the bids; an award takes one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import trio

from meshgen.engine.port import Engine, EngineError
from meshgen.engine.several import lane_of
from meshgen.identity import Identity
from meshgen.ledger.errors import Gap, LedgerError
from meshgen.ledger.ledger import HoldInfo, Ledger
from meshgen.ledger.standing import Verdict
from meshgen.net.port import Channel, Net, NetError, PeerId
from meshgen.peers.admission import Admission, WorkerPolicy
from meshgen.peers.archivist import Archivist
from meshgen.peers.bidder import Bidder, Standing
from meshgen.peers.collector import Collector
from meshgen.peers.delivery import Delivery
from meshgen.peers.matching import No
from meshgen.peers.orders import names_what_it_needs, order_s
from meshgen.peers.overseer import Overseer
from meshgen.peers.queue import Queue, Ticket
from meshgen.peers.tally import Tally
from meshgen.peers.trouble import level_of
from meshgen.protocols.advert import Advert
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import decode_entry
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.job_sides import WorkerSide
from meshgen.protocols.job_terms import Terms, terms
from meshgen.protocols.offer import Award, Refusal
from meshgen.protocols.order import Order
from meshgen.protocols.sealing import unseal

log = logging.getLogger(__name__)

AWARD_S = 10.0
"""A channel that was opened for a job brings its award in this time."""
FORGET_S = 60.0
MAX_INPUT_MIB = 256
"""Of all accepted jobs' pictures together; one whose pictures are beyond that is refused as full."""


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
        overseer.availability.fault = ledger.fault
        self._input_bytes = 0  # of the pictures that came, or are to come, with jobs that are not over
        self._holds: dict[bytes, int] = {}  # those that pay for a job already, and when they expire
        self._queue = queue
        self._admission = Admission(ledger, queue, policy)
        self.tally = Tally()
        self.current: list[Delivery] = []
        """Jobs that were accepted and are not over, oldest first."""
        self.bidder = Bidder(net, identity, ledger, engine, queue, self._admission, now_ms, own_advert, overseer, self.tally)

    @property
    def policy(self) -> WorkerPolicy:
        return self._admission.policy

    @policy.setter
    def policy(self, policy: WorkerPolicy) -> None:
        self._admission.policy = policy

    def heed(self, avoids: Callable[[bytes], bool]) -> None:
        """Serve nobody from now on whom this is true of, friends and the own account excepted."""
        self._admission.avoids = avoids

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
        self._net.serve(JOB_PROTOCOL, self._awarded)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collector.run)
            nursery.start_soon(self._forget_holds)
            await nursery.start(self.bidder.run)
            task_status.started()

    async def _forget_holds(self) -> None:
        while True:
            await trio.sleep(FORGET_S)
            now = self._now_ms()
            self._holds = {hold_id: expires_ms for hold_id, expires_ms in self._holds.items() if expires_ms > now}

    # -- is it to be done

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
        accepted_job = self._queue.accepted(verdict.rank, agreed.count, seconds, lane_of(self._engine, order.model))
        with accepted_job as ticket, reserved, self._holding_inputs(agreed):
            await self._deliver(channel, agreed, order, ticket)

    @contextmanager
    def _holding_inputs(self, agreed: Terms) -> Iterator[None]:
        self._input_bytes += agreed.input_bytes
        try:
            yield
        finally:
            self._input_bytes -= agreed.input_bytes

    async def _accept(self, award: Signed[Award]) -> tuple[Terms, Order, Verdict] | No:
        standing = self.bidder.take(award)
        if isinstance(standing, No):
            return standing
        try:
            await self._learn_chain(award)
        except (Malformed, LedgerError, NetError) as error:
            log.log(level_of(error), "an award's chain was refused: %s", error)
            return No("bad_chain")
        # from here on nothing is awaited until the job counts as taken
        verdict = self._admission.verdict(award.author)
        room = self._admission.room(award.author, verdict)
        if award.message.count > room:
            return No("full", room)
        hold = self._hold(award)
        if isinstance(hold, No):
            return hold
        if not verdict.serve:
            return No(verdict.reason, self.policy.max_debt_mkudos if verdict.reason == "standing" else 0)
        opened = self._overseer.no(verdict) or self._open(standing, award, hold)
        if isinstance(opened, No):
            return opened
        agreed, order = opened
        if no := self._no_order(agreed, order, verdict):
            return no
        self._holds[hold.hold_id] = hold.expires_ms
        self._admission.admit(award.author, verdict, agreed.count)
        return agreed, order, verdict

    def _hold(self, award: Signed[Award]) -> HoldInfo | No:
        """What pays for it: open, the requester's own, no other job's, and no more than the mesh allows."""
        info = self._ledger.hold_info(award.message.hold_id)
        if info is None or info.payer != award.author or info.state != "open" or info.expires_ms <= self._now_ms():
            return No("bad_hold")
        if info.hold_id in self._holds:
            return No("bad_hold")
        most = self.policy.max_hold_mkudos
        return No("bad_hold", most) if info.amount > most else info

    def _open(self, standing: Standing, award: Signed[Award], info: HoldInfo) -> tuple[Terms, Order] | No:
        """The order, once it is seen to be what was offered and bid for, and what is paid for."""
        try:
            hold = decode_entry(self._ledger.entries(award.author, info.seq, info.seq)[0], verify=False)
            order = unseal(award.message.sealed, self.bidder.seal_key, standing.offer.id, standing.bid.id)
            agreed = terms(standing.offer, standing.bid, award, hold, order)
        except Malformed as error:
            log.info("an award was refused: %s", error)
            return No("bad_offer")
        return (agreed, order) if names_what_it_needs(order, self._own_advert().adapters) else No("bad_offer")

    def _no_order(self, agreed: Terms, order: Order, verdict: Verdict) -> No | None:
        """Whether there is room for what comes with it, and the owner's rules for what it says."""
        if self._input_bytes + agreed.input_bytes > MAX_INPUT_MIB * 2**20:
            return No("full")
        return self._overseer.no_order(order, verdict)

    async def _learn_chain(self, award: Signed[Award]) -> None:
        """The requester's chain up to the HOLD, from the award or, if it is longer, from the requester itself."""
        try:
            await self._archivist.take(award.author, award.message.chain)
        except Gap as gap:
            log.debug("an award's chain has a gap: %s", gap)
        if self._ledger.hold_info(award.message.hold_id) is None:
            with trio.move_on_after(AWARD_S):
                await self._archivist.pull(PeerId(award.peer), award.author, dealing=True)

    # -- doing it

    async def _deliver(self, channel: Channel, agreed: Terms, order: Order, ticket: Ticket) -> None:
        side, turn = WorkerSide(agreed), partial(self._queue.turn, ticket)
        receipt: bytes | None = None
        delivery = Delivery(channel, side, order, self._engine, turn, self._identity, self._ledger.keep_due)
        self.current.append(delivery)
        try:
            with self._overseer.job(delivery.withdraw):
                receipt = await delivery.run()
        except EngineError as error:
            self.tally.failed += 1
            log.warning("a job failed (%s): %s", error.reason, error)
        finally:
            self.current.remove(delivery)
            self.tally.jobs += 1
            self.tally.pictures += len(side.pictures)
            self.tally.engine_s += delivery.engine_s
            self.tally.unpaid += side.owed_mkudos > side.paid_mkudos
            with trio.CancelScope(shield=True):
                await self._collector.collect(side, receipt)
