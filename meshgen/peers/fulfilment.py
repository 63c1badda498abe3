"""One job of the requester's, from the first offer to the last picture.

It goes in rounds. Each round offers what is still missing, chooses among the bids, and starts one purchase a chosen worker. A
part that is lost goes back to what is missing, without the worker that lost it, until everything arrived, or nobody is left
who could; what a part that is late has not brought is offered as well.
"""

from __future__ import annotations

import trio

from meshgen.engine import port as drawn
from meshgen.engine.port import Answer, EngineError, EngineEvent, Picture, TextPart
from meshgen.net.guard import single_errors
from meshgen.net.port import PeerId
from meshgen.peers.assignment import Assignment, assign
from meshgen.peers.blame import HARMLESS, UNNEEDED, Blame
from meshgen.peers.inspection import PNG, Inspection, Paid, clean, finish, media_of
from meshgen.peers.job import Finished, Job, Part
from meshgen.peers.line import GAP_S
from meshgen.peers.market import Answers
from meshgen.peers.matching import Choice, No, allocate, explain
from meshgen.peers.means import Means
from meshgen.peers.patience import Patience
from meshgen.peers.purchase import Lost, Purchase
from meshgen.peers.request import RequestError
from meshgen.peers.shares import Share, Shares
from meshgen.protocols.advert import ModelAdvert
from meshgen.protocols.codec import MAX_UINT
from meshgen.protocols.envelope import Signed
from meshgen.protocols.job import Piece, Preview, Progress
from meshgen.protocols.job_sides import RequesterEvent, ResultArrived
from meshgen.protocols.offer import Bid, Offer
from meshgen.protocols.order import Order

OWN_WINDOW_S = 0.25
"""Whose own device can draw waits no longer for the mesh to offer help."""
LASTING = frozenset(
    ("unknown_model", "too_large", "too_many_steps", "unsupported", "price", "policy", "standing", "failed", "bad_input")
)
"""Refusals that waiting does not mend."""
ASKED_WRONGLY = frozenset(("bad_input", "unsupported", "unknown_model", "bad_model"))
"""What an engine says of work that it will not do better another time."""


class Fulfilment:
    """``background`` owns what may outlive the job: questions whose answers nobody waits for any more."""

    def __init__(self, means: Means, job: Job, background: trio.Nursery) -> None:
        self._means = means
        self._job = job
        self._background = background
        self._policy = means.policy
        self._patience_s = means.policy.patience_s if job.request.patience_s is None else job.request.patience_s
        self._shares = Shares(job.request.count)
        self._wake = trio.Event()
        self._blame = Blame(means.market.trust)
        self._pause = False
        self._inspection = Inspection()
        self._why = ""
        self._own_no: No | None = None  # why the own device would not do it...
        self._own_fault = ""  # ...or what its engine said when it tried
        self._max_mkudos = means.max_mkudos(job.request)  # for the whole job: a new charter does not raise it
        self._max_hold_mkudos = means.charter().limits.max_hold_mkudos
        self._assignment: Assignment
        self._patience: Patience

    async def run(self) -> str:
        """Until nothing is missing; else why something is."""
        job = self._job
        model = await self._choose_model()
        if model is None:
            return explain(job.model, 0, ())
        try:
            self._assignment = assign(job.request, model, self._means.known_adapter)
        except RequestError as error:
            return str(error)
        job.model, job.width, job.height = model.name, self._assignment.width, self._assignment.height
        async with trio.open_nursery() as nursery:
            await self._rounds(nursery)
        return self._why

    async def _rounds(self, nursery: trio.Nursery) -> None:
        self._patience = patience = Patience(self._means.net, self._patience_s)
        job, shares = self._job, self._shares
        while shares.missing or shares.running:
            for share in shares.find_late(trio.current_time()):
                self._means.market.trust.silent(PeerId(share.part.worker))  # before the next stranger is chosen in its place
                job.note(f"{share.part.worker_alias} is late; what it has not brought is offered again, to others")
            if not shares.missing:
                with trio.move_on_at(shares.next_late_s()):
                    await self._wake.wait()
                continue
            if self._pause:
                self._pause = False
                await trio.sleep(GAP_S)
                continue  # who was late may have brought all that was missing
            started, hopeless = await self._round(nursery)
            is_over = patience.is_over()
            if started:
                patience.renew()
            elif not shares.running and ((hopeless and job.request.patience_s is None) or is_over):
                return
            if shares.missing:
                await self._means.market.line.wait(self._wake)
                self._wake = trio.Event()

    # -- who could do it

    async def _choose_model(self) -> ModelAdvert | None:
        """The model asked for, the default, or the one that most workers have; looks further if nobody known has it."""
        job = self._job
        wanted, families = self._means.wanted(job.request)
        job.model = wanted
        found = self._means.known_model(wanted, families, job.request.whom)
        if found is None:
            job.note("looking for workers" + (f" with {wanted}" if wanted else ""))
            with trio.move_on_after(self._patience_s):
                async with trio.open_nursery() as nursery:
                    if wanted:
                        nursery.start_soon(self._means.directory.search, wanted)
                    while (found := self._means.known_model(wanted, families, job.request.whom)) is None:
                        await self._means.directory.wait_heard()
                    nursery.cancel_scope.cancel()
        return found

    async def _round(self, nursery: trio.Nursery) -> tuple[bool, bool]:
        """Offer what is missing and start what was won: (did anything start, is waiting in vain)."""
        whom, avoid = self._job.request.whom, dict(self._blame.avoided())
        avoid.pop(self._means.net.peer_id, None)
        avoid |= {PeerId(part.worker): No("late") for part in self._shares.late()}
        avoid |= self._means.advised_against() | self._means.market.crowded() | self._means.kept_out(whom)
        missing = self._shares.missing
        offer = self._means.draft(self._assignment, len(missing), self._max_mkudos)
        own = self._own_choice(offer)
        window_s = OWN_WINDOW_S if own else self._policy.bid_window_s
        answers = await self._means.market.ask(offer, window_s, avoid, self._background, whom.allows)
        crowded = self._means.market.crowded()  # meanwhile
        bids = [bid for peer, bid in answers.bids.items() if peer not in crowded]
        self._means.rng.shuffle(bids)
        choices = [self._choice(bid) for bid in bids] + ([own] if own else [])
        given = allocate(choices, len(missing), self._max_mkudos)
        for place, count in enumerate(given):
            if count:
                indices = self._shares.give(count)
                if place < len(bids):
                    self._begin(nursery, answers.offer, bids[place], indices)
                else:
                    own_part = self._new_part(self._means.net.peer_id, "this node", indices, choices[place])
                    nursery.start_soon(self._own_part, self._shares.begin(own_part, trio.current_time()))
        if any(given):
            self._means.market.line.move()
        elif missing:  # else who was late has brought it meanwhile
            self._tell_nobody(answers)
        refusals = self._refusals(answers)
        hopeless = bool(refusals) and not choices and all(no.reason in LASTING for no in refusals)
        return any(given), hopeless

    def _own_choice(self, offer: Offer) -> Choice | None:
        """The own device, unless it failed this job before."""
        own = self._means.own
        if own is None or self._blame.is_out(self._means.net.peer_id):
            return None
        if not self._means.may_do(self._job.request.whom):
            self._own_no = No("not_chosen")
            return None
        found = own.choice(offer)
        self._own_no = found if isinstance(found, No) else None
        return found if isinstance(found, Choice) else None

    def _refusals(self, answers: Answers) -> list[No]:
        """The own device's among them."""
        own = No("failed") if self._own_fault else self._own_no
        return [*answers.refusals.values(), *([own] if own else [])]

    def _choice(self, bid: Signed[Bid]) -> Choice:
        message = bid.message
        trust = self._means.market.trust.of(PeerId(bid.peer))
        count = min(message.count, self._max_hold_mkudos // max(message.mkudos, 1))
        return Choice(count, message.mkudos, message.start_ms, message.picture_ms, trust)

    # -- one part

    def _begin(self, nursery: trio.Nursery, offer: Signed[Offer], bid: Signed[Bid], indices: tuple[int, ...]) -> None:
        terms, worker = bid.message, PeerId(bid.peer)
        part = self._new_part(worker, self._means.directory.alias(worker), indices, terms)
        promised_s = (terms.start_ms + terms.picture_ms * len(indices)) / 1000
        share = self._shares.begin(part, trio.current_time(), promised_s)
        nursery.start_soon(self._part, share, self._purchase(offer, bid, share, promised_s))

    async def _part(self, share: Share, purchase: Purchase) -> None:
        part, market = share.part, self._means.market
        worker, indices = PeerId(part.worker), part.indices
        self._tell_part(part)
        market.outstanding[worker] += len(indices)
        market.parts[worker] += 1
        try:
            with share.scope:
                await purchase.run()
            if share.scope.cancelled_caught:
                raise _outrun(share)
            part.state = "done"
            market.trust.kept(worker)
            self._means.net.thank(worker)
        except Lost as lost:
            part.state, part.why = "lost", str(lost)
            self._mourn(worker, lost)
        finally:
            market.outstanding[worker] -= len(indices)
            market.parts[worker] -= 1
            self._keep(part, purchase)
            self._end(share)

    def _end(self, share: Share) -> None:
        if share.part.state not in ("done", "lost"):
            share.part.state, share.part.why = "lost", "cancelled"
        self._shares.end(share, self._job.results)
        self._tell_part(share.part)
        self._wake.set()
        self._wake = trio.Event()

    def _new_part(self, worker: PeerId, alias: str, indices: tuple[int, ...], terms: Bid | Choice) -> Part:
        now = self._means.now_ms()
        due_ms = now + terms.start_ms + terms.picture_ms * len(indices)
        part = Part(worker, alias, indices, terms.mkudos, ahead_ms=terms.start_ms, due_ms=due_ms, awarded_ms=now)
        self._job.parts.append(part)
        return part

    async def _own_part(self, share: Share) -> None:
        means, job, part = self._means, self._job, share.part
        assert means.own is not None
        self._tell_part(part)
        try:
            with share.scope, single_errors():
                async with means.own.do(self._order(bytes(32), part.indices), self._assignment.inputs) as events:
                    async for event in events:
                        self._take_own(share, event)
            part.state = "lost" if share.scope.cancelled_caught else "done"
        except EngineError as error:
            part.state, part.why = "lost", str(error)
            asked_wrongly = error.reason in ASKED_WRONGLY
            self._blame.failed(means.net.peer_id, for_good=asked_wrongly)
            self._own_fault = f"this node can't do that: {error}" if asked_wrongly else f"this node's own engine failed: {error}"
            job.note(self._own_fault)
        finally:
            self._end(share)

    def _order(self, offer_id: bytes, indices: tuple[int, ...], digest: bytes = b"") -> Order:
        return self._assignment.order(offer_id, digest or self._assignment.model.digest, self._seeds(indices))

    def _take_own(self, share: Share, event: EngineEvent) -> None:
        match event:
            case drawn.Progress(index, step, steps):
                self._tell(share, Progress(index, step, steps))
            case drawn.Preview(index, step, jpeg):
                self._tell(share, Preview(index, step, jpeg))
            case TextPart(index, text):
                if plain := clean(text):
                    self._tell(share, Piece(index, plain))
            case Picture(index, seed, data, seconds) | Answer(index, seed, data, _, seconds):
                if self._shares.bring(share, share.part.indices[index]):
                    self._add(share.part, share.part.indices[index], seed, data, Paid(), seconds)

    def _seeds(self, indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple((self._job.seed + index) % (MAX_UINT + 1) for index in indices)

    def _purchase(self, offer: Signed[Offer], bid: Signed[Bid], share: Share, promised_s: float) -> Purchase:
        means, job, part = self._means, self._job, share.part
        limit_s = min(self._policy.slack_s + self._policy.lateness * promised_s, job.request.timeout_s or self._policy.timeout_s)

        def tell(event: RequesterEvent) -> None:
            self._tell(share, event)

        def check(result: ResultArrived) -> None:
            self._inspection.check(result.data, self._assignment)
            if not self._shares.bring(share, part.indices[result.index]):
                raise _outrun(share)

        return Purchase(
            net=means.net,
            identity=means.identity,
            ledger=means.ledger,
            offer=offer,
            bid=bid,
            order=self._order(offer.id, part.indices, bid.message.digest),
            inputs=self._assignment.inputs,
            limit_s=limit_s,
            now_ms=means.now_ms,
            check=check,
            tell=tell,
        )

    def _mourn(self, worker: PeerId, lost: Lost) -> None:
        self._blame.lost(worker, lost)
        if lost.reason == "gone":  # it, or this node, may only have moved: it is asked again when it is heard of again
            self._means.directory.lost(worker)
            self._patience.renew()
        elif lost.reason in HARMLESS:
            self._pause = True
        again = "" if lost.reason in ("late", UNNEEDED) else "; its part is offered again"
        self._job.note(f"{self._means.directory.alias(worker)} {lost}{again}")

    def _keep(self, part: Part, purchase: Purchase) -> None:
        """What arrived and is signed for becomes the person's."""
        if purchase.receipt is None:
            return
        paid = Paid(purchase.receipt.id, purchase.openings)
        for arrived in purchase.arrived:
            self._add(part, part.indices[arrived.index], arrived.seed, arrived.data, paid, arrived.compute_ms / 1000)

    def _add(self, part: Part, index: int, seed: int, data: bytes, paid: Paid, seconds: float) -> None:
        media = media_of(data, self._job.request)
        tally, whose = self._means.market.tally, "own" if part.worker == self._means.net.peer_id else "mesh"
        tally.results += 1
        tally.generation[whose].observe(seconds)
        self._job.results[index] = Finished(
            index=index,
            seed=seed,
            worker=part.worker,
            worker_alias=part.worker_alias,
            data=finish(data, seed, self._job, self._assignment, part, paid) if media == PNG else data,
            media=media,
            mkudos=part.mkudos,
            receipt=paid.receipt.hex(),
            seconds=seconds,
        )
        shown = {"index": index, "seed": seed, "worker": part.worker, "alias": part.worker_alias, "mkudos": part.mkudos}
        self._job.emit("result", media=media, **shown)

    # -- telling

    def _tell_nobody(self, answers: Answers) -> None:
        others = len(answers.refusals.keys() | set(answers.asked))
        if self._own_fault and not others:
            why = self._own_fault
        else:
            refusals = self._refusals(answers)
            why = explain(self._assignment.model.name, others + len(refusals) - len(answers.refusals), refusals)
        if why != self._why:
            self._why = why
            self._job.note(why)

    def _tell_part(self, part: Part) -> None:
        """Of a part that is lost those results alone that nobody does now."""
        self._job.emit(
            "part",
            worker=part.worker,
            alias=part.worker_alias,
            indices=[index for index in part.indices if part.state != "lost" or self._shares.doing(index) is None],
            state=part.state,
            mkudos=part.mkudos,
            why=part.why,
        )

    def _tell(self, share: Share, event: RequesterEvent) -> None:
        job, part = self._job, share.part
        if job.state == "offering":
            job.enter("running")
        if part.state == "awarded":
            part.state = "running"
            self._means.market.tally.dispatch.observe((self._means.now_ms() - part.awarded_ms) / 1000)
            self._tell_part(part)
        if isinstance(event, Progress | Preview | Piece) and self._shares.doing(part.indices[event.index]) is not share:
            return
        match event:
            case Progress(index, step, steps):
                job.emit("progress", index=part.indices[index], step=step, steps=steps, alias=part.worker_alias)
            case Preview(index, step, jpeg):
                job.emit("preview", index=part.indices[index], step=step, jpeg=jpeg)
            case Piece(index, text):
                job.emit("piece", index=part.indices[index], text=text)
            case ResultArrived(index=index):
                job.emit("arrived", index=part.indices[index], alias=part.worker_alias)


def _outrun(share: Share) -> Lost:
    return Lost("late", "was late, and others were quicker") if share.is_late else Lost(UNNEEDED, "was no longer needed")
