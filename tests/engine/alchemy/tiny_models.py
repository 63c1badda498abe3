"""Models of a few thousand random weights as transformers keeps them, an upscaler in ncnn's format, and a network in ONNX's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from meshgen.engine.alchemy.ncnn import Layer
from meshgen.engine.alchemy.onnx_file import to_onnx

WORDS = ("a", "red", "house", "mountain", "picture", "of", "sea", "painting", "the", "in", "style")
SIDE = 32
_SEED = 11


def save_blip(folder: Path) -> Path:
    import torch
    from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    torch.manual_seed(_SEED)
    words = _vocabulary(folder, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]"))
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(words), "encoder_hidden_size": 16, "bos_token_id": 4, "sep_token_id": 3, "eos_token_id": 3}
    config = BlipConfig(text_config={**text, "pad_token_id": 0}, vision_config={**small, "image_size": SIDE, "patch_size": 8})
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokens = BertTokenizerFast(str(folder / "vocab.txt"))
    BlipProcessor(BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}), tokens).save_pretrained(folder)
    return folder


def save_vision_encoder_decoder(folder: Path) -> Path:
    import torch
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessorPil,
    )

    torch.manual_seed(_SEED)
    words = _vocabulary(folder, ("[PAD]", "[UNK]", "[CLS]", "[SEP]"))
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    eye = ViTConfig(**small, image_size=SIDE, patch_size=8)
    mouth = BertConfig(**small, vocab_size=len(words), is_decoder=True, add_cross_attention=True)
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig.from_encoder_decoder_configs(eye, mouth))
    model.generation_config.decoder_start_token_id, model.generation_config.pad_token_id = 2, 0
    model.generation_config.eos_token_id = 3
    model.save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def save_clip(folder: Path) -> Path:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    torch.manual_seed(_SEED)
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({piece: place for place, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokens = CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=32)
    small: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **small,
        "vocab_size": len(pieces),
        "max_position_embeddings": 32,
        "bos_token_id": len(pieces) - 2,
        "eos_token_id": len(pieces) - 1,
    }
    config = CLIPConfig(text_config=text, vision_config={**small, "image_size": SIDE, "patch_size": 8}, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}), tokens
    ).save_pretrained(folder)
    return folder


def ncnn_upscaler(scale: int, half: bool = False) -> tuple[str, bytes]:
    """The texts of a .param and a .bin: a network of every kind of layer that hands each pixel on ``scale`` times."""
    chance = np.random.default_rng(_SEED)
    hand_on = np.zeros((4, 3, 3, 3))
    hand_on[[0, 1, 2], [0, 1, 2], 1, 1] = 1
    back = np.zeros((3, 7, 3, 3))
    back[[0, 1, 2], [0, 1, 2], 1, 1] = 0.25  # (x + 3x) / 4
    noise = chance.normal(0, 0.1, (3, 4, 3, 3))
    lines = [
        "7767517",
        "8 9",
        "Input in 0 1 data",
        "Convolution first 1 1 data a 0=4 1=3 4=1 5=1 6=108 9=2 -23310=1,2.000000e-01",
        "Split twice 1 2 a a0 a1",
        "Eltwise sum 2 1 a0 a1 b 0=1 -23301=2,3.000000e+00,1.000000e+00",
        "Convolution noise 1 1 b c 0=3 1=3 4=1 5=1 6=108",
        "Concat both 2 1 b c d",
        f"Interp grow 1 1 d e 0=1 1={scale:e} 2={scale:e}",
        "Convolution last 1 1 e f 0=3 1=3 4=1 5=1 6=189",
    ]
    kind, tag = ("<f2", 0x01306B47) if half else ("<f4", 0)
    weights = b"".join(
        np.uint32(tag).tobytes() + values.astype(kind).tobytes() + bytes(-values.size * np.dtype(kind).itemsize % 4)
        + np.zeros(len(values), "<f4").tobytes()
        for values in (hand_on, noise, back)
    )  # fmt: skip
    return "\n".join(lines) + "\n", weights


def save_upscaler(folder: Path, name: str, scale: int) -> None:
    param, weights = ncnn_upscaler(scale)
    (folder / f"{name}.param").write_text(param)
    (folder / f"{name}.bin").write_bytes(weights)


def red_finder() -> bytes:
    """An ONNX network that finds what is red: one value a pixel."""
    weight = np.array([1, -0.5, -0.5], np.float32).reshape(1, 3, 1, 1)
    return to_onnx([Layer("input", (), "x"), Layer("conv", ("x",), "out", weight, np.zeros(1, np.float32))])


def _vocabulary(folder: Path, special: tuple[str, ...]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    words = [*special, *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return words
