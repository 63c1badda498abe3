"""Drawing with tiny pipelines, each saved once a session; what the tests of the child's side share."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from meshgen.engine.diffusion.adapting import Files
from meshgen.engine.diffusion.drawing import Member, Studio
from meshgen.engine.port import Work
from tests.engine.pictures import Pixels, pixels
from tests.engine.tiny_pipelines import SAVE, save_tiny_controlnet, save_tiny_lora

Told = list[tuple[str, dict[str, Any]]]

CONTROL, LORA, LORA_2, VECTORS = (bytes([number]) * 32 for number in range(1, 5))
"""Digests of adapters."""


@cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="tiny-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def studio() -> Studio:
    return Studio("cpu", "auto", threads=1)


def model_at(path: Path) -> dict[str, Any]:
    return {"name": "tiny", "path": str(path), "variant": "", "allow_pickle": False}


@cache
def model(family: str) -> dict[str, Any]:
    return model_at(SAVE[family](folder() / family))


@cache
def files(family: str) -> Files:
    """A ControlNet and two LoRAs for that family's model."""
    pipe, place = studio().load(model(family)).pipe, folder() / family
    return {
        CONTROL.hex(): {"path": str(save_tiny_controlnet(pipe, family, place / "net"))},
        LORA.hex(): {"path": str(save_tiny_lora(pipe, family, place / "one.safetensors"))},
        LORA_2.hex(): {"path": str(save_tiny_lora(pipe, family, place / "two.safetensors", seed=8))},
    }


def told(
    job: Work,
    family: str = "sd1",
    cancelled: Callable[[Told], bool] = lambda _: False,
    files: Files | None = None,
    place: Studio | None = None,
) -> Told:
    """What the one job of a batch is told."""
    heard: Told = []
    member = Member(job, lambda what, **fields: heard.append((what, fields)), lambda: cancelled(heard))
    (place or studio()).draw(model(family), [member], files)
    return heard


def pictures(job: Work, family: str = "sd1", files: Files | None = None) -> list[Pixels]:
    return together([job], family, files)[0]


def together(jobs: Sequence[Work], family: str = "sd1", files: Files | None = None) -> list[list[Pixels]]:
    """The pictures of jobs that are drawn as one batch."""
    found: list[dict[int, bytes]] = [{} for _ in jobs]

    def member(job: Work, its: dict[int, bytes]) -> Member:
        def tell(what: str, **fields: Any) -> None:
            if what == "picture":
                its[fields["index"]] = fields["png"]

        return Member(job, tell, lambda: False)

    studio().draw(model(family), [member(job, its) for job, its in zip(jobs, found, strict=True)], files)
    assert [sorted(its) for its in found] == [list(range(len(job.seeds))) for job in jobs]
    return [[pixels(its[index]) for index in sorted(its)] for its in found]


def picture(job: Work, family: str = "sd1", files: Files | None = None) -> Pixels:
    (one,) = pictures(job, family, files)
    return one
