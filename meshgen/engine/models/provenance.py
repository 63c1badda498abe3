"""Where a model came from and under which licence, as what lies beside it says: model cards, sidecar files, notes in the weights.

Nothing is looked up elsewhere. What is found is shown, never trusted: it is cut to one short line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_TEXT = 200
MAX_SIDECAR_BYTES = 4 * 1024 * 1024
SIDECARS = (".civitai.info", ".json", ".cm-info.json", ".metadata.json")
"""Endings of the files that download helpers and web interfaces write beside a model, best first."""
_CARD = re.compile(r"\A---\r?\n(.*?)^---\s*$", re.DOTALL | re.MULTILINE)
_FIELD = r"^{}: *[\"']?([^\r\n\"']{{1,200}}?)[\"']? *$"
_SNAPSHOT = re.compile(r"models--([\w.-]+?)--([\w.-]+)")


@dataclass(frozen=True, slots=True)
class Provenance:
    licence: str = ""
    source: str = ""

    def or_else(self, other: Provenance) -> Provenance:
        return Provenance(self.licence or other.licence, self.source or other.source)


def of_folder(path: Path) -> Provenance:
    """What the model card says, and the repository's name in a Hugging Face cache."""
    found = re.search(_SNAPSHOT, path.as_posix())
    cached = Provenance(source=f"{found[1]}/{found[2]}" if found else "")
    return _card(path).or_else(cached)


def of_file(path: Path, notes: Mapping[str, str]) -> Provenance:
    """What a file's own notes and its sidecars say."""
    found = _from_notes(notes)
    for sidecar in _sidecars(path):
        found = found.or_else(_from_sidecar(sidecar))
    return found.or_else(of_folder(path.parent) if _SNAPSHOT.search(path.parent.as_posix()) else Provenance())


def _card(path: Path) -> Provenance:
    try:
        with (path / "README.md").open("r", encoding="utf-8", errors="replace") as opened:
            front = _CARD.match(opened.read(16_384))
    except OSError:
        return Provenance()
    if front is None:
        return Provenance()
    licence, name, link, base = (_field(front[1], field) for field in ("license", "license_name", "license_link", "base_model"))
    licence = name if licence == "other" and name else licence
    return Provenance(_line(f"{licence} ({link})" if licence and link.startswith("http") else licence), _line(base))


def _field(text: str, name: str) -> str:
    found = re.search(_FIELD.format(name), text, re.MULTILINE)
    return found[1] if found else ""


def _from_notes(notes: Mapping[str, str]) -> Provenance:
    title, author = notes.get("modelspec.title", ""), notes.get("modelspec.author", "")
    by = f"{title} by {author}" if title and author else title or author
    trained = notes.get("ss_sd_model_name", "")
    return Provenance(
        _line(notes.get("modelspec.license", "")), _line(by or (f"trained on {trained}" if trained not in ("", "None") else ""))
    )


def _sidecars(path: Path) -> Iterator[dict[str, Any]]:
    for ending in SIDECARS:
        file = path.with_suffix(ending)
        try:
            if file.stat().st_size > MAX_SIDECAR_BYTES:
                continue
            value = json.loads(file.read_text("utf-8", "replace"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _from_sidecar(row: dict[str, Any]) -> Provenance:
    """Civitai's description of a model's version, or a web interface's own notes."""
    inner = row.get("civitai")
    row = inner if isinstance(inner, dict) and inner else row
    model = row.get("model")
    model = model if isinstance(model, dict) else {}
    name = _text(model, "name") or _text(row, "ModelName")
    version = _text(row, "name") or _text(row, "VersionName")
    number = row.get("modelId", row.get("ModelId"))
    source = " ".join(part for part in (name, version) if part)
    if isinstance(number, int):
        source = f"civitai model {number}" + (f": {source}" if source else "")
    return Provenance(_line(_text(row, "license") or _text(model, "license") or _uses(model)), _line(source))


def _uses(model: dict[str, Any]) -> str:
    """Civitai says by words what may be done with a model."""
    allowed = model.get("allowCommercialUse")
    if allowed is None:
        return ""
    words = allowed if isinstance(allowed, list) else [allowed]
    return "commercial use: " + (", ".join(str(word) for word in words).strip("{}").lower() or "none")


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _line(text: str) -> str:
    """One line of printable letters."""
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_TEXT].strip()
