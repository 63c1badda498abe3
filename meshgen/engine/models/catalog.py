"""The models and adapters on this machine: a JSON file in the node's home, and what their files showed when they were added.

They stay where they are; nothing is copied. What names weights is said in :mod:`meshgen.engine.models.digests`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from meshgen.engine.bundled import model_path
from meshgen.engine.diffusion.vocabularies import VocabularyError, find_vocabulary
from meshgen.engine.models.digests import FileHash, Tell, digest_of, hash_files
from meshgen.engine.models.entries import (
    FOLDERS,
    CatalogAdapter,
    CatalogModel,
    Entry,
    adapter_from,
    adapter_row,
    max_pixels,
    model_from,
    model_row,
    root_of,
)
from meshgen.engine.models.judging import MODEL, Judged, NotTaken, judge, snapshot_or
from meshgen.engine.models.model_folder import INDEX, ModelFolderError
from meshgen.engine.models.provenance import Provenance
from meshgen.engine.port import AdapterInfo, ModelInfo
from meshgen.engine.text.packaged import text_models

__all__ = ["BUNDLED", "FILE", "Catalog", "CatalogAdapter", "CatalogError", "CatalogModel", "Entry", "name_for"]

log = logging.getLogger(__name__)

FILE = "models.json"
BUNDLED = "meshgen-mini"
_NAMELESS = ("pytorch_lora_weights", "adapter_model", "diffusion_pytorch_model", "learned_embeds", "model")
"""What programs call every file; its folder says more."""
MAX_NAMED = 6
"""So many names are told to who asks for one that is not there."""
_NAME = re.compile(r"[^\W_][\w .,+&'()\[\]!-]{0,63}", re.ASCII)
"""As adverts take it."""


class CatalogError(ValueError):
    """A model can't be added or found; the text says why and how to mend it."""


class NameTaken(CatalogError):
    """Something else is on the list under that name."""


class Catalog:
    """``home`` is the node's folder; nothing is written there before the first :meth:`add`. Methods block on files."""

    def __init__(self, home: Path) -> None:
        self._file = home / FILE
        self._stamp: tuple[int, int] | None = None
        self._added: dict[str, Entry] = {}
        self._shipped: list[CatalogModel] | None = None
        self._faults: dict[str, str] = {}
        self.version = 0
        """Grows when the list changes, here or by another process."""

    def models(self) -> list[CatalogModel]:
        """All models, those that come with meshgen first. Cheap: it reads the file anew only if another process has changed it.
        Raises CatalogError if it can't be read."""
        return [entry for entry in self.entries() if isinstance(entry, CatalogModel)]

    def adapters(self) -> list[CatalogAdapter]:
        """Those in which the last :meth:`check` found no fault. Raises CatalogError."""
        return [entry for entry in self.entries() if isinstance(entry, CatalogAdapter) and entry.name not in self._faults]

    def entries(self) -> list[Entry]:
        """Everything on the list. Raises CatalogError."""
        self._read()
        if self._shipped is None:
            self._shipped = _shipped()
        return [*self._shipped, *(entry for name, entry in self._added.items() if name not in _names(self._shipped))]

    def find(self, name: str) -> Entry:
        """Raises CatalogError."""
        found = {entry.name: entry for entry in self.entries()}
        if name not in found:
            raise CatalogError(f"nothing is called {name!r} here: {_nearest(name, found)}")
        return found[name]

    def add(
        self,
        name: str,
        path: Path,
        allow_pickle: bool = False,
        licence: str = "",
        *,
        source: str = "",
        control: str = "",
        replaces: bool = False,
        tell: Tell | None = None,
    ) -> Entry:
        """Put a model or adapter on the list, or look anew at one that is there.

        ``control`` is a ControlNet's type, if its name does not say; ``replaces``: it may take the place of another of that
        name; ``tell`` hears how far its files are read. Raises CatalogError, NameTaken."""
        self._check_name(name)
        path, known = path.expanduser().absolute(), self._added.get(name)
        given = Provenance(licence, source)
        if known is not None and not replaces:
            given = given.or_else(Provenance(known.info.licence, known.info.source))
        fresh = self._look(name, path, allow_pickle, given, self._hashes(path), control, tell)
        if known is not None and not replaces and known.path != fresh.path and known.digest != fresh.digest:
            raise NameTaken(f"{name} is on the list already: {_told(known)}")
        self._added[name] = fresh
        self._write()
        return fresh

    def remove(self, name: str) -> None:
        """Forget a model or adapter; its files stay. Raises CatalogError."""
        self._read()
        if self._added.pop(name, None) is None:
            shipped = name in _names(self.entries())
            why = "it comes with meshgen" if shipped else _nearest(name, self._added)
            raise CatalogError(f"no model {name!r} to remove: {why}")
        self._write()

    def check(self, tell: Tell | None = None) -> dict[str, str]:
        """Look at all files again; changed weights get their new digest. Returns {name: what is wrong with it}."""
        faults = {}
        for entry in self.entries():
            given = Provenance(entry.info.licence, entry.info.source)
            control = entry.info.name if entry.kind == "controlnet" else ""
            try:
                fresh = self._look(entry.name, entry.path, entry.allow_pickle, given, entry.files, control, tell)
            except CatalogError as error:
                faults[entry.name] = str(error)
                continue
            if fresh != entry and entry.name in self._added:
                self._added[entry.name] = fresh
                self._write()
        self._faults = faults
        return faults

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise CatalogError(f"{name!r} is not a name for a model: 1 to 64 letters, digits, spaces or .,+&'()[]!_-")
        if name == BUNDLED:
            raise CatalogError(f"{BUNDLED} is the name of the model that comes with meshgen; choose another")
        self._read()

    def _look(
        self,
        name: str,
        path: Path,
        allow_pickle: bool,
        given: Provenance,
        known: Mapping[str, FileHash],
        control: str = "",
        tell: Tell | None = None,
    ) -> Entry:
        try:
            found = judge(path, allow_pickle, control)
            places = {kind: self._vocabulary(kind, size, found.path) for kind, size in found.vocabularies}
            files = hash_files(root_of(found.path, found.format), found.files, known, tell)
        except (NotTaken, VocabularyError, OSError) as error:
            raise CatalogError(str(error)) from None
        return _entry(name, replace(found, provenance=given.or_else(found.provenance)), allow_pickle, files, places)

    def _hashes(self, path: Path) -> Mapping[str, FileHash]:
        """Of the files there, if anything of the list is from there."""
        place = snapshot_or(path)
        return next((entry.files for entry in self._added.values() if entry.path == place), {})

    def _vocabulary(self, kind: str, size: int, near: Path) -> str:
        """Where a tokenizer is; raises VocabularyError."""
        models = [entry for entry in self._added.values() if isinstance(entry, CatalogModel)]
        known = [Path(place) for entry in models if (place := entry.vocabularies.get(kind))]
        folders = [entry.path for entry in models if entry.format == "diffusers"]
        return str(find_vocabulary(kind, size, near, folders, known))

    def _read(self) -> None:
        try:
            stat = self._file.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._stamp:
                return
            rows = json.loads(self._file.read_text("utf-8"))
            found: list[Entry] = [*map(model_from, rows["models"]), *map(adapter_from, rows.get("adapters", ()))]
            self._added = {entry.name: entry for entry in found}
            self._changed((stat.st_mtime_ns, stat.st_size))
        except FileNotFoundError:
            self._added = {}
            self._changed(None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CatalogError(f"{self._file} can't be read ({error}); mend it, or delete it and add the models again") from None

    def _write(self) -> None:
        """At once or not at all: a crash leaves the old list."""
        entries = self._added.values()
        rows = {
            "models": [model_row(entry) for entry in entries if isinstance(entry, CatalogModel)],
            "adapters": [adapter_row(entry) for entry in entries if isinstance(entry, CatalogAdapter)],
        }
        draft = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.write_text(json.dumps(rows, indent=1), "utf-8")
            draft.replace(self._file)
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise CatalogError(f"{self._file} can't be written: {error.strerror or error}") from None
        stat = self._file.stat()
        self._changed((stat.st_mtime_ns, stat.st_size))

    def _changed(self, stamp: tuple[int, int] | None) -> None:
        self.version += stamp != self._stamp
        self._stamp = stamp


def name_for(path: Path) -> str:
    """A name for what lies there, made from the file's or folder's own."""
    path = path.parent if path.stem in _NAMELESS and not path.is_dir() else path
    stem = path.name if path.is_dir() else path.stem
    if found := re.fullmatch(
        r"models--[\w.-]+?--([\w.-]+)", path.parent.parent.name if path.parent.name == "snapshots" else path.name
    ):
        stem = found[1]
    kept = re.sub(r"[^\w .,+&'()\[\]!-]", "-", stem, flags=re.ASCII).lstrip("_ .,+&'()[]!-")
    return kept[:64].strip() or "model"


def _entry(name: str, found: Judged, allow_pickle: bool, files: Mapping[str, FileHash], vocabularies: Mapping[str, str]) -> Entry:
    digest = digest_of(files, found.format not in FOLDERS)
    kept = found.provenance
    if found.kind != MODEL:
        adapter = AdapterInfo(found.kind, found.control or name, digest, found.family, licence=kept.licence, source=kept.source)
        return CatalogAdapter(name, adapter, found.path, allow_pickle, files, found.format)
    info = ModelInfo(
        name,
        digest,
        found.family,
        found.default_size,
        max_pixels(found.default_size),
        found.features,
        kept.licence,
        kept.source,
        found.millions,
        found.context,
    )
    return CatalogModel(info, found.path, found.variant, allow_pickle, files, found.format, vocabularies)


def _shipped_texts() -> list[tuple[str, Path, Provenance]]:
    """A package that is damaged takes nothing else with it."""
    try:
        return [(text.name, text.folder.path, Provenance(text.folder.licence, text.source)) for text in text_models()]
    except (ModelFolderError, OSError) as error:
        log.warning("the text model of a package is not offered: %s", error)
        return []


def _shipped() -> list[CatalogModel]:
    """Models that come with meshgen or with a package that it uses. Raises CatalogError."""
    try:
        given = [(BUNDLED, model_path(), Provenance())] if (model_path() / INDEX).is_file() else []
        given += _shipped_texts()
        found = []
        for name, path, provenance in given:
            judged = judge(path)
            files = hash_files(root_of(judged.path, judged.format), judged.files, {})
            entry = _entry(name, replace(judged, provenance=provenance.or_else(judged.provenance)), False, files, {})
            assert isinstance(entry, CatalogModel)
            found.append(entry)
        return found
    except (NotTaken, OSError) as error:
        raise CatalogError(str(error)) from None


def _told(entry: Entry) -> str:
    what = entry.kind if entry.kind != MODEL else f"a model of the family {entry.info.family}"
    return f"{what} with the weights {entry.digest.hex()[:10]}, from {entry.path}"


def _nearest(name: str, names: Collection[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there is {_some(names)}"


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:MAX_NAMED]) or "none"
    return shown + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")


def _names(entries: Sequence[Entry]) -> set[str]:
    return {entry.name for entry in entries}
