"""What is asked for beyond what is there, what an offer may say, or what was offered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from typing import Any, cast

import pytest
import trio
import trio.testing
from PIL import Image

from meshgen.engine.fake import FakeEngine
from meshgen.engine.port import AdapterInfo, ModelInfo
from meshgen.peers.describing import adapter_adverts
from meshgen.peers.orders import names_what_it_needs
from meshgen.peers.peer import Peer
from meshgen.peers.request import (
    ControlWish,
    FormRequest,
    ImageRequest,
    LoraWish,
    Request,
    RequestError,
    TextRequest,
)
from meshgen.protocols.envelope import Signed
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.job import Accepted, Failed
from meshgen.protocols.job_sides import RequesterSide
from meshgen.protocols.job_terms import terms
from meshgen.protocols.offer import Bid, Need, Offer, Refusal
from meshgen.protocols.order import ControlOrder, FormOrder, Input, LoraOrder, Order, PostOrder, TextOrder, WorkOrder
from tests.conformance.samples import SAMPLES
from tests.peers.kinds import ADAPTERS, MODELS, Recorder, done, pair, picture
from tests.peers.outsiders import Outsider, outsider
from tests.peers.virtual import net_mkudos, virtual_mesh


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


async def test_an_upscaler_under_another_ones_digest_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """The offer speaks of one that enlarges nothing, the order names one that does."""
    plain = AdapterInfo("post", "plain", b"p" * 32)
    order = replace(SAMPLES[WorkOrder], post=(PostOrder("upscaler", plain.digest),))  # type: ignore[type-var]
    adapters = adapter_adverts([*ADAPTERS, plain])
    assert not names_what_it_needs(order, adapters)
    assert names_what_it_needs(replace(order, post=(PostOrder("plain", plain.digest),)), adapters)


# -- a requester whose order asks for more than its offer said

Ask = Callable[[Outsider, Signed[Offer], Signed[Bid]], Order]


def work(**changes: Any) -> Ask:
    return lambda me, offer, bid: me.order(offer, bid, offer.message.count, **changes)


def text(**changes: Any) -> Ask:
    def ask(_: Outsider, offer: Signed[Offer], bid: Signed[Bid]) -> Order:
        asked, sampling = offer.message, (0, 0, 0, 0, 0, ())
        seeds = tuple(range(asked.count))
        plain = TextOrder(offer.id, "x", asked.model, bid.message.digest, asked.tokens or 5, asked.context, seeds, *sampling)
        return replace(plain, **changes)

    return ask


def form(**changes: Any) -> Ask:
    def ask(_: Outsider, offer: Signed[Offer], bid: Signed[Bid]) -> Order:
        asked, given = offer.message, (Input("source", 9, bytes(32)),)
        return replace(FormOrder(offer.id, asked.model, bid.message.digest, asked.width, asked.height, given), **changes)

    return ask


def of(model: ModelInfo, **more: Any) -> dict[str, Any]:
    """An offer for it."""
    kind = {"text": {"width": 0, "height": 0, "steps": 0, "tokens": 5}, "alchemy": {"steps": 0}}
    return {"model": model.name, "digest": model.digest, "family": model.family} | kind.get(model.family, {}) | more


PENCIL, CANNY, UPSCALER = ADAPTERS[0].digest, ADAPTERS[3].digest, ADAPTERS[4].digest
LORA = LoraOrder("pencil", PENCIL, 6000, 6000)
SOURCE, MASK, POSE = (Input(role, 9, bytes(32)) for role in ("source", "mask", "control"))
CONTROL = {"inputs": (POSE,), "control": (ControlOrder("canny", CANNY, 6000, 0, 0),)}
DRAWER, WRITER, NSFW_FORM, UPSCALE_FORM = MODELS
MORE: list[tuple[str, dict[str, Any], Ask]] = [
    ("a larger picture", {}, work(width=128)),
    ("more steps", {}, work(steps=5)),
    ("more pictures", {}, work(seeds=(0, 1, 2, 3))),
    ("another model", {}, work(model="writer", digest=WRITER.digest)),
    ("a LoRA", {}, work(loras=(LORA,))),
    ("a second LoRA", {"features": ("lora",), "needs": (Need("lora", PENCIL),)}, work(loras=(LORA, LORA))),
    ("ControlNet", {}, work(**CONTROL)),
    ("ControlNet that is a need and no feature", {"needs": (Need("controlnet", CANNY),)}, work(**CONTROL)),
    ("an upscaler", {}, work(post=(PostOrder("upscaler", UPSCALER),))),
    ("a source", {}, work(inputs=(SOURCE,))),
    ("a mask", {"features": ("img2img",)}, work(inputs=(SOURCE, MASK))),
    ("hires fix", {}, work(hires_fix=1)),
    ("a picture at once, for the price of two passes", {"features": ("hires_fix",)}, work()),
    ("tiling", {}, work(tiling=1)),
    ("clip skip", {}, work(clip_skip=2)),
    ("a negative prompt", {}, work(negative_prompt="x")),
    ("a text for a picture", {}, text(tokens=5, seeds=(0, 1, 2))),
    ("more tokens", of(WRITER), text(tokens=6)),
    ("more context", of(WRITER, context=8), text(context=0)),
    ("more texts", of(WRITER), text(seeds=(0, 1, 2, 3))),
    ("a form of another size", of(NSFW_FORM, count=1), form(width=128)),
    ("another form", of(NSFW_FORM, count=1), form(model="upscaler", digest=UPSCALE_FORM.digest)),
]


@asynccontextmanager
async def by_hand(**settings: Any) -> AsyncIterator[tuple[Peer, Outsider, Recorder]]:
    async with virtual_mesh() as mesh:
        engine = Recorder()
        worker = await mesh.add("worker", "worker", engine, **settings)
        async with outsider(mesh) as me:
            yield worker, me, engine
            await trio.sleep(60)
            assert worker.worker is not None
            assert not engine.given and worker.worker.tally.pictures == 0
            assert net_mkudos(worker, worker) == 0 and worker.ledger.balance(me.who.public_key).net == 0


async def award(me: Outsider, worker: Peer, ask: Ask, **changes: Any) -> str:
    """What becomes of it, in a word."""
    offer = me.offer(**changes)
    bid = cast(Signed[Bid], await me.ask(worker, offer))
    assert isinstance(bid.message, Bid), bid.message
    hold = me.append(me.hold(offer, bid, 8))  # there is enough set aside
    return await me.send_award(worker, me.award(offer, bid, hold, ask(me, offer, bid)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("offer", "ask"), [(offer, ask) for _, offer, ask in MORE], ids=[name for name, _, _ in MORE])
async def test_no_order_gets_more_than_was_offered(
    offer: dict[str, Any], ask: Ask, autojump_clock: trio.testing.MockClock
) -> None:
    async with by_hand() as (worker, me, _):
        assert await award(me, worker, ask, **offer) == "bad_offer"


async def test_what_is_not_safe_for_work_is_offered_so(autojump_clock: trio.testing.MockClock) -> None:
    """An offer that keeps silent about it comes as far as the order."""
    async with by_hand(worker__declines=["nsfw"]) as (worker, me, _):
        assert await award(me, worker, work(prompt="a nude statue")) == "policy"
        refused = await me.ask(worker, me.offer(nsfw=1))
        assert isinstance(refused.message, Refusal) and refused.message.reason == "policy"


async def test_an_offer_says_how_much_it_enlarges(autojump_clock: trio.testing.MockClock) -> None:
    async with by_hand() as (worker, me, _):
        for enlarge in (1, 2, 16):
            refused = await me.ask(worker, me.offer(needs=(Need("post", UPSCALER),), enlarge=enlarge))
            assert isinstance(refused.message, Refusal) and refused.message.reason == "bad_offer"


# -- a source that is not what was offered


def flat(mode: str, size: tuple[int, int] = (64, 64), kind: str = "PNG") -> bytes:
    """All black, and transparent if it can be."""
    file = BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


async def send_source(
    me: Outsider, worker: Peer, data: bytes, ask: Callable[[Input], Ask], role: str = "source", **changes: Any
) -> Any:
    """What the worker says when it has the source of such an order."""
    offer = me.offer(count=1, **changes)
    bid = cast(Signed[Bid], await me.ask(worker, offer))
    order = ask(Input(role, len(data), sha256(data).digest()))(me, offer, bid)
    hold = me.append(me.hold(offer, bid, 1))
    awarded = me.award(offer, bid, hold, order)  # type: ignore[arg-type]
    side = RequesterSide(terms(offer, bid, awarded, hold, order))
    async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
        await channel.send(awarded.wire)
        assert isinstance(await me.receive(channel, side), Accepted)
        for chunk in side.give((data,)):
            await channel.send(chunk)
        return await me.receive(channel, side)


@pytest.mark.parametrize(
    "source", [flat("RGBA"), flat("LA"), flat("RGBA", kind="WEBP")], ids=["RGBA", "grey with alpha", "WebP with alpha"]
)
async def test_what_is_transparent_is_not_painted_anew_by_who_was_not_asked_to(
    source: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async with by_hand(worker__declines=["inpainting"]) as (worker, me, _):
        said = await send_source(me, worker, source, lambda given: work(inputs=(given,)), features=("img2img",))
        assert said == Failed("bad_input")


@pytest.mark.parametrize("role", ["source", "control"])
async def test_a_form_is_about_a_picture_of_the_size_that_was_offered(role: str, autojump_clock: trio.testing.MockClock) -> None:
    """Whatever the picture is called."""
    async with by_hand() as (worker, me, _):
        offer = of(UPSCALE_FORM, enlarge=4)
        assert await send_source(me, worker, flat("L", (65, 64)), lambda given: form(inputs=(given,)), role, **offer) == Failed(
            "bad_input"
        )


async def test_an_honest_requester_says_what_its_source_asks_for(autojump_clock: trio.testing.MockClock) -> None:
    """...so that a worker which declines inpainting is not asked, and another one does it."""
    async with virtual_mesh() as mesh:
        await mesh.add("worker", "worker", Recorder(), worker__declines=["inpainting"])
        asker = await mesh.requester("asker")
        await done(asker, ImageRequest("x", steps=2, source=picture("RGB")))
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest("x", steps=2, source=picture("RGBA")))
        await job.wait()
        assert job.state == "failed" and "lacks a feature it needs" in job.error and not job.parts
        await mesh.add("painter", "worker", Recorder())
        await done(asker, ImageRequest("x", steps=2, source=picture("RGBA")))


# -- what could not be delivered


@pytest.mark.parametrize(
    ("fields", "limit"), [({"width": 8192, "height": 4096}, 4690), ({"width": 2048, "height": 2048, "post": ("upscaler",)}, 1172)]
)
async def test_a_picture_that_no_result_can_hold_is_refused_before_it_is_drawn(
    fields: dict[str, Any], limit: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with virtual_mesh() as mesh:
        engine = FakeEngine([replace(model, max_pixels=2**26) for model in MODELS], adapters=ADAPTERS)
        await mesh.add("worker", "worker", engine, worker__max_pixels=2**26)
        asker = await mesh.requester("asker")
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest("x", steps=2, **fields))
        await job.wait()
        assert job.state == "failed" and f"1 allows at most {limit}x{limit} pixels" in job.error and not job.parts


async def test_a_form_that_finds_something_may_look_at_any_picture(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        engine = FakeEngine([replace(model, max_pixels=2**26) for model in MODELS])
        await mesh.add("worker", "worker", engine)
        await done(await mesh.requester("asker"), FormRequest("nsfw", flat("L", (8000, 3000))))
