"""The models on this machine: a JSON file in the node's home, and what was found in each model's folder when it was added.

A model's *digest* names its weights: SHA-256 over one line ``path NUL size NUL sha256-in-hex LF`` for each file that is loaded,
sorted by path. Two peers with equal digests have the same model, whatever they call it. Hashing gigabytes takes its time, so each
file's hash is kept and holds until its size or time of change differs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshgen.engine.bundled import model_path
from meshgen.engine.model_folder import INDEX, ModelFolderError, read_model_folder
from meshgen.engine.port import ModelInfo

FILE = "models.json"
BUNDLED = "meshgen-mini"
MAX_PIXELS = 2**26
_ENLARGE = 4
"""A model draws at most so many times the pixels that it was trained for; beyond, pictures repeat themselves."""
_NAME = re.compile(r"[^\W_][\w .,+&'()\[\]!-]{0,63}")
_CHUNK = 1 << 20

FileHash = tuple[int, int, str]
"""Size, time of change in ns, SHA-256 in hex."""


class CatalogError(ValueError):
    """A model can't be added or found; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One model of this machine, as it was when it was last looked at; its folder may be gone since."""

    info: ModelInfo
    path: Path
    variant: str
    allow_pickle: bool
    files: Mapping[str, FileHash]

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def digest(self) -> bytes:
        return self.info.digest


class Catalog:
    """``home`` is the node's folder; nothing is written there before the first :meth:`add`. Methods block on files."""

    def __init__(self, home: Path) -> None:
        self._file = home / FILE
        self._stamp: tuple[int, int] | None = None
        self._added: dict[str, CatalogModel] = {}
        self._bundled: CatalogModel | None = None
        self.version = 0
        """Grows when the list changes, here or by another process."""

    def models(self) -> list[CatalogModel]:
        """All models, the bundled one first. Cheap: it reads the file anew only if another process has changed it.
        Raises CatalogError if it can't be read."""
        self._read()
        if self._bundled is None and (model_path() / INDEX).is_file():
            self._bundled = _look(BUNDLED, model_path(), allow_pickle=False)
        return [*([self._bundled] if self._bundled else []), *self._added.values()]

    def add(self, name: str, path: Path, allow_pickle: bool = False, licence: str = "") -> CatalogModel:
        """Put a diffusers folder on the list, or look anew at one that is there. Raises CatalogError."""
        if not _NAME.fullmatch(name):
            raise CatalogError(f"{name!r} is not a name for a model: 1 to 64 letters, digits, spaces or .,+&'()[]!_-")
        if name == BUNDLED:
            raise CatalogError(f"{BUNDLED} is the name of the model that comes with meshgen; choose another")
        self._read()
        known = self._added.get(name)
        self._added[name] = _look(name, path.expanduser().absolute(), allow_pickle, licence, known.files if known else {})
        self._write()
        return self._added[name]

    def remove(self, name: str) -> None:
        """Forget a model; its files stay. Raises CatalogError."""
        self._read()
        if self._added.pop(name, None) is None:
            why = "it comes with meshgen" if name == BUNDLED else f"there is {', '.join(self._added) or 'none'}"
            raise CatalogError(f"no model {name!r} to remove: {why}")
        self._write()

    def check(self) -> dict[str, str]:
        """Look at every folder again; changed weights get their new digest. Returns {name: what is wrong with it}."""
        faults = {}
        for model in self.models():
            try:
                fresh = _look(model.name, model.path, model.allow_pickle, model.info.licence, model.files)
            except CatalogError as error:
                faults[model.name] = str(error)
                continue
            if fresh != model and model.name in self._added:
                self._added[model.name] = fresh
                self._write()
        return faults

    def _read(self) -> None:
        try:
            stat = self._file.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._stamp:
                return
            rows = json.loads(self._file.read_text("utf-8"))["models"]
            self._added = {row["name"]: _from_row(row) for row in rows}
            self._changed((stat.st_mtime_ns, stat.st_size))
        except FileNotFoundError:
            self._added = {}
            self._changed(None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CatalogError(f"{self._file} can't be read ({error}); mend it, or delete it and add the models again") from None

    def _write(self) -> None:
        """At once or not at all: a crash leaves the old list."""
        rows = {"models": [_to_row(model) for model in self._added.values()]}
        draft = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.write_text(json.dumps(rows, indent=1), "utf-8")
            draft.replace(self._file)
        except OSError as error:
            raise CatalogError(f"{self._file} can't be written: {error}") from None
        stat = self._file.stat()
        self._changed((stat.st_mtime_ns, stat.st_size))

    def _changed(self, stamp: tuple[int, int] | None) -> None:
        self.version += stamp != self._stamp
        self._stamp = stamp


def _look(
    name: str, path: Path, allow_pickle: bool, licence: str = "", known: Mapping[str, FileHash] | None = None
) -> CatalogModel:
    try:
        folder = read_model_folder(path, allow_pickle)
        files = {file: _hash(path / file, (known or {}).get(file)) for file in folder.files}
    except (ModelFolderError, OSError) as error:
        raise CatalogError(str(error)) from None
    info = ModelInfo(
        name,
        _digest(files),
        folder.family,
        folder.default_size,
        min(_ENLARGE * folder.default_size**2, MAX_PIXELS),
        folder.features,
        licence or folder.licence,
    )
    return CatalogModel(info, path, folder.variant, allow_pickle, files)


def _hash(file: Path, known: FileHash | None) -> FileHash:
    stat = file.stat()
    if known and known[:2] == (stat.st_size, stat.st_mtime_ns):
        return known
    content = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            content.update(chunk)
    return stat.st_size, stat.st_mtime_ns, content.hexdigest()


def _digest(files: Mapping[str, FileHash]) -> bytes:
    lines = (f"{file}\0{size}\0{content}\n" for file, (size, _, content) in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).digest()


def _to_row(model: CatalogModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "path": str(model.path),
        "allow_pickle": model.allow_pickle,
        "licence": model.info.licence,
        "family": model.info.family,
        "default_size": model.info.default_size,
        "features": model.info.features,
        "variant": model.variant,
        "files": model.files,
    }


def _from_row(row: Mapping[str, Any]) -> CatalogModel:
    files = {str(file): (int(size), int(changed), str(content)) for file, (size, changed, content) in row["files"].items()}
    size = int(row["default_size"])
    pixels = min(_ENLARGE * size**2, MAX_PIXELS)
    info = ModelInfo(row["name"], _digest(files), row["family"], size, pixels, tuple(row["features"]), row["licence"])
    return CatalogModel(info, Path(row["path"]), row["variant"], bool(row["allow_pickle"]), files)
