"""How models and adapters of this machine are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshgen.cli.verb import count, table

if TYPE_CHECKING:
    from meshgen.cli.adding import Seen
    from meshgen.engine.models.catalog import Entry
    from meshgen.engine.models.places import Found

NAME_WIDTH, LICENCE_WIDTH, WHAT_WIDTH = 26, 10, 47
KINDS = {
    "model": "model",
    "lora": "LoRA",
    "inversion": "inversion",
    "controlnet": "ControlNet",
    "post": "upscaler",
    "": "?",
}


def listed(entries: Sequence[Entry]) -> str:
    """A table of 80 columns."""
    rows = [
        (
            cut(entry.name, NAME_WIDTH),
            kind_of(entry),
            entry.info.family or "?",
            size_of(entry) if entry.path.exists() else "gone",
            entry.digest.hex()[:10],
            cut(entry.info.licence, LICENCE_WIDTH),
        )
        for entry in entries
    ]
    return table(("NAME", "KIND", "FAMILY", "SIZE", "WEIGHTS", "LICENCE"), rows)


def kind_of(entry: Entry) -> str:
    if entry.kind == "model":
        return "text" if entry.info.family == "text" else "model"
    return KINDS[entry.kind]


def described(entry: Entry) -> str:
    """Everything that is known of one, a line each."""
    row = entry_row(entry)
    shown = {
        "kind": KINDS[entry.kind] + (f" ({entry.info.name})" if entry.kind == "controlnet" else ""),
        "family": row["family"] or "not known: it is offered for any",
        "format": row["format"].replace("_", " "),
        "size": size_of(entry) + f" in {count(len(entry.files), 'file')}",
        "side": f"{row['default_size']} px" if row.get("default_size") and row["family"] != "text" else "",
        "parameters": f"{row['millions']} million" if row.get("millions") else "",
        "context": f"{row['context']} tokens" if row.get("context") else "",
        "can": ", ".join(row.get("features", ())),
        "licence": row["licence"] or f'not stated; give it with: meshgen models add "{entry.name}" "{entry.path}" --licence ...',
        "source": row["source"],
        "weights": row["digest"],
        "place": row["path"],
        "tokenizer": ", ".join(row.get("vocabularies", {}).values()),
        "pickle": "allowed" if row["allow_pickle"] else "",
    }
    width = max(map(len, shown))
    return "\n".join([entry.name, *(f"  {name.ljust(width)}  {value}" for name, value in shown.items() if value)])


def found_in(seen: Sequence[Seen], root: Path) -> str:
    """What lies in an installation, and below it what of that can't be taken."""
    rows = [
        (
            KINDS[one.kind] if one.family != "text" else "text",
            one.family,
            readable(one.found.bytes),
            cut_left(below(one.found.path, root), WHAT_WIDTH),
        )
        for one in seen
        if not one.fault
    ]
    parts = [table(("KIND", "FAMILY", "SIZE", "WHAT"), rows)] if rows else []
    return "\n".join([*parts, *refusals([(one.found.path, one.fault) for one in seen if one.fault], root)])


def refusals(refused: Iterable[tuple[Path, str]], root: Path) -> list[str]:
    """Two lines for each: what, and why not."""
    return [f"{below(path, root)}\n  {why.removeprefix(str(path)).lstrip(': /')}" for path, why in refused]


def below(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def counted(kinds: Iterable[str]) -> str:
    """2 models, 5 LoRAs"""
    numbers: dict[str, int] = {}
    for kind in kinds:
        word = KINDS[kind] if kind else "model"
        numbers[word] = numbers.get(word, 0) + 1
    return ", ".join(count(number, word) for word, number in numbers.items()) or "nothing"


def entry_row(entry: Entry) -> dict[str, Any]:
    info = entry.info
    row: dict[str, Any] = {
        "name": entry.name,
        "kind": entry.kind,
        "family": info.family,
        "format": entry.format,
        "licence": info.licence,
        "source": info.source,
        "digest": info.digest.hex(),
        "path": str(entry.path),
        "bytes": sum(size for size, _, _ in entry.files.values()),
        "allow_pickle": entry.allow_pickle,
    }
    for name in ("default_size", "features", "millions", "context"):
        if hasattr(info, name):
            value = getattr(info, name)
            row[name] = list(value) if isinstance(value, tuple) else value
    if hasattr(entry, "vocabularies"):
        row["vocabularies"] = dict(entry.vocabularies)
    return row | ({"control": info.name} if entry.kind == "controlnet" else {})


def seen_row(one: Seen) -> dict[str, Any]:
    row = {"path": str(one.found.path), "kind": one.kind, "family": one.family, "bytes": one.found.bytes}
    return row | ({"fault": one.fault} if one.fault else {})


def found_row(one: Found) -> dict[str, Any]:
    return {"path": str(one.path), "kind": one.kind, "bytes": one.bytes} | ({"fault": one.fault} if one.fault else {})


def size_of(entry: Entry) -> str:
    return readable(sum(size for size, _, _ in entry.files.values()))


def readable(size: int) -> str:
    """2130000000 -> 2.1 GB"""
    for unit, power in (("GB", 3), ("MB", 2), ("kB", 1)):
        if size >= 1000**power:
            return f"{size / 1000**power:.1f} {unit}"
    return f"{size} B"


def cut_left(text: str, width: int) -> str:
    """A path's end says more than its beginning."""
    return text if len(text) <= width else "…" + text[1 - width :]


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


NOTHING = "nobody in the mesh serves a model now; `meshgen peers` shows who is there"


def mesh_text(found: dict[str, Any]) -> str:
    """What the mesh offers: models of pictures and texts, forms of alchemy, adapters."""
    rows = [
        (row["name"], row["family"], row["workers"], row["queued"], ", ".join(digest[:12] for digest in row["digests"]))
        for row in found["mesh"]
    ]
    models = [row for row in rows if row[1] != "alchemy"]
    forms = [(row[0], *row[2:]) for row in rows if row[1] == "alchemy"]
    adapters = [(row["name"], row["kind"], row["family"] or "any", row["workers"]) for row in found.get("adapters", ())]
    parts = [
        table(("MODEL", "FAMILY", "WORKERS", "QUEUED", "WEIGHTS"), models) if models else "",
        table(("FORM", "WORKERS", "QUEUED", "WEIGHTS"), forms) if forms else "",
        table(("ADAPTER", "KIND", "FITS", "WORKERS"), adapters) if adapters else "",
    ]
    return "\n\n".join(part for part in parts if part)
