"""Alchemy's process: takes a form and a picture as a frame on its standard input, answers on its standard output.

In: {name, kind, files, enlarge, picture}. Out: ``alive`` any number of times, then ``done`` {data, media, seconds, pixels} or
``failed`` {reason, message}. Its input's end is its own. What is unexpected ends it: the node starts another. Neither pictures
nor what was found in them leave a trace: uncaught errors are shown by type and place alone.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO

from meshgen.engine.pool.frames import Frame, FrameError, Unpacker, pack
from meshgen.engine.port import EngineError
from meshgen.engine.streams import end_without_values, take_stdout

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Models are files on this machine; nothing is looked up elsewhere, and libraries keep quiet."""
NICENESS = 5
"""The node and the pictures that are being drawn come first."""
_READ_BYTES = 1 << 20


def main() -> None:
    options = _options()
    out = take_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, which ends this
    os.environ |= QUIET
    end_without_values("alchemy's")
    _be_modest(options.memory_mib)
    requests: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.fileno(), requests), daemon=True).start()

    from meshgen.engine.alchemy.workbench import Workbench

    bench = Workbench(options.threads, options.device)
    while True:
        request = requests.get()
        out.write(pack(_answer(bench, request, lambda: _say_alive(out))))
        out.flush()


def _answer(bench: object, request: Frame, alive: Callable[[], None]) -> Frame:
    try:
        data, media, seconds, pixels = bench.work(request, alive)  # type: ignore[attr-defined]
    except EngineError as error:
        return {"is": "failed", "reason": error.reason, "message": str(error)}
    except MemoryError:
        return {"is": "failed", "reason": "out_of_memory", "message": "the picture needs more memory than alchemy may take"}
    return {"is": "done", "data": data, "media": media, "seconds": seconds, "pixels": pixels}


def _say_alive(out: IO[bytes]) -> None:
    out.write(pack({"is": "alive"}))
    out.flush()


def _read(descriptor: int, requests: queue.SimpleQueue[Frame]) -> None:
    """On a thread of its own, so that this process ends with the node's, in the middle of a job too."""
    unpacker = Unpacker()
    try:
        while data := os.read(descriptor, _READ_BYTES):
            for frame in unpacker.feed(data):
                requests.put(frame)
    except FrameError:
        os._exit(1)
    os._exit(0)


def _be_modest(memory_mib: int) -> None:
    """Give way to others, and take no more memory than allowed, where the system can see to it."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    if memory_mib and sys.platform == "linux":
        import resource

        size = memory_mib * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m meshgen.engine.alchemy.child")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-mib", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
