"""Pictures become files: clear names, nothing overwritten."""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from pathlib import Path

from meshgen.cli.faults import Fault


class Saver:
    """``out`` is a folder, or a file if it ends in .png. Names tell model and seed, never the prompt: it may be private."""

    def __init__(self, out: Path, count: int) -> None:
        self._single = out if out.suffix.lower() == ".png" else None
        self._folder = (out.parent if self._single else out).expanduser().absolute()
        self._count = count
        self.files: dict[int, Path] = {}
        if self._folder.exists() and not self._folder.is_dir():
            raise Fault(f"{self._folder} is a file, not a folder", "give --out a folder, or a name that ends in .png")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Fault(f"{self._folder} can't be made: {error.strerror}", "give another folder with --out") from None

    def save(self, index: int, model: str, seed: int, png: bytes) -> Path:
        for path in self._names(index, model, seed):
            try:
                with path.open("xb") as file:
                    file.write(png)
            except FileExistsError:
                continue
            except OSError as error:
                with suppress(OSError):
                    path.unlink(missing_ok=True)  # half of one is none
                raise Fault(
                    f"{path} can't be written: {error.strerror}",
                    "as long as the node runs it can still be had: `meshgen jobs`, then `meshgen jobs save ID --out DIR`",
                ) from None
            self.files[index] = path
            return path
        raise AssertionError("names never end")

    def _names(self, index: int, model: str, seed: int) -> itertools.chain[Path]:
        if self._single:
            stem = self._single.stem if self._count == 1 else f"{self._single.stem}-{index + 1}"
        else:
            stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', model).strip('.-') or 'picture'}-{seed}"
        return itertools.chain(
            [self._folder / f"{stem}.png"], (self._folder / f"{stem}-{again}.png" for again in itertools.count(2))
        )
