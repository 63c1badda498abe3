"""``meshgen`` with a fuse: where HOME/fuse says "before 2" or "after 2", the process kills itself right before or right after the
second durable write from then on. Without that file it is an ordinary node.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from meshgen.cli import main
from meshgen.ledger.store import Store

FUSE_FILE = "fuse"


class Fuse:
    """Wraps :meth:`Store.write`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._write = Store.write
        self._writes = 0

    def write(self, store: Store, *given: Any, durable: bool, **more: Any) -> None:
        moment, number = self._read() if durable else ("", 0)
        self._writes += bool(number)
        hit = number and self._writes == number
        if hit and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        self._write(store, *given, durable=durable, **more)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)

    def _read(self) -> tuple[str, int]:
        try:
            moment, number = self._file.read_text().split()
        except FileNotFoundError:
            return "", 0
        return moment, int(number)


if __name__ == "__main__":
    fuse = Fuse(Path(sys.argv[sys.argv.index("--home") + 1]) / FUSE_FILE)
    Store.write = lambda store, *given, **more: fuse.write(store, *given, **more)  # type: ignore[method-assign]
    main(prog_name="meshgen")
