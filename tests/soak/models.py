"""Many small models for a soak: copies of one, each with a digest of its own, and such as can't be loaded."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from meshgen.engine.models.catalog import Catalog
from tests.engine.folders import model_folder

GOOD = ("sd", "sdxl")
HOLLOW, CUT, GONE = "hollow", "cut", "gone"
"""How a model's name begins whose weights are a few bytes, or are cut short or deleted after it was added."""
LATENT_SIDE = 64
"""Of the copies, whose largest picture has room for a lower limit."""
_WEIGHTS = Path("unet/diffusion_pytorch_model.safetensors")


def catalog_of(home: Path, names: Iterable[str]) -> Catalog:
    """GOOD, saved unless they are there, and a model for each of the names."""
    if not (home / "sdxl").exists():
        _save_in_another_process(home)
    catalog = Catalog(home)
    catalog.add("sd", home / "sd/model")
    catalog.add("sdxl", home / "sdxl/model")
    for name in names:
        place = home / "copies" / name
        catalog.add(name, model_folder(place) if name.startswith(HOLLOW) else _copy(home / "sd/model", place, name))
        _damage(place / _WEIGHTS, name)
    return catalog


def _save_in_another_process(home: Path) -> None:
    """torch stays out of this one, as it does in a node."""
    saving = multiprocessing.get_context("spawn").Process(target=save_good, args=(home,))
    saving.start()
    saving.join()
    assert saving.exitcode == 0


def save_good(home: Path) -> None:
    """Imports torch."""
    from tests.engine.tiny_pipelines import save_tiny_sd, save_tiny_sdxl

    save_tiny_sd(home / "sd")
    save_tiny_sdxl(home / "sdxl")


def _copy(model: Path, place: Path, note: str) -> Path:
    """The same weights under another digest, which a note in one file's header makes, and said to be for larger pictures."""
    shutil.copytree(model, place, copy_function=os.link)
    _rewrite(place / _WEIGHTS, lambda data: _with_note(data, note))
    _rewrite(place / "unet/config.json", lambda data: json.dumps(json.loads(data) | {"sample_size": LATENT_SIDE}).encode())
    return place


def _rewrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    """The original, of which it is a link, stays as it is."""
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(change(data))


def _with_note(safetensors: bytes, note: str) -> bytes:
    (size,) = struct.unpack_from("<Q", safetensors)
    header = json.loads(safetensors[8 : 8 + size])
    header["__metadata__"] = header.get("__metadata__", {}) | {"note": note}
    noted = json.dumps(header).encode()
    return struct.pack("<Q", len(noted)) + noted + safetensors[8 + size :]


def _damage(weights: Path, name: str) -> None:
    if name.startswith(CUT):
        os.truncate(weights, weights.stat().st_size // 2)
    if name.startswith(GONE):
        weights.unlink()
