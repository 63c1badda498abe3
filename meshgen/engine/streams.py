"""A child process's standard streams: frames alone on its output, and no value of an input in what it says of its end."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import IO


def take_stdout() -> IO[bytes]:
    """Frames alone go there; whatever a library prints goes to standard error."""
    frames = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return frames


def end_without_values(whose: str) -> None:
    """What ends this process is told by its kind and place: an error's text may quote its input."""

    def show(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
        places = "; ".join(f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-4:])
        print(f"{whose} process ends: {kind.__name__} at {places}", file=sys.stderr, flush=True)

    sys.excepthook = show
