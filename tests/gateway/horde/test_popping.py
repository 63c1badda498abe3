"""AI Horde's workers at the gateway: they pop, upload, submit, and do it wrong."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from fastapi import FastAPI
from PIL import Image

from meshgen.engine.bridge.bridge import Bridge
from meshgen.engine.bridge.results import MAX_BYTES
from meshgen.engine.port import Answer, Control, EngineError, FormWork, Picture, TextWork, Work
from meshgen.gateway.bounds import MAX_REQUEST_BYTES, most_bytes
from meshgen.gateway.errors import install_handlers
from meshgen.gateway.horde.faults import install_horde_handlers
from meshgen.gateway.horde.popping import popping_routes
from meshgen.gateway.keys import KeyRing
from meshgen.pictures import check_png
from tests.gateway.fake_node import FakeNode
from tests.gateway.fake_overseer import FakeOverseer
from tests.gateway.horde.conftest import BASE, OWN

MODEL = "Deliberate"
WORK = Work(MODEL, "a secret fjord", "fog", 128, 64, 20, 7.5, "k_dpmpp_2m_karras", (11, 12))
POP = {"name": "rig", "models": [MODEL], "max_pixels": 2**20, "nsfw": True, "bridge_agent": "reGen:10:https://x", "threads": 1}
POP_TEXT = {"name": "kob", "models": ["koboldcpp/tiny-1b"], "max_length": 512, "max_context_length": 4096}
POP_FORMS = {"name": "al", "forms": ["caption", "interrogation", "RealESRGAN_x2plus"], "amount": 3}
NIL = "00000000-0000-0000-0000-000000000000"


def picture(width: int = 128, height: int = 64, kind: str = "WEBP", mode: str = "RGB") -> bytes:
    file = BytesIO()
    Image.new(mode, (width, height)).save(file, kind)
    return file.getvalue()


@pytest.fixture
def keys(home: Path) -> KeyRing:
    return KeyRing(home)


@pytest.fixture
async def api(node: FakeNode, keys: KeyRing) -> AsyncIterator[httpx.AsyncClient]:
    """These routes alone: the whole application takes seconds to build."""
    app = FastAPI()
    app.include_router(popping_routes(node, keys))
    install_handlers(app)
    install_horde_handlers(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
        yield client


@pytest.fixture
def bridge(node: FakeNode) -> Bridge:
    node.bridge = Bridge(worth=lambda work: 2500)
    return node.bridge


class Done(list[Any]):
    """What a job brought; its error last."""


@asynccontextmanager
async def running(bridge: Bridge, work: Any) -> AsyncIterator[Done]:
    done = Done()

    async def run() -> None:
        try:
            async with bridge.run(work) as events:
                done.extend([event async for event in events if isinstance(event, Picture | Answer)])
        except EngineError as error:
            done.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        while not bridge._line.waiting() and not done:
            await trio.lowlevel.checkpoint()
        yield done
        nursery.cancel_scope.cancel()


async def post(api: httpx.AsyncClient, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = await api.post(f"/api/v2/{path}", json=body, headers=OWN)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def put(api: httpx.AsyncClient, url: str, data: bytes) -> int:
    return (await api.put(url, content=data)).status_code


async def finished(done: Done, count: int = 1) -> None:
    with trio.fail_after(20):
        while len(done) < count:
            await trio.lowlevel.checkpoint()


async def test_nothing_to_do(api: httpx.AsyncClient, bridge: Bridge) -> None:
    found = await post(api, "generate/pop", POP)
    assert found["id"] is None and found["ids"] == [] and found["skipped"] == {} and found["payload"] == {}
    assert (await post(api, "generate/text/pop", POP_TEXT))["id"] is None
    assert await post(api, "interrogate/pop", POP_FORMS) == {"forms": [], "skipped": {}}
    assert {row["name"] for row in bridge.workers()} == {"rig", "kob", "al"}
    assert {model.family for model in bridge.models()} == {"sd1", "text", "alchemy"}


async def test_a_batch_by_upload(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "generate/pop", POP)
    async with running(bridge, WORK) as done:
        job = await post(api, "generate/pop", POP | {"amount": 4})
        assert len(set(job["ids"])) == 2 and job["ids"] == sorted(job["ids"]) and job["r2_uploads"] == sorted(job["r2_uploads"])
        assert job["id"] == job["ids"][0] and job["model"] == MODEL and job["ttl"] >= 60
        payload = job["payload"]
        assert payload["prompt"] == "a secret fjord ### fog" and payload["seed"] == "11" and payload["n_iter"] == 2
        assert (payload["sampler_name"], payload["karras"], payload["ddim_steps"]) == ("k_dpmpp_2m", True, 20)
        assert (payload["width"], payload["height"], payload["cfg_scale"]) == (128, 64, 7.5)
        assert not payload["use_nsfw_censor"] and job["source_image"] is None
        for piece, url, seed in zip(job["ids"], job["r2_uploads"], (11, 12), strict=True):
            assert await put(api, url, picture()) == 200
            answer = await post(api, "generate/submit", {"id": piece, "generation": "R2", "seed": seed, "state": "ok"})
            assert answer == {"reward": 2.5}
        await finished(done, 2)
        for event in done:
            check_png(event.png, 128, 64)
        again = await post(api, "generate/submit", {"id": job["id"], "generation": "R2", "seed": 11}, 400)
        assert again["rc"] == "DuplicateGen" and again["message"].endswith("already submitted.")


async def test_inline_and_with_a_source(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "generate/pop", POP)
    source, mask = picture(kind="PNG"), picture(64, 64, "PNG")
    async with running(bridge, replace(WORK, seeds=(1,), source=source, mask=mask, strength=0.4)) as done:
        assert (await post(api, "generate/pop", POP | {"allow_painting": False}))["skipped"] == {"painting": 1}
        job = await post(api, "generate/pop", POP)
        assert base64.b64decode(job["source_image"]) == source and base64.b64decode(job["source_mask"]) == mask
        assert job["source_processing"] == "inpainting" and job["payload"]["denoising_strength"] == 0.4
        inline = base64.b64encode(picture(kind="JPEG")).decode()
        await post(api, "generate/submit", {"id": job["id"], "generation": inline, "seed": 1})
        await finished(done)
        check_png(done[0].png, 128, 64)


async def test_a_large_one_inline(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "generate/pop", POP)
    noise = Image.frombytes("RGB", (512, 256), random.Random(1).randbytes(512 * 256 * 3))
    file = BytesIO()
    noise.save(file, "PNG")
    async with running(bridge, replace(WORK, seeds=(1,), width=512, height=256)) as done:
        job = await post(api, "generate/pop", POP)
        await post(api, "generate/submit", {"id": job["id"], "generation": base64.b64encode(file.getvalue()).decode(), "seed": 1})
        await finished(done)
        with Image.open(BytesIO(done[0].png)) as image:
            assert image.tobytes() == noise.tobytes()


async def test_controlnet(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "generate/pop", POP)
    (canny,) = [one for one in bridge.adapters() if one.name == "canny"]
    map_ = picture(kind="PNG")
    async with running(bridge, replace(WORK, seeds=(1,), control=Control("canny", canny.digest, map_, is_map=True))):
        job = await post(api, "generate/pop", POP)
        assert job["payload"]["control_type"] == "canny" and job["payload"]["image_is_control"]
        assert base64.b64decode(job["source_image"]) == map_ and job["source_processing"] == "img2img"
    for wrong in (Control("canny", bytes(32), map_), Control("canny", canny.digest, map_)):
        async with running(bridge, replace(WORK, control=wrong, source=b"another")) as done:
            assert done[0].reason == "unsupported"


async def test_what_is_no_picture_is_refused_and_costs_the_worker_the_job(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "generate/pop", POP)
    bomb = picture(8000, 8000, "PNG", "1")
    for generation in ("bm8=", "not base64", base64.b64encode(bomb).decode(), "R2", ""):
        await post(api, "generate/pop", POP | {"name": "other"})
        async with running(bridge, replace(WORK, seeds=(1,))):
            job = await post(api, "generate/pop", POP)
            refused = await post(api, "generate/submit", {"id": job["id"], "generation": generation, "seed": 1}, 400)
            assert refused["rc"] == "ImageValidationFailed" and "can't be used" in refused["message"]
            late = await post(api, "generate/submit", {"id": job["id"], "generation": "R2", "seed": 1}, 400)
            assert late["rc"] == "AbortedGen"
        bridge._crew.brought(("image", "rig"), 0)


async def test_who_loses_several_jobs_is_told_to_rest(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "generate/pop", POP)
    async with running(bridge, replace(WORK, seeds=tuple(range(5)))) as done:
        for _ in range(3):
            if found := (await post(api, "generate/pop", POP))["id"]:
                body = {
                    "id": found,
                    "seed": 1,
                    "state": "faulted",
                    "gen_metadata": [{"type": "lora", "value": "download_failed"}],
                }
                assert await post(api, "generate/submit", body) == {"reward": 0}
        refused = await post(api, "generate/pop", POP, 403)
        assert refused["rc"] == "WorkerMaintenance" and "maintenance mode" in refused["message"]
        await finished(done)
        assert done[-1].reason == "crashed"


async def test_what_a_filter_withheld(api: httpx.AsyncClient, bridge: Bridge) -> None:
    marks: tuple[dict[str, Any], ...] = (
        {"state": "censored"},
        {"censored": True},
        {"gen_metadata": [{"type": "censorship", "value": "nsfw"}]},
        {"state": "csam"},
    )
    for mark in marks:
        await post(api, "generate/pop", POP | {"nsfw": False})
        async with running(bridge, replace(WORK, seeds=(1,))) as done:
            job = await post(api, "generate/pop", POP | {"nsfw": False})
            assert job["payload"]["use_nsfw_censor"]
            generation = base64.b64encode(picture()).decode()
            await post(api, "generate/submit", {"id": job["id"], "seed": 1, "generation": generation} | mark)
            await finished(done)
            assert done[-1].reason == "unsupported"


async def test_texts(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "generate/text/pop", POP_TEXT)
    work = TextWork("koboldcpp/tiny-1b", "once", 40, (1,), stop=("\n",))
    async with running(bridge, work) as done:
        assert (await post(api, "generate/text/pop", POP_TEXT | {"max_length": 16}))["skipped"] == {"max_length": 1}
        job = await post(api, "generate/text/pop", POP_TEXT)
        payload = job["payload"]
        assert (payload["prompt"], payload["max_length"], payload["max_context_length"]) == ("once", 40, 4096)
        assert payload["stop_sequence"] == ["\n"] and payload["n"] == 1
        await post(api, "generate/text/submit", {"id": job["id"], "generation": "upon a tíme", "state": "ok"})
        await finished(done)
        assert done[0].data.decode() == "upon a tíme" and done[0].media == "text/plain"


async def test_forms(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "interrogate/pop", POP_FORMS)
    source = picture(64, 32)
    async with (
        running(bridge, FormWork("caption", source)) as said,
        running(bridge, FormWork("RealESRGAN_x2plus", source)) as grown,
    ):
        while len(bridge._line.waiting()) < 2:
            await trio.lowlevel.checkpoint()
        forms = {form["form"]: form for form in (await post(api, "interrogate/pop", POP_FORMS))["forms"]}
        assert (await api.get(forms["caption"]["source_image"])).content == source
        body = {"id": forms["caption"]["id"], "result": {"caption": "a cat"}, "state": "ok"}
        assert await post(api, "interrogate/submit", body) == {"reward": 2.5}
        upscale = forms["RealESRGAN_x2plus"]
        assert await put(api, upscale["r2_upload"], picture(128, 64)) == 200
        await post(api, "interrogate/submit", {"id": upscale["id"], "result": {"RealESRGAN_x2plus": "R2"}, "state": "ok"})
        await finished(said)
        await finished(grown)
        assert json.loads(said[0].data) == {"caption": "a cat"} and grown[0].media == "image/png"
        assert (await api.get(forms["caption"]["source_image"])).status_code == 404, "it is over"


async def test_urls_can_not_be_made_up(api: httpx.AsyncClient, bridge: Bridge) -> None:
    await post(api, "generate/pop", POP)
    async with running(bridge, WORK):
        first, second = await post(api, "generate/pop", POP), await post(api, "generate/pop", POP)
        url = first["r2_upload"]
        others = (url.replace(first["id"], second["id"]), url[:-1], url.partition("?")[0], url.replace("expires=", "expires=1"))
        for wrong in (*others, url.replace("generate/upload", "interrogate/source")):
            answer = await (api.get(wrong) if "source" in wrong else api.put(wrong, content=b"x"))
            assert answer.status_code == 403 and answer.json()["rc"] == "Forbidden", wrong
        assert bridge._line.piece(second["id"]).upload == b""
    assert await put(api, url, b"x") == 404, "nobody waits for it any more"


async def test_nothing_is_read_of_what_has_no_signature(api: httpx.AsyncClient, bridge: Bridge) -> None:
    """A worker on another machine shows no key there, so the gate lets large ones through to here."""
    path = f"/api/v2/generate/upload/{NIL}"
    assert most_bytes(path, known=False) == MAX_REQUEST_BYTES > MAX_BYTES

    async def endless() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    assert (await api.put(f"{path}?expires=9999999999&signature=0", content=endless())).status_code == 403


async def test_who_may_pop(api: httpx.AsyncClient, bridge: Bridge, node: FakeNode, keys: KeyRing) -> None:
    async def refused(headers: dict[str, str]) -> tuple[int, str]:
        answer = await api.post("/api/v2/generate/pop", json=POP, headers=headers)
        return answer.status_code, str(answer.json().get("rc"))

    assert await refused({"apikey": "0000000000"}) == (403, "AnonForbiddenWorker")
    assert await refused({"apikey": "nobody's"}) == (401, "InvalidAPIKey")
    assert await refused({}) == (400, "None")
    assert await refused({"apikey": keys.share(name="child").id}) == (403, "WrongCredentials")
    node.overseer = FakeOverseer()
    node.overseer.pause(0, "back on Monday")
    answer = await post(api, "generate/pop", POP, 403)
    assert answer["rc"] == "WorkerMaintenance" and answer["message"].endswith("maintenance mode by its owner: back on Monday")
    async with running(bridge, replace(WORK, seeds=(1,))):
        assert (await post(api, "generate/pop", POP))["id"], "what was accepted goes on to its end"
    node.bridge = None
    assert (await post(api, "generate/pop", POP, 403))["rc"] == "Forbidden"


@pytest.mark.parametrize(
    ("path", "body", "errors"),
    [
        ("generate/submit", {"id": NIL, "generation": "R2"}, {"seed": "'seed' is a required property"}),
        ("generate/pop", {"models": [MODEL]}, {"name": "'name' is a required property"}),
        ("generate/pop", POP | {"amount": 21}, {"amount": "21 is greater than the maximum of 20"}),
        ("generate/submit", {"id": NIL, "seed": 1, "state": "fine"}, {"state": None}),
        ("interrogate/submit", {"id": NIL, "result": [1]}, None),
    ],
)
async def test_bodies_that_do_not_fit(
    api: httpx.AsyncClient, bridge: Bridge, path: str, body: dict[str, Any], errors: dict[str, str | None] | None
) -> None:
    found = (await post(api, path, body, 400))["errors"]
    for name, text in (errors or {}).items():
        assert found[name] == text if text else name in found


async def test_what_nobody_handed_out(api: httpx.AsyncClient, bridge: Bridge) -> None:
    answer = await post(api, "generate/submit", {"id": NIL, "generation": "R2", "seed": 1}, 404)
    assert answer == {"message": f"Processing Job with ID {NIL} does not exist.", "rc": "InvalidJobID"}
    assert (await post(api, "generate/text/submit", {"id": NIL, "generation": ""}, 404))["rc"] == "InvalidJobID"
    assert (await post(api, "interrogate/submit", {"id": NIL, "result": {}}, 404))["rc"] == "InvalidJobID"
    unknown = await post(api, "generate/pop", POP | {"models": ["x", "naïve"]}, 400)
    assert unknown["rc"] == "BadRequest" and "unrecognised models" in unknown["message"]
