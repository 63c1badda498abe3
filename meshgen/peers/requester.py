"""The requester: turns a person's request into pictures from the mesh, and tells what happens on the way.

A job goes in rounds. Each round offers what is still missing, chooses among the bids, and starts one purchase a chosen worker. A
part that is lost goes back to what is missing, without the worker that lost it, until everything arrived, or nobody is left who
could.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import trio

from meshgen.identity import Identity
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Net, PeerId
from meshgen.peers.directory import Directory
from meshgen.peers.inspection import Inspection, finish
from meshgen.peers.market import Answers, Market
from meshgen.peers.matching import Choice, No, allocate, explain
from meshgen.peers.purchase import Lost, Purchase
from meshgen.peers.request import FinishedPicture, ImageRequest, Job, Part, RequestError
from meshgen.protocols.advert import ModelAdvert
from meshgen.protocols.codec import MAX_UINT, Malformed
from meshgen.protocols.credit import RELEASE_REASONS
from meshgen.protocols.envelope import Signed
from meshgen.protocols.job import Preview, Progress, WorkOrder
from meshgen.protocols.job_sides import PictureArrived, RequesterEvent
from meshgen.protocols.offer import MAX_COUNT, Bid, Offer

log = logging.getLogger(__name__)

ROUND_GAP_S = 2.0
"""After a round that brought nobody, and before the same offer is made again."""
MAX_LOSSES = 3
"""A job gives up on a worker that lost so many of its parts."""
SWEEP_S = 30.0
LASTING = frozenset(("unknown_model", "too_large", "too_many_steps", "unsupported", "price", "policy", "standing", "failed"))
"""Refusals that waiting does not mend."""


@dataclass(frozen=True, slots=True)
class RequesterPolicy:
    """The person's standing wishes. ``patience_s``: how long a job looks for a first worker before it says why there is none."""

    default_model: str = ""
    max_mkudos: int = 100_000
    bid_window_s: float = 1.5
    patience_s: float = 10.0
    offer_lifetime_ms: int = 60_000
    lateness: float = 4.0
    slack_s: float = 20.0
    timeout_s: float = 900.0
    open_jobs: int = 256
    kept_jobs: int = 256
    private: bool = False


@dataclass(slots=True)
class _Progress:
    """One job's state between rounds."""

    job: Job
    model: ModelAdvert
    max_mkudos: int
    missing: deque[int]
    running: int = 0
    wake: trio.Event = field(default_factory=trio.Event)
    losses: Counter[PeerId] = field(default_factory=Counter)
    inspection: Inspection = field(default_factory=Inspection)
    why: str = ""

    def nudge(self) -> None:
        self.wake.set()
        self.wake = trio.Event()

    def avoid(self) -> dict[PeerId, No]:
        return {peer: No("failed") for peer, losses in self.losses.items() if losses >= MAX_LOSSES}


class Requester:
    """``jobs`` are by id, oldest first. ``submit`` answers at once; the job tells the rest."""

    def __init__(
        self,
        net: Net,
        identity: Identity,
        ledger: Ledger,
        directory: Directory,
        market: Market,
        policy: RequesterPolicy,
        now_ms: Callable[[], int],
        rng: random.Random | None = None,
        on_settled: Callable[[], None] = lambda: None,
    ) -> None:
        self._net = net
        self._identity = identity
        self._ledger = ledger
        self._directory = directory
        self._market = market
        self._now_ms = now_ms
        self._rng = rng or random.Random(secrets.randbits(64))
        self._on_settled = on_settled
        self._nursery: trio.Nursery | None = None
        self.policy = policy
        self.jobs: dict[str, Job] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                await self._release_expired()
                await trio.sleep(SWEEP_S)

    def submit(self, request: ImageRequest) -> Job:
        """Start a job. Raises RequestError for what no worker could do, whoever it is."""
        _check(request)
        if self._nursery is None:
            raise RequestError("not_ready", "the node is still starting")
        if sum(not job.final for job in self.jobs.values()) >= self.policy.open_jobs:
            raise RequestError("too_many_jobs", f"{self.policy.open_jobs} jobs are open already; wait for one, or cancel one")
        request = replace(request, private=request.private or self.policy.private)
        seed = request.seed if request.seed is not None else self._rng.randrange(2**32)
        job = Job(id=secrets.token_hex(8), request=request, created_ms=self._now_ms(), seed=seed)
        self.jobs[job.id] = job
        self._forget_old()
        self._nursery.start_soon(self._run_job, job)
        return job

    def _forget_old(self) -> None:
        finished = [job_id for job_id, job in self.jobs.items() if job.final]
        for job_id in finished[: max(0, len(finished) - self.policy.kept_jobs)]:
            del self.jobs[job_id]

    # -- one job

    async def _run_job(self, job: Job) -> None:
        why = ""
        with job.scope:
            try:
                with trio.fail_after(job.request.timeout_s or self.policy.timeout_s):
                    why = await self._fulfil(job)
            except trio.TooSlowError:
                why = "the time for it is over"
            except LedgerError as error:
                why = str(error)
        job.finished_ms = self._now_ms()
        arrived, wanted = len(job.pictures), job.request.count
        if arrived == wanted:
            job.enter("done")
        elif job.scope.cancelled_caught:
            job.enter("cancelled", f"cancelled; {arrived} of {wanted} pictures had arrived")
        else:
            job.enter("failed", f"{arrived} of {wanted} pictures arrived: {why}")
        self._on_settled()

    async def _fulfil(self, job: Job) -> str:
        """Rounds until nothing is missing; else why something is."""
        model = await self._choose_model(job)
        if model is None:
            return explain(job.model or "any model", 0, ())
        request = job.request
        job.model = model.name
        job.width, job.height = request.width or model.default_side, request.height or model.default_side
        limit = self.policy.max_mkudos if request.max_mkudos is None else request.max_mkudos
        state = _Progress(job, model, limit, deque(range(request.count)))
        async with trio.open_nursery() as nursery:
            give_up_at = trio.current_time() + self.policy.patience_s
            while state.missing or state.running:
                if not state.missing:
                    await state.wake.wait()
                    continue
                started, hopeless = await self._round(state, nursery)
                if started:
                    give_up_at = trio.current_time() + self.policy.patience_s
                elif not state.running and (hopeless or trio.current_time() >= give_up_at):
                    return state.why
                if state.missing:
                    with trio.move_on_after(ROUND_GAP_S):
                        await state.wake.wait()
        return state.why

    async def _choose_model(self, job: Job) -> ModelAdvert | None:
        """The model asked for, the default, or the one that most workers have; looks further if nobody known has it."""
        wanted = job.model = job.request.model or self.policy.default_model
        found = self._known_model(wanted)
        if found is None:
            job.note("looking for workers" + (f" with {wanted}" if wanted else ""))
            with trio.move_on_after(self.policy.bid_window_s * 4):
                async with trio.open_nursery() as nursery:
                    if wanted:
                        nursery.start_soon(self._directory.search, wanted)
                    while (found := self._known_model(wanted)) is None:
                        await self._directory.wait_heard()
                    nursery.cancel_scope.cancel()
        return found

    def _known_model(self, name: str) -> ModelAdvert | None:
        counts: Counter[ModelAdvert] = Counter()
        for signed in self._directory.adverts():
            counts.update(model for model in signed.message.models if name in ("", model.name))
        return counts.most_common(1)[0][0] if counts else None

    async def _round(self, state: _Progress, nursery: trio.Nursery) -> tuple[bool, bool]:
        """Offer what is missing and start what was won: (did anything start, can waiting help)."""
        offer = self._offer(state)
        answers = await self._market.ask(offer, self.policy.bid_window_s, state.avoid())
        bids = list(answers.bids.values())
        self._rng.shuffle(bids)
        given = allocate([self._choice(bid) for bid in bids], len(state.missing), state.max_mkudos)
        for bid, count in zip(bids, given, strict=True):
            if count:
                indices = tuple(state.missing.popleft() for _ in range(count))
                state.running += 1
                nursery.start_soon(self._part, state, answers.offer, bid, indices)
        if not any(given):
            self._tell_nobody(state, answers)
        refusals = answers.refusals.values()
        hopeless = bool(refusals) and not answers.bids and all(no.reason in LASTING for no in refusals)
        return any(given), hopeless

    def _tell_nobody(self, state: _Progress, answers: Answers) -> None:
        knowing = len(answers.refusals.keys() | set(answers.asked))
        why = explain(state.model.name, knowing, answers.refusals.values())
        if why != state.why:
            state.why = why
            state.job.note(why)

    def _choice(self, bid: Signed[Bid]) -> Choice:
        message = bid.message
        return Choice(
            message.count, message.mkudos, message.start_ms, message.picture_ms, self._market.trust.of(PeerId(bid.peer))
        )

    def _offer(self, state: _Progress) -> Offer:
        job, now = state.job, self._now_ms()
        request = job.request
        return Offer(
            net=self._ledger.net,
            nonce=os.urandom(16),
            model=state.model.name,
            digest=state.model.digest,
            family=state.model.family,
            width=job.width,
            height=job.height,
            steps=request.steps,
            count=len(state.missing),
            features=("negative_prompt",) if request.negative_prompt else (),
            max_mkudos=state.max_mkudos,
            created_ms=now,
            expires_ms=now + self.policy.offer_lifetime_ms,
            addresses=tuple(self._net.addresses()[:8]),
        )

    # -- one part

    async def _part(self, state: _Progress, offer: Signed[Offer], bid: Signed[Bid], indices: tuple[int, ...]) -> None:
        job, worker = state.job, PeerId(bid.peer)
        part = Part(worker, self._directory.alias(worker), indices, bid.message.mkudos)
        job.parts.append(part)
        self._tell_part(job, part)
        purchase = self._purchase(state, offer, bid, part)
        try:
            await purchase.run()
            part.state = "done"
            self._market.trust.kept(worker)
        except Lost as lost:
            part.state, part.why = "lost", str(lost)
            self._blame(state, worker, lost)
        finally:
            state.running -= 1
            self._keep(state, part, purchase)
            state.missing.extend(index for index in indices if index not in job.pictures)
            self._tell_part(job, part)
            state.nudge()

    def _purchase(self, state: _Progress, offer: Signed[Offer], bid: Signed[Bid], part: Part) -> Purchase:
        job = state.job
        order = WorkOrder(
            offer_id=offer.id,
            prompt=job.request.prompt,
            negative_prompt=job.request.negative_prompt,
            model=state.model.name,
            digest=bid.message.digest,
            width=job.width,
            height=job.height,
            steps=job.request.steps,
            guidance_milli=round(job.request.guidance_scale * 1000),
            scheduler=job.request.scheduler,
            seeds=tuple((job.seed + index) % (MAX_UINT + 1) for index in part.indices),
            preview_every=job.request.preview_every,
        )

        def tell(event: RequesterEvent) -> None:
            self._tell(job, part, event)

        def check(picture: PictureArrived) -> None:
            state.inspection.check(picture.png, job.width, job.height)

        limit_s = (
            self.policy.slack_s
            + self.policy.lateness * (bid.message.start_ms + bid.message.picture_ms * len(part.indices)) / 1000
        )
        return Purchase(self._net, self._identity, self._ledger, offer, bid, order, limit_s, self._now_ms, check, tell)

    def _blame(self, state: _Progress, worker: PeerId, lost: Lost) -> None:
        if lost.lied:
            self._market.trust.lied(worker)
            state.losses[worker] = MAX_LOSSES
        elif lost.reason not in ("full", "expired", "not_mine"):
            self._market.trust.lost(worker)
            state.losses[worker] += 1 if lost.reason not in ("gone", "silent") else MAX_LOSSES
        state.job.note(f"{self._directory.alias(worker)} {lost}; its pictures are offered again")

    def _keep(self, state: _Progress, part: Part, purchase: Purchase) -> None:
        """What arrived and is signed for becomes the person's."""
        job = state.job
        if purchase.receipt is None:
            return
        for arrived in purchase.arrived:
            index = part.indices[arrived.index]
            png = finish(arrived, job, state.model, part, purchase.receipt.id)
            picture = FinishedPicture(
                index=index,
                seed=arrived.seed,
                worker=part.worker,
                worker_alias=part.worker_alias,
                png=png,
                mkudos=part.mkudos,
                receipt=purchase.receipt.id.hex(),
                seconds=arrived.compute_ms / 1000,
            )
            job.pictures[index] = picture
            job.emit(
                "picture", index=index, seed=picture.seed, worker=part.worker, alias=part.worker_alias, mkudos=picture.mkudos
            )

    # -- telling

    def _tell_part(self, job: Job, part: Part) -> None:
        job.emit(
            "part",
            worker=part.worker,
            alias=part.worker_alias,
            indices=list(part.indices),
            state=part.state,
            mkudos=part.mkudos,
            why=part.why,
        )

    def _tell(self, job: Job, part: Part, event: RequesterEvent) -> None:
        if job.state == "offering":
            job.enter("running")
        if part.state == "awarded":
            part.state = "running"
            self._tell_part(job, part)
        match event:
            case Progress(index, step, steps):
                job.emit("progress", index=part.indices[index], step=step, steps=steps, alias=part.worker_alias)
            case Preview(index, step, jpeg):
                job.emit("preview", index=part.indices[index], step=step, jpeg=jpeg)
            case PictureArrived(index=index):
                job.emit("arrived", index=part.indices[index], alias=part.worker_alias)

    # -- holds under which nothing came

    async def _release_expired(self) -> None:
        """Take back what no worker earned. The rest of the log stays as it is: a hold with a picture has its receipt."""
        now = self._now_ms()
        for hold in self._ledger.open_holds():
            if hold.expires_ms < now:
                try:
                    await self._ledger.release(hold.hold_id, RELEASE_REASONS.index("lost"))
                except LedgerError as error:
                    log.warning("a hold could not be released: %s", error)


def _check(request: ImageRequest) -> None:
    if not 1 <= request.count <= MAX_COUNT:
        raise RequestError("bad_count", f"1 to {MAX_COUNT} pictures can be asked for at once, not {request.count}", "n")
    for name, side in (("width", request.width), ("height", request.height)):
        if side and (side % 8 or not 8 <= side <= 8192):
            raise RequestError("bad_size", f"{side} is not a multiple of 8 from 8 to 8192", name)
    if not request.prompt.strip():
        raise RequestError("no_prompt", "say what to draw", "prompt")
    try:
        _probe(request)
    except Malformed as error:
        field_name = str(error).partition(":")[0].removeprefix("work/1.")
        raise RequestError("bad_request", str(error), field_name) from None


def _probe(request: ImageRequest) -> None:
    """Let the message's own limits judge what has no rule above. Raises Malformed."""
    order = WorkOrder(
        offer_id=bytes(32),
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        model=request.model or "any",
        digest=bytes(32),
        width=request.width or 64,
        height=request.height or 64,
        steps=request.steps,
        guidance_milli=round(request.guidance_scale * 1000),
        scheduler=request.scheduler,
        seeds=(request.seed or 0,),
        preview_every=request.preview_every,
    )
    order.encode()
