"""A picture of a node for a terminal: every row takes one line, so that what fits is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from meshgen.cli.top_events import Events, name_of
from meshgen.cli.verb import count, kudos, plain
from meshgen.peers.reaching import is_alone

BAR = 16
LEAST_WORK, LEAST_PEERS, LEAST_EVENTS = 3, 4, 4
"""Lines that stay theirs, title included, however much else there is."""
ROOMY = 32
"""With so many lines, parts stand apart."""
_STATES = {"done": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "offering": "blue"}
Row = Sequence[RenderableType]


class Part:
    """A title and rows below it. ``heads`` are one more row."""

    def __init__(self, title: str, rows: Sequence[Row], heads: Sequence[str] = (), right: Sequence[int] = ()) -> None:
        self.title, self.rows, self.heads, self._right = title, list(rows), heads, right

    @property
    def height(self) -> int:
        return 1 + bool(self.heads) + len(self.rows)

    def shown(self, lines: int) -> list[RenderableType]:
        """In at most so many lines; what is left out is counted."""
        room = lines - 1 - bool(self.heads)
        if room <= 0:
            return []
        hidden = max(0, len(self.rows) - room)
        title = Text(self.title, "bold", no_wrap=True) + Text(f"  ({hidden} more)" if hidden else "", "dim")
        return [title, self._table(self.rows[:room])]

    def _table(self, rows: Sequence[Row]) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        for number in range(max(map(len, [*rows, self.heads]))):
            last = number == max(map(len, [*rows, self.heads])) - 1
            justify = "right" if number in self._right else "left"
            table.add_column(no_wrap=True, overflow="ellipsis", justify=justify, ratio=1 if last else None)  # type: ignore[arg-type]
        if self.heads:
            table.add_row(*(Text(head, "dim") for head in self.heads))
        for row in rows:
            table.add_row(*row)
        return table


def whole(found: dict[str, Any], width: int) -> Group:
    """As long as it takes."""
    parts = [part for part in (_worker(found), _jobs(found), _peers(found, width)) if part]
    return Group(*_head(found), *(line for part in parts for line in (Text(), *part.shown(part.height))))


def fitted(found: dict[str, Any], events: Events, width: int, height: int) -> Group:
    """In ``width`` columns and ``height`` lines: own work first, then peers, then what happened lately."""
    head, gap = _head(found), int(height >= ROOMY)
    shown, room = list(head), height - len(head)
    work = [part for part in (_worker(found), _jobs(found)) if part]
    for later, part in reversed(list(enumerate(reversed(work)))):
        lines = min(part.height, max(LEAST_WORK, (room - LEAST_PEERS - LEAST_EVENTS) // (later + 1) - gap))
        shown += [*[Text()] * gap, *part.shown(lines)]
        room -= lines + gap
    peers = _peers(found, width)
    lines = min(peers.height, room - min(LEAST_EVENTS, room // 2) - gap)
    shown += [*[Text()] * gap, *peers.shown(lines)]
    return Group(*shown, *[Text()] * gap, *_events(events, room - lines - 2 * gap))


def absent(home: Path, events: Events, width: int, height: int) -> Group:  # noqa: ARG001
    """While there is no node."""
    return Group(Text(f"no node runs in {home}; waiting for it (q ends this)", "yellow"), *_events(events, height - 1))


def _events(events: Events, lines: int) -> list[RenderableType]:
    if lines < 2:
        return []
    newest = list(events.lines)[-(lines - 1) :] or ["nothing yet"]
    return [Text("events", "bold"), *(Text(line, no_wrap=True, overflow="ellipsis") for line in newest)]


def _head(found: dict[str, Any]) -> list[RenderableType]:
    status = found["status"]
    credit, reach, mesh = status.get("credit") or {}, status.get("reach") or {}, status.get("mesh") or {}
    name = f"{plain(status.get('alias') or '') or 'node'}#{status['peer_id'][-6:]}"
    first = _line(
        (name, "bold cyan"),
        ", ".join(status["roles"]),
        f"mesh {mesh.get('charter', '?')}",
        f"up {_span(status.get('uptime_s', 0))}",
    )
    relayed = sum(bool(peer.get("relayed")) for peer in found["peers"])
    links = (
        f"{status.get('connected', 0)} connected"
        + (f" ({relayed} relayed)" if relayed else "")
        + f", {status.get('peers_known', 0)} known"
    )
    second = _line(
        *([_reach(reach, status.get("addresses", []))] if reach else []),
        links,
        f"{kudos(credit.get('net_mkudos', 0))} kudos, {kudos(credit.get('held_mkudos', 0))} held",
        *_clock(status.get("clock") or {}),
    )
    trouble = status.get("trouble")
    return [first, second, *([Text(trouble, "bold red", no_wrap=True, overflow="ellipsis")] if trouble else [])]


def _line(*parts: str | tuple[str, str]) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for number, part in enumerate(parts):
        line.append("  ·  " if number else "", "dim")
        line.append(*((part,) if isinstance(part, str) else part))
    return line


def _reach(reach: dict[str, Any], addresses: Sequence[str]) -> tuple[str, str]:
    """What `meshgen status` tells, in as few words as fit here, and its colour."""
    if is_alone(addresses):
        return "reachable from this machine alone", "yellow"
    if reach["state"] == "private":
        return f"behind NAT, {count(int(reach['relays']), 'relay')}", "yellow"
    return ("reachable", "green") if reach["state"] == "public" else ("reach unknown", "")


def _clock(clock: dict[str, Any]) -> list[tuple[str, str]]:
    skew = clock.get("skew_ms")
    return [(f"clock {skew / 1000:+.0f} s", "red")] if skew is not None and abs(skew) >= 1000 else []


def _worker(found: dict[str, Any]) -> Part | None:
    status, more = found["status"].get("worker"), found.get("worker") or {}
    if not status:
        return None
    used = status["vram_total_mib"] - status["vram_free_mib"]
    memory = f"{used / 1024:.1f} of {status['vram_total_mib'] / 1024:.1f} GiB used" if status["vram_total_mib"] else ""
    sensors = more.get("sensors") or {}
    heat = "" if sensors.get("temperature_c") is None else f"{sensors['temperature_c']:.0f} °C"
    power = "" if sensors.get("power_w") is None else f"{sensors['power_w']:.0f} W"
    takes = ("takes work", "green") if status["takes_work"] else (f"takes no work: {_reasons(status)}", "yellow")
    device = f"{status['device']} {plain(status['device_name'])}"
    done = f"{status['queued']} queued, {status['pictures']} done, {status['failed']} failed"
    told: list[Row] = [[_line(takes, done)], [_line(*filter(None, (device, memory, heat, power)))]]
    return Part("worker", [*told, *([_task(job)] for job in status.get("current", ()))])


def _reasons(status: dict[str, Any]) -> str:
    return "; ".join(reason["text"] for reason in status["reasons"])


def _task(job: dict[str, Any]) -> Table:
    at = (job["done"] + job["step"] / max(job["steps"], 1)) / max(job["count"], 1)
    row = Table.grid(padding=(0, 2, 0, 0))
    for width in (BAR, None, None, None, None):
        row.add_column(width=width, no_wrap=True, overflow="ellipsis")
    step = f"step {job['step']} of {job['steps']}" if job["drawing"] else "waits"
    row.add_row(_bar(at), f"{job['done']}/{job['count']}", Text(plain(job["model"])), step, _span(job["seconds"]))
    return row


def _jobs(found: dict[str, Any]) -> Part | None:
    if "requester" not in found["status"]["roles"]:
        return None
    rows = [_job(job) for job in found["jobs"]]
    return Part("own jobs", rows or [[Text("none since the node started", "dim")]])


def _job(job: dict[str, Any]) -> Row:
    over = job["state"] in ("done", "failed", "cancelled")
    who = ", ".join(dict.fromkeys(plain(part["worker_alias"]) for part in job["parts"] if part["state"] != "lost"))
    return [
        Text(job["id"][:8]),
        Text(job["state"], _STATES.get(job["state"], "")),
        Text() if over else _bar(job.get("progress", 0.0)),
        Text(f"{len(job['results'])}/{job['count']}"),
        Text(f"{kudos(job['mkudos'])} kudos"),
        Text(plain(job["model"]) or "any model"),
        Text(plain(job["error"]) or who, "red" if job["error"] else ""),
    ]


def _bar(share: float) -> ProgressBar:
    return ProgressBar(total=1.0, completed=min(share, 1.0), width=BAR)


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "name": name_of,
    "link": lambda peer: "relayed" if peer.get("relayed") else "direct" if peer.get("connected") else "-",
    "rtt": lambda peer: "-" if peer.get("rtt_ms") is None else f"{peer['rtt_ms']} ms",
    "queue": lambda peer: str(peer.get("queued", 0)) if peer["models"] else "-",
    "roles": lambda peer: ",".join(peer.get("roles") or ()) or "-",
    "device": lambda peer: plain(peer.get("device_name") or "") or "-",
    "models": lambda peer: plain(", ".join(peer["models"])) or "-",
}
NARROW = ("name", "link", "rtt", "queue", "device", "models")


def _peers(found: dict[str, Any], width: int) -> Part:
    heads = tuple(COLUMNS) if width >= 110 else NARROW
    peers = sorted(found["peers"], key=lambda peer: (not peer.get("connected"), not peer["models"], name_of(peer)))
    rows = [[Text(COLUMNS[head](peer), "" if peer.get("connected") else "dim") for head in heads] for peer in peers]
    title = f"peers  {len(peers)}"
    return Part(title, rows or [[Text("nobody yet; `meshgen doctor` checks why", "dim")]], heads if rows else (), right=(2, 3))


def _span(seconds: float) -> str:
    whole_s = int(seconds)
    if whole_s < 60:
        return f"{whole_s} s"
    if whole_s < 3600:
        return f"{whole_s // 60} min {whole_s % 60} s"
    return f"{whole_s // 3600} h {whole_s // 60 % 60} min" if whole_s < 172_800 else f"{whole_s // 86_400} days"
