"""People who keep asking, each at one node, whatever happens to it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault, NotRunning
from tests.chaos.town import Town

PATIENCE_S = 240.0
"""A job that has come to no end after so long is lost."""
POLL_S = 0.5
PAUSE_S = 1.0
OVER = ("done", "failed", "cancelled")


@dataclass
class Tally:
    """How jobs ended: "pictures", or the reason that was given; ``lost`` are those without an end or a reason."""

    ends: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Of jobs that ended with pictures."""


class Client(threading.Thread):
    """Asks one node for one or two pictures at a time, until told to stop."""

    def __init__(self, town: Town, node: str, number: int) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.tally = Tally()
        self._town = town
        self._node = node
        self._count = 1 + number % 2
        self._enough = threading.Event()

    def stop(self) -> None:
        self._enough.set()

    def run(self) -> None:
        while not self._enough.wait(PAUSE_S):
            try:
                job = str(self._api().post("/v1/jobs", {"prompt": "a fjord", "steps": 4, "count": self._count})["id"])
            except Fault as fault:
                self._note(f"refused: {fault.message}" if not isinstance(fault, NotRunning) else "")
                continue
            self._await(job)

    def _api(self) -> Api:
        return self._town.mesh.reach(self._town[self._node])

    def _await(self, job: str) -> None:
        began, life = time.monotonic(), self._town.lives[self._node]
        while time.monotonic() < began + PATIENCE_S:
            time.sleep(POLL_S)
            try:
                found = self._api().get(f"/v1/jobs/{job}")
            except Fault as fault:
                if isinstance(fault, NotRunning) or self._town.lives[self._node] == life:
                    continue
                self._note("its own node was killed")
                return
            if found["state"] in OVER:
                self._end(found["state"], found["error"], time.monotonic() - began)
                return
        self.tally.lost.append(f"{self._node} job {job}: no end after {PATIENCE_S:.0f} s")

    def _end(self, state: str, error: str, seconds: float) -> None:
        if state == "done":
            self.tally.ends["pictures"] += 1
            self.tally.seconds.append(seconds)
        elif error:
            self._note(error)
        else:
            self.tally.lost.append(f"{self._node}: a job is {state} and no reason is given")

    def _note(self, reason: str) -> None:
        if reason:
            self.tally.ends[reason] += 1
