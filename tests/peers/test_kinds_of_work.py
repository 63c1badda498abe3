"""Everything that can be asked for crosses the mesh: pictures from pictures, adapters, texts, forms of alchemy."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO

import pytest
import trio
import trio.testing
from PIL import Image

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.engine.port import FormWork, TextWork, Work
from meshgen.peers.assignment import assign
from meshgen.peers.peer import Peer
from meshgen.peers.request import (
    ControlWish,
    FormRequest,
    ImageRequest,
    InversionWish,
    LoraWish,
    TextRequest,
)
from meshgen.testing import net_mkudos, virtual_mesh
from tests.peers.kinds import FEATURES, Recorder, done, pair, picture


async def test_a_picture_from_a_picture_with_everything(autojump_clock: trio.testing.MockClock) -> None:
    source, mask, pose = picture(), picture("L"), picture(size=(2000, 1200), kind="JPEG")
    request = ImageRequest(
        "a prompt",
        steps=4,
        count=2,
        source=source,
        mask=mask,
        strength=0.6,
        clip_skip=2,
        tiling=True,
        hires_fix=True,
        loras=(LoraWish("pencil", -0.8, 0.5),),
        inversions=(InversionWish("badhands", "negative_prompt"),),
        control=ControlWish("canny", pose, 0.9, is_map=True),
        post=("upscaler",),
    )
    async with pair() as (_, worker, asker, engine):
        job = await done(asker, request)
        work = engine.given[0]
        assert isinstance(work, Work) and work.control is not None
        assert (work.source, work.mask, work.control.image) == (source, mask, pose)
        assert (work.width, work.height, work.strength, work.clip_skip) == (64, 64, 0.6, 2)
        assert (work.loras[0].weight, work.loras[0].clip_weight, work.loras[0].digest) == (-0.8, 0.5, b"l" * 32)
        assert work.inversions[0].place == "negative_prompt" and work.tiling and work.hires_fix and work.post == ("upscaler",)
        assert work.control.is_map and not work.control.return_map
        for result in job.results.values():
            with Image.open(BytesIO(result.data)) as image:
                assert image.size == (256, 256)
        assert net_mkudos(asker, worker) == job.mkudos > 0


async def test_a_text_is_read_along_and_paid(autojump_clock: trio.testing.MockClock) -> None:
    pieces: list[str] = []
    async with pair() as (_, worker, asker, engine):
        assert asker.requester is not None
        job = asker.requester.submit(TextRequest("Once upon", tokens=5, seed=3, count=2, stops=("\n\n",), temperature=0.5))
        async with job.follow() as events:
            async for event in events:
                if event.kind == "piece" and event.data["index"] == 1:
                    pieces.append(event.data["text"])
        work = engine.given[0]
        assert isinstance(work, TextWork) and (work.prompt, work.stop, work.temperature) == ("Once upon", ("\n\n",), 0.5)
        assert job.state == "done" and [job.results[index].seed for index in (0, 1)] == [3, 4]
        assert "".join(pieces).encode() == job.results[1].data == b"word0 word1 word2 word3 word4 "
        assert job.results[1].media == "text/plain"
        assert net_mkudos(asker, worker) == job.mkudos > 0


async def test_a_form_finds_something_or_makes_a_picture(autojump_clock: trio.testing.MockClock) -> None:
    source = picture(size=(50, 30))
    async with pair() as (_, _, asker, engine):
        found = await done(asker, FormRequest("nsfw", source))
        assert (found.results[0].media, json.loads(found.results[0].data)) == ("application/json", {"nsfw": "fake"})
        assert isinstance(engine.given[0], FormWork) and engine.given[0].source == source
        grown = await done(asker, FormRequest("upscaler", source))
        with Image.open(BytesIO(grown.results[0].data)) as image:
            assert image.size == (200, 120)


async def test_one_who_has_an_engine_does_all_that_for_himself(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        alone = await mesh.add("alone", "requester worker", Recorder())
        job = await done(alone, TextRequest("Once upon", tokens=3))
        assert job.results[0].data == b"word0 word1 word2 " and job.mkudos == 0
        assert (await done(alone, FormRequest("nsfw", picture()))).mkudos == 0
        assert (await done(alone, ImageRequest("a prompt", steps=2, source=picture(), loras=(LoraWish("pencil"),)))).mkudos == 0


async def test_a_source_gives_the_size_where_none_is_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        engine = FakeEngine((replace(fake_model(default_size=512), features=FEATURES),))
        await mesh.add("worker", "worker", engine)
        asker = await mesh.requester("asker")
        job = await done(asker, ImageRequest("a prompt", steps=2, source=picture(size=(1600, 900))))
        assert (job.width, job.height) == (704, 384)


async def test_the_same_upscaler_twice_enlarges_twice(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (_, _, asker, _):
        job = await done(asker, ImageRequest("x", steps=2, post=("upscaler", "upscaler")))
        with Image.open(BytesIO(job.results[0].data)) as image:
            assert image.size == (1024, 1024)


async def test_a_photo_taken_upright_keeps_its_shape(autojump_clock: trio.testing.MockClock) -> None:
    file, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((80, 40), 90).save(file, "JPEG", exif=exif)
    async with pair() as (_, _, asker, _):
        job = await done(asker, FormRequest("nsfw", file.getvalue()))
        assert (job.width, job.height) == (40, 80)


async def test_what_is_over_keeps_no_sources(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (_, _, asker, _):
        job = await done(asker, ImageRequest("x", steps=2, source=picture()))
        assert isinstance(job.request, ImageRequest) and not job.request.source and job.request.prompt == "x"


async def test_a_worker_holds_so_many_sources_at_a_time(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = picture(size=(400, 400))
    monkeypatch.setattr("meshgen.peers.worker.MAX_INPUT_MIB", 1)
    async with pair() as (_, worker, asker, _):
        assert asker.requester is not None and worker.worker is not None
        jobs = [asker.requester.submit(ImageRequest("x", steps=2, source=source)) for _ in range(4)]
        most = 0
        while not all(job.final for job in jobs):
            most = max(most, worker.worker._input_bytes)
            await trio.sleep(0.1)
        assert [job.state for job in jobs] == ["done"] * 4
        await trio.sleep(20.0)  # the worker settles the last one
        assert len(source) <= most <= 2**20 and worker.worker._input_bytes == 0


async def test_what_comes_after_a_picture_takes_time_too(autojump_clock: trio.testing.MockClock) -> None:
    """Else a requester gives up a worker that enlarges for longer than it draws."""

    class Slow(Recorder):
        def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:
            return width * height / 64**2 * 100.0 if work_model == "upscaler" else super().estimate_s(work_model, 0, 0, 0, count)

    async with virtual_mesh() as mesh:
        await mesh.add("worker", "worker", Slow())
        asker = await mesh.requester("asker")
        plain = await asked_ms(asker, ImageRequest("x", steps=2))
        assert await asked_ms(asker, ImageRequest("x", steps=2, post=("upscaler", "upscaler"))) == plain + 1700 * 1000


async def test_hires_fix_takes_its_two_passes(autojump_clock: trio.testing.MockClock) -> None:
    class Measured(FakeEngine):
        def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:
            return width * height * steps * count / 512**2

    drawer = replace(fake_model(), family="sd1", features=FEATURES)
    async with virtual_mesh() as mesh:
        await mesh.add("worker", "worker", Measured([drawer]))
        asker = await mesh.requester("asker")
        sizes = {"width": 1024, "height": 1024, "steps": 20}
        assert await asked_ms(asker, ImageRequest("x", **sizes), "sd1") == 80_000
        assert await asked_ms(asker, ImageRequest("x", **sizes, hires_fix=True), "sd1") == 20_000 + 48_000
        assert await asked_ms(asker, ImageRequest("x", **sizes, hires_fix=True, source=picture()), "sd1") == 80_000


async def asked_ms(asker: Peer, request: ImageRequest, family: str = "other") -> int:
    """What the only worker bids for a picture."""
    assert asker.requester is not None
    means = asker.requester._means
    model = means.known_model("fake", (family,))
    assert model is not None
    offer = means.draft(assign(request, model, means.known_adapter), 1, 10**6)
    async with trio.open_nursery() as nursery:
        answers = await means.market.ask(offer, 5.0, {}, nursery)
    return next(iter(answers.bids.values())).message.picture_ms


async def test_an_upscaler_may_be_called_by_its_digest(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (_, _, asker, engine):
        await done(asker, ImageRequest("x", steps=2, post=((b"u" * 32).hex()[:10],)))
        assert isinstance(engine.given[0], Work) and engine.given[0].post == ("upscaler",)


async def test_who_declines_post_processing_still_enlarges_as_a_form(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("worker", "worker", Recorder(), worker__declines=["post-processing"])
        asker = await mesh.requester("asker")
        grown = await done(asker, FormRequest("upscaler", picture(size=(50, 30))))
        with Image.open(BytesIO(grown.results[0].data)) as image:
            assert image.size == (200, 120)
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest("x", steps=2, post=("upscaler",)))
        await job.wait()
        assert job.state == "failed" and "declines by the owner's rules" in job.error
