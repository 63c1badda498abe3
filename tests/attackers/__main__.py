"""``python -m tests.attackers [--seconds N] [name ...]``: each attack against an honest mesh, and what the others felt.

The attacker is a process of its own, on the same machine: what the table shows includes the CPU time that it takes away.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.attackers.attacker import be_attacker, names_of
from tests.attackers.town import Felt, Load, Town, honest_town

HEAD = (
    f"{'attack':20} {'on':9}  {'p50 of jobs, s':20}  {'p95 of jobs, s':20}  {'longest, s':20}"
    "  lost   CPU       MiB  cut off (tries)"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.attackers")
    parser.add_argument("names", nargs="*", metavar="name", help="attacks to run; all of them without one")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--plenty", type=int, default=10_000, help="messages that an attacker makes before it begins")
    parser.add_argument("--attack", action="store_true", help="be the attacker (used by the harness itself): name@address ...")
    parser.add_argument("--until", action="append", default=[], help="...and go on until this one is cut off (repeatable)")
    given = parser.parse_args()
    if given.attack:
        be_attacker(given.names, given.seconds, given.plenty, given.until)
    with tempfile.TemporaryDirectory() as root, honest_town(Path(root)) as town:
        town.draw_for(3)
        print(HEAD, flush=True)
        for name in given.names or names_of():
            print(_row(town, name, given.seconds, given.plenty), flush=True)


def _row(town: Town, name: str, seconds: float, plenty: int) -> str:
    victim = names_of()[name]
    before = town.draw_for(seconds / 2)
    with attacking(town, (name,), seconds + 1, plenty) as attacker:
        start = town.load(victim)
        during = town.draw_for(seconds)
        end = town.load(victim)
        seen = json.loads(attacker.communicate(timeout=seconds + 60)[0])[name]
    after = town.draw_for(seconds / 2)
    return _line(name, victim, (before, during, after), (start, end), seen)


def attacking(
    town: Town, names: tuple[str, ...], seconds: float, plenty: int, until: Iterable[str] = ()
) -> subprocess.Popen[bytes]:
    """An attacker that has begun. Those in ``until`` go on until they are cut off."""
    targets = [f"{name}@{town.address(names_of()[name])}" for name in names]
    command = [sys.executable, "-m", "tests.attackers", "--attack", "--seconds", str(seconds), "--plenty", str(plenty)]
    command += [*(f"--until={name}" for name in until), *targets]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert attacker.stdout is not None
    attacker.stdout.readline()
    return attacker


def _line(name: str, victim: str, felt: tuple[Felt, Felt, Felt], loads: tuple[Load, Load], seen: dict[str, Any]) -> str:
    start, end = loads
    cpu = (end.cpu_s - start.cpu_s) / (end.at_s - start.at_s)
    cut = f"{seen['cut_off_s']:.1f} s" if seen["cut_off_s"] is not None else "-"
    dealt = f", {seen['played']} of {seen['awards']} awards" if seen["awards"] else ""
    lost = [why for each in felt for why in each.lost]
    for why in sorted(set(lost)):
        print(f"    {lost.count(why)} x {why}")
    medians, tails, longest = (" > ".join(f"{each.at(share):5.2f}" for each in felt) for share in (0.5, 0.95, 1.0))
    return (
        f"{name:20} {victim:9}  {medians:20}  {tails:20}  {longest:20}  {len(lost):4} {cpu:5.0%}"
        f" {start.rss_mib:4.0f}>{end.rss_mib:4.0f}  {cut} ({seen['tries']}{dealt})"
    )


if __name__ == "__main__":
    main()
