"""The bundled model's tokenizer and text encoder.

The encoder is trained before the denoiser, to read: its last states (always padding, or the end of a very long
prompt) must hold one attribute each, in the order of `SLOTS`, as a fixed code. Codes are rows of a Hadamard matrix,
so any two differ in half their numbers, and the denoiser starts from bound attributes instead of words.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from meshgen.engine.bundled.draw import COLOURS, LAYOUTS, SHAPES, Scene, held_out, random_scene
from meshgen.engine.bundled.fit import Run, say
from meshgen.engine.bundled.prompts import EMPTY, prompt_for, words

__all__ = ["LENGTH", "SLOTS", "WIDTH", "build_tokenizer", "states_of", "train_text"]

LENGTH = 32  # tokens in a prompt
WIDTH = 128
SLOTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("background", tuple(COLOURS)),
    ("layout", LAYOUTS),
    ("first shape", SHAPES),
    ("first colour", tuple(COLOURS)),
    ("second shape", SHAPES),
    ("second colour", tuple(COLOURS)),
)


def build_tokenizer() -> Any:
    """A stock CLIPTokenizer whose vocabulary is every byte and the words of the prompts."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=4000, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    bpe.train_from_iterator(words(), trainer)
    merges = [(a, b) for a, b in _merges(bpe)]
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet), *(a + b for a, b in merges)]
    pieces = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=merges, model_max_length=LENGTH)


def _merges(bpe: Any) -> list[tuple[str, str]]:
    import json

    return [
        tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in json.loads(bpe.to_str())["model"]["merges"]
    ]


def _hadamard(size: int) -> torch.Tensor:
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


def slot_values(scene: Scene) -> list[int]:
    """The scene as one number a slot, -1 where the slot is empty."""
    said = [scene.background, scene.layout]
    for thing in (scene.a, scene.b):
        said += [thing.shape, thing.colour] if thing is not None else ["", ""]
    return [values.index(text) if text else -1 for text, (_, values) in zip(said, SLOTS, strict=True)]


def code_table() -> list[torch.Tensor]:
    """For each slot its codes, the last one (index -1) being the code of an empty slot."""
    rows = _hadamard(WIDTH)
    table, used = [], 2
    for _, values in SLOTS:
        table.append(torch.cat([rows[used : used + len(values)], rows[1:2]]))
        used += len(values)
    return table


def targets(scenes: list[Scene]) -> torch.Tensor:
    """The states that prompts asking for these scenes should have: (n, LENGTH, WIDTH)."""
    values = torch.tensor([slot_values(scene) for scene in scenes])
    table = code_table()
    states = table[0][-1].expand(len(scenes), LENGTH, WIDTH).clone()
    for slot, codes in enumerate(table):
        states[:, LENGTH - len(table) + slot] = codes[values[:, slot]]
    return states


def build_text(tokenizer: Any) -> Any:
    end = tokenizer.eos_token_id
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def tokens(tokenizer: Any, prompts: list[str]) -> torch.Tensor:
    ids: torch.Tensor = tokenizer(
        prompts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def states_of(encoder: Any, tokenizer: Any, prompts: list[str], device: str, batch: int = 512) -> torch.Tensor:
    """The encoder's states for the prompts, as the pipeline hands them to the denoiser; fp16 on the CPU."""
    parts = []
    for start in range(0, len(prompts), batch):
        ids = tokens(tokenizer, prompts[start : start + batch]).to(device)
        with torch.no_grad():
            parts.append(encoder(ids)[0].half().cpu())
    return torch.cat(parts)


def _sample(count: int, rng: np.random.Generator) -> tuple[list[str], list[Scene]]:
    # Held-out combinations are kept away here too: the encoder must parse them without having read them.
    from meshgen.engine.bundled.vae import training_scenes

    scenes = [EMPTY if rng.random() < 0.03 else scene for scene in training_scenes(count, rng, pairs=0.62)]
    for index in range(count // 12):  # white things without a background: the one rule that is not in a word
        a = scenes[index].a
        if a is not None:
            lit = replace(scenes[index], a=replace(a, colour="white"), background="black")
            if "black" not in lit.colours() and lit.a != lit.b and not held_out(lit):
                scenes[index] = lit
    pairs = [prompt_for(scene, rng) for scene in scenes]
    return [text for text, _ in pairs], [scene for _, scene in pairs]


def train_text(folder: Path, minutes: float, device: str, seed: int = 2, batch: int = 128) -> None:
    """Trains and saves tokenizer and text encoder; goes on with the encoder in the folder when there is one."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    older = folder / "text_encoder"
    encoder = CLIPTextModel.from_pretrained(older) if older.exists() else build_text(tokenizer)
    encoder = encoder.to(device).train()
    parameters = list(encoder.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-3)
    run = Run(minutes, 2e-3, warm=0.05)
    while run.tick():
        prompts, scenes = _sample(batch, rng)
        states = encoder(tokens(tokenizer, prompts).to(device))[0]
        gap = (states - targets(scenes).to(device)).square().mean(2)
        loss = gap[:, : -len(SLOTS)].mean() * 0.2 + gap[:, -len(SLOTS) :].mean()
        run.step(optimizer, loss, parameters)
        if run.steps % 100 == 0:
            say(f"text step {run.steps} loss {loss.item():.4f} all right {read_right(encoder, tokenizer, device):.3f}")
            encoder.save_pretrained(folder / "text_encoder")
    encoder.eval().save_pretrained(folder / "text_encoder")


def read_right(encoder: Any, tokenizer: Any, device: str, count: int = 400, seed: int = 3) -> float:
    """The share of fresh prompts, held-out combinations among them, whose every slot is read right."""
    rng = np.random.default_rng(seed)
    pairs = [prompt_for(random_scene(rng), rng) for _ in range(count)]
    states = states_of(encoder, tokenizer, [text for text, _ in pairs], device).float()
    right = torch.ones(count, dtype=torch.bool)
    values = torch.tensor([slot_values(scene) for _, scene in pairs])
    for slot, codes in enumerate(code_table()):
        read = (states[:, LENGTH - len(SLOTS) + slot] @ codes.T).argmax(1)
        right &= read == values[:, slot] % len(codes)
    return float(right.float().mean())
