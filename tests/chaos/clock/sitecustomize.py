"""On a node's PYTHONPATH: its wall clock is off by as many seconds as the file CHAOS_CLOCK says, which may change at any time."""

from __future__ import annotations

import os
import time
from pathlib import Path

_FILE = Path(os.environ["CHAOS_CLOCK"])
_LOOK_S = 0.25
_time, _time_ns, _monotonic = time.time, time.time_ns, time.monotonic
_seen = {"at": float("-inf"), "off": 0.0}


def _off_s() -> float:
    now = _monotonic()
    if now - _seen["at"] > _LOOK_S:
        _seen["at"] = now
        try:
            _seen["off"] = float(_FILE.read_text() or 0)
        except (OSError, ValueError):
            _seen["off"] = 0.0
    return _seen["off"]


time.time = lambda: _time() + _off_s()
time.time_ns = lambda: _time_ns() + int(_off_s() * 1e9)
