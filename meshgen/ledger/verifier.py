"""A process of its own that verifies signatures, for :mod:`meshgen.ledger.verifiers`: ``python -m meshgen.ledger.verifier``.

On stdin comes the length of a message (4 bytes, big endian) and the message: a msgpack array of [key, signature, message].
On stdout go as many bytes as it has items, 1 for each that is good by rule R1. It ends with its stdin, and when it has heard
nothing for a while.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import BinaryIO

import msgpack  # type: ignore[import-untyped]

from meshgen.identity import verify

IDLE_S = 30.0
LENGTH_BYTES = 4


def serve(requests: BinaryIO, answers: BinaryIO, heard: threading.Event) -> None:
    """Until the end of ``requests``."""
    while len(length := requests.read(LENGTH_BYTES)) == LENGTH_BYTES:
        heard.set()
        signatures = msgpack.unpackb(requests.read(int.from_bytes(length, "big")))
        answers.write(bytes(verify(*signature) for signature in signatures))
        answers.flush()


def _end_when_idle(heard: threading.Event, idle_s: float) -> None:
    while heard.wait(idle_s):
        heard.clear()
    os._exit(0)  # the main thread waits for stdin and can't be asked


def main(idle_s: float = IDLE_S) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, which ends this
    heard = threading.Event()
    threading.Thread(target=_end_when_idle, args=(heard, idle_s), daemon=True).start()
    serve(sys.stdin.buffer, sys.stdout.buffer, heard)


if __name__ == "__main__":
    main()
