"""An engine that can do everything there is to ask for, and a mesh of one who has it and one who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO

from PIL import Image

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.engine.port import AdapterInfo, AnyWork, EngineEvent
from meshgen.peers.job import Job
from meshgen.peers.peer import Peer
from meshgen.peers.request import Request
from meshgen.testing import VirtualMesh, virtual_mesh

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
