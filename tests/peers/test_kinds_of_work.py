"""Everything that can be asked for crosses the mesh: pictures from pictures, adapters, texts, forms of alchemy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import trio
import trio.testing
from PIL import Image

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.engine.port import AdapterInfo, Answer, AnyWork, EngineEvent, FormWork, Picture, Preview, TextPart, TextWork, Work
from meshgen.peers.assignment import assign
from meshgen.peers.describing import adapter_adverts
from meshgen.peers.job import Job
from meshgen.peers.orders import names_what_it_needs
from meshgen.peers.peer import Peer
from meshgen.peers.request import (
    ControlWish,
    FormRequest,
    ImageRequest,
    InversionWish,
    LoraWish,
    Request,
    RequestError,
    TextRequest,
)
from meshgen.protocols.order import PostOrder, WorkOrder
from meshgen.testing import VirtualMesh, net_mkudos, virtual_mesh
from tests.conformance.samples import SAMPLES

FEATURES = (
    "txt2img",
    "img2img",
    "inpainting",
    "controlnet",
    "lora",
    "inversion",
    "clip_skip",
    "tiling",
    "hires_fix",
    "negative_prompt",
)
MODELS = (
    replace(fake_model(), features=FEATURES),
    replace(fake_model("writer"), family="text", millions=135, context=2048),
    replace(fake_model("nsfw"), family="alchemy"),
    replace(fake_model("upscaler"), family="alchemy"),
)
ADAPTERS = (
    AdapterInfo("lora", "pencil", b"l" * 32, "other"),
    AdapterInfo("lora", "of another family", b"x" * 32, "sdxl"),
    AdapterInfo("inversion", "badhands", b"i" * 32, "other"),
    AdapterInfo("controlnet", "canny", b"c" * 32, "other"),
    AdapterInfo("post", "upscaler", b"u" * 32, "", enlarge=4),
)


class Recorder(FakeEngine):
    """Remembers what it was given to do."""

    def __init__(self) -> None:
        super().__init__(MODELS, 1.0, adapters=ADAPTERS)
        self.given: list[AnyWork] = []

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        self.given.append(work)
        async with super().run(work) as events:
            yield events


def picture(mode: str = "RGB", size: tuple[int, int] = (96, 64), kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.effect_noise(size, 90).convert(mode).save(file, kind)
    return file.getvalue()


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[VirtualMesh, Peer, Peer, Recorder]]:
    async with virtual_mesh() as mesh:
        engine = Recorder()
        worker, asker = await mesh.add("worker", "worker", engine), await mesh.requester("asker")
        yield mesh, worker, asker, engine


async def done(asker: Peer, request: Request) -> Job:
    assert asker.requester is not None
    job = asker.requester.submit(request)
    await job.wait()
    assert job.state == "done", job.error
    return job


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


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"loras": (LoraWish("unknown"),)}, "no worker is known that has the lora 'unknown'"),
        ({"loras": (LoraWish("of another family"),)}, "no worker is known that has the lora 'of another family'"),
        ({"post": ("GFPGAN",)}, "no worker is known that has the post 'GFPGAN'"),
    ],
)
async def test_what_nobody_has_is_said(fields: dict[str, Any], why: str, autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (_, _, asker, _):
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest("a prompt", steps=2, **fields))
        await job.wait()
        assert job.state == "failed" and why in job.error


@pytest.mark.parametrize(
    ("request_", "code", "where"),
    [
        (ImageRequest("x", mask=b"mask"), "bad_request", "mask"),
        (ImageRequest("x", source=b"no picture"), "bad_picture", "source"),
        (ImageRequest("x", source=picture(size=(9000, 2))), "bad_picture", "source"),
        (ImageRequest("x", source=bytes(17 * 2**20)), "bad_picture", "source"),
        (ImageRequest("x", loras=(LoraWish("pencil", 7.0),)), "bad_request", ""),
        (ImageRequest("x", clip_skip=13), "bad_request", "clip_skip"),
        (TextRequest("x", tokens=5000), "bad_request", "tokens"),
        (TextRequest(" "), "no_prompt", "prompt"),
        (FormRequest("nsfw", b""), "bad_picture", "source"),
    ],
)
async def test_what_no_order_may_hold_is_refused_at_once(
    request_: Request, code: str, where: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with pair() as (_, _, asker, _):
        assert asker.requester is not None
        with pytest.raises(RequestError) as caught:
            asker.requester.submit(request_)
        assert (caught.value.code, caught.value.field) == (code, where), str(caught.value)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (ImageRequest("x", control=ControlWish("canny", picture(), return_map=True), post=("upscaler",)), "a map is handed back"),
        (ImageRequest("x", width=1024, height=512, post=("upscaler",) * 2), "can't grow 16 times"),
        (FormRequest("upscaler", picture(size=(2100, 16))), "can't grow 4 times"),
    ],
)
async def test_what_no_offer_may_say_is_said_before_a_worker_is_asked(
    request_: Request, why: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with pair() as (_, _, asker, engine):
        assert asker.requester is not None
        job = asker.requester.submit(request_)
        await job.wait()
        assert job.state == "failed" and why in job.error
        assert not engine.given and not job.parts and asker.ledger.head().seq <= 1


async def test_the_same_upscaler_twice_enlarges_twice(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (_, _, asker, _):
        job = await done(asker, ImageRequest("x", steps=2, post=("upscaler", "upscaler")))
        with Image.open(BytesIO(job.results[0].data)) as image:
            assert image.size == (1024, 1024)


class Saying(Recorder):
    """Answers everything with the same bytes, each index its own event."""

    def __init__(self, *events: EngineEvent) -> None:
        super().__init__()
        self._said = events

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        async def said() -> AsyncIterator[EngineEvent]:
            for event in self._said:
                yield event

        yield said()


@asynccontextmanager
async def asking(*events: EngineEvent) -> AsyncIterator[Peer]:
    async with virtual_mesh() as mesh:
        await mesh.add("worker", "worker", Saying(*events))
        yield await mesh.requester("asker")


@pytest.mark.parametrize("said", [b"", b"{ not json"])
async def test_a_text_may_be_empty_or_begin_with_anything(said: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with asking(Answer(0, 5, said, "text/plain", 0.1)) as asker:
        job = await done(asker, TextRequest("Once upon", seed=5))
        assert (job.results[0].data, job.results[0].media) == (said, "text/plain")


async def test_an_engine_that_begins_again_breaks_no_job(autojump_clock: trio.testing.MockClock) -> None:
    again = [TextPart(0, "a"), TextPart(0, "b")] * 3
    async with asking(*again, Answer(0, 5, b"ab", "text/plain", 0.1)) as asker:
        assert (await done(asker, TextRequest("Once upon", tokens=2, seed=5))).results[0].data == b"ab"
    shown = [Preview(0, step, b"jpeg") for step in (2, 4, 2, 4)]
    drawn = [event async for event in FakeEngine(MODELS)._draw_all(_work())]
    async with asking(*shown, *drawn) as asker:
        assert (await done(asker, ImageRequest("x", steps=4, seed=5, preview_every=2))).results


def _work() -> Work:
    return Work("fake", "x", "", 64, 64, 4, 5.0, "", (5,))


async def test_maps_are_alike_and_no_lie(autojump_clock: trio.testing.MockClock) -> None:
    drawn = [event async for event in FakeEngine(MODELS)._draw_all(_work()) if isinstance(event, Picture)]
    both = [replace(drawn[0], index=index, seed=5 + index) for index in (0, 1)]
    async with asking(*both) as asker:
        await done(asker, ImageRequest("x", steps=4, seed=5, count=2, control=ControlWish("canny", picture(), return_map=True)))


async def test_a_form_says_what_it_is_about(autojump_clock: trio.testing.MockClock) -> None:
    async with asking(Answer(0, 0, b'{"caption": "a cat"}', "application/json", 0.1)) as asker:
        assert asker.requester is not None
        job = asker.requester.submit(FormRequest("nsfw", picture()))
        await job.wait()
        assert job.state == "failed" and "says nothing of nsfw" in job.notes[0]


async def test_a_form_is_done_for_the_size_that_was_offered(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever offers a small picture and sends a large one gets nothing for it."""
    monkeypatch.setattr("meshgen.peers.assignment._size", lambda request, model: (8, 8))
    async with pair() as (_, worker, asker, engine):
        assert asker.requester is not None
        job = asker.requester.submit(FormRequest("upscaler", picture(size=(800, 800))))
        await job.wait()
        assert job.state == "failed" and not engine.given and "can't use a picture that was sent" in job.error
        assert asker.requester._means.market.trust.of(worker.net.peer_id) == 1.0


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


async def asked_ms(asker: Peer, request: ImageRequest) -> int:
    """What the only worker bids for a picture."""
    assert asker.requester is not None
    means = asker.requester._means
    model = means.known_model("fake", ("other",))
    assert model is not None
    offer = means.draft(assign(request, model, means.known_adapter), 1, 10**6)
    async with trio.open_nursery() as nursery:
        answers = await means.market.ask(offer, 5.0, {}, nursery)
    return next(iter(answers.bids.values())).message.picture_ms


async def test_an_upscaler_may_be_called_by_its_digest(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (_, _, asker, engine):
        await done(asker, ImageRequest("x", steps=2, post=((b"u" * 32).hex()[:10],)))
        assert isinstance(engine.given[0], Work) and engine.given[0].post == ("upscaler",)


async def test_an_upscaler_under_another_ones_digest_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """The offer speaks of one that enlarges nothing, the order names one that does."""
    plain = AdapterInfo("post", "plain", b"p" * 32)
    order = replace(SAMPLES[WorkOrder], post=(PostOrder("upscaler", plain.digest),))  # type: ignore[type-var]
    adapters = adapter_adverts([*ADAPTERS, plain])
    assert not names_what_it_needs(order, adapters)
    assert names_what_it_needs(replace(order, post=(PostOrder("plain", plain.digest),)), adapters)


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
