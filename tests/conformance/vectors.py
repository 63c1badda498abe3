"""What a vector is, where vectors lie, and how what a decoder gives is compared with what a vector expects."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent.parent / "protocols"


@dataclass(frozen=True)
class Vector:
    """``expect`` is what good bytes mean, None for bad ones; ``error`` names what is wrong with bad ones."""

    protocol: str
    kind: str
    name: str
    data: bytes
    expect: dict[str, Any] | None = None
    error: str = ""

    @property
    def path(self) -> Path:
        return FOLDER / self.protocol / "vectors" / ("invalid" if self.error else "valid") / f"{self.name}.json"

    def to_json(self) -> str:
        told = {"error": self.error} if self.error else {"expect": self.expect}
        head = {"name": self.name, "protocol": self.protocol, "kind": self.kind, "hex": self.data.hex()}
        return json.dumps(head | told, indent=2, ensure_ascii=False) + "\n"


def stored() -> list[Path]:
    return sorted(FOLDER.glob("*/vectors/*valid/*.json"))


def describe(thing: Any) -> Any:
    """JSON's view of a message: bytes as hex, arrays as lists, a record as its fields and its TAG."""
    if dataclasses.is_dataclass(thing):
        told = {field.name: describe(getattr(thing, field.name)) for field in dataclasses.fields(thing)}
        return {"tag": thing.TAG, **told} if hasattr(thing, "TAG") else told
    if isinstance(thing, bytes):
        return thing.hex()
    if isinstance(thing, tuple):
        return [describe(item) for item in thing]
    return thing


def describe_value(value: Any) -> dict[str, Any]:
    """The codec's values with their types: {"uint": 5}, {"bin": "00ff"}, {"text": "a"}, {"array": [...]}."""
    match value:
        case int():
            return {"uint": value}
        case bytes():
            return {"bin": value.hex()}
        case str():
            return {"text": value}
    return {"array": [describe_value(item) for item in value]}
