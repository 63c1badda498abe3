"""The attacker's process: it begins, says so, goes on for a while, tells what it saw, and is gone."""

from __future__ import annotations

import json
import os
from typing import Any, NoReturn

import trio

from tests.attackers import jobs, table
from tests.attackers.attacks import ATTACKS
from tests.attackers.hands import Field, by_the_wall_clock

assert jobs and table  # they enter their attacks
PATIENCE_S = 45.0
BEGIN_S = 2.0
"""What an attack has for its first connections, before others' jobs count."""


def names_of() -> dict[str, str]:
    """The attacks, and whom each goes for."""
    return {name: victim for name, (victim, _) in ATTACKS.items()}


def be_attacker(targets: list[str], seconds: float, plenty: int, until: list[str]) -> NoReturn:
    """``targets`` are attacks, each with the address that it goes for: name@address. Those in ``until`` go on until they are cut
    off, for PATIENCE_S more at most."""
    with by_the_wall_clock():
        trio.run(_attack, dict(target.split("@", 1) for target in targets), seconds, plenty, until)
    raise AssertionError("it leaves by itself")


async def _attack(targets: dict[str, str], seconds: float, plenty: int, until: list[str]) -> None:
    fields = {name: Field(address, plenty=plenty) for name, address in targets.items()}
    async with trio.open_nursery() as nursery:
        for name, field in fields.items():
            nursery.start_soon(ATTACKS[name][1], field)
        await trio.sleep(BEGIN_S)
        print("begun", flush=True)
        await trio.sleep(seconds)
        with trio.move_on_after(PATIENCE_S):
            while any(fields[name].cut_off_s is None for name in until):  # noqa: ASYNC110 - being cut off has no event
                await trio.sleep(0.1)
        print(json.dumps({name: _seen(field) for name, field in fields.items()}), flush=True)
        os._exit(0)  # nobody waits for an attacker to put its things away


def _seen(field: Field) -> dict[str, Any]:
    awards, played = (sum(each) for each in zip((0, 0), *((one.awards, one.played) for one in field.workers), strict=True))
    return {"tries": field.tries, "cut_off_s": field.cut_off_s, "awards": awards, "played": played}
