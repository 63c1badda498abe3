"""The fake engine keeps the port's promises, and fails in the ways it is told to."""

from __future__ import annotations

from io import BytesIO

import pytest
import trio
from PIL import Image
from trio.testing import MockClock

from meshgen.engine.fake import FakeEngine, Fault, fake_model
from meshgen.engine.port import Engine, EngineError, EngineEvent, Picture, Preview, Progress, Work


def work(**changes: object) -> Work:
    fields: dict[str, object] = {
        "model": "fake", "prompt": "a red circle", "negative_prompt": "", "width": 64, "height": 48, "steps": 4,
        "guidance_scale": 5.0, "scheduler": "", "seeds": (1, 2),
    }  # fmt: skip
    return Work(**{**fields, **changes})  # type: ignore[arg-type]


async def events_of(engine: Engine, job: Work) -> list[EngineEvent]:
    async with engine.run(job) as events:
        return [event async for event in events]


async def test_every_seed_yields_its_progress_and_one_picture() -> None:
    events = await events_of(FakeEngine(), work())
    pictures = [event for event in events if isinstance(event, Picture)]
    assert [(picture.index, picture.seed) for picture in pictures] == [(0, 1), (1, 2)]
    assert [event for event in events if isinstance(event, Progress)] == [Progress(i, s, 4) for i in (0, 1) for s in (1, 2, 3, 4)]
    for picture in pictures:
        with Image.open(BytesIO(picture.png)) as image:
            image.load()
            assert image.format == "PNG" and image.size == (64, 48)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
async def test_a_picture_follows_from_model_and_seed(autojump_clock: MockClock, seconds: float) -> None:
    engine = FakeEngine([fake_model("one"), fake_model("two")], seconds)
    first, again, other_model = [await events_of(engine, work(model=name)) for name in ("one", "one", "two")]
    assert first == again and first[-1] != other_model[-1]
    pictures = [event.png for event in first if isinstance(event, Picture)]
    assert pictures[0] != pictures[1]


async def test_pictures_take_the_stated_time_on_trios_clock(autojump_clock: MockClock) -> None:
    engine = FakeEngine(seconds_per_picture=8.0)
    start = trio.current_time()
    await events_of(engine, work())
    assert trio.current_time() - start == pytest.approx(engine.estimate_s("fake", 64, 48, 4, 2)) == 16.0


async def test_previews_come_when_asked_for() -> None:
    previews = [event for event in await events_of(FakeEngine(), work(preview_every=2)) if isinstance(event, Preview)]
    assert [(preview.index, preview.step) for preview in previews] == [(0, 2), (0, 4), (1, 2), (1, 4)]
    assert all(preview.jpeg.startswith(b"\xff\xd8") for preview in previews)


async def test_a_job_waits_for_a_slot_and_leaving_frees_it(autojump_clock: MockClock) -> None:
    engine = FakeEngine(seconds_per_picture=1.0)
    async with engine.run(work()) as events:
        await anext(events)
        assert engine.free_slots() == 0
        async with engine.run(work()) as others:  # entering does not wait, the first event does
            with trio.move_on_after(5) as waiting:
                await anext(others)
        assert waiting.cancelled_caught
        await anext(events)
    assert engine.free_slots() == 1
    assert len(await events_of(engine, work())) == 10


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (work(model="nobody's"), "unknown_model"),
        (work(width=4096), "bad_input"),
        (work(height=0), "bad_input"),
        (work(steps=0), "bad_input"),
        (work(seeds=()), "bad_input"),
    ],
)
async def test_bad_work_is_refused_by_reason(job: Work, reason: str) -> None:
    engine = FakeEngine([fake_model(max_pixels=64 * 64)])
    with pytest.raises(EngineError) as caught:
        await events_of(engine, job)
    assert caught.value.reason == reason and job.prompt not in str(caught.value)
    assert engine.free_slots() == 1


async def test_faults_happen_at_their_picture(autojump_clock: MockClock) -> None:
    engine = FakeEngine(seconds_per_picture=1.0, fail=Fault("crash", at=1))
    seen: list[EngineEvent] = []
    with pytest.raises(EngineError) as caught:
        async with engine.run(work()) as events:
            async for event in events:
                seen.append(event)
    assert caught.value.reason == "crashed" and [event.index for event in seen if isinstance(event, Picture)] == [0]

    engine.fault = Fault("hang", at=1)
    with trio.move_on_after(60) as hanging:
        await events_of(engine, work())
    assert hanging.cancelled_caught and engine.free_slots() == 1

    engine.fault = Fault("wrong_size")
    first = next(event for event in await events_of(engine, work()) if isinstance(event, Picture))
    with Image.open(BytesIO(first.png)) as image:
        assert image.size == (65, 48)

    engine.fault = Fault("garbage", at=1)
    last = (await events_of(engine, work()))[-1]
    assert isinstance(last, Picture) and not last.png.startswith(b"\x89PNG")
