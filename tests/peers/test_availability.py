"""Why a worker takes no work, and that it never says nothing: pause, hours, ceilings, driver, engine, models."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.engine.pool.sensors import Reading
from meshgen.engine.port import ModelInfo
from meshgen.peers.availability import POLL_S, Availability
from meshgen.peers.matching import No
from meshgen.peers.pausing import MAX_PAUSE_MS, PAUSE_FILE, Pause, keep_pause, read_pause
from meshgen.settings import load_settings

Clock = trio.testing.MockClock
HOUR_MS = 3600 * 1000
NOON_MS = 1_780_315_200_000  # Monday 2026-06-01, 12:00 UTC


class Bench:
    """A worker's availability with a clock and a thermometer in hand."""

    def __init__(self, home: Path | None = None, **worker: object) -> None:
        self.now_ms = NOON_MS
        self.reading = Reading()
        self.changes = 0
        self.models: list[ModelInfo] = [fake_model()]
        self.engine: Any = FakeEngine([fake_model()], 0.0)
        settings = load_settings(overrides={f"worker.{name}": value for name, value in worker.items()}).worker
        self.it = Availability(
            settings,
            self.engine,
            lambda: self.models,
            lambda: self.now_ms,
            self._changed,
            home=home,
            local=_utc,
            sensors=self._read,
        )

    def _changed(self) -> None:
        self.changes += 1

    async def _read(self) -> Reading:
        return self.reading

    @property
    def codes(self) -> list[str]:
        return [why.code for why in self.it.reasons()]


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


@pytest.fixture
async def look(nursery: trio.Nursery) -> Callable[..., Any]:
    """Let it look at its sensors once more, with this reading."""
    running: set[int] = set()

    async def again(bench: Bench, reading: Reading | None = None) -> None:
        bench.reading = reading or bench.reading
        if id(bench) not in running:
            running.add(id(bench))
            await nursery.start(bench.it.run)
        else:
            await trio.sleep(POLL_S)
            await trio.testing.wait_all_tasks_blocked()

    return again


def test_a_worker_without_rules_takes_work() -> None:
    bench = Bench()
    assert bench.it.closed() is None and bench.it.no() is None and bench.codes == []
    assert bench.it.state()["takes_work"] is True and bench.it.state()["sensors"] is None


# -- the owner's pause


def test_pause_and_resume() -> None:
    bench = Bench()
    bench.it.pause(message="new fan")
    why = bench.it.closed()
    assert why is not None and (why.code, why.text, why.until_ms) == ("paused", "paused by the owner: new fan", 0)
    no = bench.it.no()
    assert no is not None and (no.reason, no.limit) == ("paused", 0) and bench.changes == 1
    bench.it.resume()
    assert bench.it.closed() is None and bench.changes == 2
    bench.it.resume()
    assert bench.changes == 2


def test_a_pause_for_two_hours_ends_by_itself() -> None:
    bench = Bench()
    bench.it.pause(2 * HOUR_MS)
    no = bench.it.no()
    assert no is not None and no.limit == 7200
    bench.now_ms += 2 * HOUR_MS - 1
    assert bench.codes == ["paused"]
    bench.now_ms += 1
    assert bench.codes == [] and bench.it.state()["paused"] is None


@pytest.mark.parametrize(("for_ms", "message"), [(-1, ""), (MAX_PAUSE_MS + 1, ""), (0, "x" * 121), (0, "a\nb")])
def test_pauses_have_bounds(for_ms: int, message: str) -> None:
    bench = Bench()
    with pytest.raises(ValueError, match=r"a year at most|one line"):
        bench.it.pause(for_ms, message)
    assert bench.codes == []


def test_a_pause_survives_a_restart(tmp_path: Path) -> None:
    Bench(tmp_path).it.pause(HOUR_MS, "déjà vu")
    again = Bench(tmp_path)
    assert again.it.state()["paused"] == {"since_ms": NOON_MS, "until_ms": NOON_MS + HOUR_MS, "message": "déjà vu"}
    again.it.resume()
    assert Bench(tmp_path).codes == [] and not (tmp_path / PAUSE_FILE).exists()


def test_a_pause_that_ended_while_the_node_was_off_is_over(tmp_path: Path) -> None:
    Bench(tmp_path).it.pause(HOUR_MS)
    later = Bench(tmp_path)
    later.now_ms += HOUR_MS
    assert later.codes == []


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b'{"since_ms": "x"}', b'{"since_ms": 1, "until_ms": null, "message": ""}']
)
def test_a_damaged_file_is_still_a_pause(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / PAUSE_FILE).write_bytes(data)
    assert Bench(tmp_path).codes == ["paused"] and "damaged" in caplog.text


def test_pauses_are_kept_whole(tmp_path: Path) -> None:
    assert read_pause(tmp_path) is None
    keep_pause(tmp_path, Pause(1, 2, "x"))
    assert read_pause(tmp_path) == Pause(1, 2, "x")
    keep_pause(tmp_path, None)
    keep_pause(tmp_path, None)
    assert read_pause(tmp_path) is None


async def test_running_jobs_go_on_unless_the_owner_wants_them_stopped(autojump_clock: Clock) -> None:
    bench, ended = Bench(), []

    async def job() -> None:
        with trio.CancelScope() as scope, bench.it.job(scope.cancel):
            await trio.sleep(60)
        ended.append(scope.cancelled_caught)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(job)
        await trio.testing.wait_all_tasks_blocked()
        bench.it.pause()
        assert bench.it.state()["jobs"] == 1
    assert ended == [False]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(job)
        await trio.testing.wait_all_tasks_blocked()
        bench.it.pause(now=True)
    assert ended == [False, True] and bench.it.state()["jobs"] == 0


# -- hours


async def test_hours_open_and_close(autojump_clock: Clock, look: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(hours=["22:00-07:00"])
    why = bench.it.reasons()[0]
    assert (why.code, why.until_ms) == ("hours", NOON_MS + 10 * HOUR_MS)
    await look(bench)
    assert bench.changes == 1 and "takes no new work: outside the hours" in caplog.text
    bench.now_ms += 10 * HOUR_MS
    assert bench.codes == []
    await look(bench)
    assert bench.changes == 2 and "takes work again" in caplog.text


def test_a_pause_is_told_before_the_hours() -> None:
    bench = Bench(hours=["22:00-07:00"])
    bench.it.pause()
    assert bench.codes == ["paused"]
    bench.it.resume()
    assert bench.codes == ["hours"]


# -- heat and power


async def test_heat_shuts_and_opens_with_slack(autojump_clock: Clock, look: Callable[..., Any]) -> None:
    bench = Bench(max_temperature_c=80)
    seen = []
    for temperature in (70, 80, 81, 80, 76, 75, 79, 90):
        await look(bench, Reading(temperature_c=temperature))
        seen.append(bench.codes)
    hot = ["too_hot"]
    assert seen == [[], [], hot, hot, hot, [], [], hot] and bench.changes == 3
    assert bench.it.reasons()[0].text == "temperature 90 of at most 80 degrees Celsius; it goes on at 75"
    assert bench.it.state()["sensors"]["temperature_c"] == 90


async def test_power(autojump_clock: Clock, look: Callable[..., Any]) -> None:
    bench = Bench(max_power_w=300)
    seen = []
    for power in (300, 301, 280, 270):
        await look(bench, Reading(power_w=power))
        seen.append(bench.codes)
    assert seen == [[], ["power"], ["power"], []]


async def test_a_reading_that_is_missing_changes_nothing(autojump_clock: Clock, look: Callable[..., Any]) -> None:
    bench = Bench(max_temperature_c=80)
    await look(bench, Reading(temperature_c=99))
    await look(bench, Reading())
    assert bench.codes == ["too_hot"]


async def test_a_ceiling_that_nothing_can_keep_is_told(
    autojump_clock: Clock, look: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(max_temperature_c=80, max_power_w=100)
    await look(bench, Reading(power_w=50))
    note = "nothing tells the device's temperature on this machine: its ceiling can't be kept"
    assert bench.codes == [] and bench.it.state()["notes"] == [note] and note in caplog.text


async def test_a_driver_that_is_gone_shuts_it(autojump_clock: Clock, look: Callable[..., Any]) -> None:
    bench = Bench(max_temperature_c=80)
    await look(bench, Reading(fault="nvidia-smi: GPU is lost"))
    assert bench.codes == ["driver"] and "GPU is lost" in bench.it.reasons()[0].text
    await look(bench, Reading(temperature_c=40))
    assert bench.codes == []


async def test_without_ceilings_no_sensor_is_asked(autojump_clock: Clock, look: Callable[..., Any]) -> None:
    bench = Bench()
    await look(bench, Reading(temperature_c=200, fault="never seen"))
    assert bench.codes == [] and bench.it.state()["sensors"] is None


# -- engine and models


def test_no_model_and_no_engine_are_told_apart() -> None:
    bench = Bench()
    bench.models = []
    assert bench.codes == ["no_model"] and "worker.models" in bench.it.reasons()[0].text
    bench.engine.models = list
    assert bench.codes == ["no_model"] and "meshgen models ls" in bench.it.reasons()[0].text
    bench.engine.troubles = lambda: ["cuda:0 is gone", "sdxl is not offered: it crashed the engine 3 times"]
    why = bench.it.reasons()[0]
    assert (why.code, why.text) == ("engine", "cuda:0 is gone; sdxl is not offered: it crashed the engine 3 times")
    assert bench.it.state()["troubles"] == bench.engine.troubles()


def test_an_engine_in_trouble_that_still_works_is_told_too() -> None:
    bench = Bench()
    bench.engine.troubles = lambda: ["sdxl is not offered"]
    state = bench.it.state()
    assert state["takes_work"] and state["troubles"] == ["sdxl is not offered"]


def test_all_reasons_are_told() -> None:
    bench = Bench(hours=["22:00-07:00"])
    bench.models = []
    assert bench.codes == ["hours", "no_model"]


async def test_who_leaves_takes_nothing_new_and_ends_what_was_accepted(autojump_clock: Clock) -> None:
    bench, over = Bench(), list[str]()
    end = trio.Event()

    async def work(task_status: trio.TaskStatus[None]) -> None:
        with bench.it.job(lambda: None):
            task_status.started()
            await end.wait()
            over.append("job")

    async def leave() -> None:
        await bench.it.leave()
        over.append("left")

    async with trio.open_nursery() as nursery:
        await nursery.start(work)
        nursery.start_soon(leave)
        nursery.start_soon(leave)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.codes == ["stopping"] and bench.it.no() is not None and not over
        end.set()
    assert over == ["job", "left", "left"]
    await bench.it.leave()


def test_a_node_whose_log_can_not_be_written_takes_no_work() -> None:
    bench = Bench()
    assert bench.it.no() is None
    bench.it.fault = lambda: "the credit log can't be written"
    assert bench.codes == ["log"] and bench.it.no() == No("paused")
