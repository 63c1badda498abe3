"""Blocking between real processes: on the owner's word the link goes, work passes the other by, and it comes back."""

from __future__ import annotations

from typing import Any

from meshgen.cli.local_mesh import wait_for
from tests.e2e.conftest import Town

BLOCK = "node.block"


def says(town: Town, lines: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = town.requester.patch("/v1/settings", {"changes": {BLOCK: lines}})
    return found


def row(town: Town, peer: str) -> dict[str, Any]:
    rows = town.requester.get("/v1/peers")["peers"]
    return next((found for found in rows if found["peer_id"] == peer), {})


def test_a_worker_is_blocked_and_let_in_again(town: Town) -> None:
    first, second = town.node("first").peer_id, town.node("second").peer_id
    try:
        assert says(town, [f"{first} (for a test)"])["live"] == [BLOCK]
        wait_for(lambda: not row(town, first).get("connected"), "the link to be gone", 10)
        job = town.await_job(town.submit(count=3))
        assert (job["state"], {part["worker"] for part in job["parts"]}) == ("done", {second})
    finally:
        says(town, [])
    wait_for(lambda: row(town, first).get("connected") and not row(town, first)["kept_out"], "it to be back", 60)
