"""One seed, one trace: to the last byte of the last message, in this process and in any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trio

from meshgen.engine.fake import FakeEngine
from meshgen.peers.request import ImageRequest
from meshgen.testing import VirtualMesh, pictures_of, simulate

ROOT = Path(__file__).resolve().parents[2]
IN_ANOTHER_PROCESS = "from tests.simulation.test_trace import trace; print(trace(7))"


async def day(mesh: VirtualMesh) -> str:
    """Loss, a split, a crash in the middle of a write, two requesters at once."""
    await mesh.add("hub", "hub archivist")
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(mesh.add, f"worker {number}", "worker", FakeEngine(seconds_per_picture=2.0))
        nursery.start_soon(mesh.requester, "early")
        nursery.start_soon(mesh.requester, "late")
    mesh.crash("worker 1", writes=3, after=True)
    late = mesh.nodes["late"].requester
    assert late is not None
    late.submit(ImageRequest("a boat", steps=4, count=5))
    await pictures_of(mesh.nodes["early"], count=5)
    mesh.partition(["hub", "worker 0"])
    await trio.sleep(20)
    mesh.heal()
    if not mesh.running("worker 1"):
        await mesh.restart("worker 1")
    await trio.sleep(60)
    return mesh.digest()


def trace(seed: int) -> str:
    return simulate(day, seed, delay_s=(0.01, 0.2), loss=0.05)


def test_one_seed_one_trace() -> None:
    assert trace(7) == trace(7)


def test_another_seed_another_trace() -> None:
    assert trace(7) != trace(8)


def test_one_seed_one_trace_in_every_process() -> None:
    """Sets of text are walked in another order in every process; nothing may depend on it."""
    found = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
