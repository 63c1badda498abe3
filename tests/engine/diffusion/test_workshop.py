"""What overlaps in the child, what happens when memory runs out there, and what is left in memory afterwards."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch

from meshgen.engine.diffusion.drawing import Drawing
from meshgen.engine.diffusion.tuning import Plan
from meshgen.engine.diffusion.workshop import Task, Workshop
from meshgen.engine.port import Work
from tests.engine.tiny_pipelines import save_tiny_sd

pytestmark = pytest.mark.torch

WORK = Work("tiny", "a secret", "", 32, 32, 3, 5.0, "", (1, 2))


class FakeJob:
    def __init__(self, work: Work) -> None:
        self.work = work
        self.told: list[str] = []
        self.ended: tuple[str, str] | None = None

    def cancelled(self) -> bool:
        return False

    def tell(self, what: str, **fields: object) -> None:
        self.told.append(what)

    def end(self, reason: str = "", message: str = "") -> None:
        self.ended = self.ended or (reason, message)

    @property
    def pictures(self) -> int:
        return self.told.count("picture")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = save_tiny_sd(tmp_path_factory.mktemp("tiny"))
    return {"name": "tiny", "path": str(folder), "variant": "", "allow_pickle": False, "format": "diffusers", "digest": "1"}


@pytest.fixture
def workshop() -> Workshop:
    return Workshop("cpu", "auto", 1, Plan())


def task(model: dict[str, Any], *jobs: FakeJob) -> Task:
    return Task({"model": model, "adapters": {}}, jobs)


def run(workshop: Workshop, one: Task) -> None:
    """As the main thread does, until nothing is left."""
    workshop._prepare(one)
    while not workshop._ready.empty():
        workshop._ready.get()()
        workshop._finisher.drain()


def out_of_memory_once(monkeypatch: pytest.MonkeyPatch, stage: str, times: int = 1) -> list[int]:
    """Sizes of the batches that it happened to."""
    real, seen = getattr(Drawing, stage), list[int]()

    def fails(self: Drawing) -> None:
        if len(seen) < times:
            seen.append(len(self))
            raise torch.OutOfMemoryError
        real(self)

    monkeypatch.setattr(Drawing, stage, fails)
    return seen


def test_all_jobs_of_a_task_are_answered_and_ended(workshop: Workshop, model: dict[str, Any]) -> None:
    jobs = [FakeJob(WORK), FakeJob(replace(WORK, prompt="another", seeds=(3,)))]
    run(workshop, task(model, *jobs))
    assert [job.pictures for job in jobs] == [2, 1] and {job.ended for job in jobs} == {("", "")}


@pytest.mark.parametrize("stage", ["denoise", "finish"])
def test_what_runs_out_of_memory_is_drawn_again_in_smaller_batches(
    workshop: Workshop, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    seen = out_of_memory_once(monkeypatch, stage, times=2)
    job = FakeJob(WORK)
    run(workshop, task(model, job))
    assert (job.pictures, job.ended, seen) == (2, ("", ""), [2, 2])
    again = FakeJob(WORK)
    run(workshop, task(model, again))
    assert again.pictures == 2 and workshop._most == {(model["path"], 32 * 32): 1}


def test_what_never_fits_is_refused_with_a_reason(
    workshop: Workshop, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory_once(monkeypatch, "denoise", times=99)
    job = FakeJob(WORK)
    run(workshop, task(model, job))
    assert job.ended is not None and job.ended[0] == "out_of_memory" and "secret" not in job.ended[1] and not job.pictures


def test_prompts_are_read_ahead_beside_the_same_model_alone(workshop: Workshop, model: dict[str, Any]) -> None:
    run(workshop, task(model, FakeJob(WORK)))
    same, tiled, other = (
        task(told, FakeJob(work))
        for told, work in ((model, replace(WORK, steps=4)), (model, replace(WORK, tiling=True)), (model | {"digest": "2"}, WORK))
    )
    for one in (same, tiled, other):
        workshop._prepare(one)
    assert [one.drawings is not None for one in (same, tiled, other)] == [True, False, False]


def test_nothing_of_a_task_stays_in_memory(workshop: Workshop, model: dict[str, Any]) -> None:
    job = FakeJob(WORK)
    run(workshop, task(model, job))
    pipe, gone = workshop._studio.load(model).pipe, weakref.ref(job)
    held = weakref.ref(pipe)
    del pipe, job
    workshop._studio.make_room_for("text", 10**9, lambda: None)
    gc.collect()
    assert held() is None and gone() is None
