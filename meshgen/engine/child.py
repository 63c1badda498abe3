"""The engine's process: takes jobs as frames on its standard input, draws them, answers on its standard output.

In: ``run`` {job, model, work} and ``cancel`` {job}. Out: ``ready`` {device, others} or ``broken`` {message} first; then for a job
``progress`` {indexes, step}, ``preview`` {index, step, jpeg}, ``picture`` {index, seed, png, seconds}, and at its end ``ended``
{reason, message, vram_free_mib}, whose reason is empty if all went well. Its input's end is its own: it never outlives the node.

What is unexpected ends the process: the node starts another, and no broken state is worked on. Prompts leave no trace: uncaught
errors are shown by type and place alone.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any

from meshgen.engine.frames import Frame, Unpacker, pack
from meshgen.engine.port import EngineError, Work

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Models are folders on this machine; nothing is looked up elsewhere."""
_READ_BYTES = 1 << 16


class Mailbox:
    """Reads frames on a thread of its own, so that a job can be cancelled while it runs."""

    def __init__(self, descriptor: int) -> None:
        self.jobs: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._descriptor = descriptor
        threading.Thread(target=self._read, daemon=True, name="mailbox").start()

    def is_cancelled(self, job: int) -> bool:
        return job in self._cancelled

    def _read(self) -> None:
        unpacker = Unpacker()
        while data := os.read(self._descriptor, _READ_BYTES):
            for frame in unpacker.feed(data):
                if frame["do"] == "cancel":
                    self._cancelled.add(frame["job"])
                else:
                    self.jobs.put(frame)
        os._exit(0)


def main() -> None:
    options = _options()
    out = _take_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, which ends this
    os.environ |= OFFLINE
    sys.excepthook = _show_without_values
    threading.excepthook = _end_at_once
    mailbox = Mailbox(sys.stdin.fileno())

    def tell(what: str, **fields: object) -> None:
        out.write(pack({"is": what, **fields}))
        out.flush()

    try:
        studio = _open_studio(options)
    except EngineError as error:
        tell("broken", message=str(error))
        return
    tell("ready", device=studio.device.describe(), others=studio.device.others)
    while True:
        _serve(studio, mailbox, tell, mailbox.jobs.get())


def _serve(studio: Any, mailbox: Mailbox, tell: Callable[..., None], frame: Frame) -> None:
    job = frame["job"]
    work = Work(**{**frame["work"], "seeds": tuple(frame["work"]["seeds"])})
    reason, message = "", ""
    try:
        studio.draw(frame["model"], work, lambda what, **fields: tell(what, job=job, **fields), lambda: mailbox.is_cancelled(job))
    except EngineError as error:
        reason, message = error.reason, str(error)
    tell("ended", job=job, reason=reason, message=message, vram_free_mib=studio.device.memory_mib()[1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m meshgen.engine.child")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--keep-loaded", type=int, default=2)
    return parser.parse_args()


def _open_studio(options: argparse.Namespace) -> Any:
    """Imports torch. Raises EngineError."""
    try:
        from meshgen.engine.drawing import Studio
    except ImportError as error:
        raise EngineError("unsupported", f"{error.name or error} is missing; run: pip install 'meshgen-node[worker]'") from None
    return Studio(options.device, options.dtype, options.threads, options.keep_loaded)


def _take_stdout() -> IO[bytes]:
    """Frames alone go there; whatever a library prints goes to standard error."""
    frames = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return frames


def _show_without_values(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
    """An error's text may quote its input."""
    places = "; ".join(f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-4:])
    print(f"the engine's process ends: {kind.__name__} at {places}", file=sys.stderr, flush=True)


def _end_at_once(unraisable: threading.ExceptHookArgs) -> None:
    print(f"the engine's process can't read: {unraisable.exc_type.__name__}", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
