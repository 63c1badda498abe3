"""Causal language models in the child's memory. Child side: imports torch and transformers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from meshgen.engine.diffusion.devices import MIB, Device
from meshgen.engine.port import EngineError
from meshgen.engine.text.text_folder import context_of

UNREADABLE = (
    OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError, AssertionError, SafetensorError,
)  # fmt: skip
"""What transformers raises over files that it can't make a model of."""

ENDS = (
    "</s>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",
    "<eos>", "<EOT>",
)  # fmt: skip
"""Special tokens by which models end a text or a turn."""


@dataclass(frozen=True, slots=True)
class Causal:
    """A model that can write. ``ends``: tokens that end a text. ``mib``: what its parameters take."""

    net: Any
    tokenizer: Any
    context: int
    ends: frozenset[int]
    vocabulary: int
    mib: int
    last_only: dict[str, int]
    """What has the net compute the last token's logits alone, if it can."""

    def read(self, prompt: str) -> list[int]:
        """The prompt's tokens, with those before it that the model wants. Raises EngineError."""
        tokens: list[int] = self.tokenizer(prompt)["input_ids"]
        start = next((end for end in (self.tokenizer.bos_token_id, *sorted(self.ends)) if end is not None), None)
        if not tokens and start is None:
            raise EngineError("bad_input", "this model can't begin without a prompt")
        if max(tokens, default=0) >= self.vocabulary:
            raise EngineError("bad_model", "its tokenizer has tokens that its weights don't know: get both from one place")
        return tokens or [int(start or 0)]

    def decode(self, tokens: list[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def load_causal(model: dict[str, Any], device: Device) -> Causal:
    """``model`` as a frame names it. Raises EngineError (bad_model), and torch's errors when memory runs out."""
    path = Path(model["path"])
    try:
        tokenizer, net = _open(path, bool(model["allow_pickle"]), device)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except UNREADABLE as error:
        if "allocate memory" in str(error):
            raise
        raise EngineError("bad_model", f"{path} can't be loaded: {type(error).__name__}: {str(error)[:300]}") from None
    takes = inspect.signature(net.forward).parameters
    if "past_key_values" not in takes:
        raise EngineError("bad_model", f"{path}: {type(net).__name__} is not a model that goes on with a text by attention")
    return Causal(
        net,
        tokenizer,
        context_of(net.config.to_dict()),
        _ends(net, tokenizer),
        net.get_input_embeddings().num_embeddings,
        sum(part.numel() * part.element_size() for part in net.parameters()) // MIB,
        {"logits_to_keep": 1} if "logits_to_keep" in takes else {},
    )


def _open(path: Path, pickles: bool, device: Device) -> tuple[Any, Any]:
    if path.suffix.lower() == ".gguf":
        return _open_gguf(path, device)
    return _from_pretrained(path, device, {}, {"use_safetensors": None if pickles else True})


def _open_gguf(path: Path, device: Device) -> tuple[Any, Any]:
    """Its weights leave their quantization: nothing here computes in it."""
    from meshgen.engine.text.gguf_loading import each_once

    options = {"quantization_config": transformers.GgufConfig(dequantize=True)} if hasattr(transformers, "GgufConfig") else {}
    with each_once():
        return _from_pretrained(path.parent, device, {"gguf_file": path.name}, options)


def _from_pretrained(folder: Path, device: Device, both: dict[str, Any], options: dict[str, Any]) -> tuple[Any, Any]:
    both = {"local_files_only": True, "trust_remote_code": False, **both}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **both)
    where = {"dtype": device.dtype, "device_map": {"": device.place}}
    net = transformers.AutoModelForCausalLM.from_pretrained(folder, **where, **both, **options)
    return tokenizer, net.eval().requires_grad_(False)


def _ends(net: Any, tokenizer: Any) -> frozenset[int]:
    """Those that the model names, and whatever its tokenizer has of :data:`ENDS`: not every file names all that were trained."""
    named = getattr(net.generation_config, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    added = tokenizer.get_added_vocab()
    known = (added.get(end) for end in ENDS)
    return frozenset(int(end) for end in (*several, tokenizer.eos_token_id, *known) if end is not None)
