"""What `meshgen status` says of who gets to a node."""

from __future__ import annotations

from typing import Any

import pytest

from meshgen.cli.status import _reach, _worker
from meshgen.peers.rules import NONE_SERVED


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


def test_a_worker_without_a_model_is_told_to_add_none_that_its_rules_leave_out() -> None:
    figures = dict.fromkeys(("vram_free_mib", "vram_total_mib", "pictures", "queued", "failed", "unpaid"), 0)
    told = {
        "device": "cpu",
        "device_name": "",
        "models": [],
        "takes_work": False,
        "reasons": [{"code": "no_model", "text": NONE_SERVED}],
    }
    said = dict(_worker(figures | told, wanted=True))
    assert NONE_SERVED in said["worker"] and said["serves"] == "no model; `meshgen models ls` shows those that are installed"
