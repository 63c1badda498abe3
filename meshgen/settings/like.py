"""Texts of a fixed form; who gives another is told in words, not by a regular expression."""

from __future__ import annotations

import re

from pydantic import AfterValidator


def like(pattern: str, words: str) -> AfterValidator:
    """The whole text fits ``pattern``; else ``words`` say what it should be."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(words)
        return text

    return AfterValidator(check)
