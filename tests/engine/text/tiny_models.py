"""Text models for tests: a random causal model with a tokenizer of one token a byte, and GGUF files written by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

CONTEXT = 64
LETTERS = "abcdefghijklmnopqrstuvwxyz ."
_TYPES: dict[type, tuple[int, str]] = {bool: (7, "?"), int: (4, "I"), float: (6, "f")}

GGUF_METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.license": "mit",
    "llama.context_length": 512,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "ü"],
    "tokenizer.ggml.scores": [1.0, 2.0],
    "some.flag": True,
}


def save_tiny_causal(folder: Path, seed: int = 0, letters: str = LETTERS) -> Path:
    """A Llama of two layers, 64 tokens of context; its tokens are <s>, </s> and these letters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer = byte_tokenizer(letters)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True,
        initializer_range=0.5,
    )  # fmt: skip
    net = LlamaForCausalLM(config)
    net.lm_head.weight.data[1] = 0  # an end is unlikely
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer(letters: str = "") -> Any:
    """Begins each text with <s>. No letters: all 256 bytes, so that most characters are several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if letters:
        alphabet = ["Ġ" if letter == " " else letter for letter in letters]
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def causal_folder(path: Path, config: dict[str, Any] | None = None, **tensors: tuple[int, ...]) -> Path:
    """A folder that reads like a causal model of three million parameters unless told otherwise; no torch needed."""
    path.mkdir(parents=True)
    base = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128}
    (path / "config.json").write_text(json.dumps({**base, **(config or {})}))
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(safetensors(tensors or {"one": (1000, 1000), "two": (2000, 1000)}))
    return path


def safetensors(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """Tensors of such shapes, of whose values there is one byte each at most: the header is what matters."""
    rows = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 1]} for at, (name, shape) in enumerate(shapes.items())
    }
    header = json.dumps({"__metadata__": {"format": "pt"}, **rows}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(len(rows))


def gguf(metadata: dict[str, Any] | None = None, tensors: int = 2, version: int = 3, kind: int = 2) -> bytes:
    """A GGUF file with so many tensors of 64 x 32 values, Q4_0 unless told otherwise."""
    entries = {**GGUF_METADATA, **(metadata or {})}
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, len(entries))
    head += b"".join(_string(key) + _value(value) for key, value in entries.items())
    size = 64 * 32 // 32 * 18
    for number in range(tensors):
        head += _string(f"blk.{number}.weight") + struct.pack("<IQQIQ", 2, 64, 32, kind, number * size)
    return head + bytes(-len(head) % 32) + bytes(tensors * size)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    if isinstance(value, list):
        kind = 8 if isinstance(value[0], str) else _TYPES[type(value[0])][0]
        items = (_string(item) if kind == 8 else struct.pack("<" + _TYPES[type(item)][1], item) for item in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(items)
    kind, form = _TYPES[type(value)]
    return struct.pack("<I" + form, kind, value)
