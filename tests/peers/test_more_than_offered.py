"""What is asked for beyond what is there, what an offer may say, or what was offered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from meshgen.engine.port import AdapterInfo
from meshgen.peers.describing import adapter_adverts
from meshgen.peers.orders import names_what_it_needs
from meshgen.peers.request import (
    ControlWish,
    FormRequest,
    ImageRequest,
    LoraWish,
    Request,
    RequestError,
    TextRequest,
)
from meshgen.protocols.order import PostOrder, WorkOrder
from tests.conformance.samples import SAMPLES
from tests.peers.kinds import ADAPTERS, pair, picture


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
