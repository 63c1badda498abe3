"""A long cable: what goes in at one end comes out at the other after DELAY seconds, but for a share LOSS that never does.

``cable.py PORT PID DELAY LOSS SEED`` runs in the namespace of the bridge that PORT is plugged into; the other end is eth0 in
the namespace of PID. Kernels have a queue for this (netem), many without the module. Ends when its standard input does.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time
from pathlib import Path

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
FRAME_BYTES = 65536
QUEUE = 4096
"""Frames under way; what comes when so many are is lost, as in any cable."""


def tap(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return end


def enter(pid: str) -> None:
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")


def main(port: str, pid: str, delay_s: float, loss: float, chance: random.Random) -> None:
    here = tap(port)
    enter(pid)
    there = tap("eth0")
    print("ready", flush=True)
    other = {here: there, there: here}
    under_way: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        wait_s = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        ready, _, _ = select.select([here, there, sys.stdin], [], [], wait_s)
        if sys.stdin in ready:
            return
        for end in ready:
            frame = os.read(end, FRAME_BYTES)
            if len(under_way) < QUEUE and chance.random() >= loss:
                count += 1
                heapq.heappush(under_way, (time.monotonic() + delay_s, count, other[end], frame))
        while under_way and under_way[0][0] <= time.monotonic():
            _due, _count, end, frame = heapq.heappop(under_way)
            try:
                os.write(end, frame)
            except OSError:  # that end is down, or full
                continue


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), random.Random(sys.argv[5]))
