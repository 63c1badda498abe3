"""A home's running node; one that is just starting is waited for, as `meshgen run & meshgen generate ...` begins both at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import click

from meshgen.cli.faults import NotRunning
from meshgen.gateway.runfile import RunInfo, read_run
from meshgen.home import home_dir

START_S, LOOK_S, SILENT_S = 30.0, 0.2, 1.0
"""How long a node may take from its start until its API is open, how often to look, and when to say what is waited for."""
PROGRAM_WORDS = 4
"""Among the first so many of a command line the program is named, as in `python -u -m meshgen.cli`."""
YOUNG_S = 10.0
"""A process that was begun no longer ago may not have come to say so in its home."""


def running_node(home: Path) -> RunInfo | None:
    """What its home says about it: None if there is none, and nobody starts one. Raises NotRunning if that takes too long."""
    for look in count():
        info = read_run(home)
        living = info if info is not None and info.alive() else None
        if (living and living.url) or not (living or any(_starting(home))):
            return info
        if look * LOOK_S >= START_S:
            raise NotRunning(f"the node in {home} has not come up in {START_S:.0f} s", "see its log")
        if look == round(SILENT_S / LOOK_S):
            click.echo("waiting for the node to start ...", err=True)
        time.sleep(LOOK_S)
    raise AssertionError


def _starting(home: Path) -> Iterator[int]:
    """Processes that were begun just now and are to be this home's node."""
    import psutil

    youngest_s = psutil.Process().create_time() - YOUNG_S
    for pid in psutil.pids():  # process_iter would go on to tell of who had a number before
        try:
            process = psutil.Process(pid)
            if process.create_time() >= youngest_s and _is_run(process.cmdline()) and _home_of(process) == home:
                yield pid
        except (psutil.Error, OSError):  # it has ended, or is somebody else's
            continue


def _is_run(words: list[str]) -> bool:
    """`meshgen run`, `python -m meshgen.cli run`: not another verb that is given this word, nor another program."""
    names = [Path(word).name.lower().removesuffix(".exe") for word in words[:PROGRAM_WORDS]]
    at = next((place for place, name in enumerate(names) if name in ("meshgen", "meshgen.cli")), None)
    return at is not None and names[0].startswith(("python", "meshgen")) and _verb(iter(words[at + 1 :])) == "run"


def _verb(words: Iterator[str]) -> str:
    for word in words:
        if word == "--home":
            next(words, "")
        elif not word.startswith("-"):
            return word
    return ""


def _home_of(process: Any) -> Path:
    words = process.cmdline()
    given = next((after for word, after in pairwise(words) if word == "--home"), "")
    given = given or next((word.removeprefix("--home=") for word in words if word.startswith("--home=")), "")
    return Path(process.cwd()) / Path(given).expanduser() if given else home_dir(process.environ())
