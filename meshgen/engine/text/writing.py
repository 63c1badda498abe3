"""One job on a loaded model: all its completions as one batch, streamed. Child side: imports torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from meshgen.engine.port import EngineError, TextWork
from meshgen.engine.text.causal import Causal
from meshgen.engine.text.pieces import Pieces
from meshgen.engine.text.sampling import Sampler

PREFILL = 512
"""Tokens of a prompt that are read at once; between them a job can be cancelled."""

PAUSE_S = 0.04
"""Between two pieces of one text: more of them a second nobody can read, and each takes a message of its own."""

Tell = Callable[..., None]


class Cancelled(Exception):
    """The node does not want the job any more."""


@dataclass(slots=True)
class Row:
    """One completion under way. ``seconds``: its share of the computing so far; ``said``: when it was last heard of."""

    index: int
    pieces: Pieces
    seconds: float = 0.0
    said: float = 0.0


class Writing:
    """``done``: the completions that have been told as answers."""

    def __init__(self, causal: Causal, work: TextWork, tell: Tell, cancelled: Callable[[], bool]) -> None:
        self._causal = causal
        self._work = work
        self._tell = tell
        self._cancelled = cancelled
        self._told: dict[int, int] = {}
        self._prompt = prompt_tokens(causal, work)
        self._place = str(causal.net.device)
        self.done: set[int] = set()

    def write(self, batch: Sequence[int]) -> bool:
        """These completions. Raises Cancelled, EngineError, and torch's errors when memory runs out."""
        since, work = time.perf_counter(), self._work
        rows = [Row(index, Pieces(self._causal.decode, self._prompt, work.stop)) for index in batch]
        logits, cache = self._read(len(rows))
        sampler = Sampler(work, [work.seeds[index] for index in batch], self._prompt, logits.shape[-1], self._place)
        for step in range(work.max_tokens):
            tokens = sampler.choose(logits)
            last = step + 1 == work.max_tokens
            going = [at for at, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)) if self._goes_on(row, token)]
            since = _share(rows, since)
            self._finish([row for at, row in enumerate(rows) if last or at not in going])
            if last or not going:
                break
            if len(going) < len(rows):
                rows = [rows[at] for at in going]
                sampler.keep(going)
                chosen = torch.tensor(going, device=self._place)
                cache.reorder_cache(chosen)
                tokens = tokens[chosen]
            logits, cache = self._forward(tokens[:, None], cache)
        return True

    def _read(self, rows: int) -> tuple[torch.Tensor, Any]:
        """The prompt is the same for all rows, so it is read once: (logits [rows, vocabulary], cache of all rows)."""
        prompt, logits, cache = torch.tensor([self._prompt], device=self._place), None, None
        for part in prompt.split(PREFILL, dim=1):
            logits, cache = self._forward(part, cache)
        assert logits is not None and cache is not None
        if torch.isnan(logits).any():
            raise EngineError("bad_model", f"the model computes no numbers in {self._causal.net.dtype}: try another worker.dtype")
        if rows > 1:
            cache.reorder_cache(torch.zeros(rows, dtype=torch.long, device=self._place))
        return logits.expand(rows, -1), cache

    def _forward(self, tokens: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
        """tokens [rows, new] -> (logits [rows, vocabulary] of the last, cache)."""
        if self._cancelled():
            raise Cancelled
        out = self._causal.net(input_ids=tokens, past_key_values=cache, use_cache=True, **self._causal.last_only)
        return out.logits[:, -1], out.past_key_values

    def _goes_on(self, row: Row, token: int) -> bool:
        if token in self._causal.ends:
            return False
        row.pieces.add(token)
        if time.perf_counter() - row.said >= PAUSE_S:
            self._say(row)
        return not row.pieces.stopped

    def _finish(self, rows: Sequence[Row]) -> None:
        for row in rows:
            row.pieces.rest()
            self._say(row)
            data = row.pieces.text.encode()
            seed = self._work.seeds[row.index]
            self._tell("answer", index=row.index, seed=seed, data=data, media="text/plain", seconds=row.seconds)
            self.done.add(row.index)

    def _say(self, row: Row) -> None:
        """What is new. A completion that is written again, as memory had run out, says nothing twice."""
        text, told = row.pieces.text, self._told.get(row.index, 0)
        if len(text) > told:
            self._tell("text", index=row.index, text=text[told:])
            self._told[row.index], row.said = len(text), time.perf_counter()


def prompt_tokens(causal: Causal, work: TextWork) -> list[int]:
    """What of the prompt is read: its end, and before it the token that begins every text, if this model has one.

    Prompt and answer share the model's context. Raises EngineError."""
    room = causal.context - work.max_tokens
    if room < 1:
        raise EngineError("bad_input", f"max_tokens is {work.max_tokens}, but this model can hold {causal.context} tokens in all")
    most, tokens = min(work.context or room, room), causal.read(work.prompt)
    if len(tokens) <= most:
        return tokens
    begins = tokens[:1] if tokens[0] == causal.tokenizer.bos_token_id and most > 1 else []
    return begins + tokens[len(tokens) - most + len(begins) :]


def _share(rows: Sequence[Row], since: float) -> float:
    """Share the time since then out among the rows. Returns the time now."""
    now = time.perf_counter()
    for row in rows:
        row.seconds += (now - since) / len(rows)
    return now
