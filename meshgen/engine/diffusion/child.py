"""The engine's process: takes batches of jobs as frames on its standard input, does them, answers on its standard output.

In: ``run`` {members: [{job, work}], model, adapters} and ``cancel`` {job}.
Out: ``ready`` {device, place, batch_pixels, others} or ``broken`` {message} first; then for each job
``progress`` {indexes, step}, ``preview`` {index, step, jpeg}, ``picture`` {index, seed, png, seconds}, ``text`` {index, text},
``answer`` {index, seed, data, media, seconds}, and at its end ``ended`` {reason, message, vram_free_mib}, whose reason is empty
if all went well.
Its input's end is its own: it never outlives the node.

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
import warnings
from collections.abc import Callable
from typing import IO, Any

from meshgen.engine.pool.frames import Frame, Unpacker, pack, work_from_map
from meshgen.engine.port import EngineError, TextWork, Work
from meshgen.engine.streams import end_without_values, take_stdout

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Models are folders on this machine; nothing is looked up elsewhere."""
QUIET = {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "critical", "DIFFUSERS_VERBOSITY": "critical"}
"""The log is for people: no bars, no advice on packages, and no fault that is raised and told of in the node's own words too."""
_READ_BYTES = 1 << 16


class Mailbox:
    """Reads frames on a thread of its own, so that a job can be cancelled while it runs."""

    def __init__(self, descriptor: int) -> None:
        self.batches: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._descriptor = descriptor
        threading.Thread(target=self._read, daemon=True, name="mailbox").start()

    def is_cancelled(self, job: int) -> bool:
        return job in self._cancelled

    def forget(self, job: int) -> None:
        self._cancelled.discard(job)

    def _read(self) -> None:
        unpacker = Unpacker()
        while data := os.read(self._descriptor, _READ_BYTES):
            for frame in unpacker.feed(data):
                if frame["do"] == "cancel":
                    self._cancelled.add(frame["job"])
                else:
                    self.batches.put(frame)
        os._exit(0)


class Mouth:
    """Frames to the node, whole ones, from any thread."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._lock = threading.Lock()

    def tell(self, what: str, **fields: object) -> None:
        data = pack({"is": what, **fields})
        with self._lock:
            self._out.write(data)
            self._out.flush()


class Job:
    """One member of a batch, as the node numbers it. It has ended when its last answer is told, whatever the others still do."""

    def __init__(self, number: int, work: Work | TextWork, mouth: Mouth, mailbox: Mailbox, free_mib: Callable[[], int]) -> None:
        self.work = work
        self._number = number
        self._mouth = mouth
        self._mailbox = mailbox
        self._free_mib = free_mib
        self._left = len(work.seeds)
        self._ended = False
        self._lock = threading.Lock()

    def cancelled(self) -> bool:
        return self._mailbox.is_cancelled(self._number)

    def tell(self, what: str, **fields: object) -> None:
        self._mouth.tell(what, job=self._number, **fields)
        if what in ("picture", "answer"):
            with self._lock:
                self._left -= 1
                left = self._left
            if not left:
                self.end()

    def end(self, reason: str = "", message: str = "") -> None:
        with self._lock:
            ended, self._ended = self._ended, True
        if not ended:
            self._mouth.tell("ended", job=self._number, reason=reason, message=message, vram_free_mib=self._free_mib())
            self._mailbox.forget(self._number)


def main() -> None:
    options = _options()
    mouth = Mouth(take_stdout())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, which ends this
    os.environ |= OFFLINE | QUIET
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # advice for programmers, in many lines; `python -W` brings it back
    end_without_values("the engine's")
    threading.excepthook = _end_at_once
    mailbox = Mailbox(sys.stdin.fileno())
    try:
        workshop = _open_workshop(options)
    except EngineError as error:
        mouth.tell("broken", message=str(error))
        return
    device = workshop.device
    described = device.describe()
    mouth.tell("ready", device=described, place=device.place, batch_pixels=device.batch_pixels(), others=device.others)

    def wait() -> tuple[Frame, list[Job]]:
        frame = mailbox.batches.get()
        return frame, [Job(one["job"], work_from_map(one["work"]), mouth, mailbox, device.free_mib) for one in frame["members"]]

    workshop.run(wait)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m meshgen.engine.diffusion.child")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--leave-free-mib", type=int, default=512)
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--quantize", default="")
    return parser.parse_args()


def _open_workshop(options: argparse.Namespace) -> Any:
    """Imports torch. Raises EngineError."""
    try:
        from meshgen.engine.diffusion.tuning import Plan
        from meshgen.engine.diffusion.workshop import Workshop
    except ImportError as error:
        raise EngineError("unsupported", f"{error.name or error} is missing; run: pip install 'meshgen-node[worker]'") from None
    plan = Plan(options.leave_free_mib, options.max_batch, options.compile, options.quantize)
    return Workshop(options.device, options.dtype, options.threads, plan)


def _end_at_once(unraisable: threading.ExceptHookArgs) -> None:
    print(f"a thread of the engine's process failed: {unraisable.exc_type.__name__}", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
