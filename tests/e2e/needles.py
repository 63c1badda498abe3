"""What to look for when nothing may be found: a prompt's words in every way that bytes get written down."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

WORDS = ("grünquallenxylophon", "qvxzblorfdrake")
"""Words that nothing else says; one of them is no ASCII."""
PROMPT = f"a {WORDS[0]} rides a {WORDS[1]} at dawn"
SEED = 3_141_592_653


def writings(text: str) -> set[bytes]:
    """The text as a program might write it."""
    found: set[bytes] = set()
    for raw in {text.encode(code) for code in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")}:
        found |= {raw, raw.hex().encode(), raw.hex().upper().encode(), repr(raw)[2:-1].encode()}
        for shift in range(3):  # a part of something longer: cut off what its neighbours take part in
            coded = base64.b64encode(bytes(shift) + raw)
            start = (8 * shift + 5) // 6
            found |= {part[start:-4] for part in (coded, coded.replace(b"+", b"-").replace(b"/", b"_"))}
    return found | {quote(text).encode(), quote_plus(text).encode(), json.dumps(text)[1:-1].encode()}


def _needles() -> dict[bytes, str]:
    found = {writing: word for word in (*WORDS, PROMPT) for writing in writings(word)}
    digest = hashlib.sha256(PROMPT.encode()).digest()
    found |= {digest: "the prompt's hash", digest.hex().encode(): "the prompt's hash"}
    return found | {struct.pack(">I", SEED): "the seed", str(SEED).encode(): "the seed"}


NEEDLES = _needles()


def leaks(haystack: Mapping[str, Iterable[bytes]], *, seed: bool = True) -> list[str]:
    """Where something was found, and what."""
    return [
        f"{name}: {what}"
        for name, straws in haystack.items()
        for straw in straws
        for needle, what in NEEDLES.items()
        if needle in straw and (seed or what != "the seed")
    ]
