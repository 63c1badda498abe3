"""Pictures as AI Horde's clients ask for them."""

from __future__ import annotations

import base64
import struct
import uuid
import zlib
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import pytest
import trio.testing
from PIL import Image

from meshgen.gateway.horde.names import uuid_of
from meshgen.peers.request import ControlWish, InversionWish, LoraWish, RequestError
from tests.gateway.fake_node import BOB, SECRET
from tests.gateway.horde.asked import AskingNode, ask, award, bring, encoded, finish, picture, shown, taken
from tests.gateway.horde.conftest import OWN

NOBODY = "00000000-0000-0000-0000-000000000000"
BOMB = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    )
)
"""Some bytes that would become 10 gigabytes."""
CHECK_FIELDS = {"finished", "processing", "restarted", "waiting", "done", "faulted"}
CHECK_FIELDS |= {"wait_time", "queue_position", "kudos", "is_possible"}


@pytest.fixture
def node() -> AskingNode:
    return AskingNode()


def codes(answer: httpx.Response) -> list[str]:
    return [warning["code"] for warning in answer.json().get("warnings", [])]


# -- from asking to the picture


async def test_a_request_from_its_words_to_its_pictures(api: httpx.AsyncClient, node: AskingNode) -> None:
    answer = await ask(api, prompt=f"{SECRET} ### fog", params={"n": 2, "seed": "42", "steps": 9}, models=["sd15"])
    assert (answer.status_code, answer.json()["kudos"]) == (202, 22.0) and "warnings" not in answer.json()
    asked_id = answer.json()["id"]
    (request,) = node.asked
    assert (request.prompt, request.negative_prompt) == (SECRET, "fog")
    assert (request.count, request.seed, request.steps, request.model) == (2, 42, 9, "sd15")
    assert (request.patience_s, request.width, request.scheduler) == (1200, 512, "k_euler_a")

    check = await shown(api, f"/generate/check/{asked_id}")
    assert check.keys() == CHECK_FIELDS
    assert (check["waiting"], check["done"], check["faulted"], check["is_possible"]) == (2, False, False, True)
    assert check["wait_time"] >= 1 and check["queue_position"] >= 1
    part = award(node.job(), 0, 1, due_s=30)
    part.state = "running"
    check = await shown(api, f"/generate/check/{asked_id}")
    assert (check["processing"], check["waiting"], check["queue_position"]) == (2, 0, 0) and 28 <= check["wait_time"] <= 30
    bring(node.job(), 0)
    check = await shown(api, f"/generate/check/{asked_id}")
    assert (check["finished"], check["processing"], check["done"], check["kudos"]) == (1, 1, False, 11.0)

    bring(node.job(), 1)
    part.state = "done"
    node.job().enter("done")
    status = await shown(api, f"/generate/status/{asked_id}")
    assert (status["done"], status["finished"], status["wait_time"], status["shared"], status["kudos"]) == (
        True,
        2,
        0,
        False,
        22.0,
    )
    assert [one["seed"] for one in status["generations"]] == ["42", "43"]
    for one in status["generations"]:
        assert one["worker_id"] == uuid_of(BOB.peer_id) and uuid.UUID(one["id"])
        assert (one["worker_name"], one["model"], one["state"], one["censored"]) == ("bob", "sd15", "ok", False)
        assert one["gen_metadata"] == []
    assert SECRET not in answer.text + str(status)


async def test_pictures_come_by_url_as_webp_for_a_while(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, prompt="x")
    finish(node.job())
    (one,) = (await shown(api, f"/generate/status/{asked_id}"))["generations"]
    assert one["img"].startswith(f"http://127.0.0.1:4712/api/v2/pictures/{one['id']}.webp?expires=")
    answer = await api.get(one["img"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    with Image.open(BytesIO(answer.content)) as found:
        assert (found.format, found.size) == ("WEBP", (64, 64))
    whole = await api.get(one["img"].replace(".webp", ".png"))
    assert (whole.headers["content-type"], whole.content) == ("image/png", node.job().results[0].data)
    again = (await shown(api, f"/generate/status/{asked_id}"))["generations"][0]["img"]
    assert again == one["img"]

    forged = one["img"][:-1] + ("0" if one["img"][-1] != "0" else "1")
    other = one["img"].replace(one["id"], str(uuid.uuid4()))
    for url in (forged, other, one["img"].partition("?")[0], one["img"].replace("expires=1", "expires=2")):
        assert (await api.get(url)).status_code == 403
    assert (await api.get(one["img"].replace(".webp", ".gif"))).status_code == 404
    assert (await api.get(one["img"].replace(".webp", "%2f..%2f..%2fapi.key"))).status_code in (403, 404)


async def test_a_picture_comes_in_the_answer_where_r2_is_false(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, prompt="x", r2=False)
    finish(node.job())
    (one,) = (await shown(api, f"/generate/status/{asked_id}"))["generations"]
    with Image.open(BytesIO(base64.b64decode(one["img"], validate=True))) as found:
        assert found.format == "WEBP"


async def test_a_result_that_is_no_picture_breaks_nothing(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, prompt="x", r2=False)
    finish(node.job(), b"\x89PNG\r\n\x1a\n nonsense")
    assert (await shown(api, f"/generate/status/{asked_id}"))["done"]


async def test_a_dry_run_says_the_price_and_asks_nobody(api: httpx.AsyncClient, node: AskingNode) -> None:
    answer = await ask(api, prompt="x", params={"n": 3}, dry_run=True)
    assert (answer.status_code, answer.json()) == (200, {"kudos": 33.0}) and not node.asked


async def test_a_cancelled_request_keeps_what_came(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, prompt="x", params={"n": 3})
    award(node.job(), 0, 1, 2)
    bring(node.job(), 0)
    ended = (await api.delete(f"/api/v2/generate/status/{asked_id}")).json()
    assert (len(ended["generations"]), ended["done"], ended["faulted"]) == (1, True, False)
    assert (ended["waiting"], ended["processing"], ended["message"]) == (0, 0, "cancelled")
    assert node.job().scope.cancel_called  # type: ignore[attr-defined]

    empty = await taken(api, prompt="x")
    ended = (await api.delete(f"/api/v2/generate/status/{empty}")).json()
    assert (ended["done"], ended["faulted"], ended["generations"]) == (False, True, [])


async def test_done_is_said_only_with_pictures(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, prompt="x", params={"n": 2})
    part = award(node.job(), 0, 1)
    part.state = "lost"
    node.job().enter("failed", "0 of 2 pictures arrived: no worker is left")
    check = await shown(api, f"/generate/check/{asked_id}")
    assert (check["done"], check["faulted"], check["restarted"], check["is_possible"]) == (False, True, 2, False)
    assert check["message"].endswith("no worker is left")

    partly = await taken(api, prompt="x", params={"n": 2})
    bring(node.job(2), 1)
    node.job(2).enter("failed", "1 of 2 pictures arrived")
    status = await shown(api, f"/generate/status/{partly}")
    assert (status["done"], status["faulted"], len(status["generations"])) == (True, True, 1)


async def test_what_nobody_can_do_waits_and_says_why(api: httpx.AsyncClient, node: AskingNode) -> None:
    answer = await ask(api, prompt="x", models=["unknown"])
    assert answer.status_code == 202 and codes(answer) == ["NoAvailableWorker"]
    assert answer.json()["message"].startswith(
        "Warning: No available workers can fulfill this request: no worker that is known offers the model 'unknown'"
    )
    check = await shown(api, f"/generate/check/{answer.json()['id']}")
    assert (check["is_possible"], check["message"]) == (False, "no worker that is known offers the model 'unknown'")
    assert not check["faulted"] and check["wait_time"] >= 1
    assert (await ask(api, prompt="x", models=["unknown"], dry_run=True)).json() == {"kudos": 0.0}


async def test_polling_asks_for_no_price_each_time(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, prompt="x", models=["unknown"])
    await shown(api, f"/generate/check/{asked_id}")
    before = node.requester.quotes
    for _ in range(5):
        await shown(api, f"/generate/check/{asked_id}")
    assert node.requester.quotes == before


# -- what the words become


async def test_every_field_that_the_mesh_knows(api: httpx.AsyncClient, node: AskingNode) -> None:
    params: dict[str, Any] = {
        "steps": 12,
        "width": 768,
        "height": 640,
        "cfg_scale": 6.5,
        "sampler_name": "k_dpmpp_2m",
        "karras": True,
    }
    params |= {"seed": "7", "tiling": True, "hires_fix": True, "clip_skip": 2, "post_processing": ["RealESRGAN_x4plus"]}
    params |= {"loras": [{"name": "ink", "model": 0.5, "clip": -1.0}, {"name": "ab" * 8, "model": 2}]}
    params |= {"tis": [{"name": "bad-hands", "inject_ti": "negprompt", "strength": 1.2}]}
    answer = await ask(api, prompt="x", params=params, models=["sd15"], nsfw=True, shared=True)
    assert answer.status_code == 202 and codes(answer) == []
    (request,) = node.asked
    assert (request.width, request.height, request.guidance_scale, request.scheduler) == (768, 640, 6.5, "k_dpmpp_2m_karras")
    assert (request.tiling, request.hires_fix, request.clip_skip) == (True, True, 2)
    assert (request.nsfw, request.shared, request.post) == (True, True, ("RealESRGAN_x4plus",))
    assert request.loras == (LoraWish("ink", 0.5, -1.0), LoraWish("ab" * 8, 2, 1.0))
    assert request.inversions == (InversionWish("bad-hands", "negative_prompt", 1.2),)


async def test_what_can_not_be_honoured_is_said(api: httpx.AsyncClient, node: AskingNode) -> None:
    params: dict[str, Any] = {
        "sampler_name": "k_dpm_fast",
        "transparent": True,
        "special": {"a": {}},
        "post_processing": ["GFPGAN"],
    }
    params |= {"loras": [{"name": "1234"}, {"name": "ink", "inject_trigger": "any"}], "tis": [{"name": "72437"}]}
    answer = await ask(api, prompt="x", params=params, models=["sd15"], trusted_workers=True, censor_nsfw=True)
    assert sorted(codes(answer)) == ["FieldIgnored"] * 5 + ["NotAvailable"] * 3 + ["SamplerMismatch"]
    assert answer.json()["message"] == answer.json()["warnings"][0]["message"]
    (request,) = node.asked
    assert (request.scheduler, request.loras, request.inversions, request.post) == ("", (LoraWish("ink", 1.0, 1.0),), (), ())
    finish(node.job())
    (one,) = (await shown(api, f"/generate/status/{answer.json()['id']}"))["generations"]
    assert one["gen_metadata"] == [
        {"type": "lora", "value": "download_failed", "ref": "1234"},
        {"type": "ti", "value": "download_failed", "ref": "72437"},
        {"type": "information", "value": "see_ref", "ref": "without GFPGAN"},
    ]


@pytest.mark.parametrize(
    ("model", "sampler", "karras", "scheduler", "told"),
    [
        ("sd15", "k_euler", True, "k_euler_karras", []),
        ("sd15", "k_euler_a", True, "k_euler_a", ["SchedulerMismatch"]),
        ("sd15", "DDIM", False, "DDIM", []),
        ("sd15", "k_dpm_adaptive", True, "", ["SamplerMismatch"]),
        ("flow", "k_euler", True, "k_euler", []),
        ("flow", "k_euler_a", False, "", ["SamplerMismatch"]),
    ],
)
async def test_samplers(
    api: httpx.AsyncClient, node: AskingNode, model: str, sampler: str, karras: bool, scheduler: str, told: list[str]
) -> None:
    answer = await ask(api, prompt="x", models=[model], params={"sampler_name": sampler, "karras": karras})
    assert (node.asked[0].scheduler, codes(answer)) == (scheduler, told)


@pytest.mark.parametrize(
    ("seed", "number"),
    [
        ("0", 0),
        ("42", 42),
        ("4294967295", 4294967295),
        ("4294967296", 1),
        ("abc", 0x636261),
        ("abcdefgh", 0x68676665),
        ("-5", 0x352D),
        ("", None),
    ],
)
async def test_seeds_are_numbers_or_text(api: httpx.AsyncClient, node: AskingNode, seed: str, number: int | None) -> None:
    await taken(api, prompt="x", params={"seed": seed})
    assert node.asked[0].seed == number


async def test_seeds_that_are_further_apart(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, prompt="x", params={"n": 3, "seed": "4294967290", "seed_variation": 5})
    assert [(request.seed, request.count) for request in node.asked] == [(4294967290, 1), (4294967295, 1), (4, 1)]
    for number in (1, 2, 3):
        finish(node.job(number))
    status = await shown(api, f"/generate/status/{asked_id}")
    assert (status["done"], status["finished"]) == (True, 3)
    assert len({one["id"] for one in status["generations"]}) == 3


async def test_of_several_models_the_one_with_the_least_wait(api: httpx.AsyncClient, node: AskingNode) -> None:
    await taken(api, prompt="x", models=["unknown", "sd15", "quick", "tiny"])
    await taken(api, prompt="x", models=["nobody", "has these"])
    await taken(api, prompt="x", models=["quick", "sd15"])
    node.requester.none.add("quick")
    await taken(api, prompt="x", models=["quick", "sd15"])
    await taken(api, prompt="x")
    assert [request.model for request in node.asked] == ["quick", "nobody", "quick", "sd15", ""]


@pytest.mark.parametrize("form", ["plain", "data", "lines", "url-safe", "unpadded", "webp", "jpeg"])
async def test_source_images_in_the_forms_that_clients_send(api: httpx.AsyncClient, node: AskingNode, form: str) -> None:
    data = picture(form.upper() if form in ("webp", "jpeg") else "PNG")
    text = encoded(data)
    text = {
        "data": f"data:image/png;base64,{text}",
        "lines": "\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
        "url-safe": text.replace("+", "-").replace("/", "_"),
        "unpadded": text.rstrip("="),
    }.get(form, text)
    await taken(api, prompt="x", source_image=text, params={"denoising_strength": 0.4})
    (request,) = node.asked
    assert (request.source, request.mask, request.strength, request.shared) == (data, b"", 0.4, None)


async def test_painting_and_control(api: httpx.AsyncClient, node: AskingNode) -> None:
    source, mask = picture(), picture("WEBP", "white")
    given = {"prompt": "x", "source_image": encoded(source), "shared": True, "models": ["sd15"]}
    await taken(api, **given, source_mask=encoded(mask), source_processing="inpainting")
    await taken(api, **given, source_processing="img2img")
    await taken(api, **given, params={"control_type": "canny", "image_is_control": True})
    await taken(api, **given, params={"control_type": "canny", "return_control_map": True})
    clear = picture(mode="RGBA", color="#00000000")
    await taken(api, prompt="x", source_image=encoded(clear), source_processing="outpainting", models=["sd15"])
    painted, changed, controlled, mapped, widened = node.asked
    assert (widened.source, widened.mask, widened.strength) == (clear, b"", 1.0)
    assert (painted.source, painted.mask, painted.strength, painted.shared) == (source, mask, 1.0, False)
    assert (changed.mask, changed.strength) == (b"", 0.75)
    assert (controlled.source, controlled.control) == (b"", ControlWish("canny", source, is_map=True))
    assert mapped.control == ControlWish("canny", source, return_map=True)


# -- what is refused


@pytest.mark.parametrize(
    ("body", "status", "rc"),
    [
        ({"params": {"control_type": "canny"}}, 400, "ControlNetSourceMissing"),
        ({"source_mask": encoded(picture())}, 400, "SourceMaskUnnecessary"),
        ({"source_image": encoded(picture()), "source_processing": "remix"}, 400, "InvalidRemixModel"),
        ({"source_image": encoded(picture()), "source_processing": "inpainting"}, 400, "InpaintingMissingMask"),
        ({"source_image": "zzz"}, 400, "ImageValidationFailed"),
        ({"source_image": "ä"}, 400, "ImageValidationFailed"),
        ({"source_image": encoded(b"GIF89a" + bytes(99))}, 400, "ImageValidationFailed"),
        ({"source_image": encoded(picture()[:60])}, 400, "SourceImageUnreadable"),
        ({"source_image": encoded(BOMB)}, 400, "SourceImageResolutionExceeded"),
        ({"source_image": encoded(bytes(17 * 2**20))}, 400, "SourceImageSizeExceeded"),
        ({"source_image": "http://127.0.0.1:4712/v1/status"}, 400, "SourceImageUrlInvalid"),
        ({"source_image": "http://169.254.169.254/latest/meta-data"}, 400, "SourceImageUrlInvalid"),
        ({"params": {"loras": [{"name": str(number)} for number in range(6)]}}, 400, "TooManyLoras"),
        ({"params": {"tis": [{"name": str(number)} for number in range(21)]}}, 400, "TooManyTIs"),
        ({"webhook": "http://a.example/x"}, 400, "BadRequest"),
        ({"proxied_account": "x"}, 400, "OnlyServiceAccountProxy"),
        ({"style": "none such"}, 404, "StyleNotFound"),
        ({"workers": [NOBODY]}, 404, "WorkerNotFound"),
    ],
)
async def test_requests_that_are_refused(
    api: httpx.AsyncClient, node: AskingNode, body: dict[str, Any], status: int, rc: str
) -> None:
    answer = await ask(api, prompt="x", models=["sd15"], **body)
    assert (answer.status_code, answer.json()["rc"]) == (status, rc) and not node.asked


async def test_the_words_of_errors_are_ai_hordes(api: httpx.AsyncClient) -> None:
    answer = await ask(api, prompt="x", workers=[NOBODY])
    assert answer.json()["message"] == (
        f"Worker with ID '{NOBODY}' not found. You have requested this URI [/api/v2/generate/async] but did you mean "
        "/api/v2/generate/async or /api/v2/generate/text/async or /api/v2/interrogate/async ?"
    )
    answer = await api.get("/api/v2/generate/status/garbage")
    assert (answer.status_code, answer.json()["rc"]) == (404, "RequestNotFound")
    assert answer.json()["message"].endswith(
        "did you mean /api/v2/generate/status/<string:id> or /api/v2/generate/text/status/<string:id> or "
        "/api/v2/interrogate/status/<string:id> ?"
    )
    answer = await api.get(f"/api/v2/generate/check/{NOBODY}")
    assert answer.json()["message"] == f"Image Waiting Prompt (Check) with ID '{NOBODY}' not found."


async def test_lists_of_workers_are_kept_to(api: httpx.AsyncClient, node: AskingNode) -> None:
    bob = uuid_of(BOB.peer_id)
    assert codes(await ask(api, prompt="x", models=["sd15"], workers=[bob])) == []
    assert codes(await ask(api, prompt="x", models=["sd15"], workers=[bob], worker_blacklist=True)) == []
    first, second = (request.whom for request in node.requester.requests)
    assert (first.only, first.never, second.only, second.never) == ({BOB.peer_id}, set(), set(), {BOB.peer_id})


@pytest.mark.parametrize(
    ("error", "status", "rc"),
    [
        (RequestError("too_many_jobs", "256 jobs are open already"), 429, "TooManyPrompts"),
        (RequestError("not_ready", "the node is still starting"), 503, "MaintenanceMode"),
        (RequestError("no_prompt", "say what to draw", "prompt"), 400, "MissingPrompt"),
        (RequestError("bad_request", "work/1.prompt: too long", "prompt"), 400, "InvalidPromptSize"),
    ],
)
async def test_what_the_requester_refuses(
    api: httpx.AsyncClient, node: AskingNode, error: RequestError, status: int, rc: str
) -> None:
    node.requester.refusal = error
    answer = await ask(api, prompt="x")
    assert (answer.status_code, answer.json()["rc"]) == (status, rc)
    assert ("retry-after" in answer.headers) == (status == 429)


async def test_a_node_that_is_no_requester_says_so(api: httpx.AsyncClient, node: AskingNode) -> None:
    node.requester = None  # type: ignore[assignment]
    answer = await ask(api, prompt="x")
    assert (answer.status_code, answer.json()["rc"]) == (503, "MaintenanceMode")


async def test_keys(api: httpx.AsyncClient, node: AskingNode) -> None:
    url, body = "/api/v2/generate/async", {"prompt": "x"}
    assert (await api.post(url, json=body)).json()["errors"]["apikey"].startswith("The API Key")
    assert (await api.post(url, json=body, headers={"apikey": "bad"})).status_code == 401
    assert not node.asked


async def test_half_of_the_places_for_open_jobs_stays_the_owners(api: httpx.AsyncClient, node: AskingNode) -> None:
    node.requester.policy = replace(node.requester.policy, open_jobs=5)
    keys = [(await api.put("/api/v2/sharedkeys", json={"kudos": -1}, headers=OWN)).json()["id"] for _ in range(2)]

    async def asked(key: str) -> httpx.Response:
        return await api.post("/api/v2/generate/async", json={"prompt": "x", "models": ["unknown"]}, headers={"apikey": key})

    assert [(await asked(key)).status_code for key in keys] == [202, 202]
    full = await asked(keys[0])
    assert (full.status_code, full.json()["rc"], full.headers["retry-after"]) == (429, "TooManyPrompts", "10")
    assert (await asked("0000000000")).status_code == 429
    assert [(await asked(OWN["apikey"])).status_code for _ in range(3)] == [202] * 3
    finish(node.job())
    assert (await asked(keys[1])).status_code == 202


async def test_what_nobody_has_priced_costs_a_shared_key_no_more_than_is_left_on_it(
    api: httpx.AsyncClient, node: AskingNode
) -> None:
    key = (await api.put("/api/v2/sharedkeys", json={"kudos": 9}, headers=OWN)).json()["id"]
    url, given = "/api/v2/generate/async", {"prompt": "x", "models": ["unknown"], "params": {"n": 2}}
    assert (await api.post(url, json=given, headers={"apikey": key})).status_code == 202
    assert [request.max_mkudos for request in node.asked] == [4_500]
    again = await api.post(url, json=given, headers={"apikey": key})
    assert (again.status_code, again.json()["rc"]) == (403, "SharedKeyEmpty"), "all that is left is spoken for"
    rich = (await api.put("/api/v2/sharedkeys", json={"kudos": 5000}, headers=OWN)).json()["id"]
    assert (await api.post(url, json=given, headers={"apikey": rich})).status_code == 202
    assert node.asked[-1].max_mkudos == node.requester.policy.max_mkudos, "nor more than the settings allow"


async def test_a_shared_key_pays_no_more_than_its_limits(api: httpx.AsyncClient, node: AskingNode) -> None:
    given = {"kudos": 50, "name": "class", "max_image_pixels": 512 * 512, "max_image_steps": 20}
    key = (await api.put("/api/v2/sharedkeys", json=given, headers=OWN)).json()["id"]

    async def asked(**body: Any) -> httpx.Response:
        return await api.post("/api/v2/generate/async", json={"prompt": "x"} | body, headers={"apikey": key})

    for params in ({"steps": 10, "width": 576}, {"steps": 21}):
        answer = await asked(params=params)
        assert (answer.status_code, answer.json()["rc"]) == (403, "SharedKeyInvalid")
    assert (await asked(params={"steps": 10, "n": 3})).json()["rc"] == "SharedKeyInsufficientKudos"
    assert (await asked(params={"steps": 10, "n": 2})).status_code == 202
    assert node.asked[0].max_mkudos == 22_000
    assert (await asked(params={"steps": 10})).status_code == 403, "what is under way counts"
    finish(node.job())
    await trio.testing.wait_all_tasks_blocked()
    assert (await asked(params={"steps": 10})).status_code == 202, "22 of 50 are spent"


# -- ratings


async def test_ratings_are_looked_at_and_earn_nothing(api: httpx.AsyncClient, node: AskingNode) -> None:
    async def rate(asked_id: str, **body: Any) -> tuple[int, Any]:
        answer = await api.post(f"/api/v2/generate/rate/{asked_id}", json=body)
        return answer.status_code, answer.json().get("rc", answer.json())

    kept = await taken(api, prompt="x")
    finish(node.job())
    assert await rate(kept, best=NOBODY) == (400, "AestheticsNotPublic")
    asked_id = await taken(api, prompt="x", shared=True, params={"n": 2})
    assert await rate(asked_id, best=NOBODY) == (400, "AestheticsNotCompleted")
    finish(node.job(2))
    one, two = [one["id"] for one in (await shown(api, f"/generate/status/{asked_id}"))["generations"]]
    assert await rate(asked_id) == (400, "AestheticsMissing")
    assert await rate(asked_id, best=NOBODY) == (404, "ProcGenNotFound")
    assert await rate(asked_id, ratings=[{"id": one, "rating": 9}] * 2) == (400, "AestheticsDuplicate")
    assert await rate(asked_id, best=one, ratings=[{"id": two, "rating": 5, "artifacts": 1}]) == (200, {"reward": 0.0})
    assert await rate(asked_id, best=one) == (400, "AestheticsAlreadyExist")
    assert (await rate(NOBODY, best=one))[0] == 404
