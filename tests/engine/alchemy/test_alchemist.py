"""The alchemist against a scripted child: answers, crashes, silence, cancelling, rest. No network is loaded here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from meshgen.engine.alchemy import alchemist
from meshgen.engine.alchemy.alchemist import MAX_CRASHES, Alchemist, open_alchemist
from meshgen.engine.alchemy.forms import Form
from meshgen.engine.port import EngineError


def form(name: str, kind: str, files: tuple[Path, ...] = (), enlarge: int = 1) -> Form:
    return Form(name, kind, files, name.encode().ljust(32), enlarge)


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(2_000_000))
    offered = [form("nsfw", "nsfw"), form("x4", "upscale", (weights,), 4), form("caption", "caption"), form("strip", "cutout")]
    monkeypatch.setattr(alchemist, "find_forms", lambda _: ({one.name: one for one in offered}, {"interrogation": "no model"}))
    (tmp_path / "starts").touch()
    return tmp_path / "starts"


@asynccontextmanager
async def opened(starts: Path, **options: Any) -> AsyncGenerator[Alchemist]:
    command = [sys.executable, "-m", "tests.engine.alchemy.scripted_child", str(starts)]
    with trio.fail_after(30):
        async with open_alchemist(command=command, **{"threads": 2, **options}) as made:
            yield made


def pids(starts: Path) -> list[int]:
    return [int(line) for line in starts.read_text().split()]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def until(condition: Callable[[], bool]) -> None:
    """What a real process does can't be waited for by an event of ours."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.005)


async def refused(made: Alchemist, name: str, picture: bytes, reason: str) -> str:
    with pytest.raises(EngineError) as caught:
        await made.run(name, picture)
    assert caught.value.reason == reason
    return str(caught.value)


async def test_no_process_before_the_first_job_and_none_afterwards(starts: Path) -> None:
    async with opened(starts) as made:
        assert {model.name for model in made.forms()} == {"nsfw", "x4", "caption", "strip"}
        assert {(post.name, post.enlarge) for post in made.posts()} == {("x4", 4), ("strip", 1)}
        assert not pids(starts)
        data, media = await made.run("nsfw", b"one")
        again, _ = await made.run("nsfw", b"two")
        assert media == "application/json" and json.loads(data) == json.loads(again)
        assert json.loads(data)["form"] == "nsfw" and pids(starts) == [json.loads(data)["pid"]]
    assert all(map(is_gone, pids(starts)))


async def test_each_crew_gets_what_it_may_take(starts: Path) -> None:
    for device, heavy in (("cpu", ["--memory-mib", "999"]), ("cuda:1", ["--device", "cuda:1"])):
        async with opened(starts, threads=3, memory_mib=999, device=device) as made:
            told = {name: json.loads((await made.run(name, b"x"))[0])["arguments"] for name in ("nsfw", "x4", "caption")}
        assert told["nsfw"] == ["--threads", "1", "--memory-mib", "999"]
        assert told["x4"] == ["--threads", "3", *heavy]
        assert told["caption"] == ["--threads", "3", "--device", device]


async def test_several_forms_run_at_once_and_each_answers_when_it_is_ready(starts: Path, tmp_path: Path) -> None:
    go, finished = tmp_path / "go", []

    async def run(name: str, picture: str) -> None:
        await made.run(name, picture.encode())
        finished.append(name)

    async with opened(starts) as made, trio.open_nursery() as nursery:
        assert made.free_slots("nsfw") == 2 and made.free_slots("x4") == 1 and made.free_slots("none") == 0
        for name in ("nsfw", "x4"):
            nursery.start_soon(run, name, f"wait {go}")
        await until(lambda: made.free_slots("nsfw") == 1 and made.free_slots("x4") == 0)
        await run("strip", "now")
        await run("caption", "now")
        assert finished == ["strip", "caption"]
        go.touch()
    assert sorted(finished) == ["caption", "nsfw", "strip", "x4"] and len(pids(starts)) == 4


@pytest.mark.parametrize(("order", "why"), [("crash", "signal 9"), ("exit", "exit code 9"), ("nonsense", "nonsense")])
async def test_a_crash_costs_one_job_and_the_next_runs(starts: Path, order: str, why: str) -> None:
    async with opened(starts) as made:
        assert why in await refused(made, "nsfw", order.encode(), "crashed")
        await made.run("nsfw", b"well")
        assert len(set(pids(starts))) == 2 and is_gone(pids(starts)[0])


async def test_silence_ends_the_process_and_signs_of_life_do_not(starts: Path) -> None:
    async with opened(starts, silence_s=1.2) as made:
        await made.run("x4", b"slow")  # 1.6 s, but never so long without a word
        assert "sign of life" in await refused(made, "x4", b"hang", "crashed")
        assert is_gone(pids(starts)[0])


async def test_three_crashes_in_a_row_take_a_form_off_the_list(starts: Path) -> None:
    async with opened(starts) as made:
        for _ in range(MAX_CRASHES - 1):
            await refused(made, "nsfw", b"exit", "crashed")
        await made.run("nsfw", b"well")
        for _ in range(MAX_CRASHES):
            await refused(made, "nsfw", b"exit", "crashed")
        assert "nsfw" not in {model.name for model in made.forms()} and "3 times" in made.missing["nsfw"]
        assert "3 times" in await refused(made, "nsfw", b"well", "unknown_model")
        await made.run("strip", b"well")


async def test_a_bad_model_is_off_the_list_at_once_and_bad_input_is_not(starts: Path) -> None:
    async with opened(starts) as made:
        for _ in range(MAX_CRASHES + 1):
            await refused(made, "strip", b"refuse bad_input", "bad_input")
        assert await refused(made, "strip", b"refuse bad_model", "bad_model") == made.missing["strip"] == "it is bad_model"
        assert len(pids(starts)) == 1


async def test_cancelling_ends_the_process_at_work(starts: Path) -> None:
    async with opened(starts) as made:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(made.run, "x4", b"hang")
                await until(lambda: len(pids(starts)) == 1)
                scope.cancel()
        assert is_gone(pids(starts)[0]) and made.free_slots("x4") == 1
        await made.run("x4", b"well")


async def test_leaving_ends_what_is_at_work(starts: Path) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError), flatten_subgroups=True):
        async with opened(starts) as made, trio.open_nursery() as nursery:
            nursery.start_soon(made.run, "x4", b"hang")
            await until(lambda: len(pids(starts)) == 1)
            raise KeyError
    assert is_gone(pids(starts)[0])


async def test_who_has_rested_long_enough_is_ended_and_started_again(starts: Path) -> None:
    async with opened(starts, idle_s=0.05) as made:
        await made.run("nsfw", b"one")
        await until(lambda: is_gone(pids(starts)[0]))
        await made.run("nsfw", b"two")
        assert len(set(pids(starts))) == 2


async def test_a_process_that_died_while_it_rested_is_replaced(starts: Path) -> None:
    async with opened(starts) as made:
        await made.run("nsfw", b"one")
        os.kill(pids(starts)[0], 9)
        await until(lambda: is_gone_or_zombie(pids(starts)[0]))
        await made.run("nsfw", b"two")


def is_gone_or_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_what_is_not_offered_or_too_large_never_reaches_a_process(starts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alchemist, "MAX_PICTURE_BYTES", 10)
    async with opened(starts) as made:
        assert await refused(made, "interrogation", b"x", "unknown_model") == "no model"
        assert "no form 'GFPGAN'" in await refused(made, "GFPGAN", b"x", "unknown_model")
        assert "11 bytes" in await refused(made, "nsfw", bytes(11), "bad_input")
        await refused(made, "nsfw", b"", "bad_input")
        assert not pids(starts)


async def test_estimates_come_from_measured_speed(starts: Path) -> None:
    async with opened(starts) as made:
        guess = made.estimate_s("x4", 1000)
        assert guess > 0 and made.estimate_s("x4", 2000) == pytest.approx(2 * guess)
        await made.run("x4", b"x")  # 2 s for 100 pixels, it says
        await made.run("nsfw", b"x")
        assert made.estimate_s("x4", 1000) == pytest.approx(20) and made.estimate_s("nsfw", 1000) == 2
        assert made.estimate_s("unheard", 1000) == 0


async def test_an_owner_offers_only_some(starts: Path) -> None:
    for only, names in (
        (("nsfw", "caption"), {"nsfw", "caption"}),
        (("post-process", "nsfw"), {"nsfw", "x4", "strip"}),
        (("all",), {"nsfw", "caption", "x4", "strip"}),
        (("unheard",), set()),
    ):
        async with opened(starts, only=only) as made:
            assert {model.name for model in made.forms()} == names
            assert {post.name for post in made.posts()} == names - {"nsfw", "caption"}


async def test_a_process_that_can_not_be_started_is_no_crash(starts: Path) -> None:
    async with open_alchemist(command=[str(starts / "nothing")]) as made:
        assert "started" in await refused(made, "nsfw", b"x", "unsupported")
