"""A child process without torch, for the pool's tests: it does what the name of the model that it is asked for says.

``python -m tests.engine.scripted_child [STATE] --device D``; STATE is a file that lists each start, one line with the pid.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import Queue
from typing import Any

from meshgen.engine.pool.frames import Frame, Unpacker, pack

SHY = {"shy": "crash", "narrow": "out_of_memory"}
"""Models that draw one job well, and do this with several."""


def main() -> None:
    device = sys.argv[sys.argv.index("--device") + 1]
    if device == "dies":
        sys.exit(7)
    if len(sys.argv) == 4:
        with Path(sys.argv[1]).open("a") as starts:
            starts.write(f"{os.getpid()}\n")
    if device in {"broken", "gone"}:
        say({"is": "broken", "message": "torch is of no use here"})
        return
    others = ["cpu"] if device == "two" else []
    described = {"kind": "cpu", "name": device, "vram_total_mib": 100, "vram_free_mib": 90}
    say(
        {
            "is": "ready",
            "device": described,
            "place": "gone" if device == "leaves" else device,
            "batch_pixels": 4 * 64 * 64,
            "others": others,
        }
    )
    requests: Queue[Frame] = Queue()
    cancelled: set[int] = set()
    threading.Thread(target=listen, args=(requests, cancelled), daemon=True).start()
    while True:
        run(requests.get(), cancelled)


def listen(requests: Queue[Frame], cancelled: set[int]) -> None:
    unpacker = Unpacker()
    while data := os.read(0, 65536):
        for frame in unpacker.feed(data):
            if frame["do"] == "cancel":
                cancelled.add(frame["job"])
            else:
                requests.put(frame)
    os._exit(0)


def run(request: Frame, cancelled: set[int]) -> None:
    name, members = request["model"]["name"], request["members"]
    if name in SHY:
        name = "good" if len(members) == 1 else SHY[name]
    for member in members:
        draw(name, member, len(members), cancelled)


def draw(name: str, member: Frame, company: int, cancelled: set[int]) -> None:
    job, work = member["job"], member["work"]
    if work["text"]:
        return write(job, work)
    say({"is": "progress", "job": job, "indexes": list(range(len(work["seeds"]))), "step": 1})
    if name == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "exit":
        os.close(1)
        time.sleep(0.05)  # as an interpreter with much to take down
        os._exit(9)
    if name == "nonsense":
        os.write(1, b"\xff" * 100)
    if name in ("hang", "nonsense"):
        signal.pause()
    if name == "slow":
        while job not in cancelled:
            time.sleep(0.001)
    elif name in ("bad_model", "out_of_memory"):
        return end(job, name, f"it is {name}")
    else:
        for index, seed in enumerate(work["seeds"]):
            say({"is": "preview", "job": job, "index": index, "step": 1, "jpeg": b"\xff\xd8"})
            say({"is": "picture", "job": job, "index": index, "seed": seed, "png": b"\x89PNG%d" % company, "seconds": 2.0})
    return end(job)


def write(job: int, work: Frame) -> None:
    for index, seed in enumerate(work["seeds"]):
        say({"is": "text", "job": job, "index": index, "text": "once"})
        say(
            {
                "is": "answer",
                "job": job,
                "index": index,
                "seed": seed,
                "data": b"once" * 10,
                "media": "text/plain",
                "seconds": 1.0,
            }
        )
    end(job)


def end(job: int, reason: str = "", message: str = "") -> None:
    say({"is": "ended", "job": job, "reason": reason, "message": message, "vram_free_mib": 50})


def say(frame: dict[str, Any]) -> None:
    data = pack(frame)
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
