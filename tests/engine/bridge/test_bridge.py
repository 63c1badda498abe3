"""The bridge as an engine: what workers take, bring, lose and never bring."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any, Literal

import pytest
import trio
from PIL import Image
from trio.testing import MockClock

from meshgen.engine.bridge.bridge import LATENESS, TTL_S, Bridge, HandIn
from meshgen.engine.bridge.crew import LIVE_S, MAX_LOSSES, REST_S
from meshgen.engine.bridge.line import NoPiece
from meshgen.engine.bridge.names import digest_of
from meshgen.engine.bridge.pace import GUESS
from meshgen.engine.bridge.popper import Popper
from meshgen.engine.bridge.results import Unusable
from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.engine.port import AdapterInfo, Answer, EngineError, EngineEvent, FormWork, Picture, Progress, Room, TextWork, Work
from meshgen.engine.several import Several, declines_nsfw, is_declined, lane_of, most_tokens
from meshgen.pictures import check_png, text_of

MODEL = "Deliberate"
WORK = Work(MODEL, "a secret fjord", "fog", 128, 64, 20, 7.5, "k_euler_karras", (11, 12, 13))
PAINTER = Popper("painter", "image", (MODEL, "AlbedoBase XL (SDXL)"), "reGen:9:https://x", max_pixels=512 * 512)
WRITER = Popper("writer", "text", ("koboldcpp/tiny-1.1b",))
TEXT = TextWork("koboldcpp/tiny-1.1b", "once", 40, (1, 2))


def picture(width: int = 128, height: int = 64, kind: str = "WEBP", **more: Any) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, kind, **more)
    return file.getvalue()


class Running:
    """A job in the bridge: what it told so far, and how it ended."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []
        self.error: EngineError | None = None
        self.scope = trio.CancelScope()

    async def run(self, bridge: Bridge, work: Any) -> None:
        with self.scope:
            try:
                async with bridge.run(work) as events:
                    async for event in events:
                        self.events.append(event)
            except EngineError as error:
                self.error = error

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def running(bridge: Bridge, work: Any) -> AsyncIterator[Running]:
    """Started, and ended when the block ends."""
    job = Running()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(job.run, bridge, work)
        await trio.testing.wait_all_tasks_blocked()
        yield job
        nursery.cancel_scope.cancel()


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def later(clock: MockClock, seconds: float) -> None:
    """The clock stands still but for this: threads take as long as they like."""
    clock.jump(seconds)
    await settled()


async def in_line(bridge: Bridge, count: int = 1) -> None:
    """Until so many results wait: a source is looked at in a thread first."""
    while len(bridge._line.waiting()) < count:
        await trio.lowlevel.checkpoint()


async def test_pictures_go_out_and_come_back(mock_clock: MockClock) -> None:
    bridge = Bridge(worth=lambda work: 700)
    assert bridge.pop(PAINTER).pieces == ()
    async with running(bridge, WORK) as job:
        handout = bridge.pop(replace(PAINTER, amount=2))
        assert [(piece.index, piece.seed) for piece in handout.pieces] == [(0, 11), (1, 12)]
        assert handout.pieces[0].job.payload["prompt"] == "a secret fjord ### fog"
        assert handout.ttl_s >= TTL_S and handout.skipped == {}
        (last,) = bridge.pop(PAINTER).pieces
        assert bridge.pop(PAINTER).pieces == ()
        await later(mock_clock, 10)
        for piece, kind in zip(handout.pieces, ("PNG", "JPEG"), strict=True):
            assert await bridge.submit(piece.id, HandIn(data=picture(kind=kind))) == 700
        await later(mock_clock, 5)
        bridge.upload(last.id, picture())
        assert await bridge.submit(last.id, HandIn()) == 700
        await settled()
        found = {event.index: event for event in job.of(Picture)}
        assert {index: event.seed for index, event in found.items()} == {0: 11, 1: 12, 2: 13}
        assert [event.step for event in job.of(Progress)] == [0, 0, 0] and job.error is None
        for event in found.values():
            check_png(event.png, 128, 64)
            assert text_of(event.png) == {}
        assert [found[index].seconds for index in range(3)] == [5, 5, 5]
    row = bridge.workers()[0]
    assert (row["done"], row["mkudos"], row["held"]) == (3, 2100, 0)
    assert bridge.estimate_s(MODEL, 128, 64, 20, 1) == pytest.approx(5) and bridge.estimate_error() is not None


async def test_a_result_without_a_picture_says_so_and_the_job_goes_to_another(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(PAINTER)
    other = replace(PAINTER, name="other")
    bombs = {"garbage": b"no picture", "nothing": b"", "another size": picture(64, 64), "cut": picture(kind="PNG")[:60]}
    for what, data in bombs.items():
        bridge.pop(other)
        async with running(bridge, replace(WORK, seeds=(1,))) as job:
            (taken,) = [piece.id for piece in bridge.pop(PAINTER).pieces]
            with pytest.raises(Unusable):
                await bridge.submit(taken, HandIn(data=data))
            with pytest.raises(NoPiece, match="aborted"):
                await bridge.submit(taken, HandIn(data=picture()))
            assert bridge.pop(PAINTER).pieces == (), f"{what}: the other one is asked first"
            (again,) = bridge.pop(other).pieces
            await bridge.submit(again.id, HandIn(data=picture()))
            await settled()
            assert len(job.of(Picture)) == 1 and job.error is None, what
        (found,) = [row for row in bridge.workers() if row["name"] == "other"]
        assert found["done"]
        bridge._crew.brought(("image", "painter"), 0)  # else it would rest


async def test_who_loses_every_job_gets_none_for_a_while(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(PAINTER)
    for _ in range(MAX_LOSSES):
        bridge.pop(PAINTER)
        async with running(bridge, replace(WORK, seeds=(1,))) as job:
            for _ in range(2):
                for piece in bridge.pop(PAINTER).pieces:
                    await bridge.submit(piece.id, HandIn("faulted"))
            await settled()
            assert job.error is None or job.error.reason in ("crashed", "unknown_model")
    assert bridge.pop(PAINTER).rests
    bridge.refresh()
    assert bridge.models() == []
    await later(mock_clock, REST_S + 1)
    bridge.pop(PAINTER)
    bridge.refresh()
    assert not bridge.pop(PAINTER).rests and bridge.models()


async def test_a_worker_that_never_brings_it_loses_it_and_two_of_them_are_the_end(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(PAINTER)
    start = trio.current_time()
    async with running(bridge, replace(WORK, seeds=(1,))) as job:
        (first,) = bridge.pop(PAINTER).pieces
        due_s = bridge._line.piece(first.id).due_s - start
        first_id = first.id
        await later(mock_clock, due_s + 6)
        with pytest.raises(NoPiece, match="aborted"):
            await bridge.submit(first_id, HandIn(data=picture()))
        (second,) = bridge.pop(PAINTER).pieces
        assert second.id != first_id
        await later(mock_clock, due_s + 6)
        await settled()
        assert job.error is not None and job.error.reason == "crashed" and "too long" in str(job.error)
    assert due_s == pytest.approx(TTL_S + LATENESS * 128 * 64 * 20 / 1e6 / GUESS["image"], abs=1)


async def test_what_is_not_wanted_any_more_is_refused_as_aborted_and_twice_as_duplicate(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(PAINTER)
    async with running(bridge, WORK) as job:
        (first,) = bridge.pop(PAINTER).pieces
        (second,) = bridge.pop(PAINTER).pieces
        await bridge.submit(first.id, HandIn(data=picture()))
        with pytest.raises(NoPiece, match="duplicate"):
            await bridge.submit(first.id, HandIn(data=picture()))
        job.scope.cancel()
        await settled()
        with pytest.raises(NoPiece, match="aborted"):
            bridge.upload(second.id, picture())
        with pytest.raises(NoPiece, match="aborted"):
            await bridge.submit(second.id, HandIn(data=picture()))
    with pytest.raises(NoPiece, match="unknown"):
        await bridge.submit("00000000-0000-0000-0000-000000000000", HandIn(data=picture()))
    assert bridge.pop(PAINTER).pieces == (), "nothing is left in the line"


async def test_what_a_filter_withheld_is_not_tried_again(mock_clock: MockClock) -> None:
    states: tuple[Literal["censored", "csam"], ...] = ("censored", "csam")
    for state in states:
        bridge = Bridge()
        bridge.pop(PAINTER)
        async with running(bridge, WORK) as job:
            (piece,) = bridge.pop(PAINTER).pieces
            assert await bridge.submit(piece.id, HandIn(state, picture())) == 0
            await settled()
            assert job.error is not None and job.error.reason == "unsupported" and "filter" in str(job.error)


async def test_a_worker_is_there_for_as_long_as_it_asks_or_works(mock_clock: MockClock) -> None:
    bridge = Bridge()
    told: list[list[str]] = []
    bridge.on_change.append(lambda: told.append([model.name for model in bridge.models()]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.watch)
        bridge.pop(PAINTER)
        assert told == [list(PAINTER.models)] and bridge.room() == Room(1, 1)
        bridge.pop(replace(PAINTER, threads=3))
        assert bridge.room() == Room(3, 1) and len(told) == 2
        bridge.pop(replace(PAINTER, threads=3))
        assert len(told) == 2, "nothing new"
        async with running(bridge, replace(WORK, seeds=(1,), steps=500, width=512, height=512)):
            bridge.pop(replace(PAINTER, threads=3))
            await later(mock_clock, LIVE_S + 20)
            assert bridge.models(), "it computes"
        await later(mock_clock, LIVE_S)
        assert bridge.models() == [] and told[-1] == [] and bridge.workers() == []
        nursery.cancel_scope.cancel()


async def test_a_job_whose_only_worker_went_away_ends(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(PAINTER)
    async with running(bridge, WORK) as job:
        await later(mock_clock, LIVE_S + 10)
        assert job.error is not None and job.error.reason == "crashed" and "went away" in str(job.error)
    async with running(bridge, WORK) as job:
        assert job.error is not None and job.error.reason == "unknown_model"


async def test_what_a_worker_does_not_allow_it_does_not_get(mock_clock: MockClock) -> None:
    bridge = Bridge()
    alone = replace(WORK, seeds=(1,))
    source = picture(kind="PNG")
    file = BytesIO()
    Image.new("RGBA", (128, 64), (9, 9, 9, 0)).save(file, "PNG")
    able = replace(PAINTER, name="able", allows=frozenset(("img2img", "painting", "post-processing")), max_pixels=2**22)
    wanting = {
        "max_pixels": replace(alone, width=1024, height=1024),
        "img2img": replace(alone, source=source),
        "painting": replace(alone, source=source, mask=source),
        "post-processing": replace(alone, post=("GFPGAN",)),
        "blacklist": replace(alone, prompt="a SECRET place"),
    } | {"painting ": replace(alone, source=file.getvalue())}
    for why, work in wanting.items():
        bridge.pop(able)
        async with running(bridge, work):
            await in_line(bridge)
            handout = bridge.pop(replace(PAINTER, blacklist=("secret pl",)))
            assert handout.pieces == () and handout.skipped == {why.strip(): 1}, why
            assert len(bridge.pop(able).pieces) == 1, why
    lonely = Bridge()
    lonely.pop(PAINTER)
    async with running(lonely, wanting["img2img"]) as job:
        while job.error is None:
            await trio.lowlevel.checkpoint()
        assert job.error.reason == "unsupported"


async def test_texts(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(WRITER)
    model = bridge.models()[0]
    assert (model.family, model.millions, model.context, model.digest) == ("text", 1100, 2048, digest_of(model.name))
    async with running(bridge, TEXT) as job:
        assert bridge.pop(replace(WRITER, max_tokens=39)).skipped == {"max_length": 2}
        (first,), (second,) = bridge.pop(WRITER).pieces, bridge.pop(WRITER).pieces
        await bridge.submit(first.id, HandIn(data=b"upon a time"))
        with pytest.raises(Unusable):
            await bridge.submit(second.id, HandIn(data=b"x" * 100_000))
        (again,) = bridge.pop(WRITER).pieces
        await bridge.submit(again.id, HandIn(data=b""))
        await settled()
        assert [(one.index, one.data, one.media) for one in job.of(Answer)] == [
            (0, b"upon a time", "text/plain"),
            (1, b"", "text/plain"),
        ]


async def test_forms(mock_clock: MockClock) -> None:
    bridge = Bridge()
    alchemist = Popper("al", "alchemy", ("caption", "RealESRGAN_x2plus"), amount=4)
    bridge.pop(alchemist)
    assert {(one.name, one.enlarge) for one in bridge.adapters()} == {("RealESRGAN_x2plus", 2)}
    source = picture(64, 32, "PNG")
    async with (
        running(bridge, FormWork("caption", source)) as said,
        running(bridge, FormWork("RealESRGAN_x2plus", source)) as grown,
    ):
        caption, upscaled = bridge.pop(alchemist).pieces
        assert bridge.source(caption.id) == source
        await bridge.submit(caption.id, HandIn(data=json.dumps({"caption": "a cat", "more": 1}).encode()))
        await bridge.submit(upscaled.id, HandIn(data=picture(128, 64)))
        await settled()
        assert json.loads(said.of(Answer)[0].data) == {"caption": "a cat"}
        assert grown.of(Answer)[0].media == "image/png"
        check_png(grown.of(Answer)[0].data, 128, 64)


async def test_a_caption_may_come_as_it_is(mock_clock: MockClock) -> None:
    bridge = Bridge()
    alchemist = Popper("al", "alchemy", ("caption",))
    bridge.pop(alchemist)
    async with running(bridge, FormWork("caption", picture())) as job:
        (piece,) = bridge.pop(alchemist).pieces
        await bridge.submit(piece.id, HandIn(data=b'"a cat"'))
        await settled()
        assert json.loads(job.of(Answer)[0].data) == {"caption": "a cat"}


@pytest.mark.parametrize("wrong", [b'{"nsfw": true}', b"[]", b"no", b"{", b"\xff", b'{"caption": "%s"}' % (b"x" * 70_000)])
async def test_a_finding_that_is_none_is_refused(wrong: bytes, mock_clock: MockClock) -> None:
    bridge = Bridge()
    alchemist = Popper("al", "alchemy", ("caption",))
    bridge.pop(alchemist)
    async with running(bridge, FormWork("caption", picture())):
        (piece,) = bridge.pop(alchemist).pieces
        with pytest.raises(Unusable):
            await bridge.submit(piece.id, HandIn(data=wrong))


async def test_a_name_writes_no_line_of_its_own_into_the_log(mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    bridge = Bridge()
    alchemist = Popper("al\nERROR all is lost", "alchemy", ("caption",))
    bridge.pop(alchemist)
    with caplog.at_level("INFO"):
        async with running(bridge, FormWork("caption", picture())):
            (piece,) = bridge.pop(alchemist).pieces
            await bridge.submit(piece.id, HandIn("faulted"))
    (line,) = caplog.messages
    assert "all is lost" in line and "\n" not in line


async def test_a_worker_holds_no_more_than_it_can_do_soon(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(PAINTER)
    async with running(bridge, replace(WORK, seeds=tuple(range(20)))):
        taken = [len(bridge.pop(PAINTER).pieces) for _ in range(20)]
        assert sum(taken) == 5 and taken == sorted(taken, reverse=True)


async def test_beside_an_engine_of_ones_own(mock_clock: MockClock) -> None:
    bridge = Bridge()
    several = Several(FakeEngine([fake_model(), fake_model(MODEL)]), bridge)
    bridge.pop(PAINTER)
    assert [model.name for model in several.models()] == ["fake", MODEL, "AlbedoBase XL (SDXL)"]
    assert (lane_of(several, MODEL), lane_of(several, "AlbedoBase XL (SDXL)")) == ("", "1")
    assert several.device().kind == "fake" and several.room() == Room(2, 1)
    async with several.run(replace(WORK, model="fake")) as events:
        assert [event.index async for event in events if isinstance(event, Picture)] == [0, 1, 2]


async def test_what_no_worker_takes_is_known_before_it_is_bid_for(mock_clock: MockClock) -> None:
    bridge = Bridge()
    several = Several(FakeEngine(), bridge)
    picky, other = (replace(PAINTER, name=name, blacklist=words) for name, words in (("picky", ("Secret",)), ("other", ("x-y",))))
    bridge.pop(picky)
    assert is_declined(several, MODEL, "a secret fjord") and not is_declined(several, MODEL, "a fjord")
    assert not is_declined(several, "fake", "a secret fjord")
    assert declines_nsfw(several, MODEL) and not declines_nsfw(several, "fake")
    bridge.pop(replace(other, nsfw=True))
    assert not is_declined(several, MODEL, "a secret fjord"), "the other one takes it"
    assert not declines_nsfw(several, MODEL)
    bridge.pop(WRITER)
    bridge.pop(replace(WRITER, name="longer", max_tokens=600))
    assert (most_tokens(several, WRITER.models[0]), most_tokens(several, "fake")) == (600, None)


async def test_adapters_of_two_engines_are_not_mixed(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(replace(PAINTER, allows=frozenset(("controlnet", "post-processing"))))
    bridge.pop(Popper("al", "alchemy", ("GFPGAN",)))
    canny = AdapterInfo("controlnet", "canny", bytes(32))
    draws = Several(FakeEngine(adapters=[canny]), bridge)
    assert {(one.kind, one.name) for one in draws.adapters()} == {("controlnet", "canny"), ("post", "GFPGAN")}
    assert all("controlnet" not in model.features for model in draws.models())
    writes = Several(FakeEngine([replace(fake_model(), family="text")]), bridge)
    assert ("controlnet", "hed") in {(one.kind, one.name) for one in writes.adapters()}
    assert any("controlnet" in model.features for model in writes.models())


async def test_who_hangs_up_while_its_picture_is_looked_at_loses_the_job(mock_clock: MockClock) -> None:
    bridge = Bridge()
    bridge.pop(PAINTER)
    async with running(bridge, replace(WORK, seeds=(1,))) as job:
        (taken,) = [piece.id for piece in bridge.pop(PAINTER).pieces]
        with trio.CancelScope() as hung_up:
            hung_up.cancel()
            await bridge.submit(taken, HandIn(data=picture()))
        with pytest.raises(NoPiece, match="aborted"):
            await bridge.submit(taken, HandIn(data=picture()))
        (again,) = bridge.pop(PAINTER).pieces
        await bridge.submit(again.id, HandIn(data=picture()))
        await settled()
        assert len(job.of(Picture)) == 1


@pytest.mark.parametrize(("threads", "expected"), [(1, [10, 10, 10]), (2, [10, 19, 19])])
async def test_what_is_taken_ahead_is_timed_from_when_it_begins(threads: int, expected: list[int], mock_clock: MockClock) -> None:
    bridge = Bridge()
    worker = replace(PAINTER, threads=threads)
    bridge.pop(worker)
    async with running(bridge, replace(WORK, seeds=(1, 2, 3))) as job:
        held = [*bridge.pop(worker).pieces]
        for _ in range(3):
            await later(mock_clock, 1)
            held += bridge.pop(worker).pieces
            await later(mock_clock, 9)
            await bridge.submit(held.pop(0).id, HandIn(data=picture()))
        await settled()
        assert [round(event.seconds) for event in job.of(Picture)] == expected
