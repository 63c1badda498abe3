"""Requests on the desk: found, charged, told to webhooks, and forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from meshgen.gateway.callers import ANONYMOUS, OWNER, Caller
from meshgen.gateway.horde import desk as desk_module
from meshgen.gateway.horde.desk import KEPT_S, Asked, Desk, Generation, Terms
from meshgen.gateway.horde.webhooks import TRIES, Webhooks
from meshgen.gateway.keys import KeyRing
from meshgen.peers.job import Job
from meshgen.peers.request import ImageRequest
from tests.gateway.horde.asked import bring, finish
from tests.gateway.horde.test_fetching import PUBLIC, Web

CLASS = Caller("shared", "k1", "class")


class Charges(KeyRing):
    def __init__(self) -> None:
        super().__init__()
        self.charged: list[tuple[Caller, int]] = []

    def charge(self, caller: Caller, mkudos: int) -> None:
        self.charged.append((caller, mkudos))


def job(count: int = 1) -> Job:
    return Job("j", ImageRequest("x", count=count), created_ms=0, model="sd15")


async def test_requests_are_found_by_kind_and_forgotten_a_while_after_their_end(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    keys = Charges()
    desk = Desk(keys, nursery)
    one = job(2)
    asked = desk.take(CLASS, "image", [one], max_mkudos=50_000)
    assert desk.find("image", asked.id) is asked and desk.find("text", asked.id) is None
    assert desk.open() == [asked] and (desk.pending(CLASS), desk.pending(OWNER)) == (50_000, 0)
    bring(one, 0, b"a")
    made = next(asked.generations())
    assert desk.picture(made.id) == b"a" and desk.picture("garbage") is None
    bring(one, 1, b"b")
    one.enter("done")
    assert desk.pending(CLASS) == 50_000, "until it is charged: nobody slips in between"
    await trio.sleep(1)
    assert keys.charged == [(CLASS, 22_000)] and desk.open() == [] and desk.pending(CLASS) == 0
    assert desk.paces == {"sd15": 0.5}
    await trio.sleep(KEPT_S - 2)
    assert desk.find("image", asked.id) is asked
    await trio.sleep(2)
    assert desk.find("image", asked.id) is None and desk.picture(made.id) is None


async def test_what_ended_first_goes_first_when_there_is_too_much(
    nursery: trio.Nursery, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "KEPT_BYTES", 250)
    desk = Desk(Charges(), nursery)
    asked = []
    for _ in range(3):
        asked.append(desk.take(OWNER, "image", [one := job()]))
        finish(one, bytes(100))
        await trio.sleep(1)
    assert [desk.find("image", one.id) is not None for one in asked] == [False, True, True]


async def hooked(nursery: trio.Nursery, *answers: bytes, view: Callable[[Asked, Generation], Any] | None = None) -> Web:
    """One request of two pictures with a webhook, done."""
    web = Web(*answers, a_example=[PUBLIC], inner_example=["10.0.0.1"])
    desk = Desk(Charges(), nursery, webhooks=Webhooks(resolve=web.resolve, connect=web.connect))

    async def seen(asked: Asked, one: Generation) -> dict[str, Any]:
        return {"img": "x", "worker_name": one.result.worker_alias}

    desk.views["image"] = view or seen
    one = job(2)
    desk.take(ANONYMOUS, "image", [one], Terms(webhook="http://a.example/hook"))
    await trio.sleep(0.1)
    finish(one)
    await trio.sleep(60)
    return web


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


async def test_a_webhook_is_told_of_each_generation(nursery: trio.Nursery, autojump_clock: object) -> None:
    web = await hooked(nursery, OK, OK)
    told = [json.loads(asked.partition(b"\r\n\r\n")[2]) for asked in web.asked]
    assert [one["worker_name"] for one in told] == ["bob", "bob"] and {one["kudos"] for one in told} == {11.0}
    assert len({one["id"] for one in told}) == 2 and len({one["request"] for one in told}) == 1


async def test_a_webhook_that_fails_is_tried_again_and_then_left(nursery: trio.Nursery, autojump_clock: object) -> None:
    web = await hooked(nursery, *[BUSY] * 2 * TRIES)
    assert len(web.asked) == 2 * TRIES


async def test_webhooks_reach_no_private_address(autojump_clock: object) -> None:
    web = Web(inner_example=["10.0.0.1"])
    assert not await Webhooks(resolve=web.resolve, connect=web.connect).tell("https://inner.example/x", {})
    assert web.connected == []
