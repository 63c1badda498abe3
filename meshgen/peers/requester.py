"""The requester: takes people's requests, runs a job for each, and takes back the credit that no worker earned."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace

import trio

from meshgen.ledger.errors import LedgerError
from meshgen.net.port import PeerId
from meshgen.peers.assignment import assign
from meshgen.peers.fulfilment import Fulfilment
from meshgen.peers.job import Job
from meshgen.peers.means import Means, RequesterPolicy
from meshgen.peers.request import (
    NOUNS,
    FormRequest,
    ImageRequest,
    Request,
    RequestError,
    input_bytes,
    kind_of,
    without_pictures,
)
from meshgen.peers.supply import Quote
from meshgen.peers.trouble import level_of, own_trouble
from meshgen.protocols.advert import AdapterAdvert, ModelAdvert
from meshgen.protocols.credit import RELEASE_REASONS, Receipt
from meshgen.protocols.offer import MAX_COUNT, MAX_SIDE

log = logging.getLogger(__name__)

SWEEP_S = 30.0
MAX_OPEN_INPUT_BYTES = 256 * 2**20
_ANY_MODEL = ModelAdvert("any", bytes(32), "other", 64, 1, (), 0)
"""Stands for the one that is found later: a request must fit into an order whatever that will be."""

NO_MEMBER = {
    "outside": "this node is no member of the mesh yet, whose charter lists them: send its peer id, from `meshgen status`, to a"
    " delegate, who runs `meshgen mesh admit`",
    "expelled": "this node was expelled from the mesh by a delegate, and asks nobody there; those who did so can admit it again",
}


class Requester:
    """``jobs`` are by id, oldest first. ``submit`` answers at once; the job tells the rest."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._nursery: trio.Nursery | None = None
        self.policy = means.policy
        self.jobs: dict[str, Job] = {}
        self.tally = means.market.tally
        self._expired: set[bytes] = set()

    def follow(self, policy: RequesterPolicy) -> None:
        """The person's standing wishes, for what is asked from now on."""
        self.policy = policy
        self._means = replace(self._means, policy=policy)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self._settle_dues()
            while True:
                await self._release_expired()
                await trio.sleep(SWEEP_S)

    def submit(self, request: Request) -> Job:
        """Start a job. Raises RequestError for what no worker could do, whoever it is."""
        check_request(request)
        if self._nursery is None:
            raise RequestError("not_ready", "the node is still starting")
        if why := self._means.why_outside():
            raise RequestError("not_member", NO_MEMBER[why])
        self._refuse_kept_out(request)
        if sum(not job.final for job in self.jobs.values()) >= self.policy.open_jobs:
            raise RequestError("too_many_jobs", f"{self.policy.open_jobs} jobs are open already; wait for one, or cancel one")
        held = sum(input_bytes(job.request) for job in self.jobs.values() if not job.final)
        if held + input_bytes(request) > MAX_OPEN_INPUT_BYTES:
            most = MAX_OPEN_INPUT_BYTES // 2**20
            raise RequestError("too_many_jobs", f"the pictures of open jobs come to more than {most} MiB; wait for one to end")
        request = self._completed(request)
        seed = request.seed if request.seed is not None else self._means.rng.randrange(2**32)
        job = Job(id=secrets.token_hex(8), request=request, created_ms=self._means.now_ms(), seed=seed)
        self.jobs[job.id] = job
        self._forget_old()
        self._nursery.start_soon(self._run_job, job, self._nursery)
        return job

    def quote(self, request: Request) -> Quote:
        """What it would cost, from what is known already; nobody is asked anything. Raises RequestError."""
        check_request(request)
        self._refuse_kept_out(request)
        return self._means.quote(self._completed(request))

    def _refuse_kept_out(self, request: Request) -> None:
        """Whoever asks for those alone with whom this node does not deal would wait in vain. Raises RequestError."""
        refused = {peer: self._means.refusal_of(peer) for peer in sorted(request.whom.only)}
        if refused and all(refused.values()):
            told = (f"{self._means.directory.alias(PeerId(peer))} is not asked: {why}" for peer, why in refused.items())
            raise RequestError("kept_out", "; ".join(told), "workers")

    def _completed(self, request: Request) -> Request:
        """With the settings where the person left something open. What is made from somebody's picture is never shared."""
        shared = (self.policy.shared if request.shared is None else request.shared) and not input_bytes(request)
        return replace(request, private=request.private or self.policy.private, shared=shared)

    def _forget_old(self) -> None:
        finished = [job for job in self.jobs.values() if job.final]
        kept_bytes = sum(job.size for job in finished)
        for place, job in enumerate(finished):
            if len(finished) - place <= self.policy.kept_jobs and kept_bytes <= self.policy.kept_bytes:
                break
            kept_bytes -= job.size
            del self.jobs[job.id]

    async def _run_job(self, job: Job, background: trio.Nursery) -> None:
        why = ""
        with job.scope:
            try:
                with trio.fail_after(job.request.timeout_s or self.policy.timeout_s):
                    why = await self._fulfil(job, background)
            except trio.TooSlowError:
                why = "the time for it is over"
        job.finished_ms = self._means.now_ms()
        job.request = without_pictures(job.request)
        self.tally.job.observe(max(job.finished_ms - job.created_ms, 0) / 1000)
        arrived, wanted = len(job.results), job.request.count
        noun = NOUNS[kind_of(job.request)] + "s"
        if arrived == wanted:
            job.enter("done")
        elif job.scope.cancelled_caught:
            job.enter("cancelled", f"cancelled; {arrived} of {wanted} {noun} had arrived")
        else:
            clock = self._means.clocks_trouble()
            why = own_trouble(self._means.ledger) or (f"{clock} ({why})" if clock else why)
            job.enter("failed", f"{arrived} of {wanted} {noun} arrived: {why}")
        self.tally.ended[job.state] += 1

    async def _fulfil(self, job: Job, background: trio.Nursery) -> str:
        """Why something is missing in the end; nothing, if nothing is."""
        why = ""
        try:
            why = await Fulfilment(self._means, job, background).run()
        except* LedgerError as errors:  # of any part: without a log that can be written none of them can go on
            why = _first(errors)
        return why

    async def _settle_dues(self) -> None:
        """Sign for what arrived in a run that was cut off: its vouchers are out."""
        for due in self._means.ledger.dues():
            if isinstance(due, Receipt):
                try:
                    await self._means.ledger.append(due)
                except LedgerError as error:
                    log.log(level_of(error, logging.WARNING), "what arrived could not be signed for: %s", error)

    async def _release_expired(self) -> None:
        """Take back what no worker earned. The rest of the log stays as it is: a hold with a picture has its receipt.

        Once it is found expired twice in a row, and others' clocks agree: a clock that jumped ahead makes all of them look
        expired, and with an entry of tomorrow in its log this node could write no other until then.
        """
        now = self._means.now_ms()
        before, self._expired = self._expired, {hold.hold_id for hold in self._means.ledger.open_holds() if hold.expires_ms < now}
        for hold_id in () if self._means.clocks_trouble() else sorted(before & self._expired):
            try:
                await self._means.ledger.release(hold_id, RELEASE_REASONS.index("lost"))
            except LedgerError as error:
                log.log(level_of(error, logging.WARNING), "a hold could not be released: %s", error)


def _first(group: BaseExceptionGroup[LedgerError]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def check_request(request: Request) -> None:
    """What no worker could do, whoever it is. Raises RequestError."""
    if not 1 <= request.count <= MAX_COUNT:
        raise RequestError("bad_count", f"1 to {MAX_COUNT} can be asked for at once, not {request.count}", "n")
    if isinstance(request, ImageRequest):
        for name, side in (("width", request.width), ("height", request.height)):
            if side and (side % 8 or not 8 <= side <= MAX_SIDE):
                raise RequestError("bad_size", f"{side} is not a multiple of 8 from 8 to {MAX_SIDE}", name)
        if request.mask and not request.source:
            raise RequestError("bad_request", "a mask says what to paint anew of a source: give that too", "mask")
    if not isinstance(request, FormRequest) and not request.prompt.strip():
        what = "say what to draw" if isinstance(request, ImageRequest) else "say what to go on with"
        raise RequestError("no_prompt", what, "prompt")
    assign(request, _ANY_MODEL, _any_adapter)


def _any_adapter(kind: str, name: str, family: str) -> AdapterAdvert:
    """Whether somebody has one of that name is asked later; names that no advert can hold nobody has."""
    return AdapterAdvert(kind, name[:64] if name.isascii() and name.isprintable() and name else "?", bytes(32), family)
