"""What this node knows of work done: its own requests of this run, as long as they are kept. Nobody counts for the whole mesh."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meshgen.gateway.face import NodeFace
from meshgen.peers.job import Finished, Job
from meshgen.peers.peer import system_ms
from meshgen.peers.request import ImageRequest, Kind, TextRequest, kind_of

MINUTE_MS = 60_000
PERIODS = {"minute": MINUTE_MS, "hour": 60 * MINUTE_MS, "day": 24 * 60 * MINUTE_MS, "month": 30 * 24 * 60 * MINUTE_MS}
KINDS: dict[str, Kind] = {"image": "image", "text": "text", "interrogation": "form"}
"""AI Horde's types of work by the mesh's kinds."""


@dataclass(frozen=True, slots=True)
class Done:
    """Results of one kind: how many, how much work (megapixels times steps, or tokens), how long they took."""

    count: int = 0
    units: float = 0.0
    seconds: float = 0.0

    def performance(self, kind: str) -> str:
        if not self.seconds or kind == "interrogation":
            return "No requests fulfilled yet"
        noun = "tokens" if kind == "text" else "megapixelsteps"
        return f"{self.units / self.seconds:.1f} {noun} per second"


class Figures:
    def __init__(self, node: NodeFace, now_ms: Callable[[], int] = system_ms) -> None:
        self._node, self._now_ms = node, now_ms

    def jobs(self, kind: str) -> list[Job]:
        """Of one of AI Horde's types."""
        requester = self._node.requester
        return [job for job in requester.jobs.values() if kind_of(job.request) == KINDS[kind]] if requester else []

    def open(self, kind: str) -> list[Job]:
        return [job for job in self.jobs(kind) if not job.final]

    def done(self, kind: str, within_ms: int = 0) -> Done:
        """Within so long before now; 0 = ever."""
        return total(self._results(kind, within_ms))

    def of_worker(self, peer: str, kind: str) -> Done:
        return total((job, one) for job, one in self._results(kind) if one.worker == peer)

    def of_model(self, model: str, kind: str) -> Done:
        return total((job, one) for job, one in self._results(kind) if job.model == model)

    def by_model(self, kind: str, within_ms: int = 0) -> dict[str, int]:
        return dict(Counter(job.model for job, _ in self._results(kind, within_ms)))

    def waiting(self, kind: str) -> float:
        """What open requests still need, in Done's units."""
        return sum(map(self.need, self.open(kind)))

    @staticmethod
    def need(job: Job) -> float:
        return units(job) * (job.request.count - len(job.results))

    def _results(self, kind: str, within_ms: int = 0) -> Iterator[tuple[Job, Finished]]:
        since = self._now_ms() - within_ms if within_ms else 0
        for job in self.jobs(kind):
            if (job.finished_ms or self._now_ms()) >= since:
                for one in job.results.values():
                    yield job, one


def units(job: Job) -> float:
    """Of one result: megapixels times steps, or the most tokens."""
    match job.request:
        case ImageRequest() as image:
            return job.width * job.height * image.steps / 1_000_000
        case TextRequest() as text:
            return float(text.tokens)
    return 1.0


def total(results: Iterator[tuple[Job, Finished]]) -> Done:
    found = list(results)
    return Done(
        len(found),
        sum(units(job) for job, _ in found),
        sum(one.seconds for _, one in found),
    )
