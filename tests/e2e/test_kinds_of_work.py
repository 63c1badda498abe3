"""Each kind of work through two nodes over libp2p, in real processes with the real engine: what comes back is what was asked for.

The bundled model draws what one can look at; a tiny random one takes the adapters; alchemy and texts have their packaged weights.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meshgen.cli.local_mesh import local_mesh, wait_for
from meshgen.engine.models.catalog import Catalog
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import Town, workers_seen
from tests.engine.diffusion.test_same_seed import ANOTHER_WORKER, RESTARTED, TOGETHER

SCENE = "a red circle above a blue square on a yellow background"
RED, YELLOW, GREEN = (215, 40, 50), (250, 225, 50), (40, 150, 60)
SIDE = 64
TINY = "tiny"
START_S = 180
JOB_S = 180


def tiny_models(folder: Path, home: Path) -> None:
    """A model with a LoRA, an inversion and a ControlNet, on the list of the node in ``home``."""
    from diffusers import StableDiffusionPipeline

    from tests.engine import tiny_pipelines as tiny

    model = tiny.save_tiny_sd(folder)
    pipe = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    catalog = Catalog(home)
    catalog.add(TINY, model)
    catalog.add("strokes", tiny.save_tiny_lora(pipe, "sd1", folder / "strokes.safetensors"))
    catalog.add("token", tiny.save_tiny_inversion(folder / "token.safetensors", {"emb_params": tiny.WIDTH}))
    catalog.add("canny", tiny.save_tiny_controlnet(pipe, "sd1", folder / "canny"), control="canny")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    root = tmp_path_factory.mktemp("work")
    tiny_models(root / "models", root / "painter")
    with local_mesh(root, "meshgen-work-v0") as mesh:
        town = Town(mesh)
        town.start_hub()
        launch_painter(town)
        town.launch_requester()
        town.await_ready("painter", "requester")
        wait_for(lambda: offered(town) >= {"meshgen-mini", TINY}, "the requester to know the worker's models", START_S)
        yield town


def launch_painter(town: Town) -> None:
    town.launch("painter", "worker", worker__device="cpu")


def offered(town: Town) -> set[str]:
    return {model["name"] for model in town.requester.get("/v1/models")["mesh"]}


def done(town: Town, path: str, worker: str = "painter", **body: Any) -> list[bytes]:
    """The results, in order, of a job that this worker does."""
    job_id = town.requester.post(path, body)["id"]
    wait_for(lambda: town.job(job_id)["state"] in ("done", "failed", "cancelled"), f"a job of {path}", JOB_S)
    job = town.job(job_id)
    assert job["state"] == "done", (job["error"], job["notes"], town.node(worker).log[-3000:])
    assert {part["worker_alias"].partition("#")[0] for part in job["parts"]} == {worker} and job["mkudos"] > 0
    return [town.requester.fetch(result["url"]) for result in job["results"]]


def workers(town: Town) -> set[str]:
    return {peer["alias"] for peer in town.requester.get("/v1/peers")["peers"] if peer["models"]}


def policies(town: Town, alias: str) -> list[str]:
    return [word for peer in town.requester.get("/v1/peers")["peers"] if peer["alias"] == alias for word in peer["policies"]]


def drawn(town: Town, **body: Any) -> np.ndarray[Any, Any]:
    asked: dict[str, Any] = {"prompt": SCENE, "steps": 12, "guidance_scale": 3.0, "seed": 7} | body
    (png,) = done(town, "/v1/jobs", **asked)
    return pixels(png)


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def encoded(image: np.ndarray[Any, Any] | Image.Image) -> str:
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image.astype(np.uint8))).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def share(picture: np.ndarray[Any, Any], colour: tuple[int, int, int]) -> float:
    """Of the pixels that are near a colour."""
    return float((np.abs(picture - np.array(colour)).max(axis=-1) < 60).mean())


@pytest.fixture(scope="module")
def scene(town: Town) -> np.ndarray[Any, Any]:
    picture = drawn(town)
    assert picture.shape == (SIDE, SIDE, 3) and share(picture, RED) > 0.05 and share(picture, YELLOW) > 0.4
    return picture


def test_a_picture_from_a_picture(town: Town, scene: np.ndarray[Any, Any]) -> None:
    other = drawn(town, prompt=SCENE.replace("red", "green"), source=encoded(scene), strength=0.6)
    assert share(other, GREEN) > 0.05 > share(other, RED), "the circle has its new colour"
    assert np.abs(other - scene)[SIDE // 2 :].mean() < 12, "the square stayed where it was"


def test_what_is_masked_is_painted_anew(town: Town, scene: np.ndarray[Any, Any]) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[: SIDE // 2] = 255
    other = drawn(town, prompt=SCENE.replace("red", "green"), source=encoded(scene), mask=encoded(mask), strength=1.0)
    assert share(other[: SIDE // 2], RED) < 0.05
    assert np.abs(other - scene)[SIDE // 2 + 4 :].max() <= 8, "outside the mask it is the source"


def test_what_is_around_a_picture_is_painted(town: Town, scene: np.ndarray[Any, Any]) -> None:
    wide = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    wide.paste(Image.fromarray(scene[16:48, 16:48].astype(np.uint8)), (16, 16))
    other = drawn(town, source=encoded(wide), strength=1.0)
    assert np.abs(other - scene)[20:44, 20:44].max() <= 8
    assert share(other[:12], YELLOW) > 0.5, "the background goes on"


def test_adapters_change_what_is_drawn(town: Town) -> None:
    same: dict[str, Any] = {"model": TINY, "steps": 4, "prompt": "a cat token"}
    plain = drawn(town, **same)
    source = encoded(np.kron(np.eye(2), np.full((16, 16), 255)))
    others = {
        "a LoRA": drawn(town, **same, loras=[{"name": "strokes", "weight": 1.5}]),
        "an inversion": drawn(town, **same, inversions=[{"name": "token"}]),
        "ControlNet": drawn(town, **same, control={"name": "canny", "image": source}),
        "clip skip": drawn(town, **same, clip_skip=2),
        "tiling": drawn(town, **same, tiling=True),
        "a scheduler": drawn(town, **same, scheduler="k_euler_a"),
    }
    assert [name for name, picture in others.items() if not np.abs(picture - plain).any()] == []
    assert not np.abs(drawn(town, **same) - plain).any(), "and nothing of it stays"
    edges = drawn(town, **same, control={"name": "canny", "image": source, "return_map": True})
    assert set(np.unique(edges)) == {0, 255} and 0.01 < (edges > 0).mean() < 0.3
    assert drawn(town, **same, width=64, height=64, hires_fix=True).shape == (64, 64, 3)


def test_many_at_once_are_each_what_they_would_be_alone(town: Town, scene: np.ndarray[Any, Any]) -> None:
    pictures = done(town, "/v1/jobs", prompt=SCENE, steps=12, guidance_scale=3.0, seed=5, count=4)
    assert len(pictures) == 4 and np.abs(pixels(pictures[2]) - scene).max() <= TOGETHER


def test_a_text_goes_on(town: Town) -> None:
    if not {model for model in offered(town) if "SmolLM" in model}:
        pytest.skip("the package that carries a small language model is not installed")
    (text,) = done(town, "/v1/jobs/text", prompt="The capital of France is", tokens=8, temperature=0)
    assert b"Paris" in text


def test_forms_of_alchemy(town: Town, scene: np.ndarray[Any, Any]) -> None:
    forms = offered(town)
    if "nsfw" not in forms:
        pytest.skip("the packages that carry alchemy's weights are not installed")
    (found,) = done(town, "/v1/jobs/form", form="nsfw", source=encoded(scene))
    assert json.loads(found)["nsfw"] is False
    if "RealESRGAN_x4plus_anime_6B" not in forms:
        pytest.skip("the package that carries upscalers' weights is not installed")
    (grown,) = done(town, "/v1/jobs/form", form="RealESRGAN_x4plus_anime_6B", source=encoded(scene))
    assert pixels(grown).shape == (4 * SIDE, 4 * SIDE, 3)
    after = drawn(town, post=["RealESRGAN_x4plus_anime_6B"])
    assert after.shape == (4 * SIDE, 4 * SIDE, 3)
    assert np.abs(after - pixels(grown)).max() <= 2, "after the picture, or later: the same"


def test_a_seed_is_the_same_picture_on_another_worker(town: Town, scene: np.ndarray[Any, Any]) -> None:
    """Of the same fingerprint: the same weights on the same kind of machine. The first one pauses meanwhile."""
    town.launch("other", "worker", worker__device="cpu", worker__declines="text,alchemy")
    town.await_ready("other")
    town.node("painter").api.post("/v1/worker/pause", {"message": "a rest"})
    try:
        wait_for(lambda: {"painter", "other"} <= workers(town), "the requester to know both", START_S)
        wait_for(lambda: "paused" in policies(town, "painter"), "the requester to hear of the pause", START_S)
        assert np.abs(drawn(town, worker="other") - scene).max() <= ANOTHER_WORKER
    finally:
        town.node("painter").api.post("/v1/worker/resume", {})
        town.node("other").stop()
        del town.mesh.nodes["other"]


def test_a_seed_is_the_same_picture_after_a_restart(town: Town, scene: np.ndarray[Any, Any]) -> None:
    town.node("painter").stop()
    launch_painter(town)
    town.await_ready("painter")
    wait_for(lambda: "painter" in workers_seen(town.requester), "the requester to know the worker again", START_S)
    assert np.abs(drawn(town) - scene).max() <= RESTARTED


def test_everything_was_paid_for(town: Town, scene: np.ndarray[Any, Any]) -> None:
    report = verify_home(town.node("requester").home)
    assert report.ok and report.total == 0 and report.balance.net < 0
