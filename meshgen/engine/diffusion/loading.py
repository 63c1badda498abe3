"""A pipeline from a model's files: a diffusers folder, or a checkpoint in one file. Child side: torch and diffusers.

Nothing is looked up elsewhere, and no code that comes with a model is run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError
from transformers import T5EncoderModel

from meshgen.engine.diffusion.vocabularies import VocabularyError, find_vocabulary, fits, write_clip_tokenizer, write_t5_tokenizer
from meshgen.engine.models.single_file import SingleFile, SingleFileError, read_single_file
from meshgen.engine.models.tensor_file import TensorFileError
from meshgen.engine.port import EngineError

T5_TOKENS = {"flux": 512, "sd3": 256}
_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
    SingleFileComponentError,
)
"""What diffusers raises over files that are not what they should be."""


def load_pipeline(model: Mapping[str, Any], dtype: torch.dtype) -> Any:
    """A diffusers pipeline on the CPU. ``model`` is a frame's: see :meth:`CatalogModel.frame`.

    Raises EngineError (bad_model), and torch's own error when memory runs out."""
    path = Path(model["path"])
    try:
        if model.get("format", "diffusers") == "single_file":
            return _whole(load_single_file(path, dtype, model["allow_pickle"], model.get("vocabularies", {})))
        return _load_folder(path, dtype, model["variant"], model["allow_pickle"])
    except torch.OutOfMemoryError:
        raise
    except (SingleFileError, TensorFileError, VocabularyError) as error:
        raise EngineError("bad_model", str(error)) from None
    except _FAULTS as error:
        if "allocate memory" in str(error):
            raise
        raise EngineError("bad_model", f"{path} can't be loaded: {type(error).__name__}: {str(error)[:300]}") from None


def load_single_file(path: Path, dtype: torch.dtype, allow_pickle: bool, vocabularies: Mapping[str, str]) -> Any:
    """``vocabularies``: where the catalog found clip's and t5's."""
    found = read_single_file(path, allow_pickle)
    with tempfile.TemporaryDirectory(prefix="meshgen-") as folder:
        write_configs(found, Path(folder), vocabularies)
        pipeline = getattr(diffusers, found.index["_class_name"])
        absent: dict[str, Any] = {name: None for name, value in found.index.items() if value == [None, None]}
        if "XL" in pipeline.__name__:
            absent["add_watermarker"] = False
        return pipeline.from_single_file(str(path), config=folder, local_files_only=True, dtype=dtype, **absent)


def write_configs(found: SingleFile, folder: Path, vocabularies: Mapping[str, str]) -> None:
    """All that belongs to a diffusers folder but weights. Raises VocabularyError."""
    (folder / "model_index.json").write_text(json.dumps(found.index))
    for name, config in found.configs.items():
        (folder / name).mkdir()
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        (folder / name / file).write_text(json.dumps({"_class_name": found.index[name][1]} | config))
    for name, kind in found.vocabularies.items():
        size = found.configs[name.replace("tokenizer", "text_encoder")]["vocab_size"]
        given = vocabularies.get(kind)
        place = Path(given) if given and fits(kind, Path(given), size) else find_vocabulary(kind, size, found.path)
        if kind == "t5":
            write_t5_tokenizer(place, folder / name, T5_TOKENS.get(found.family, 512))
        else:
            write_clip_tokenizer(place, folder / name, _padding(name, found.family))


def _padding(tokenizer: str, family: str) -> str:
    """What fills a prompt up: the second encoder of SDXL and SD 3, and that of SD 2, were trained with "!"."""
    return "!" if tokenizer == "tokenizer_2" or family == "other" else "<|endoftext|>"


def _load_folder(path: Path, dtype: torch.dtype, variant: str, allow_pickle: bool) -> Any:
    return diffusers.DiffusionPipeline.from_pretrained(
        str(path),
        local_files_only=True,
        use_safetensors=None if allow_pickle else True,
        variant=variant or None,
        dtype=dtype,
        **_absent(path),
    )


def _absent(folder: Path) -> dict[str, Any]:
    """Parts that the index leaves out, and SDXL's watermark, which needs a package of its own."""
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    absent: dict[str, Any] = {name: None for name, value in index.items() if value == [None, None]}
    if str(index["_class_name"]).startswith("StableDiffusionXL"):
        absent["add_watermarker"] = False
    if str(index["_class_name"]).startswith("StableDiffusion3"):
        absent |= {name: None for name in ("text_encoder_3", "tokenizer_3") if not (folder / name).is_dir()}
    return absent


def _whole(pipe: Any) -> Any:
    """A weight that the file did not have is still without memory. Raises ValueError."""
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            part.eval()  # diffusers leaves a T5 from a single file with its dropout on
            if isinstance(part, T5EncoderModel) and part.encoder.embed_tokens.weight.is_meta:
                part.set_input_embeddings(part.shared)  # files have the embedding once, under one of its two names
            for weight, value in part.named_parameters():
                if value.is_meta:
                    raise ValueError(f"it has no weight {weight} for {name}")
    return pipe
