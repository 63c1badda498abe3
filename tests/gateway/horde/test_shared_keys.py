"""AI Horde's shared keys, as its clients make, show, change and end them."""

from __future__ import annotations

import uuid
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from meshgen.gateway.horde.people import People
from meshgen.gateway.keys import KeyRing
from tests.gateway.fake_node import FakeNode
from tests.gateway.horde.conftest import OWN

KEYS = "/api/v2/sharedkeys"


async def test_a_key_from_making_to_ending(api: httpx.AsyncClient, node: FakeNode, home: Path) -> None:
    made = (await api.put(KEYS, json={"kudos": 100, "expiry": 5, "name": "test key"}, headers=OWN)).json()
    assert uuid.UUID(made["id"]) and made["username"] == People(node).owner.username
    assert parsedate_to_datetime(made["expiry"])
    limits = {"max_image_pixels": -1, "max_image_steps": -1, "max_text_tokens": -1}
    assert made == made | {"name": "test key", "kudos": 100, "utilized": 0} | limits
    address = f"{KEYS}/{made['id']}"
    assert (await api.get(address)).json() == made
    assert (await api.get("/api/v2/find_user", headers=OWN)).json()["sharedkey_ids"] == [made["id"]]

    assert [key.id for key in KeyRing(home).shared()] == [made["id"]]
    changed = (await api.patch(address, json={"max_image_steps": 20, "expiry": -1}, headers=OWN)).json()
    assert (changed["max_image_steps"], changed["expiry"], changed["kudos"]) == (20, None, 100)
    assert (await api.delete(address, headers=OWN)).json() == {"message": "OK"}
    for answer in (
        await api.get(address),
        await api.delete(address, headers=OWN),
        await api.patch(address, json={"kudos": 1}, headers=OWN),
    ):
        assert (answer.status_code, answer.json()["rc"]) == (404, "SharedKeyInvalid")


async def test_who_has_a_shared_key_asks_for_work_and_no_more(api: httpx.AsyncClient) -> None:
    made = (await api.put(KEYS, json={}, headers=OWN)).json()
    assert (made["kudos"], made["name"], made["expiry"]) == (5000, None, None)
    mine = {"apikey": made["id"]}
    for answer in (
        await api.put(KEYS, json={}, headers=mine),
        await api.patch(f"{KEYS}/{made['id']}", json={"kudos": -1}, headers=mine),
        await api.delete(f"{KEYS}/{made['id']}", headers=mine),
        await api.post("/api/v2/kudos/transfer", json={"username": "bob#1", "amount": 1}, headers=mine),
    ):
        assert (answer.status_code, answer.json()["rc"]) == (403, "NotPrivileged")
    found = (await api.get("/api/v2/find_user", headers=mine)).json()
    assert found["sharedkey_ids"] == [] and "active_generations" not in found
    anonymous = await api.put(KEYS, json={}, headers={"apikey": "0000000000"})
    assert (anonymous.status_code, anonymous.json()["rc"]) == (403, "AnonForbidden")


async def test_limits_hold_and_money_is_counted(api: httpx.AsyncClient) -> None:
    ask, body = "/api/v2/generate/async", {"prompt": "x", "params": {"width": 512, "height": 512, "steps": 20}}
    for limits, status in (
        ({"kudos": 100}, 202),
        ({"kudos": 1}, 403),
        ({"max_image_pixels": 64 * 64}, 403),
        ({"max_image_steps": 5}, 403),
    ):
        key = (await api.put(KEYS, json=limits, headers=OWN)).json()["id"]
        answer = await api.post(ask, json=body, headers={"apikey": key})
        assert answer.status_code == status, (limits, answer.text)
        assert status == 202 or answer.json()["rc"].startswith("SharedKey")


async def test_a_flood_does_not_overdraw_a_key(api: httpx.AsyncClient, node: FakeNode) -> None:
    """What is under way counts as spent: a job costs at most 10 kudos here."""
    key = {"apikey": (await api.put(KEYS, json={"kudos": 25}, headers=OWN)).json()["id"]}
    answers = [await api.post("/api/v2/generate/async", json={"prompt": "x"}, headers=key) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 403, 403, 403]
    assert node.requester and len(node.requester.jobs) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kudos": -2}, "kudos"),
        ({"kudos": 50_000_001}, "kudos"),
        ({"kudos": "5"}, "kudos"),
        ({"name": "ab"}, "name"),
        ({"expiry": -2}, "expiry"),
        ({"expiry": 10**12}, "expiry"),
        ({"max_image_pixels": 10**9}, "max_image_pixels"),
        ({"max_text_tokens": 501}, "max_text_tokens"),
    ],
)
async def test_limits_that_are_none(api: httpx.AsyncClient, body: dict[str, object], field: str) -> None:
    answer = await api.put(KEYS, json=body, headers=OWN)
    assert answer.status_code == 400 and list(answer.json()["errors"]) == [field]


async def test_a_change_of_nothing(api: httpx.AsyncClient) -> None:
    made = (await api.put(KEYS, json={}, headers=OWN)).json()
    answer = await api.patch(f"{KEYS}/{made['id']}", json={}, headers=OWN)
    assert (answer.status_code, answer.json()["rc"]) == (400, "NoSharedKeyModSelected")
