"""Tokens a second: a job through the scribe against transformers' own ``generate`` in the same run, on the packaged model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 7
TOKENS = 48
PROMPT = "The history of painting begins"
AIM = 0.95


def text(rounds: int = ROUNDS) -> dict[str, float]:
    """Rates are the best of the rounds, on one thread, ratios their median; empty without torch or the packaged model."""
    from meshgen.engine.text.packaged import packaged_text_model

    found = packaged_text_model()
    try:
        from meshgen.engine.diffusion.devices import find_device
        from meshgen.engine.text.scribe import Scribe
    except ImportError:
        return {}
    if found is None:
        return {}
    model = {"name": found.name, "path": str(found.folder.path), "allow_pickle": False}
    scribe = Scribe(find_device("auto", "auto"), threads=1)
    started = time.perf_counter()
    causal = scribe.warm(model)
    loaded = time.perf_counter() - started
    clock = time.process_time if causal.net.device.type == "cpu" else time.perf_counter
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        rates.setdefault("bare", []).append(_rate(clock, lambda: _generate(causal)))
        for name, batch, temperature in (("scribe", 1, 0.0), ("drawn", 1, 0.8), ("four", 4, 0.0)):
            rates.setdefault(name, []).append(_rate(clock, lambda b=batch, t=temperature: _write(scribe, model, b, t)))  # type: ignore[misc]
    return {
        "text: load the packaged model, s": loaded,
        "text: bare generate, tokens/s": max(rates["bare"]),
        "text: through the scribe, tokens/s": max(rates["scribe"]),
        f"text: of the bare loop (aim {AIM:g})": _beside(rates["scribe"], rates["bare"]),
        "text: drawn with top_k 40 and top_p 0.9, of the bare loop": _beside(rates["drawn"], rates["bare"]),
        "text: four at once, tokens/s": max(rates["four"]),
    }


def _beside(rates: list[float], bare: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(rates, bare, strict=True))


def _rate(clock: Callable[[], float], run: Callable[[], int]) -> float:
    """Tokens a second: of the CPU where that computes, as others may use it too."""
    started = clock()
    return run() / (clock() - started)


def _generate(causal: Any) -> int:
    import torch

    prompt = torch.tensor([causal.read(PROMPT)], device=causal.net.device)
    causal.net.generate(prompt, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=min(causal.ends))
    return TOKENS


def _write(scribe: Any, model: dict[str, Any], batch: int, temperature: float) -> int:
    """How many tokens came."""
    from meshgen.engine.port import TextWork

    answers: list[str] = []

    def tell(what: str, **fields: Any) -> None:
        if what == "answer":
            answers.append(fields["data"].decode())

    work = TextWork("packaged", PROMPT, TOKENS, tuple(range(batch)), temperature=temperature, top_k=40, top_p=0.9)
    scribe.write(model, work, tell, lambda: False)
    tokenizer = scribe.warm(model).tokenizer
    return sum(len(tokenizer(answer, add_special_tokens=False)["input_ids"]) for answer in answers)
