"""``meshgen`` with a fuse: where HOME/fuse says "before 2" or "after 2", the process kills itself right before or right after the
second durable write from then on. Without that file it is an ordinary node.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

from meshgen.cli import main
from meshgen.ledger.store import Store

FUSE_FILE = "fuse"


def put_fuse(file: Path) -> None:
    """Into :meth:`Store.write`."""
    write = Store.write
    writes = count(1)

    def fused(store: Store, *given: Any, durable: bool, **more: Any) -> None:
        moment, number = _read(file) if durable else ("", 0)
        blows = bool(number) and next(writes) == number
        if blows and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        write(store, *given, durable=durable, **more)
        if blows:
            os.kill(os.getpid(), signal.SIGKILL)

    Store.write = fused  # type: ignore[assignment,method-assign]


def _read(file: Path) -> tuple[str, int]:
    try:
        moment, number = file.read_text().split()
    except FileNotFoundError:
        return "", 0
    return moment, int(number)


if __name__ == "__main__":
    put_fuse(Path(sys.argv[sys.argv.index("--home") + 1]) / FUSE_FILE)
    main(prog_name="meshgen")
