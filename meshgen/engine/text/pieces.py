"""One completion's tokens become text that can be shown at once: whole characters alone, and nothing of a stop sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[list[int]], str]

_UNFINISHED = "\ufffd"
"""What a decoder shows for the bytes of a character that is not whole yet."""
_TAIL = 8
"""Tokens of the prompt that are decoded along: some tokenizers drop the space before a text's first word."""


class Pieces:
    """``text`` is what has been given out so far. ``stopped``: a stop sequence came; it and all after it stay inside."""

    def __init__(self, decode: Decode, prompt: Sequence[int], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._tokens = list(prompt[-_TAIL:])
        self._from = 0
        self._upto = len(self._tokens)
        self._stop = stop
        self._held = ""
        self.text = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """What is certain after this token; often nothing."""
        self._tokens.append(token)
        return self._show(self._fresh())

    def rest(self) -> str:
        """What was held back in case more came. A character that never became whole is left out."""
        whole = "" if self.stopped else self._held + self._fresh(last=True).rstrip(_UNFINISHED)
        self._held = ""
        return self._give(whole)

    def _fresh(self, last: bool = False) -> str:
        """Text that the tokens since the last whole character add: the same tokens before it are decoded with it each time."""
        before = self._decode(self._tokens[self._from : self._upto])
        text = self._decode(self._tokens[self._from :])
        if len(text) <= len(before) or (text.endswith(_UNFINISHED) and not last):
            return ""
        self._from, self._upto = self._upto, len(self._tokens)
        return text[len(before) :]

    def _show(self, fresh: str) -> str:
        held = self._held + fresh
        found = [at for stop in self._stop if (at := held.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return self._give(held[: min(found)])
        keep = max((_overlap(held, stop) for stop in self._stop), default=0)
        self._held = held[len(held) - keep :]
        return self._give(held[: len(held) - keep])

    def _give(self, text: str) -> str:
        self.text += text
        return text


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters may be the stop sequence's beginning."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
