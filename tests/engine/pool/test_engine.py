"""The pool against a scripted child: jobs, crashes, cancelling, and a child that won't listen. No torch here."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from meshgen.engine.models.catalog import Catalog, CatalogModel
from meshgen.engine.pool.engine import Pool, open_engine
from meshgen.engine.pool.health import MAX_FAILURES
from meshgen.engine.port import (
    Answer,
    Engine,
    EngineError,
    EngineEvent,
    Picture,
    Preview,
    Progress,
    TextPart,
    TextWork,
    Work,
)
from tests.engine.folders import model_folder

MODELS = ("good", "shy", "narrow", "slow", "crash", "exit", "hang", "nonsense", "bad_model", "out_of_memory")
PROMPT = "a very secret red circle"


def work(model: str = "good", **changes: Any) -> Work:
    fields: dict[str, Any] = {
        "prompt": PROMPT, "negative_prompt": "", "width": 64, "height": 64, "steps": 4,
        "guidance_scale": 5.0, "scheduler": "", "seeds": (1, 2),
    }  # fmt: skip
    return Work(model, **{**fields, **changes})


async def events_of(engine: Engine, job: Work) -> list[EngineEvent]:
    async with engine.run(job) as events:
        return [event async for event in events]


async def refused(engine: Engine, job: Work, reason: str) -> str:
    with pytest.raises(EngineError) as caught:
        await events_of(engine, job)
    assert caught.value.reason == reason
    assert "secret" not in str(caught.value) + repr(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    folder = model_folder(home / "folder")
    for name in MODELS:
        Catalog(home).add(name, folder)
    return home


@asynccontextmanager
async def engine_at(home: Path, device: str = "auto", state: Path | None = None, **options: Any) -> AsyncGenerator[Pool]:
    command = [sys.executable, "-m", "tests.engine.scripted_child", *([str(state)] if state else [])]
    with trio.fail_after(30):
        async with open_engine(Catalog(home), device, command=command, **options) as engine:
            assert isinstance(engine, Pool)
            yield engine


async def until(condition: Callable[[], bool]) -> None:
    """What a real process does can't be waited for by an event of ours."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.005)


async def test_a_job_brings_its_events_and_the_engine_learns_from_them(home: Path) -> None:
    async with engine_at(home) as engine:
        assert {*MODELS} <= {model.name for model in engine.models()}
        guess = engine.estimate_s("good", 64, 64, 4, 1)
        events = await events_of(engine, work())
        assert [event for event in events if isinstance(event, Progress)] == [Progress(0, 1, 4), Progress(1, 1, 4)]
        assert next(event for event in events if isinstance(event, Preview)) == Preview(0, 1, b"\xff\xd8")
        pictures = [event for event in events if isinstance(event, Picture)]
        assert pictures == [Picture(0, 1, b"\x89PNG1", 2.0), Picture(1, 2, b"\x89PNG1", 2.0)]
        assert engine.device().name == "auto" and engine.device().vram_free_mib == 50
        assert engine.estimate_s("good", 64, 64, 4, 1) == pytest.approx(2.0) != guess
        assert engine.estimate_s("good", 64, 64, 9, 3) == pytest.approx(12.0)


async def test_a_crash_costs_one_job_and_the_next_runs(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "starts"
    async with engine_at(home, state=state) as engine:
        assert "killed" in await refused(engine, work("crash"), "crashed")
        assert "exit code 9" in await refused(engine, work("exit"), "crashed")
        assert len(await events_of(engine, work())) == 6
        assert len(state.read_text().split()) == 3


async def test_a_child_killed_from_outside_costs_one_job(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "starts"
    async with engine_at(home, state=state) as engine:
        with pytest.raises(EngineError) as caught:
            async with engine.run(work("slow")) as events:
                async for _event in events:
                    os.kill(int(state.read_text().split()[-1]), signal.SIGKILL)
        assert caught.value.reason == "crashed"
        assert len(await events_of(engine, work())) == 6


async def test_a_model_that_keeps_crashing_is_no_longer_offered(home: Path) -> None:
    async with engine_at(home) as engine:
        for _ in range(MAX_FAILURES):
            await refused(engine, work("crash"), "crashed")
        assert "3 times in a row" in await refused(engine, work("crash"), "bad_model")
        assert "crash" not in {model.name for model in engine.models()} and "crash" in engine.faults
        assert len(await events_of(engine, work())) == 6


async def test_leaving_a_job_stops_it_and_keeps_the_child(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "starts"
    async with engine_at(home, state=state) as engine:
        async with engine.run(work("slow")) as events:
            await anext(events)
            assert engine.free_slots() == 0
        await until(lambda: engine.free_slots() == 1)
        with trio.CancelScope() as scope:
            async with engine.run(work("slow")) as events:
                async for _event in events:
                    scope.cancel()
        assert scope.cancelled_caught
        assert len(await events_of(engine, work())) == 6
        assert len(state.read_text().split()) == 1


async def test_a_child_that_does_not_stop_is_replaced(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "starts"
    async with engine_at(home, state=state, grace_s=0.05) as engine:
        async with engine.run(work("hang")) as events:
            await anext(events)
        assert len(await events_of(engine, work())) == 6
        assert len(state.read_text().split()) == 2


async def test_a_silent_child_is_replaced(home: Path) -> None:
    async with engine_at(home, grace_s=0.05, silence_s=0.2) as engine:
        await events_of(engine, work())
        assert "no sign of life" in await refused(engine, work("hang"), "crashed")
    async with engine_at(home) as engine:
        await refused(engine, work("nonsense"), "crashed")
        assert len(await events_of(engine, work())) == 6


async def test_what_the_child_says_of_a_job_is_passed_on(home: Path) -> None:
    async with engine_at(home) as engine:
        assert await refused(engine, work("out_of_memory"), "out_of_memory") == "it is out_of_memory"
        assert "out_of_memory" in {model.name for model in engine.models()}
        await refused(engine, work("bad_model"), "bad_model")
        assert "bad_model" not in {model.name for model in engine.models()}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "unknown"}, "unknown_model"),
        ({"width": 4096, "height": 4096}, "bad_input"),
        ({"height": 0}, "bad_input"),
        ({"steps": 0}, "bad_input"),
        ({"steps": 10**6}, "bad_input"),
        ({"seeds": ()}, "bad_input"),
        ({"seeds": (-1,)}, "bad_input"),
        ({"seeds": (2**64,)}, "bad_input"),
    ],
)
async def test_bad_work_never_reaches_the_child(home: Path, changes: dict[str, Any], reason: str) -> None:
    async with engine_at(home) as engine:
        await refused(engine, work(**changes), reason)
        assert engine.free_slots() == 1


async def test_jobs_wait_for_a_free_seat(home: Path) -> None:
    async with engine_at(home) as engine, trio.open_nursery() as nursery:
        done: list[int] = []

        async def one() -> None:
            done.append(len(await events_of(engine, work())))

        for _ in range(5):
            nursery.start_soon(one)
        await until(lambda: len(done) == 5)
        assert done == [6] * 5


async def test_entering_a_job_never_waits(home: Path) -> None:
    async with engine_at(home) as engine, engine.run(work("slow")) as first:
        await anext(first)
        async with engine.run(work()) as second:
            with trio.move_on_after(0.01) as waiting:
                await anext(second)
            assert waiting.cancelled_caught


async def collect(engine: Engine, *jobs: Work) -> list[list[bytes]]:
    """The pictures of jobs that come at once; the scripted child writes into each how many jobs its batch had."""
    found: list[list[bytes]] = [[] for _ in jobs]

    async def one(at: int, job: Work) -> None:
        found[at] = [event.png for event in await events_of(engine, job) if isinstance(event, Picture)]

    async with trio.open_nursery() as nursery:
        for at, job in enumerate(jobs):
            nursery.start_soon(one, at, job)
    return found


async def test_jobs_that_wait_and_fit_are_one_batch(home: Path) -> None:
    async with engine_at(home) as engine, trio.open_nursery() as nursery:
        async with engine.run(work("slow")) as events:
            await anext(events)
            found: list[list[bytes]] = []

            async def waiting() -> None:
                alike = [work(seeds=(seed,), prompt=f"prompt {seed}") for seed in range(4)]
                found.extend(await collect(engine, *alike, work(steps=5)))

            nursery.start_soon(waiting)
            await until(lambda: len(engine._dispatcher._line) == 5)
        await until(lambda: len(found) == 5)
    assert found == [[b"\x89PNG4"]] * 4 + [[b"\x89PNG1"] * 2]


async def test_a_member_that_is_cancelled_leaves_the_others_alone(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "starts"
    async with engine_at(home, state=state, grace_s=0.05) as engine:
        await events_of(engine, work())
        async with engine.run(work("slow", seeds=(1,))) as stays, engine.run(work("slow", seeds=(2,))) as goes:
            await anext(stays)
            await goes.aclose()  # type: ignore[attr-defined]
            assert len(engine._dispatcher.seats[0].batches[0].members) == 2
        await until(lambda: engine.free_slots() == 1)
        assert len(await events_of(engine, work())) == 6
        assert len(state.read_text().split()) == 1


@pytest.mark.parametrize("model", ["shy", "narrow"])
async def test_what_fails_in_company_is_tried_alone(home: Path, model: str) -> None:
    async with engine_at(home) as engine:
        assert await collect(engine, *[work(model)] * 2) == [[b"\x89PNG1"] * 2] * 2
        assert not engine.troubles()


async def test_out_of_memory_lowers_what_is_offered_and_the_third_time_takes_it_off(home: Path) -> None:
    async with engine_at(home) as engine:

        def limit() -> int:
            return next((one.max_pixels for one in engine.models() if one.name == "out_of_memory"), 0)

        before = limit()
        for side in (256, 128, 64):
            await refused(engine, work("out_of_memory", width=side, height=side), "out_of_memory")
            assert limit() < before
            before = limit()
        assert not limit() and "out of memory 3 times" in engine.troubles()[0]
        await refused(engine, work("out_of_memory"), "bad_model")


async def test_jobs_of_a_model_that_turns_out_bad_all_learn_why(home: Path) -> None:
    jobs = [work("bad_model", steps=steps) for steps in (1, 2)]
    async with engine_at(home) as engine, engine.run(jobs[0]) as one, engine.run(jobs[1]) as other:
        for events in (one, other):
            with pytest.raises(EngineError, match="it is bad_model"):
                [event async for event in events]


async def test_text_goes_to_the_same_child(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithWriter(Catalog):
        def models(self) -> list[CatalogModel]:
            good = next(model for model in super().models() if model.name == "good")
            return [replace(good, info=replace(good.info, name="writer", family="text"))]

    monkeypatch.setattr("tests.engine.pool.test_engine.Catalog", WithWriter)
    async with engine_at(home) as engine:
        [part, answer] = await events_of(engine, TextWork("writer", PROMPT, 10, (5,)))  # type: ignore[arg-type]
        assert (part, answer) == (TextPart(0, "once"), Answer(0, 5, b"once" * 10, "text/plain", 1.0))
        assert engine.estimate_s("writer", 0, 0, 20, 1) == pytest.approx(2.0)


async def test_a_device_that_is_gone_is_said_and_work_goes_nowhere_else(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "starts"
    async with engine_at(home, "leaves", state) as engine:
        await refused(engine, work("crash"), "crashed")
        await until(lambda: bool(engine.troubles()))
        assert "of no use" in engine.troubles()[0] and engine.models() == []


async def test_every_device_gets_a_seat(home: Path) -> None:
    async with engine_at(home, "two") as engine:
        await until(lambda: engine.free_slots() == 2)
        async with engine.run(work("slow")) as first, engine.run(work("slow", steps=5)) as second:
            await anext(first)
            await anext(second)
            assert engine.free_slots() == 0
        await until(lambda: engine.free_slots() == 2)


@pytest.mark.parametrize(("device", "text"), [("broken", "of no use"), ("dies", "exit code 7")])
async def test_an_engine_that_can_not_start_says_why_and_offers_nothing(home: Path, device: str, text: str) -> None:
    async with engine_at(home, device) as engine:
        assert text in await refused(engine, work(), "unsupported")
        assert engine.models() == []
        await refused(engine, work(), "unknown_model")


async def test_a_change_of_the_catalog_is_followed_and_gives_models_another_chance(home: Path, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "folder")
    Catalog(tmp_path).add("bad_model", folder)
    async with engine_at(tmp_path) as engine:
        await refused(engine, work("bad_model"), "bad_model")
        assert "bad_model" not in {model.name for model in engine.models()}
        Catalog(tmp_path).add("good", folder)
        assert {"good", "bad_model"} <= {model.name for model in engine.models()}


async def test_a_model_whose_folder_is_gone_is_not_offered(home: Path, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "folder")
    Catalog(tmp_path).add("good", folder)
    folder.rename(tmp_path / "elsewhere")
    async with engine_at(tmp_path) as engine:
        engine.models()
        await until(lambda: "good" in engine.faults)
        assert "good" not in {model.name for model in engine.models()}


async def test_without_torch_the_engine_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshgen.engine.pool.engine._NEEDED", ("no_such_package",))
    with pytest.raises(EngineError, match=r"pip install 'meshgen-node\[worker\]'") as caught:
        async with open_engine(Catalog(home)):
            pass
    assert caught.value.reason == "unsupported"


def test_the_child_does_not_outlive_a_killed_node(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "starts"
    node = f"""
import sys, trio
from pathlib import Path
from meshgen.engine.models.catalog import Catalog, CatalogModel
from meshgen.engine.pool.engine import open_engine
async def main():
    command = [sys.executable, "-m", "tests.engine.scripted_child", {str(state)!r}]
    async with open_engine(Catalog(Path({str(home)!r})), command=command) as engine:
        while engine.device().name == "starting":
            await trio.sleep(0.005)
        print("up", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""
    with subprocess.Popen([sys.executable, "-c", node], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        child = os.pidfd_open(int(state.read_text()))
        process.kill()
    ended, _, _ = select.select([child], [], [], 20)
    os.close(child)
    assert ended, "the child lives on"
