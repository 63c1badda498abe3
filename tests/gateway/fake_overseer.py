"""A worker's overseer with no worker behind it."""

from __future__ import annotations

from typing import Any


class FakeOverseer:
    """Implements WorkerFace. ``fails`` is raised by whatever is to change something."""

    def __init__(self) -> None:
        self.paused: dict[str, Any] | None = None
        self.jobs = 1
        self.said: list[tuple[object, ...]] = []
        self.fails: Exception | None = None
        self.more: list[dict[str, Any]] = []  # reasons beside the pause

    def pause(self, for_ms: int = 0, message: str = "", *, now: bool = False) -> None:
        self._say("pause", for_ms, message, now)
        self.paused = {"since_ms": 1_780_000_000_000, "until_ms": 1_780_000_000_000 + for_ms if for_ms else 0, "message": message}

    def resume(self) -> None:
        self._say("resume")
        self.paused = None

    def state(self) -> dict[str, Any]:
        pause = self.paused
        text = f"paused by the owner: {pause['message']}" if pause else ""
        reasons = [{"code": "paused", "text": text, "until_ms": pause["until_ms"]}] if pause else []
        return {
            "takes_work": not reasons + self.more,
            "reasons": reasons + self.more,
            "paused": pause,
            "jobs": self.jobs,
            "sensors": {"temperature_c": 61.4, "power_w": None, "fault": ""},
            "troubles": ["sdxl is not offered: it crashed the engine 3 times"],
            "models": ["sd15"],
            "wanted": [{"model": "flux", "requesters": 3}],
            "rules": {"models": ["all"], "hours": [], "max_pixels": 1048576},
            "refused": {"word": 2},
            "notes": ["'gone' is not installed"],
        }

    def _say(self, *what: object) -> None:
        if self.fails:
            raise self.fails
        self.said.append(what)
