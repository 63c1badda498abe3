"""What a file or folder is: a model, and of which format and family, or an adapter. Read without torch, nothing is loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from meshgen.engine.models.adapter_file import (
    AdapterFile,
    AdapterFileError,
    class_of,
    is_adapter,
    is_controlnet_folder,
    judge_adapter,
    read_adapter,
)
from meshgen.engine.models.model_folder import INDEX, ModelFolder, ModelFolderError, read_model_folder
from meshgen.engine.models.provenance import Provenance, of_folder
from meshgen.engine.models.single_file import FORMAT, SingleFile, SingleFileError, is_checkpoint, judge_single_file
from meshgen.engine.models.tensor_file import PICKLES, TensorFileError, read_tensor_file
from meshgen.engine.text.text_folder import TextFolder, looks_like_text, read_text_folder

MODEL = "model"
WEIGHTS = (".safetensors", ".gguf", *PICKLES)
TEXT_FAMILY = "text"
_TEXT_SIDE = 8
"""A text model has no size; the advert wants one."""


class NotTaken(ValueError):
    """It can't be used here; the text says what it is or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """``path`` is what is loaded: a folder or one file. ``files`` are relative to the folder, or the file's own name."""

    path: Path
    kind: str  # model, or an adapter's: lora, inversion, controlnet
    format: str  # diffusers, single_file, causal_lm, gguf; of adapters folder or file
    family: str
    files: tuple[str, ...]
    provenance: Provenance
    default_size: int = _TEXT_SIDE
    features: tuple[str, ...] = ()
    variant: str = ""
    control: str = ""
    millions: int = 0
    context: int = 0
    vocabularies: tuple[tuple[str, int], ...] = ()
    """Tokenizers that it needs and does not bring: clip or t5, and how many words."""


def judge(path: Path, allow_pickle: bool = False, control: str = "") -> Judged:
    """Raises NotTaken."""
    try:
        path = snapshot_of(path)
        return _judge_folder(path, allow_pickle, control) if path.is_dir() else _judge_file(path, allow_pickle, control)
    except (ModelFolderError, SingleFileError, AdapterFileError, TensorFileError) as error:
        raise NotTaken(str(error)) from None
    except OSError as error:
        raise NotTaken(f"{path} can't be read: {error.strerror or error}") from None


def is_one_thing(path: Path) -> bool:
    """Whether a folder is one model or adapter, rather than a place with several."""
    return any(os.path.lexists(path / name) for name in (INDEX, "config.json"))


def snapshot_of(path: Path) -> Path:
    """A model of a Hugging Face cache lies in its snapshots: the one that its main branch names, else the newest."""
    if not _is_cached(path):
        return path
    snapshots = path / "snapshots"
    try:
        named = snapshots / (path / "refs" / "main").read_text("utf-8").strip()
        if named.is_dir() and named.parent == snapshots:
            return named
    except OSError:
        pass
    found = [folder for folder in snapshots.iterdir() if folder.is_dir()] if snapshots.is_dir() else []
    if not found:
        raise NotTaken(f"{path} has no snapshot in it: nothing was downloaded, or it was cleared")
    return max(found, key=lambda folder: folder.stat().st_mtime_ns)


def snapshot_or(path: Path) -> Path:
    """Of a model in a Hugging Face cache its snapshot; any other path as it is."""
    try:
        return snapshot_of(path)
    except NotTaken:
        return path


def _is_cached(path: Path) -> bool:
    return path.name.startswith("models--") and path.is_dir()


def _judge_folder(path: Path, allow_pickle: bool, control: str) -> Judged:
    if is_controlnet_folder(path):
        return _of_adapter(read_adapter(path, allow_pickle, control), "folder")
    if name := class_of(path):
        raise NotTaken(f"{path} is one part of a diffusers model ({name[:40]}), not a whole one")
    if looks_like_text(path):
        return _of_text(read_text_folder(path, allow_pickle))
    return _of_folder(read_model_folder(path, allow_pickle))


def _judge_file(path: Path, allow_pickle: bool, control: str) -> Judged:
    if path.suffix.lower() == ".gguf":
        return _of_text(read_text_folder(path, allow_pickle))
    file = read_tensor_file(path, allow_pickle)
    if is_checkpoint(file.shapes) and not is_adapter(file.shapes):
        return _of_single_file(judge_single_file(file))
    return _of_adapter(judge_adapter(file, control), "file")


def _of_folder(found: ModelFolder) -> Judged:
    return Judged(
        found.path,
        MODEL,
        "diffusers",
        found.family,
        found.files,
        of_folder(found.path),
        found.default_size,
        found.features,
        found.variant,
    )


def _of_single_file(found: SingleFile) -> Judged:
    sizes = {
        kind: int(found.configs[name.replace("tokenizer", "text_encoder")]["vocab_size"])
        for name, kind in found.vocabularies.items()
    }
    return Judged(
        found.path,
        MODEL,
        FORMAT,
        found.family,
        (found.path.name,),
        found.provenance,
        found.default_size,
        found.features,
        vocabularies=tuple(sorted(sizes.items())),
    )


def _of_text(found: TextFolder) -> Judged:
    kept = of_folder(found.root)
    provenance = Provenance(found.licence or kept.licence, kept.source)
    return Judged(
        found.path,
        MODEL,
        found.format,
        TEXT_FAMILY,
        found.files,
        provenance,
        millions=found.millions,
        context=found.context,
    )


def _of_adapter(found: AdapterFile, form: str) -> Judged:
    return Judged(found.path, found.kind, form, found.family, found.files, found.provenance, control=found.control)
