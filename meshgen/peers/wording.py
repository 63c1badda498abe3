"""What an owner does not want in a prompt: words, phrases and patterns. Bounded in time, whatever the pattern and the prompt."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterable

from meshgen.settings.patterns import compile_pattern

BUDGET_S = 0.05
"""All patterns of one prompt together. What is not decided by then is refused: the rule is there to refuse."""
NSFW_WORDS = (
    *("nsfw", "nude", "nudes", "nudity", "naked", "topless", "bottomless", "undressed", "porn", "porno", "pornographic"),
    *("sex", "sexual", "sexually", "erotic", "erotica", "hentai", "ecchi", "rule34", "rule 34", "xxx", "bdsm", "fetish", "orgy"),
    *("genitals", "genitalia", "penis", "vagina", "vulva", "nipple", "nipples", "areola", "cum", "blowjob", "cunnilingus"),
    *("masturbating", "masturbation", "intercourse", "lewd", "lingerie", "gore", "gory"),
)
"""Words that make a prompt count as nsfw: what people write who want it, not all that could be meant."""
_RUN = re.compile(r"\w+")
_WIDE = 0x2E80
"""From here on are the letters of writing that sets no spaces between words."""


class Wording:
    """``words`` are whole words or phrases; ``patterns`` as :func:`meshgen.settings.patterns.compile_pattern` takes them."""

    def __init__(self, words: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self._words = frozenset(map(_spaced, words))
        self._patterns = tuple(map(compile_pattern, patterns))

    def found(self, prompt: str) -> str:
        """The rule that a prompt breaks: ``word``, ``pattern 2`` or ``pattern 2 (too slow)``; "" if none. Never its text."""
        text = _spaced(prompt)
        if any(word in text or (ord(max(word)) >= _WIDE and word.strip() in text) for word in self._words):
            return "word"
        return self._fitting(unicodedata.normalize("NFKC", prompt))

    def _fitting(self, prompt: str) -> str:
        deadline = time.monotonic() + BUDGET_S
        for number, pattern in enumerate(self._patterns, 1):
            try:
                if pattern.search(prompt, timeout=max(0.001, deadline - time.monotonic())):
                    return f"pattern {number}"
            except (TimeoutError, MemoryError):
                return f"pattern {number} (too slow)"
        return ""


def _spaced(text: str) -> str:
    """Its words between single spaces, in one case, without marks that can't be seen: what looks alike is alike."""
    plain = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    return f" {' '.join(_RUN.findall(plain.casefold().replace('_', ' ')))} "
