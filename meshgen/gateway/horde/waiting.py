"""How a request goes: what is there, what is being done, how long it will take, and whether anybody can do it at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.desk import Asked, Desk
from meshgen.peers.job import Job, Part
from meshgen.peers.request import Request, RequestError

OPEN = ("awarded", "running")
PACE_S = 10.0
"""What a result is thought to take before one of its model has come."""
ROUND_S = 2
"""Between two offers: nothing that waits for a worker is there sooner."""
LOOK_S = 15.0
"""So long an answer to "can anybody do this?" is taken for true; what is known of the models is, for less."""
MODELS_S = 2.0
MAX_LOOKS = 4096


@dataclass(frozen=True, slots=True)
class Outlook:
    """``why`` nobody can; "" if somebody can."""

    why: str
    until_ms: int = 0


class Waiting:
    """Answers polls, which are many: what costs more than a look at the job is kept for some seconds."""

    def __init__(self, node: NodeFace, desk: Desk) -> None:
        self._node, self._desk = node, desk
        self._outlooks: dict[str, Outlook] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self._adapters: list[dict[str, Any]] = []
        self._known_ms = 0

    def figures(self, asked: Asked) -> dict[str, Any]:
        """The fields that ``check`` and ``status`` have in common, and ``message`` where there is something to say."""
        jobs, finished = asked.jobs, sum(len(job.results) for job in asked.jobs)
        processing = sum(len(_underway(job)) for job in jobs if not job.final and not asked.cancelled)
        over = asked.final or asked.cancelled
        whole = finished == asked.count
        why = self._why(asked) if not whole else ""
        return {
            "finished": finished,
            "processing": processing,
            "restarted": sum(map(_restarted, jobs)),
            "waiting": 0 if over else asked.count - finished - processing,
            "done": whole or (over and finished > 0),
            "faulted": over and not whole and (finished == 0 or not asked.cancelled),
            "wait_time": 0 if over or whole else self._wait_s(asked),
            "queue_position": 0 if over else max(self._ahead(job) for job in jobs),
            "kudos": asked.mkudos / 1000,
            "is_possible": not why,
            **({"message": why} if why else {}),
        }

    def models(self) -> dict[str, dict[str, Any]]:
        """Rows of the mesh's models by name, as they were at most two seconds ago."""
        self._look()
        return self._models

    def adapters(self) -> list[dict[str, Any]]:
        """The same of its LoRAs, inversions, ControlNets and post-processors."""
        self._look()
        return self._adapters

    def _look(self) -> None:
        now = self._desk.now_ms()
        if now - self._known_ms > MODELS_S * 1000:
            found = self._node.models()
            self._models = {row["name"]: row for row in found["mesh"]}
            self._adapters, self._known_ms = found["adapters"], now

    def impossible(self, job: Job) -> str:
        """Why nobody who is known can do this job; "" if somebody can."""
        now, known = self._desk.now_ms(), self._outlooks.get(job.id)
        if known is None or known.until_ms < now:
            if len(self._outlooks) > MAX_LOOKS:
                self._outlooks.clear()
            known = self._outlooks[job.id] = Outlook(self._reason(job), round(now + LOOK_S * 1000))
        return known.why

    def _reason(self, job: Job) -> str:
        assert self._node.requester is not None
        try:
            quote = self._node.requester.quote(job.request)
        except RequestError as error:
            return lacking(job.request, error)
        if quote.own or quote.in_reach:
            return ""
        return job.notes[-1] if job.notes else "no worker that is known can do this, or none for what it may cost"

    def _why(self, asked: Asked) -> str:
        """Why this will not become whole, as far as is known."""
        if asked.cancelled:
            return "cancelled"
        for job in asked.jobs:
            if job.final:
                self._outlooks.pop(job.id, None)
                if job.error:
                    return job.error
            elif not _parts(job) and (why := self.impossible(job)):
                return why
        return ""

    def _wait_s(self, asked: Asked) -> int:
        """Until all is there; at least 1."""
        return max(1, math.ceil(max(self._job_s(job) for job in asked.jobs if not job.final)))

    def _job_s(self, job: Job) -> float:
        due_s = max(((part.due_ms - self._desk.now_ms()) / 1000 for part in _parts(job)), default=0.0)
        missing = job.request.count - len(job.results) - len(_underway(job))
        if not missing:
            return due_s
        row = self.models().get(job.model or job.request.model)
        return due_s + ROUND_S + (self._pace(job) * (row["queued"] + missing) / row["workers"] if row else 0)

    def _ahead(self, job: Job) -> int:
        """Results of others that come before this job's: 0 once a worker is at it."""
        parts = _parts(job)
        if job.final or any(part.state == "running" for part in parts):
            return 0
        if parts:
            return min(self._ahead_of(job, part) for part in parts)
        row = self.models().get(job.model or job.request.model)
        return 1 + (row["queued"] // row["workers"] if row else 0)

    def _ahead_of(self, job: Job, part: Part) -> int:
        left_s = (job.created_ms + part.ahead_ms - self._desk.now_ms()) / 1000
        return max(0, math.ceil(left_s / self._pace(job)))

    def _pace(self, job: Job) -> float:
        return max(0.1, self._desk.paces.get(job.model, PACE_S))


def lacking(request: Request, error: RequestError) -> str:
    """Why a request has no price: what the mesh lacks for it."""
    if error.code != "no_worker":
        return str(error)
    return f"no worker that is known offers {f'the model {request.model[:64]!r}' if request.model else 'any model'}"


def _parts(job: Job) -> list[Part]:
    return [part for part in job.parts if part.state in OPEN]


def _underway(job: Job) -> set[int]:
    return {index for part in _parts(job) for index in part.indices if index not in job.results}


def _restarted(job: Job) -> int:
    """Results that a worker was to bring and did not; what came of its part before it was lost counts as come."""
    lost = [(part.worker, index) for part in job.parts if part.state == "lost" for index in part.indices]
    return sum(index not in job.results or job.results[index].worker != worker for worker, index in lost)
