"""What a text model is, read and judged without torch: a folder as transformers' ``save_pretrained()`` writes it, or a GGUF file.

Weights come as safetensors or GGUF; pickles need the owner's word. Code that comes with a model is never run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshgen.engine.models.model_folder import MAX_CONFIG_BYTES, MAX_FILES, ModelFolderError
from meshgen.engine.models.provenance import of_folder
from meshgen.engine.models.tensor_file import PICKLES, TensorFileError, check_there, read_tensor_file
from meshgen.engine.text.gguf import read_gguf

CONFIG = "config.json"
WEIGHT_INDEX = "model.safetensors.index.json"
DEFAULT_CONTEXT = 2048
"""Tokens, where a model does not say."""
MAX_INDEX_BYTES = 64 * 1024 * 1024

ARCHITECTURES = (
    "llama", "mistral", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma2", "gemma3", "gemma4", "phi3", "gpt2", "gpt-oss",
    "falcon", "bloom", "stablelm", "starcoder2", "nemotron", "lfm2", "deci", "minimax-m2",
)  # fmt: skip
"""Of GGUF files: those that transformers turns into a causal model."""

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length", "n_ctx", "max_seq_len")
_SHARD = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_PICKLE = re.compile(r"pytorch_model(-\d{5}-of-\d{5})?\.bin")
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("tokenizer.model",))
_BESIDE = (
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextFolder:
    """A text model as its files describe it. ``files`` are those that are loaded, relative to ``root`` and sorted."""

    path: Path  # the folder, or the GGUF file
    format: str  # causal_lm, gguf
    architecture: str  # LlamaForCausalLM; llama
    millions: int  # parameters, rounded up
    context: int  # tokens
    licence: str
    files: tuple[str, ...]
    quantization: str = ""  # of a GGUF file: Q4_K, ...
    source: str = ""

    @property
    def root(self) -> Path:
        return self.path.parent if self.format == "gguf" else self.path


def looks_like_text(path: Path) -> bool:
    """Whether :func:`read_text_folder` is the one to ask: cheap, judges nothing."""
    if path.is_file():
        return path.suffix.lower() == ".gguf"
    return (path / CONFIG).is_file() and not (path / "model_index.json").exists()


def read_text_folder(path: Path, allow_pickle: bool = False) -> TextFolder:
    """Judge a folder of a causal language model, or a GGUF file, by its headers. Raises ModelFolderError, OSError."""
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise ModelFolderError(f"{path} is no text model: that is a .gguf file or a folder with {CONFIG} and safetensors")
        return _of_gguf(path)
    if not path.is_dir():
        raise ModelFolderError(f"{path} does not exist")
    return _of_folder(path, allow_pickle)


def context_of(config: Mapping[str, Any]) -> int:
    """Tokens that a model's config says it can read and write."""
    found = (config.get(key) for key in _CONTEXT_KEYS)
    return next(
        (value for value in found if isinstance(value, int) and not isinstance(value, bool) and value > 0), DEFAULT_CONTEXT
    )


def _of_gguf(path: Path) -> TextFolder:
    header = read_gguf(path)
    kind, architecture = header.text("general.type") or "model", header.text("general.architecture")
    if kind != "model" or architecture not in ARCHITECTURES:
        what = architecture if kind == "model" else f"a part of a model ({kind})"
        raise ModelFolderError(f"{path} holds {what[:64]!r}; of GGUF files, these can be run: {', '.join(ARCHITECTURES)}")
    if header.number("split.count") > 1:
        raise ModelFolderError(
            f"{path} is one of {header.number('split.count')} parts: join them with `llama-gguf-split --merge`"
        )
    if not header.text("tokenizer.ggml.model"):
        raise ModelFolderError(f"{path} has no tokenizer: take a file that holds the whole model")
    context = header.number(f"{architecture}.context_length") or DEFAULT_CONTEXT
    return TextFolder(
        path,
        "gguf",
        architecture,
        math.ceil(header.parameters / 1e6),
        context,
        header.text("general.license")[:64],
        (path.name,),
        header.quantization,
        header.text("general.organization")[:64],
    )


def _of_folder(path: Path, allow_pickle: bool) -> TextFolder:
    config = _config(path)
    architecture = _architecture(path, config)
    weights = sorted(_weights(path, allow_pickle))
    if not any(all((path / name).is_file() for name in names) for names in _TOKENIZERS):
        raise ModelFolderError(f"{path} has no tokenizer (tokenizer.json): get it from where the weights came from")
    files = sorted({CONFIG, *weights, *(name for name in _BESIDE if (path / name).is_file())})
    if len(files) > MAX_FILES:
        raise ModelFolderError(f"{path} holds more than {MAX_FILES} files: this is not one model")
    millions, known = math.ceil(sum(_parameters(path / file) for file in files) / 1e6), of_folder(path)
    return TextFolder(
        path, "causal_lm", architecture, millions, context_of(config), known.licence, tuple(files), source=known.source
    )


def _config(path: Path) -> dict[str, Any]:
    if (path / "adapter_config.json").is_file():
        raise ModelFolderError(f"{path} is an adapter for a text model: merge it into its model and save that")
    if not (path / CONFIG).is_file():
        raise ModelFolderError(f"{path} has no {CONFIG}: it must be a transformers folder, as save_pretrained() writes it")
    config = _json(path / CONFIG)
    tokenizer = _json(path / "tokenizer_config.json") if (path / "tokenizer_config.json").is_file() else {}
    if "auto_map" in config or "auto_map" in tokenizer or any(path.glob("*.py")):
        raise ModelFolderError(f"{path} brings its own code, which is never run here; use a model that transformers knows")
    return config


def _architecture(path: Path, config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if not isinstance(name, str) or not re.fullmatch(r"\w{1,80}(ForCausalLM|LMHeadModel)", name):
        raise ModelFolderError(f"{path / CONFIG} names no causal language model under architectures (…ForCausalLM)")
    if config.get("is_encoder_decoder"):
        raise ModelFolderError(f"{path} has an encoder and a decoder: only models that go on with a text can be run")
    if "quantization_config" in config:
        raise ModelFolderError(
            f"{path} is quantized in a way that needs other packages: take its plain safetensors, or a GGUF file"
        )
    return name


def _weights(path: Path, allow_pickle: bool) -> Iterator[str]:
    """The weights' files; shards by their index."""
    if (path / "model.safetensors").is_file():
        yield "model.safetensors"
        return
    if (path / WEIGHT_INDEX).is_file():
        yield WEIGHT_INDEX
        yield from _shards(path)
        return
    names = {file.name for file in path.iterdir()}
    if any(_SHARD.fullmatch(name) for name in names):
        raise ModelFolderError(f"{path} has its weights in parts but no {WEIGHT_INDEX}: the download may be incomplete")
    pickles = {name for name in names if _PICKLE.fullmatch(name)}
    if pickles and allow_pickle:
        yield from pickles | (names & {"pytorch_model.bin.index.json"})
        return
    if any(Path(name).suffix in PICKLES for name in names):
        raise ModelFolderError(
            f"{path} has its weights as pickle, which can run code when opened: get .safetensors, or allow pickle"
        )
    raise ModelFolderError(f"{path} has no weights (model.safetensors): the download may be incomplete")


def _shards(path: Path) -> set[str]:
    table = _json(path / WEIGHT_INDEX, MAX_INDEX_BYTES).get("weight_map")
    shards = {str(name) for name in table.values()} if isinstance(table, dict) else set()
    if not shards or not all(_SHARD.fullmatch(shard) for shard in shards):
        raise ModelFolderError(f"{path / WEIGHT_INDEX} names no weights: get it anew")
    for shard in sorted(shards):
        if not (path / shard).is_file():
            raise ModelFolderError(f"{path / shard} is missing, though {WEIGHT_INDEX} names it: the download may be incomplete")
    return shards


def _parameters(file: Path) -> int:
    """Checks one of the files and counts its parameters: by a safetensors header; of a pickle, by two bytes for each."""
    try:
        if file.suffix == ".safetensors":
            return sum(math.prod(shape) for shape in read_tensor_file(file).shapes.values())
        check_there(file)
    except TensorFileError as error:
        raise ModelFolderError(str(error)) from None
    with file.open("rb") as opened:
        if opened.read(8) == b"version ":
            raise ModelFolderError(f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull` where it came from")
    return file.stat().st_size // 2 if file.suffix in PICKLES else 0


def _json(file: Path, most: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    if file.stat().st_size > most:
        raise ModelFolderError(f"{file} is larger than {most} bytes: this is no config")
    try:
        value = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{file} is not JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise ModelFolderError(f"{file} is not a JSON object")
    return value
