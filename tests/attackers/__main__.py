"""``python -m tests.attackers [--seconds N] [name ...]``: each attack against an honest mesh, and what the others felt.

The attacker is a process of its own, on the same machine: what the table shows includes the CPU time that it takes away.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio

from tests.attackers import jobs
from tests.attackers.attacks import ATTACKS
from tests.attackers.hands import Field, by_the_wall_clock
from tests.attackers.town import Felt, Load, Town, honest_town

assert jobs  # it enters its attacks
HEAD = f"{'attack':22} {'on':9} {'p50':>5} {'p95 before':>10} {'during':>7} {'after':>6}  lost   CPU       MiB  cut off (tries)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.attackers")
    parser.add_argument("names", nargs="*", metavar="name", help="attacks to run; all of them without one")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--attack", metavar="ADDRESS", help="be the attacker, on this address (used by the harness itself)")
    given = parser.parse_args()
    names = given.names or list(ATTACKS)
    if given.attack:
        with by_the_wall_clock():
            trio.run(_attack, names[0], given.attack, given.seconds)
    with tempfile.TemporaryDirectory() as root, honest_town(Path(root)) as town:
        town.draw_for(3)
        print(HEAD, flush=True)
        for name in names:
            print(_row(town, name, given.seconds), flush=True)


async def _attack(name: str, address: str, seconds: float) -> None:
    """Tell at the end what was seen, and be gone: nobody waits for an attacker to put its things away."""
    field = Field(address)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ATTACKS[name][1], field)
        await trio.sleep(seconds)
        print(json.dumps({"tries": field.tries, "cut_off_s": field.cut_off_s}), flush=True)
        os._exit(0)


def _row(town: Town, name: str, seconds: float) -> str:
    victim = ATTACKS[name][0]
    before = town.draw_for(seconds / 2)
    command = [sys.executable, "-m", "tests.attackers", "--attack", town.address(victim), "--seconds", str(seconds + 4), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as attacker:
        town.draw_for(3)  # it starts
        start = town.load(victim)
        during = town.draw_for(seconds)
        end = town.load(victim)
        told, errors = attacker.communicate(timeout=seconds + 60)
    after = town.draw_for(seconds / 2)
    seen = json.loads(told) if told.strip() else {"cut_off_s": None, "tries": errors.decode()[-300:]}
    return _line(name, victim, (before, during, after), (start, end), seen)


def _line(name: str, victim: str, felt: tuple[Felt, Felt, Felt], loads: tuple[Load, Load], seen: dict[str, Any]) -> str:
    before, during, after = felt
    start, end = loads
    cpu = (end.cpu_s - start.cpu_s) / (end.at_s - start.at_s)
    cut = f"{seen['cut_off_s']:.1f} s" if seen["cut_off_s"] is not None else "-"
    lost = [why for each in felt for why in each.lost]
    for why in sorted(set(lost)):
        print(f"    {lost.count(why)} x {why}")
    return (
        f"{name:22} {victim:9} {before.median:5.2f} {before.at(0.95):10.2f} {during.at(0.95):7.2f} {after.at(0.95):6.2f}"
        f"  {len(lost):4} {cpu:5.0%} {start.rss_mib:4.0f}>{end.rss_mib:4.0f}  {cut} ({seen['tries']})"
    )


if __name__ == "__main__":
    main()
