from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "note", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``note`` is worth knowing and harms nothing; ``fault`` needs mending."""

    name: str
    level: Level
    text: str
    cure: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)
