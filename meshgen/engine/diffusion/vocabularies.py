"""Tokenizers for single-file checkpoints, which bring none: found in what this machine has anyway.

All CLIP text encoders of these families share one vocabulary, and so do all T5 ones; it counts as found if it is as large as the
text encoder wants. It is looked for in diffusers folders, Hugging Face caches, ComfyUI, and, for CLIP, in installed packages.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

MAX_VOCABULARY_BYTES = 32 * 1024 * 1024
MAX_TOKENS = 77
"""Of a prompt, as CLIP was trained."""
_MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
_MERGES = 49152 - 256 - 2
_PACKAGES = ("open_clip", "clip")
_START, _END = "<|startoftext|>", "<|endoftext|>"
_T5_PADDING = 128
"""T5's embeddings have up to so many rows more than its vocabulary has tokens."""
_COMFY = {"clip": "comfy/sd1_tokenizer", "t5": "comfy/text_encoders/t5_tokenizer"}
_PARTS = {"clip": ("tokenizer", "tokenizer_2"), "t5": ("tokenizer_2", "tokenizer_3")}
HOW = {
    "clip": "add any Stable Diffusion model as a diffusers folder, or run: pip install --no-deps open_clip_torch "
    "(of it only the list of word parts is read)",
    "t5": "add a Flux or SD 3 model as a diffusers folder, or have the checkpoint in a ComfyUI folder, which brings it",
}


class VocabularyError(ValueError):
    """There is none; the text says how to get it."""


def find_vocabulary(kind: str, size: int, near: Path, folders: Iterable[Path] = (), known: Iterable[Path] = ()) -> Path:
    """A folder, or the file of word parts, that has the vocabulary of this size (rows of the text encoder's embedding).

    ``kind`` is clip or t5; ``near`` the checkpoint; ``known`` are tried first, then the diffusers models ``folders``. Raises
    VocabularyError.
    """
    for place in chain(
        known, _in_models(kind, folders), _in_caches(kind), _in_comfy(kind, near), _beside(kind, near), _in_packages(kind)
    ):
        if fits(kind, place, size):
            return place
    raise VocabularyError(
        f"{near} needs the tokenizer of {kind.upper()}, which comes in no single file and is not found here: {HOW[kind]}"
    )


def fits(kind: str, place: Path, size: int) -> bool:
    try:
        count = len(_word_parts(place)) if place.is_file() else _count(kind, place)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, EOFError):
        return False
    return count == size if kind == "clip" else size - _T5_PADDING <= count <= size


def write_clip_tokenizer(place: Path, folder: Path, pad: str) -> None:
    """Put a CLIP tokenizer into ``folder``: the vocabulary from ``place``, the settings as the family has them."""
    folder.mkdir(parents=True)
    if place.is_file():
        vocabulary = _word_parts(place)
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *_merges(place), ""]), "utf-8")
    else:
        for name in ("vocab.json", "merges.txt"):
            (folder / name).write_bytes((place / name).read_bytes())
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "bos_token": _START,
        "eos_token": _END,
        "unk_token": _END,
        "pad_token": pad,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_t5_tokenizer(place: Path, folder: Path, max_tokens: int) -> None:
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "spiece.model", "special_tokens_map.json"):
        if (place / name).is_file():
            (folder / name).write_bytes((place / name).read_bytes())
    settings = {
        "tokenizer_class": "T5Tokenizer",
        "model_max_length": max_tokens,
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "extra_ids": 100,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def cache_folders() -> list[Path]:
    """Where Hugging Face's library keeps downloads, by its own settings."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    named = [os.environ.get(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")]
    places = [Path(name) for name in named if name] or [home / "hub"]
    found = [place.expanduser().absolute() for place in places]
    return [place for place in dict.fromkeys(found) if place.is_dir()]


def _in_models(kind: str, folders: Iterable[Path]) -> Iterator[Path]:
    return (folder / part for folder in folders for part in _PARTS[kind])


def _in_caches(kind: str) -> Iterator[Path]:
    for cache in cache_folders():
        for part in (*_PARTS[kind], "."):
            marker = "merges.txt" if kind == "clip" else "tokenizer.json"
            yield from (file.parent for file in sorted(cache.glob(f"models--*/snapshots/*/{part}/{marker}")))


def _in_comfy(kind: str, near: Path) -> Iterator[Path]:
    return (parent / _COMFY[kind] for parent in near.absolute().parents)


def _beside(kind: str, near: Path) -> Iterator[Path]:
    """Models in folders that lie next to the checkpoint, or next to its folder."""
    for parent in near.absolute().parents[:2]:
        for part in _PARTS[kind]:
            yield from sorted(parent.glob(f"*/{part}"))


def _in_packages(kind: str) -> Iterator[Path]:
    """Found without importing: they would bring torch along."""
    for package in _PACKAGES if kind == "clip" else ():
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            if (file := Path(place) / _MERGES_FILE).is_file():
                yield file


def _count(kind: str, folder: Path) -> int:
    if kind == "clip":
        vocabulary = _json(folder / "vocab.json")
        return len(vocabulary) if (folder / "merges.txt").is_file() and vocabulary[_END] == len(vocabulary) - 1 else 0
    tokenizer = _json(folder / "tokenizer.json")
    extra = {row["content"] for row in tokenizer.get("added_tokens", ())}
    words = {row[0] for row in tokenizer["model"]["vocab"]} if tokenizer["model"]["type"] == "Unigram" else set()
    return len(words | extra) if words else 0


def _json(file: Path) -> Any:
    if file.stat().st_size > MAX_VOCABULARY_BYTES:
        raise ValueError("too large")
    return json.loads(file.read_text("utf-8"))


def _word_parts(file: Path) -> dict[str, int]:
    """CLIP's vocabulary from its list of merges: letters, letters that end a word, merged pairs in their order, the two marks."""
    letters = _letters()
    merged = ["".join(pair.split()) for pair in _merges(file)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *merged, _START, _END]
    return {word: number for number, word in enumerate(words)}


def _merges(file: Path) -> list[str]:
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        return opened.read(MAX_VOCABULARY_BYTES).split("\n")[1 : _MERGES + 1]


def _letters() -> list[str]:
    """A letter for each byte: its own if that can be seen, else one from beyond 255. The order is part of the vocabulary."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(code) for code in seen] + [chr(256 + number) for number in range(256 - len(seen))]
