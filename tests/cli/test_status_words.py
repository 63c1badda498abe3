"""What `meshgen status` says of who gets to a node."""

from __future__ import annotations

from typing import Any

import pytest

from meshgen.cli.status import _reach


@pytest.mark.parametrize(
    ("reach", "words"),
    [
        ({"state": "public", "relays": 1, "through": ["hub#a"]}, "directly"),
        ({"state": "private", "relays": 2, "through": ["hub#a", "x\x1b[2J#b"]}, "through 2 relays: hub#a, x[2J#b"),
        ({"state": "unknown", "relays": 1, "through": ["hub#a"]}, "through 1 relay: hub#a"),
        ({"state": "private", "relays": 0, "through": []}, "not at all yet"),
        ({"state": "unknown", "relays": 0}, "nobody has tried yet"),
        ({}, "nobody has tried yet"),
    ],
)
def test_who_gets_in(reach: dict[str, Any], words: str) -> None:
    assert _reach(reach).startswith(words)
