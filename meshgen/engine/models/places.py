"""Where people have models: Hugging Face caches, the folders of ComfyUI, A1111 and Forge, any folder. Read where they are.

Places are listed by names alone; what a file really is, is judged when it is added.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meshgen.engine.diffusion.vocabularies import cache_folders
from meshgen.engine.models.judging import WEIGHTS, NotTaken, is_one_thing, snapshot_of, snapshot_or

MAX_FOUND = 5000
MAX_DEPTH = 8
MAX_YAML_BYTES = 256 * 1024
EXTRA_PATHS = "extra_model_paths.yaml"

_COMFY = {
    "checkpoints": "model",
    "loras": "lora",
    "embeddings": "inversion",
    "controlnet": "controlnet",
    "diffusers": "model",
    "upscale_models": "post",
}
"""ComfyUI's folders below models/, and its words in extra_model_paths.yaml."""
_WEBUI = {
    "models/Stable-diffusion": "model",
    "models/Lora": "lora",
    "models/LyCORIS": "lora",
    "embeddings": "inversion",
    "models/ControlNet": "controlnet",
    "extensions/sd-webui-controlnet/models": "controlnet",
    "models/ESRGAN": "post",
    "models/RealESRGAN": "post",
}
_HOMES = ("", "Documents", "src", "git", "ai", "AI", "apps")
_NAMES = {
    "ComfyUI": ("ComfyUI", "comfyui", "ComfyUI_windows_portable/ComfyUI"),
    "web UI": (
        "stable-diffusion-webui",
        "stable-diffusion-webui-forge",
        "stable-diffusion-webui-reForge",
        "webui",
        "sd-webui",
        "webui_forge_cu121_torch231/webui",
    ),
}
"""What their folders are called where people unpack them."""
_WHERE = ("/opt", "/workspace", "/srv")


@dataclass(frozen=True, slots=True)
class Found:
    """One file or folder that looks like a model or adapter. ``kind`` is what the place says: model, lora, inversion, controlnet,
    post, or "" if it does not say."""

    path: Path
    kind: str
    bytes: int
    fault: str = ""  # why it can't be read


@dataclass(frozen=True, slots=True)
class Place:
    kind: str  # Hugging Face cache, ComfyUI, web UI, folder
    path: Path


def kind_of_place(path: Path) -> str:
    """Which installation a folder is; "" for a single model, a file, and what can't be read."""
    try:
        return _kind(snapshot_or(path))
    except OSError:
        return ""


def _kind(path: Path) -> str:
    if not path.is_dir() or path.name.startswith("models--"):
        return ""
    if any(path.glob("models--*")) or any(path.glob("hub/models--*")):
        return "Hugging Face cache"
    if (path / "models" / "Stable-diffusion").is_dir():
        return "web UI"
    if (path / "models" / "checkpoints").is_dir() or (path / EXTRA_PATHS).is_file() or (path / "checkpoints").is_dir():
        return "ComfyUI"
    return "" if is_one_thing(path) else "folder"


def look_through(path: Path) -> list[Found]:
    """What lies in an installation or a folder, by path; at most MAX_FOUND."""
    path = snapshot_or(path)
    kind = kind_of_place(path)
    if kind == "Hugging Face cache":
        found = _in_cache(path / "hub" if (path / "hub").is_dir() else path)
    elif kind == "ComfyUI":
        found = _in_folders(_comfy_folders(path))
    elif kind == "web UI":
        found = _in_folders((path / name, what) for name, what in _WEBUI.items())
    else:
        found = _below(path, "")
    unique = {one.path: one for one, _ in zip(found, range(MAX_FOUND), strict=False)}
    return sorted(unique.values(), key=lambda one: (one.kind, str(one.path).lower()))


def suggest() -> list[Place]:
    """Places on this machine that are there."""
    found = [Place("Hugging Face cache", place) for place in cache_folders()]
    homes = [Path.home() / name for name in _HOMES] + [Path(name) for name in _WHERE]
    for kind, names in _NAMES.items():
        places = (home / name for home in homes for name in names)
        found += [Place(kind, place) for place in places if kind_of_place(place) == kind]
    return list({place.path.resolve(): place for place in found}.values())


def _in_cache(cache: Path) -> Iterator[Found]:
    for repository in sorted(cache.glob("models--*")):
        try:
            snapshot = snapshot_of(repository)
        except NotTaken:
            continue
        if is_one_thing(snapshot):
            yield Found(snapshot, "", _size(snapshot))
        else:
            yield from _below(snapshot, "")


def _comfy_folders(path: Path) -> Iterator[tuple[Path, str]]:
    root = path / "models" if (path / "models").is_dir() else path
    for name, kind in _COMFY.items():
        yield root / name, kind
    yield from _extra_folders(path / EXTRA_PATHS)


def _extra_folders(file: Path) -> Iterator[tuple[Path, str]]:
    """What ComfyUI is told of models that lie elsewhere. A file that can't be read is passed over: it is not ours."""
    try:
        if file.stat().st_size > MAX_YAML_BYTES:
            return
        sections = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return
    for section in sections.values() if isinstance(sections, dict) else ():
        if not isinstance(section, dict):
            continue
        base = file.parent / os.path.expandvars(str(section.get("base_path") or "."))
        for name, kind in _COMFY.items():
            for line in _lines(section.get(name)):
                yield base.expanduser() / os.path.expandvars(line), kind


def _lines(value: Any) -> list[str]:
    """One path a line."""
    return [line.strip() for line in value.splitlines() if line.strip()] if isinstance(value, str) else []


def _in_folders(folders: Iterable[tuple[Path, str]]) -> Iterator[Found]:
    for folder, kind in folders:
        if folder.is_dir():
            yield from _below(folder, kind)


def _below(folder: Path, kind: str, above: tuple[Path, ...] = ()) -> Iterator[Found]:
    """Files of weights and folders of one model, as deep as people sort them; links that go in circles end."""
    above = (*above, folder.resolve())
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Found(folder, kind, 0, f"it can't be read: {error.strerror}")
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if entry.name.startswith("models--"):
                yield from _in_cache(folder)
                return
            if is_one_thing(path):
                yield Found(path, kind, _size(path))
            elif len(above) < MAX_DEPTH and path.resolve() not in above:
                yield from _below(path, kind, above)
        elif path.suffix.lower() in WEIGHTS:
            yield _file(path, kind)


def _file(path: Path, kind: str) -> Found:
    try:
        return Found(path, kind, path.stat().st_size)
    except OSError as error:
        broken = (
            f"it links to {path.readlink()}, which is not there" if path.is_symlink() else f"it can't be read: {error.strerror}"
        )
        return Found(path, kind, 0, broken)


def _size(folder: Path) -> int:
    """Of the weights in it."""
    files = (path for path in folder.rglob("*") if path.suffix in WEIGHTS)
    return sum(path.stat().st_size for path in files if path.is_file())
