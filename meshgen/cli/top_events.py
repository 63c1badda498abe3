"""What happened between two looks at a node: the lines at the foot of `meshgen top`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from meshgen.cli.verb import count, kudos, plain

KEPT = 200
_OVER = ("done", "failed", "cancelled")


class Events:
    """``lines``: the newest last."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT)
        self._before: dict[str, Any] = {}

    def see(self, found: dict[str, Any], now_s: float) -> None:
        """``found``: as :func:`meshgen.cli.top.snapshot` has it; empty while the node does not run."""
        at = time.strftime("%H:%M:%S", time.localtime(now_s))
        before, self._before = self._before, found
        if not before and not self.lines:
            return
        if not before or not found:
            said = ["the node is back"] if found else ["the node went away"] * bool(before)
        else:
            said = list(_between(before, found))
        self.lines.extend(f"{at}  {line}" for line in said)


def _between(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    yield from _peers(_by(before["peers"], "peer_id"), _by(now["peers"], "peer_id"))
    yield from _jobs(_by(before["jobs"], "id"), _by(now["jobs"], "id"))
    yield from _worked(before["status"].get("worker") or {}, now["status"].get("worker") or {})
    was, reach = ((one["status"].get("reach") or {}).get("state") for one in (before, now))
    if reach != was:
        yield f"reachable: {reach}"
    if (trouble := now["status"].get("trouble")) and trouble != before["status"].get("trouble"):
        yield trouble


def _peers(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> Iterator[str]:
    for peer_id, peer in now.items():
        was, name = before.get(peer_id), name_of(peer)
        if was is None:
            yield f"{name} appeared"
        elif was.get("connected") != peer.get("connected"):
            yield f"{name} {'connected' if peer['connected'] else 'is connected no more'}"
        elif was.get("relayed") != peer.get("relayed"):
            yield f"{name} is reached {'through a relay' if peer['relayed'] else 'directly'}"
    yield from (f"{name_of(peer)} has gone" for peer_id, peer in before.items() if peer_id not in now)


def _jobs(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> Iterator[str]:
    for job_id, job in now.items():
        was = before.get(job_id)
        if was is None:
            yield f"job {job_id[:8]}: {count(job['count'], 'result')} asked for"
        elif was["state"] != job["state"]:
            yield f"job {job_id[:8]}: {job['state']}" + (f", {job['error']}" if job["error"] else _cost(job))


def _cost(job: dict[str, Any]) -> str:
    return f" for {kudos(job['mkudos'])} kudos" if job["state"] in _OVER else ""


def _worked(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    if not before or not now:
        return
    for key, noun in (("pictures", "result"), ("failed", "failed job"), ("unpaid", "unpaid job")):
        if (more := now[key] - before[key]) > 0:
            yield f"worker: {count(more, noun)} more"
    if before["takes_work"] != now["takes_work"]:
        why = "; ".join(reason["text"] for reason in now["reasons"])
        yield "worker takes work" if now["takes_work"] else f"worker takes no work: {why}"


def name_of(peer: dict[str, Any]) -> str:
    """Its own word and the end of its id, which it can't choose."""
    return f"{plain(peer.get('alias') or '') or 'peer'}#{peer['peer_id'][-6:]}"


def _by(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows}
