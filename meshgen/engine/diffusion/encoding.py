"""Prompts as what denoisers are told: the states of each family's text encoders. Child side.

Prompts of any length go through CLIP in chunks; weights pull a word's states away from those of an empty prompt, or towards them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from meshgen.engine.diffusion.emphasis import Fragment, fragments
from meshgen.engine.diffusion.inversions import Vectors, mark, split_marks
from meshgen.engine.diffusion.kinds import family_of
from meshgen.engine.port import EngineError, Inversion, Work

MAX_CHUNKS = 8
"""Of 75 tokens each, of a prompt for CLIP; what is longer is cut off."""
T5_TOKENS = {"sd3": 256, "flux": 512}
T5_TOKENS_DISTILLED = 256  # of a Flux model without guidance

Row = dict[str, Any]
"""What one picture's prompts are to a pipeline: arguments by name, tensors with a first dimension of 1."""


@dataclass(frozen=True, slots=True)
class Token:
    number: int
    weight: float
    vector: Any = None  # stands in for the token's embedding


class TextEncoders:
    """Those of one pipeline, for jobs that share inversions and ``clip_skip``. ``place``: the device that computes, as torch says
    it; asking the pipeline takes milliseconds. Raises EngineError if it can't skip that many."""

    def __init__(self, pipe: Any, place: str, work: Work, vectors: dict[Inversion, Vectors]) -> None:
        self._pipe = pipe
        self._place = place
        self._work = work
        self._vectors = vectors
        self._family = family_of(pipe)
        self._clips = [
            Clip(getattr(pipe, f"tokenizer{end}"), getattr(pipe, f"text_encoder{end}"), number, place)
            for number, end in enumerate(("", "_2") if self._family in ("sdxl", "sd3") else ("",))
        ]
        for clip in self._clips:
            clip.check(work.clip_skip)
        for inversion, its in vectors.items():
            if not any(clip.vectors(its) for clip in self._clips):
                raise EngineError("bad_input", f"the textual inversion {inversion.name[:64]} does not fit this model")

    def row(self, prompt: str, negative: str) -> Row:
        """Prompts that are as long give tensors of one shape."""
        if self._family == "other":
            return {"prompt": prompt, "negative_prompt": negative}
        said = [self._parts(prompt, "prompt")]
        if self._work.guidance_scale > 1 and self._family != "flux":
            said.append(self._parts(negative, "negative_prompt"))
        with torch.no_grad():
            states, pooled = self._flux(said) if self._family == "flux" else self._states(said)
        row = {"prompt_embeds": states[:1], "negative_prompt_embeds": states[1:]}
        if self._family != "sd1":
            row |= {"pooled_prompt_embeds": pooled[:1], "negative_pooled_prompt_embeds": pooled[1:]}
        return {name: value for name, value in row.items() if len(value)}

    def _parts(self, text: str, place: str) -> list[Fragment]:
        text, placed = mark(text, list(self._vectors), place)
        return fragments(text) + placed

    def _states(self, said: Sequence[list[Fragment]]) -> tuple[Any, Any]:
        """(texts, tokens, width) and (texts, width), all as long as the longest."""
        tokens = [[clip.tokens(parts, self._vectors) for parts in said] for clip in self._clips]
        chunks = max(clip.chunks(one) for clip, texts in zip(self._clips, tokens, strict=True) for one in texts)
        normed = self._family == "sd1"
        layer = self._work.clip_skip if normed else max(self._work.clip_skip, 2)
        found = [clip.encode(texts, chunks, layer, normed) for clip, texts in zip(self._clips, tokens, strict=True)]
        states = torch.cat([states for states, _ in found], dim=-1)
        if self._family != "sd3":
            return states, found[-1][1]
        width = self._pipe.transformer.config.joint_attention_dim
        states = torch.nn.functional.pad(states, (0, width - states.shape[-1]))
        states = torch.cat([states, self._t5("_3", said, T5_TOKENS["sd3"], width).to(states)], dim=1)
        return states, torch.cat([pooled for _, pooled in found], dim=-1)

    def _flux(self, said: Sequence[list[Fragment]]) -> tuple[Any, Any]:
        clip, distilled = self._clips[0], not self._pipe.transformer.config.guidance_embeds
        pooled = clip.encode([clip.tokens(parts, {}) for parts in said], 1, 1, True)[1]
        return self._t5("_2", said, T5_TOKENS_DISTILLED if distilled else T5_TOKENS["flux"], 0), pooled

    def _t5(self, end: str, said: Sequence[list[Fragment]], length: int, width: int) -> Any:
        """Zeros where there is no such encoder, as the model was trained to bear."""
        encoder, tokenizer = getattr(self._pipe, f"text_encoder{end}"), getattr(self._pipe, f"tokenizer{end}")
        if encoder is None:
            return torch.zeros(len(said), length, width, device=self._place)
        rows = []
        for parts in said:
            tokens = [
                Token(number, part.weight)
                for part in parts
                for number in tokenizer(part.text, add_special_tokens=False).input_ids
            ][: length - 1]
            rows.append(_padded(tokens, [], Token(tokenizer.eos_token_id, 1.0), tokenizer.pad_token_id, length))
        empty = _padded([], [], Token(tokenizer.eos_token_id, 1.0), tokenizer.pad_token_id, length)
        states = encoder(_numbers(_with_empty(rows, empty), self._place))[0]
        return _weighted(states, rows)


class Clip:
    """One CLIP text encoder with its tokenizer; ``number``: its place among the pipeline's; ``device``: where it computes."""

    def __init__(self, tokenizer: Any, encoder: Any, number: int, device: str) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._number = number
        self._device = device
        self._length = int(tokenizer.model_max_length)

    def check(self, clip_skip: int) -> None:
        layers = int(self._encoder.config.num_hidden_layers)
        if not 1 <= clip_skip <= layers:
            raise EngineError("bad_input", f"clip_skip {clip_skip}: this model's text encoder has {layers} layers")

    def vectors(self, its: Vectors) -> list[Any]:
        return its.of_width(self._encoder.config.hidden_size, self._number)

    def tokens(self, parts: Sequence[Fragment], vectors: dict[Inversion, Vectors]) -> list[Token]:
        found: list[Token] = []
        for part in parts:
            for piece in split_marks(part.text, list(vectors)):
                if isinstance(piece, Inversion):
                    found += [Token(0, part.weight, vector) for vector in self.vectors(vectors[piece])]
                else:
                    numbers = self._tokenizer(piece, add_special_tokens=False).input_ids
                    found += [Token(number, part.weight) for number in numbers]
        return found

    def chunks(self, tokens: Sequence[Token]) -> int:
        return max(1, min(-(-len(tokens) // (self._length - 2)), MAX_CHUNKS))

    def encode(self, texts: Sequence[Sequence[Token]], chunks: int, layer: int, normed: bool) -> tuple[Any, Any]:
        """(texts, tokens, width) and (texts, width). ``layer``: 1 is the last one, others are ``normed`` as it is or not."""
        rows = [self._chunk(tokens, number) for tokens in texts for number in range(chunks)]
        with _embedded(self._encoder, rows):
            numbers = _numbers(_with_empty(rows, self._chunk([], 0)), self._device)
            output = self._encoder(numbers, output_hidden_states=True)
        states = output.last_hidden_state
        if layer > 1:
            states = output.hidden_states[-layer]
            if normed:
                states = getattr(self._encoder, "text_model", self._encoder).final_layer_norm(states)
        pooled = output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output
        states = _weighted(states, rows)
        return states.reshape(len(texts), -1, states.shape[-1]), pooled[: len(rows) : chunks]

    def _chunk(self, tokens: Sequence[Token], number: int) -> list[Token]:
        room, tokenizer = self._length - 2, self._tokenizer
        own = tokens[number * room : (number + 1) * room]
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        return _padded(own, [Token(tokenizer.bos_token_id, 1.0)], Token(tokenizer.eos_token_id, 1.0), pad, self._length)


def _padded(tokens: Sequence[Token], before: list[Token], end: Token, pad: int, length: int) -> list[Token]:
    row = [*before, *tokens, end]
    return row + [Token(pad, 1.0)] * (length - len(row))


def _numbers(rows: Sequence[Sequence[Token]], device: str) -> Any:
    return torch.tensor([[token.number for token in row] for row in rows], device=device)


def _with_empty(rows: Sequence[list[Token]], empty: list[Token]) -> list[list[Token]]:
    """An empty prompt behind them, if there are weights that need its states."""
    return [*rows, empty] if any(token.weight != 1 for row in rows for token in row) else list(rows)


def _weighted(states: Any, rows: Sequence[Sequence[Token]]) -> Any:
    """``states``: those of the rows, and of an empty prompt behind them if there are weights."""
    if len(states) == len(rows):
        return states
    states, empty = states[:-1], states[-1:]
    weights = torch.tensor([[token.weight for token in row] for row in rows]).to(states)[..., None]
    return torch.where(weights == 1, states, empty + (states - empty) * weights)


@contextmanager
def _embedded(encoder: Any, rows: Sequence[Sequence[Token]]) -> Iterator[None]:
    """Within, tokens that have vectors of their own are embedded as those."""
    own = [
        (row, column, token.vector)
        for row, tokens in enumerate(rows)
        for column, token in enumerate(tokens)
        if token.vector is not None
    ]

    def put(_module: Any, _arguments: Any, embedded: Any) -> Any:
        embedded = embedded.clone()
        for row, column, vector in own:
            embedded[row, column] = vector.to(embedded)
        return embedded

    hook = encoder.get_input_embeddings().register_forward_hook(put) if own else None
    try:
        yield
    finally:
        if hook:
            hook.remove()
