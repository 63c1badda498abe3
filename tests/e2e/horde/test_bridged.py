"""Workers that were made for AI Horde earn for a node: through another node's requester, in real processes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from typing import Any, TypeVar

import pytest
from PIL import Image

from meshgen.cli.local_mesh import LocalMesh, local_mesh, wait_for
from meshgen.home import KEY_FILE
from meshgen.ledger.verify import verify_home
from tests.e2e.horde.workers import Alchemist, Careless, HordeWorker, Kobold, Regen, drawn

W = TypeVar("W", bound=HordeWorker)
MODEL, SLOW, WRITER = "Deliberate", "Dreamshaper", "koboldcpp/tiny-1.1b"
SECRET = "a heron reads the tide tables"
WAIT_S = 60


class Rig:
    """A node whose bridge alone is to do the work, and one that asks."""

    def __init__(self, mesh: LocalMesh) -> None:
        self.node = mesh.start(
            "rig",
            "worker",
            "archivist",
            node__log_level="debug",
            worker__engine="fake",
            worker__models=f"{MODEL},{SLOW},{WRITER}",
        )
        self.asks = mesh.start("asks", "requester", through=self.node, requester__bid_wait_s=2)

    def worker(self, kind: type[W], name: str, **more: Any) -> W:
        return kind(self.node.api.info.url, (self.node.home / KEY_FILE).read_text().strip(), name, **more)

    def offered(self, *names: str) -> None:
        wait_for(lambda: set(names) <= set(self._models()), f"{names} to be offered", WAIT_S)

    def ask(self, path: str, **body: Any) -> str:
        return str(self.asks.api.post(path, body)["id"])

    def done(self, job_id: str) -> tuple[dict[str, Any], list[bytes]]:
        """The job once it is over, and its results."""
        wait_for(lambda: self._job(job_id)["state"] in ("done", "failed", "cancelled"), "a bridged job", WAIT_S)
        job = self._job(job_id)
        assert job["state"] == "done", (job["error"], job["notes"], self.node.log[-3000:])
        return job, [self.asks.api.fetch(result["url"]) for result in job["results"]]

    def earned(self) -> int:
        return int(self.node.api.get("/v1/credit/balance")["earned_mkudos"])

    def _job(self, job_id: str) -> dict[str, Any]:
        return dict(self.asks.api.get(f"/v1/jobs/{job_id}"))

    def _models(self) -> list[str]:
        return [model["name"] for model in self.asks.api.get("/v1/models")["mesh"]]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with local_mesh(tmp_path_factory.mktemp("bridged"), "meshgen-bridged-v0") as mesh:
        yield Rig(mesh)


def pixels(picture: bytes) -> tuple[tuple[int, int], Any]:
    """The size and the one colour."""
    with Image.open(BytesIO(picture)) as image:
        return image.size, image.convert("RGB").getpixel((3, 3))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_pictures_texts_and_forms_earn_for_the_node(rig: Rig) -> None:
    image = {"models": [MODEL], "max_pixels": 2**20, "amount": 2, "nsfw": True}
    regen, kobold = rig.worker(Regen, "painter", **image), rig.worker(Kobold, "writer", models=[WRITER], max_length=512)
    alchemist = rig.worker(Alchemist, "al", forms=["caption", "RealESRGAN_x2plus"], amount=2)
    with ExitStack() as stack:
        for worker in (regen, kobold, alchemist):
            stack.enter_context(worker.at_work())
        rig.offered(MODEL, WRITER, "caption", "RealESRGAN_x2plus")
        source = encoded(drawn(9, 96, 64, "PNG"))
        asked = (
            rig.ask("/v1/jobs", prompt=SECRET, model=MODEL, width=128, height=64, steps=4, count=3, seed=40),
            rig.ask("/v1/jobs/text", prompt=SECRET, model=WRITER, tokens=40),
            rig.ask("/v1/jobs/form", form="caption", source=source),
            rig.ask("/v1/jobs/form", form="RealESRGAN_x2plus", source=source),
        )
        jobs, (pngs, texts, captions, enlarged) = zip(*map(rig.done, asked), strict=True)
    assert {part["worker_alias"].partition("#")[0] for job in jobs for part in job["parts"]} == {"rig"}
    assert [pixels(png) for png in pngs] == [pixels(drawn(seed, 128, 64)) for seed in (40, 41, 42)]
    assert texts == [b"40 tokens at the most"] and json.loads(captions[0]) == {"caption": "a picture of 96 by 64"}
    assert pixels(enlarged[0])[0] == (192, 128)
    spent = sum(job["mkudos"] for job in jobs)
    assert all(job["mkudos"] > 0 for job in jobs)
    wait_for(lambda: rig.earned() == spent, "the credit in the log", WAIT_S)
    assert regen.kudos > 0 and alchemist.kudos > 0 and kobold.kudos > 0
    assert SECRET not in rig.node.log
    assert verify_home(rig.node.home).ok and verify_home(rig.asks.home).ok


def test_a_good_worker_does_what_a_bad_one_spoils(rig: Rig) -> None:
    careless = rig.worker(Careless, "careless", models=[SLOW], max_pixels=2**20)
    good = rig.worker(Regen, "careful", models=[SLOW], max_pixels=2**20)
    good.inline = True
    before = rig.earned()
    with careless.at_work():
        rig.offered(SLOW)
        job_id = rig.ask("/v1/jobs", prompt="x", model=SLOW, width=64, height=64, steps=2)
        wait_for(lambda: bool(careless.answers), "the bad one to hand in", WAIT_S)
        with good.at_work():
            rig.done(job_id)
    codes = {body.get("rc") for status, body in careless.answers if status != 200}
    assert codes == {"ImageValidationFailed", "AbortedGen", "InvalidJobID"} and careless.kudos == 0 < good.kudos
    wait_for(lambda: rig.earned() > before, "the credit in the log", WAIT_S)
    assert "Traceback" not in rig.node.log


def test_a_paused_node_s_workers_are_in_maintenance(rig: Rig) -> None:
    worker = rig.worker(Regen, "patient", models=[MODEL])
    rig.node.api.post("/v1/worker/pause", {"message": "cleaning"})
    try:
        with worker.at_work():
            wait_for(lambda: bool(worker.refusals), "the worker to be told", WAIT_S)
        status, body = worker.refusals[0]
        assert (status, body["rc"]) == (403, "WorkerMaintenance") and "cleaning" in body["message"]
    finally:
        rig.node.api.post("/v1/worker/resume")
