"""meshgen top: what fits on a screen, what happened between two looks, and how it leaves the terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import Result
from rich.console import Console, RenderableType

from meshgen.cli.client import Api
from meshgen.cli.top import _again, snapshot
from meshgen.cli.top_events import Events
from meshgen.cli.top_frame import absent, fitted, whole
from meshgen.cli.verb import Call
from meshgen.gateway.runfile import RunInfo, write_run
from tests.cli.conftest import ROOT, Running

Cli = Callable[..., Result]
PEER = {"peer_id": "12D3KooWabcdef", "alias": "rig", "roles": ["worker"], "models": ["sd15"], "queued": 3, "device_name": "RTX"}
JOB = {"id": "0123456789ab", "state": "running", "count": 4, "results": [{}], "mkudos": 1500, "model": "sd15", "error": ""}
WORKER = {"device": "cuda", "device_name": "RTX", "vram_total_mib": 8192, "vram_free_mib": 4096, "queued": 2, "pictures": 7}
CURRENT = {"model": "sd15", "count": 2, "done": 1, "step": 10, "steps": 20, "drawing": True, "seconds": 61.0}


def state(peers: int = 1, jobs: int = 1, current: int = 1) -> dict[str, Any]:
    worker = WORKER | {"failed": 0, "unpaid": 0, "takes_work": True, "reasons": [], "current": [CURRENT] * current}
    way = {"connected": True, "relayed": False, "rtt_ms": 12}
    status = {"peer_id": "12D3KooWmyself", "alias": "me", "roles": ["worker", "requester"], "mesh": {"charter": "ours"}}
    status |= {"uptime_s": 7300, "connected": peers, "peers_known": peers, "worker": worker, "trouble": ""}
    status |= {"credit": {"net_mkudos": -250, "held_mkudos": 0}, "reach": {"state": "private", "relays": 1, "observed": []}}
    part = {"worker_alias": "rig#abcdef", "state": "running"}
    found = {
        "status": status,
        "worker": {"sensors": {"temperature_c": 61.0, "power_w": None}},
        "jobs": [JOB | {"id": f"{number:012}", "progress": 0.5, "parts": [part]} for number in range(jobs)],
        "peers": [PEER | way | {"peer_id": f"12D3KooW{number:06}"} for number in range(peers)],
    }
    return deepcopy(found)


def lines_of(what: RenderableType, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get().splitlines()


def test_a_frame_says_it_all() -> None:
    text = "\n".join(lines_of(fitted(state(), Events(), 160, 50), 160))
    for words in (
        "me#myself", "mesh ours", "up 2 h 1 min", "behind NAT, 1 relay", "1 connected, 1 known", "-0.250 kudos, 0.000 held",
        "takes work", "4.0 of 8.0 GiB used", "61 °C", "2 queued, 7 done", "1/2", "step 10 of 20", "1 min 1 s",
        "running", "1/4", "1.500 kudos", "rig#abcdef", "rig#000000", "direct", "12 ms", "RTX", "nothing yet",
    ):  # fmt: skip
        assert words in text, words


def test_who_gets_in_is_told_as_by_status() -> None:
    found = state()
    found["status"] |= {"addresses": ["/ip4/127.0.0.1/tcp/1"], "reach": {"state": "unknown", "relays": 0}}
    assert "reachable from this machine alone" in "\n".join(lines_of(whole(found, 160), 160))


@pytest.mark.parametrize("size", [(80, 24), (160, 50), (40, 24), (80, 12), (200, 100)])
@pytest.mark.parametrize("many", [(0, 0, 0), (3, 2, 1), (500, 50, 9)])
def test_it_fits_any_screen(size: tuple[int, int], many: tuple[int, int, int]) -> None:
    events = Events()
    events.lines.extend(["12:00:00  something " + "x" * 200] * 200)
    found = state(*many)
    found["peers"] = [peer | {"alias": "a very long name", "models": ["m" * 64] * 9} for peer in found["peers"]]
    lines = lines_of(fitted(found, events, *size), size[0])
    assert len(lines) <= size[1] and max(map(len, lines)) <= size[0]
    if size[1] >= 24:
        assert any(line.startswith("peers") for line in lines) and any(line.startswith("events") for line in lines)
    if many[0] > size[1]:
        assert " more)" in "\n".join(lines)


def test_what_strangers_write_is_shown_as_it_is() -> None:
    found = state()
    found["peers"][0] |= {"alias": "[red]x[/]\x1b[2J", "models": ["[link=http://a]b"], "device_name": "\x07bell"}
    found["jobs"][0]["parts"][0]["worker_alias"] = "[/]"
    text = "\n".join(lines_of(whole(found, 160), 160))
    assert "[red]x[/][2J#000000" in text and "[link=http://a]b" in text and "[/]" in text
    assert "\x1b" not in text and "\x07" not in text


def test_what_happened_in_between() -> None:
    events, now = Events(), state(peers=2)
    events.see(now, 0.0)
    assert not events.lines, "what was there before is no news"
    later = state(peers=3)
    later["peers"][0] |= {"connected": False}
    later["peers"][1] |= {"relayed": True}
    later["jobs"] = [JOB | {"state": "done", "id": "000000000000"}, JOB | {"id": "new", "results": []}]
    later["status"]["worker"] |= {"pictures": 9, "takes_work": False, "reasons": [{"text": "paused by the owner"}]}
    later["status"]["reach"] = {"state": "public", "relays": 0}
    later["status"]["trouble"] = "this key has signed two histories"
    events.see(later, 0.0)
    said = [line.partition("  ")[2] for line in events.lines]
    assert said == [
        "rig#000000 is connected no more",
        "rig#000001 is reached through a relay",
        "rig#000002 appeared",
        "job 00000000: done for 1.500 kudos",
        "job new: 4 results asked for",
        "worker: 2 results more",
        "worker takes no work: paused by the owner",
        "reachable: public",
        "this key has signed two histories",
    ]
    events.see({}, 0.0)
    events.see({}, 0.0)
    events.see(state(peers=0), 0.0)
    assert [line.partition("  ")[2] for line in events.lines][9:] == ["the node went away", "the node is back"]


def test_a_node_that_is_gone_is_waited_for() -> None:
    lines = lines_of(absent("/home/me", Events(), 80, 5))  # type: ignore[arg-type]
    assert lines[0] == "no node runs in /home/me; waiting for it (q ends this)"


def test_a_node_on_its_way_up_stops_no_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(home, RunInfo.own())
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waits"))
    assert _again(Call(home, json=False)) == {}


def test_once_and_json(meshgen: Cli, running: Running) -> None:
    assert "bob#" in meshgen("top", "--once").stdout and "\x1b" not in meshgen("top").stdout
    found = json.loads(meshgen("top", "--json").stdout)
    assert set(found) == {"status", "worker", "jobs", "peers"}


def test_without_a_node(meshgen: Cli) -> None:
    assert "no node runs" in meshgen("top", code=3).stderr


@pytest.mark.parametrize("way", ["q", "interrupt"])
def test_it_leaves_the_terminal_as_it_was(running: Running, way: str) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "meshgen.cli", "--home", str(running.home), "top"]
    given = {"env": os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}, "stdin": slave, "stdout": slave, "stderr": slave}
    with subprocess.Popen(command, **given, start_new_session=True) as process:
        os.close(slave)
        shown = b""
        while b"peers" not in shown:
            shown += os.read(master, 65536)
        if way == "q":
            os.write(master, b"xq")
        else:
            process.send_signal(signal.SIGINT)
        shown += _rest(master)
        assert process.wait(10) == 0
    os.close(master)
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1, "the screen that was there before is back"
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "and the cursor"
    assert b"Traceback" not in shown


def _rest(master: int) -> bytes:
    found = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end is closed
            return found
        if not piece:
            return found
        found += piece


def test_a_graphics_card_is_looked_at_though_no_ceiling_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    found = state() | {"worker": {"sensors": None}}

    class Fake:
        def get(self, path: str, **_: object) -> Any:
            key = path.rpartition("/")[2]
            return found[key] if key in ("status", "worker") else found

    monkeypatch.setattr("meshgen.cli.top._sensors", lambda _: {"temperature_c": 71.0, "power_w": 212.4, "fault": ""})
    text = "\n".join(lines_of(whole(snapshot(cast(Api, Fake())), 120), 120))
    assert "71 °C" in text and "212 W" in text
