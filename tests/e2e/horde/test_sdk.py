"""AI Horde's own client library against a mesh of three processes with the bundled model; alchemy and text by bridged workers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from meshgen.cli.local_mesh import local_mesh, wait_for
from meshgen.home import KEY_FILE
from tests.e2e.conftest import Town
from tests.e2e.horde.workers import FORMS, LISTS, Knowing, Kobold

pytest.importorskip("horde_sdk")

PROGRAM = Path(__file__).with_name("sdk_client.py")
MODEL, SIDE, WRITER = "meshgen-mini", 64, "koboldcpp/tiny-1b"
RED, GREEN, YELLOW = (215, 40, 50), (40, 150, 60), (250, 225, 50)
START_S = 180

Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with local_mesh(tmp_path_factory.mktemp("sdk"), "meshgen-sdk-v0") as mesh, ExitStack() as stack:
        town = Town(mesh)
        mesh.start("hub", "hub", "worker", worker__engine="fake", worker__models=WRITER)
        town.launch("painter", "worker", worker__device="cpu", worker__models=MODEL, worker__forms="none")
        town.launch_requester()
        town.await_ready("painter", "requester")
        url, key = address(town, "hub")
        stack.enter_context(Kobold(url, key, "writer", models=[WRITER], max_length=512).at_work())
        stack.enter_context(Knowing(url, key, "al", forms=list(FORMS)).at_work())
        wait_for(lambda: offered(town) >= {MODEL, WRITER, *FORMS}, "the requester to know what is offered", START_S)
        yield town


def address(town: Town, name: str) -> tuple[str, str]:
    return town.node(name).api.info.url, (town.node(name).home / KEY_FILE).read_text().strip()


def offered(town: Town) -> set[str]:
    return {model["name"] for model in town.requester.get("/v1/models")["mesh"]}


@pytest.fixture(scope="module")
def told(town: Town) -> Told:
    """What the program saw, by what it did."""
    url, key = address(town, "requester")
    users = httpx.get(f"{url}/api/v2/users", headers={"apikey": key}).json()
    other = next(user["username"] for user in users if user["username"].startswith("painter#"))
    environment = os.environ | {"AI_HORDE_URL": f"{url}/api/", "HORDE_KEY": key}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), other], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {line["did"]: line for line in map(json.loads, done.stdout.splitlines())}


def picture(one: dict[str, Any], index: int = 0) -> np.ndarray[Any, Any]:
    data = base64.b64decode(one["pictures"][index])
    return np.frombuffer(data, np.uint8).reshape(SIDE, SIDE, 3).astype(int)


def share(pixels: np.ndarray[Any, Any], colour: tuple[int, int, int]) -> float:
    return float((np.abs(pixels - np.array(colour)).max(axis=-1) < 60).mean())


def test_what_there_is_to_see(told: Told) -> None:
    assert told["heartbeat"]["message"] == "OK"
    assert MODEL in told["models"]["names"] and told["model"]["name"] == MODEL
    assert any(name.startswith("painter") for name in told["workers"]["names"])
    assert told["worker"]["name"] == told["worker"]["by_name"] == told["workers"]["names"][0]
    assert told["performance"]["workers"] >= 1 and told["stats"]["images"] is not None
    assert told["find_user"]["username"].startswith("requester#")


def test_pictures(told: Told) -> None:
    assert told["dry_run"]["kudos"] > 0
    for name in ("txt2img by url", "txt2img in the answer", "img2img", "inpainting", "four at once"):
        one = told[name]
        assert one["states"] == ["ok"] * one["count"] and set(one["model"]) == {MODEL}, name
        assert all(size == [SIDE, SIDE] for size in one["sizes"]) and one["kudos"] > 0, name
        assert all(wait >= 1 for wait in one["waits"][:-1]), f"{name}: a wait of 0 makes clients spin"
    assert told["txt2img by url"]["by_url"] == [True] and told["txt2img in the answer"]["by_url"] == [False]
    assert told["four at once"]["count"] == 4 and len(set(told["four at once"]["seeds"])) == 4
    scene = picture(told["txt2img by url"])
    assert share(scene, RED) > 0.05 and share(scene, YELLOW) > 0.4
    assert np.abs(picture(told["txt2img in the answer"]) - scene).mean() < 3, "one seed, one picture"
    assert share(picture(told["img2img"]), GREEN) > 0.05 > share(picture(told["img2img"]), RED)
    inpainted = picture(told["inpainting"])
    assert np.abs(inpainted - scene)[SIDE * 5 // 8 :].mean() < 12, "what the mask leaves out stays"


def test_a_cancelled_request_ends(told: Told) -> None:
    assert told["cancel"]["generations"] < 8


def test_alchemy_and_text_by_bridged_workers(told: Told) -> None:
    forms = {form["form"]: form["result"] for form in told["alchemy"]["forms"]}
    assert told["alchemy"]["state"] == "done" and set(forms) == set(FORMS)
    assert set(forms["interrogation"]["interrogation"]) == set(LISTS) and forms["nsfw"]["nsfw"] is False
    assert told["text"]["texts"] == ["40 tokens at the most"]


def test_kudos_can_be_given(told: Told, town: Town) -> None:
    assert told["transfer"]["transferred"] == 2, told["transfer"]
    wait_for(lambda: town.node("painter").api.get("/v1/credit/balance")["balance_mkudos"] >= 2000, "the gift", 60)


def test_shared_keys(town: Town) -> None:
    url, key = address(town, "requester")
    with httpx.Client(base_url=f"{url}/api/v2", headers={"apikey": key}) as owner:
        limits = {"kudos": 100, "expiry": 5, "name": "the class", "max_image_pixels": 64 * 64, "max_image_steps": 30}
        shared = owner.put("/sharedkeys", json=limits).json()
        headers = {"apikey": shared["id"]}
        wish = {"prompt": "a red circle", "models": [MODEL], "params": {"width": 64, "height": 64, "steps": 4}}
        job = httpx.post(f"{url}/api/v2/generate/async", json=wish, headers=headers).json()["id"]
        wait_for(lambda: httpx.get(f"{url}/api/v2/generate/check/{job}").json()["done"], "the class's picture", 60)
        large = wish | {"params": {"width": 128, "height": 64, "steps": 4}}
        refused = httpx.post(f"{url}/api/v2/generate/async", json=large, headers=headers)
        assert refused.status_code == 403 and "pixels" in refused.json()["message"]
        used = httpx.get(f"{url}/api/v2/sharedkeys/{shared['id']}").json()
        assert 0 < used["utilized"] < 100 and used["name"] == "the class"
        assert owner.delete(f"/sharedkeys/{shared['id']}").status_code == 200
        assert httpx.post(f"{url}/api/v2/generate/async", json=wish, headers=headers).status_code == 401
