"""The engine's real child, which fails in the way that a prompt asks for: what drivers, cards and files do now and then."""

from __future__ import annotations

import os
import signal
from typing import Any

from meshgen.engine.diffusion import child

CRASH, HANG, NO_MEMORY, NO_MEMORY_TOGETHER = "crash", "hang", "no memory", "no memory together"


def main() -> None:
    open_workshop = child._open_workshop

    def open_faulty(options: Any) -> Any:
        workshop = open_workshop(options)
        _make_faulty()
        return workshop

    child._open_workshop = open_faulty
    child.main()


def _make_faulty() -> None:
    import torch

    from meshgen.engine.diffusion.drawing import Drawing

    denoise = Drawing.denoise

    def faulty(self: Drawing) -> None:
        prompts = {shot.member.work.prompt for shot in self._shots}
        if CRASH in prompts:
            os.kill(os.getpid(), signal.SIGSEGV)
        if HANG in prompts:
            signal.pause()
        if NO_MEMORY in prompts or (NO_MEMORY_TOGETHER in prompts and len(self) > 1):
            raise torch.OutOfMemoryError("as the card says it")
        denoise(self)

    Drawing.denoise = faulty  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
