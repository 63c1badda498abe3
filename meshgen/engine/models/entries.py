"""What the catalog keeps of a model or an adapter, and how that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshgen.engine.models.digests import FileHash, digest_of
from meshgen.engine.port import AdapterInfo, ModelInfo

MAX_PIXELS = 2**26
ENLARGE = 4
"""A model draws at most so many times the pixels that it was trained for; beyond, pictures repeat themselves."""
FOLDERS = ("diffusers", "causal_lm", "folder")


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One model of this machine, as it was when it was last looked at; its files may be gone since."""

    info: ModelInfo
    path: Path
    variant: str
    allow_pickle: bool
    files: Mapping[str, FileHash]
    format: str = "diffusers"  # diffusers, single_file, causal_lm, gguf
    vocabularies: Mapping[str, str] = field(default_factory=dict)
    """Where the tokenizers are that a single file does not bring: by clip or t5."""

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def digest(self) -> bytes:
        return self.info.digest

    @property
    def kind(self) -> str:
        return "model"

    def frame(self) -> dict[str, Any]:
        """As the engine's child is told of it."""
        return {
            "name": self.name,
            "path": str(self.path),
            "variant": self.variant,
            "allow_pickle": self.allow_pickle,
            "format": self.format,
            "family": self.info.family,
            "vocabularies": dict(self.vocabularies),
        }


@dataclass(frozen=True, slots=True)
class CatalogAdapter:
    """A LoRA, textual inversion or ControlNet. ``name`` is that on the owner's list; a ControlNet's ``info`` has its type."""

    name: str
    info: AdapterInfo
    path: Path
    allow_pickle: bool
    files: Mapping[str, FileHash]
    format: str = "file"  # file, folder

    @property
    def digest(self) -> bytes:
        return self.info.digest

    @property
    def kind(self) -> str:
        return self.info.kind


Entry = CatalogModel | CatalogAdapter


def root_of(path: Path, form: str) -> Path:
    """The folder that an entry's files are relative to."""
    return path if form in FOLDERS else path.parent


def max_pixels(default_size: int) -> int:
    return min(ENLARGE * default_size**2, MAX_PIXELS)


def model_row(model: CatalogModel) -> dict[str, Any]:
    info = model.info
    return {
        "name": info.name,
        "path": str(model.path),
        "format": model.format,
        "allow_pickle": model.allow_pickle,
        "licence": info.licence,
        "source": info.source,
        "family": info.family,
        "default_size": info.default_size,
        "features": info.features,
        "variant": model.variant,
        "millions": info.millions,
        "context": info.context,
        "vocabularies": dict(model.vocabularies),
        "files": model.files,
    }


def model_from(row: Mapping[str, Any]) -> CatalogModel:
    """Rows of older versions say less. Raises KeyError, TypeError, ValueError, AttributeError."""
    form, files, size = str(row.get("format", "diffusers")), _files(row), int(row["default_size"])
    info = ModelInfo(
        row["name"],
        digest_of(files, form not in FOLDERS),
        row["family"],
        size,
        max_pixels(size),
        tuple(row["features"]),
        row["licence"],
        row.get("source", ""),
        int(row.get("millions", 0)),
        int(row.get("context", 0)),
    )
    vocabularies = {str(kind): str(place) for kind, place in row.get("vocabularies", {}).items()}
    return CatalogModel(info, Path(row["path"]), row["variant"], bool(row["allow_pickle"]), files, form, vocabularies)


def adapter_row(adapter: CatalogAdapter) -> dict[str, Any]:
    info = adapter.info
    return {
        "name": adapter.name,
        "kind": info.kind,
        "control": info.name if info.kind == "controlnet" else "",
        "path": str(adapter.path),
        "format": adapter.format,
        "allow_pickle": adapter.allow_pickle,
        "licence": info.licence,
        "source": info.source,
        "family": info.family,
        "files": adapter.files,
    }


def adapter_from(row: Mapping[str, Any]) -> CatalogAdapter:
    """Raises KeyError, TypeError, ValueError, AttributeError."""
    files, form = _files(row), str(row["format"])
    info = AdapterInfo(
        row["kind"],
        row["control"] or row["name"],
        digest_of(files, form not in FOLDERS),
        row["family"],
        licence=row["licence"],
        source=row["source"],
    )
    return CatalogAdapter(row["name"], info, Path(row["path"]), bool(row["allow_pickle"]), files, form)


def _files(row: Mapping[str, Any]) -> dict[str, FileHash]:
    return {str(file): (int(size), int(changed), str(content)) for file, (size, changed, content) in row["files"].items()}
