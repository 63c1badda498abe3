"""Looks at work before a child gets it: whether it can be done here, and with which files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from meshgen.engine.models.entries import CatalogAdapter, CatalogModel
from meshgen.engine.pool.frames import Frame
from meshgen.engine.port import Control, EngineError, Inversion, Lora, TextWork, Work

MAX_STEPS = 1000
MAX_SEED = 2**64 - 1
MAX_PICTURE_BYTES = 32 * 1024 * 1024
"""Of each picture that goes in."""
MAX_TOKENS = 2**17


Adapters = Mapping[bytes, CatalogAdapter]


def request_of(work: Work | TextWork, model: CatalogModel, max_pixels: int, adapters: Adapters) -> Frame:
    """What a child is told beside the work itself. Raises EngineError for work that can't be done."""
    if not work.seeds or not all(0 <= seed <= MAX_SEED for seed in work.seeds):
        raise EngineError("bad_input", "a job needs at least one seed, each a number from 0 to 2**64-1")
    if isinstance(work, TextWork):
        _check_text(work, model)
        return {"model": model_frame(model), "adapters": {}}
    _check_pictures(work, model, max_pixels)
    return {
        "model": model_frame(model),
        "adapters": {info.hex(): _adapter_frame(adapters[info]) for info in _wanted(work, adapters)},
    }


def model_frame(model: CatalogModel) -> dict[str, Any]:
    """``digest`` tells the child when files have changed; equal ``parts`` of two models are held in memory once."""
    return {**model.frame(), "digest": model.digest.hex(), "parts": _parts(model)}


def _parts(model: CatalogModel) -> dict[str, str]:
    """A digest for each folder in the model's own: its files' names and contents."""
    hashes: dict[str, Any] = {}
    for file, (_, _, content) in sorted(model.files.items()):
        folder, slash, name = file.partition("/")
        if slash:
            hashes.setdefault(folder, hashlib.sha256()).update(f"{name}\0{content}\n".encode())
    return {folder: found.hexdigest() for folder, found in hashes.items()}


def _adapter_frame(adapter: CatalogAdapter) -> dict[str, str]:
    info = adapter.info
    return {"kind": info.kind, "path": str(adapter.path), "name": info.name, "family": info.family}


def _check_text(work: TextWork, model: CatalogModel) -> None:
    if model.info.family != "text":
        raise EngineError("unsupported", f"{work.model} draws pictures, it does not write")
    if not 1 <= work.max_tokens <= MAX_TOKENS:
        raise EngineError("bad_input", f"{work.max_tokens} tokens: there must be 1 to {MAX_TOKENS}")


def _check_pictures(work: Work, model: CatalogModel, max_pixels: int) -> None:
    if model.info.family == "text":
        raise EngineError("unsupported", f"{work.model} writes, it does not draw pictures")
    if min(work.width, work.height) < 1 or work.width * work.height > max_pixels:
        raise EngineError("bad_input", f"{work.width}x{work.height}: {work.model} draws at most {max_pixels} pixels")
    if not 1 <= work.steps <= MAX_STEPS:
        raise EngineError("bad_input", f"{work.steps} steps: there must be 1 to {MAX_STEPS}")
    if work.negative_prompt and "negative_prompt" not in model.info.features:
        raise EngineError("unsupported", f"{work.model} takes no negative prompt")
    for picture in (work.source, work.mask, work.control.image if work.control else b""):
        if len(picture) > MAX_PICTURE_BYTES:
            raise EngineError("bad_input", f"a picture of {len(picture)} bytes: at most {MAX_PICTURE_BYTES} are taken")


def _wanted(work: Work, adapters: Adapters) -> Iterable[bytes]:
    used: list[Lora | Inversion | Control] = [*work.loras, *work.inversions, *([work.control] if work.control else [])]
    for one in used:
        if one.digest and one.digest not in adapters:
            raise EngineError("unknown_model", f"{one.name!r} is not here: `meshgen models ls` shows what is")
        if one.digest:
            yield one.digest
