"""Whether a worker takes work, in words."""

from __future__ import annotations

import time
from typing import Any


def show_reasons(state: dict[str, Any]) -> str:
    """``takes work``, or every reason why not."""
    return "takes work" if state.get("takes_work", True) else "takes no work: " + "; ".join(map(_reason, state["reasons"]))


def _reason(reason: dict[str, Any]) -> str:
    until = reason.get("until_ms")
    return f"{reason['text']} (until {local(until)})" if until else str(reason["text"])


def local(ms: int) -> str:
    """2026-06-01 14:00, of this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(ms / 1000))
