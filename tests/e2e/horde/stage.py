"""A mesh that offers what the records ask for: a node whose bridged workers do it all, and one that is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from meshgen.cli.local_mesh import LocalNode, local_mesh, wait_for
from meshgen.home import KEY_FILE
from tests.e2e.horde.workers import FORMS, Knowing, Kobold, Regen

PAINTED = ("stable_diffusion", "stable_diffusion_inpainting")
WRITTEN = "koboldcpp/tiny-1b"
WAIT_S = 120
NOTHING_OF_ITS_OWN: dict[str, Any] = {"worker__engine": "fake", "worker__models": ",".join((*PAINTED, WRITTEN))}


@contextmanager
def recorded_mesh() -> Iterator[tuple[str, str]]:
    """The URL and the key of the node that is asked. Raises Fault."""
    with TemporaryDirectory() as folder, local_mesh(Path(folder), "meshgen-replay-v0") as mesh, ExitStack() as stack:
        rig = mesh.start("rig", "hub", "worker", "archivist", **NOTHING_OF_ITS_OWN)
        asked = mesh.start("asked", "requester", "worker", through=rig, requester__bid_wait_s=2, **NOTHING_OF_ITS_OWN)
        url, key = address(rig)
        for worker in (
            Regen(url, key, "painter", models=list(PAINTED), max_pixels=2**22, amount=4, nsfw=True),
            Kobold(url, key, "writer", models=[WRITTEN], max_length=512),
            Knowing(url, key, "alchemist", forms=list(FORMS), amount=4),
        ):
            stack.enter_context(worker.at_work())
        wait_for(lambda: offered(asked) >= {*PAINTED, WRITTEN, *FORMS}, "all that was recorded to be offered", WAIT_S)
        yield address(asked)


def address(node: LocalNode) -> tuple[str, str]:
    return node.api.info.url, (node.home / KEY_FILE).read_text().strip()


def offered(node: LocalNode) -> set[str]:
    return {model["name"] for model in node.api.get("/v1/models")["mesh"]}
