"""The engine's real child, which fails in the way that a prompt asks for: what drivers, cards and files do now and then.

``python -m tests.soak.faulty_child DEEDS``: each start and each fault is a line of the file DEEDS.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from meshgen.engine.diffusion import child

CRASH, CRASH_LATE, HANG = "crash", "crash late", "hang"
"""The process dies before it draws, or before it decodes; it stands still."""
NO_MEMORY, NO_MEMORY_TOGETHER, NO_MEMORY_WHOLE = "no memory", "no memory together", "no memory whole"
"""Always, for more than one picture, for pictures that are not decoded in tiles."""
DEADLY = (CRASH, CRASH_LATE, HANG)
BORN = "born"
_BETWEEN = ": "


def prompt_for(fault: str, kind: str) -> str:
    """``kind`` is only noted down."""
    return fault + _BETWEEN + kind


def main() -> None:
    warnings.simplefilter("ignore")
    deeds = Path(sys.argv.pop(1))
    note(deeds, BORN, "")
    open_workshop = child._open_workshop

    def open_faulty(options: Any) -> Any:
        workshop = open_workshop(options)
        _make_faulty(deeds)
        return workshop

    child._open_workshop = open_faulty
    child.main()


def note(deeds: Path, deed: str, kind: str) -> None:
    with deeds.open("a") as file:
        file.write(f"{os.getpid()}\t{deed}\t{kind}\n")


def _make_faulty(deeds: Path) -> None:
    from meshgen.engine.diffusion.drawing import Drawing

    denoise, finish = Drawing.denoise, Drawing.finish

    def faulty_denoise(self: Drawing) -> None:
        _strike(self, deeds, (CRASH, HANG, NO_MEMORY, NO_MEMORY_TOGETHER))
        denoise(self)

    def faulty_finish(self: Drawing) -> None:
        _strike(self, deeds, (CRASH_LATE, NO_MEMORY_WHOLE))
        finish(self)

    Drawing.denoise = faulty_denoise  # type: ignore[method-assign]
    Drawing.finish = faulty_finish  # type: ignore[method-assign]


def _strike(drawing: Any, deeds: Path, faults: Iterable[str]) -> None:
    for prompt in {shot.member.work.prompt for shot in drawing._shots}:
        fault, _, kind = prompt.partition(_BETWEEN)
        if fault not in faults or (fault == NO_MEMORY_TOGETHER and len(drawing) == 1):
            continue
        if fault == NO_MEMORY_WHOLE and drawing.loaded.relief:
            continue
        note(deeds, fault, kind)
        _do(fault)


def _do(fault: str) -> None:
    import torch

    if fault == HANG:
        signal.pause()
    if fault in DEADLY:
        os.kill(os.getpid(), signal.SIGSEGV)
    raise torch.OutOfMemoryError("as the card says it")


if __name__ == "__main__":
    main()
