from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault
from meshgen.cli.verb import Call, verb

if TYPE_CHECKING:
    from rich.console import Console

EVERY_S = 1.0
SENSORS_S = 5.0
SHOWN_JOBS = 50
PLAIN_WIDTH = 100
"""Columns where no terminal says how many there are."""


@click.command()
@click.option("--once", is_flag=True, help="Print it once and end; so it is too where output is no terminal.")
@verb
def top(call: Call, once: bool) -> None:
    """The running node, live: its place in the mesh, its work, own jobs, peers. q ends it."""
    if call.json:
        call.result(snapshot(Api.of(call.home)))
    elif once or not sys.stdout.isatty():
        _print_once(call)
    else:
        _watch(call)


def snapshot(api: Api) -> dict[str, Any]:
    """All that is shown. Raises NotRunning."""
    status = api.get("/v1/status")
    asks = "requester" in status.get("roles", ())
    jobs = api.get("/v1/jobs", limit=SHOWN_JOBS)["jobs"] if asks else []
    worker = api.get("/v1/worker") if status.get("worker") else None
    if worker and not worker.get("sensors") and status["worker"]["device"] == "cuda":  # without a ceiling the node asks none
        worker["sensors"] = _sensors(int(time.monotonic() // SENSORS_S))
    return {"status": status, "worker": worker, "jobs": jobs, "peers": api.get("/v1/peers")["peers"]}


@lru_cache(maxsize=1)
def _sensors(_tick: int) -> dict[str, Any]:
    """The device's, asked here: the node's home is on this machine, and so is its device."""
    import trio

    from meshgen.engine.pool.sensors import read_sensors

    return asdict(trio.run(read_sensors))


def _print_once(call: Call) -> None:
    from meshgen.cli.top_frame import whole

    console = _console()
    console.print(whole(snapshot(Api.of(call.home)), console.width))


def _watch(call: Call) -> None:
    """Until q, Escape or Ctrl-C. A node that goes away is waited for. The terminal is left as it was."""
    from rich.live import Live

    from meshgen.cli.top_events import Events
    from meshgen.cli.top_frame import absent, fitted

    found, events, console = snapshot(Api.of(call.home)), Events(), _console()
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False, transient=True) as live:
        while True:
            events.see(found, time.time())
            live.update(fitted(found, events, *console.size) if found else absent(call.home, events, *console.size), refresh=True)
            if _quits(keys):
                return
            found = _again(call)


def _quits(keys: bool) -> bool:
    """Wait until the next look is due, or a key is pressed. An arrow is more than one byte, and no Escape."""
    if not keys:
        time.sleep(EVERY_S)
        return False
    if not select.select([sys.stdin], [], [], EVERY_S)[0]:
        return False
    pressed = os.read(sys.stdin.fileno(), 64)
    return pressed in (b"", b"\x1b") or b"q" in pressed.lower()


def _again(call: Call) -> dict[str, Any]:
    """Empty while the node does not run, or is about to end. Not waited for here: a key may be pressed."""
    try:
        return snapshot(Api.of(call.home, wait=False))
    except Fault:
        return {}


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


@contextmanager
def _keys() -> Iterator[bool]:
    """Single keys, unseen, while it lasts. False where there are none to be had: Ctrl-C always works."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield False
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield True
    except KeyboardInterrupt:
        pass
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
