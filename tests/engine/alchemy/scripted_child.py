"""A child process that does what the picture it is given says. ``python -m tests.engine.alchemy.scripted_child STARTS ...``"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from meshgen.engine.pool.frames import Frame, Unpacker, pack


def main() -> None:
    with Path(sys.argv[1]).open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    unpacker = Unpacker()
    while data := os.read(0, 65536):
        for request in unpacker.feed(data):
            answer(request)


def answer(request: Frame) -> None:
    order, _, rest = request["picture"].decode().partition(" ")
    match order:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(9)
        case "hang":
            time.sleep(3600)
        case "nonsense":
            os.write(1, b"\xff" * 100)
            time.sleep(3600)
        case "refuse":
            say({"is": "failed", "reason": rest, "message": f"it is {rest}"})
        case "slow":
            for _ in range(4):
                say({"is": "alive"})
                time.sleep(0.4)
            done(request)
        case "wait":  # until that file is there
            while not Path(rest).exists():
                time.sleep(0.01)
            done(request)
        case _:
            done(request)


def done(request: Frame) -> None:
    told = {"form": request["name"], "pid": os.getpid(), "arguments": sys.argv[2:]}
    say({"is": "done", "data": json.dumps(told).encode(), "media": "application/json", "seconds": 2.0, "pixels": 100})


def say(frame: Frame) -> None:
    os.write(1, pack(frame))


if __name__ == "__main__":
    main()
