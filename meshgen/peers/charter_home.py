"""The charter that a home has joined, one file a version from the founding one on; and what it means for the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from meshgen.ledger.errors import Absent, LedgerError
from meshgen.ledger.store import open_read_only
from meshgen.peers.charter_file import MAX_TEXT_BYTES, CharterError, parse_charter
from meshgen.peers.charter_text import render_charter
from meshgen.protocols.charter import MAX_VERSION, Charter, Lineage, SignedCharter
from meshgen.protocols.codec import Malformed
from meshgen.settings import Settings
from meshgen.settings.addressing import peer_address

CHARTER_DIR = "charter"
THROUGH_FILE = "through.txt"
"""In that folder: addresses that the home joined through, one a line, beside the charter's own."""


class UnreadableLog(CharterError):
    """Which mesh this home's credit log belongs to can't be told."""


def joined(home: Path) -> Lineage | None:
    """What this home has joined; None if nothing. Raises CharterError if the files are damaged."""
    folder = home / CHARTER_DIR
    files = [folder / f"{version}.yaml" for version in range(MAX_VERSION + 1)]
    documents: list[SignedCharter] = []
    for file in files:
        if not file.exists():
            break
        documents.append(read_charter(file))
    try:
        return Lineage.of(documents) if documents else None
    except Malformed as error:
        raise CharterError(f"{folder}: {error}; move the folder away and join the mesh again") from None


def read_charter(file: Path) -> SignedCharter:
    """Raises CharterError."""
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_TEXT_BYTES + 1).decode()
    except OSError as error:
        raise CharterError(f"{file}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CharterError(f"{file}: is not UTF-8 text") from None
    return parse_charter(text, str(file))


def keep(home: Path, lineage: Lineage) -> None:
    """Write what is not there yet, oldest first: after a crash, the versions that are there still follow each other."""
    folder = home / CHARTER_DIR
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for version, document in enumerate(lineage.documents):
        file = folder / f"{version}.yaml"
        text = render_charter(document)
        if not file.exists() or file.read_text("utf-8") != text:
            write_whole(file, text)


def write_whole(file: Path, text: str) -> None:
    """Whole or not at all, whenever it is cut off."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)


def keep_through(home: Path, address: str) -> None:
    """Remember an address to join through."""
    write_whole(home / CHARTER_DIR / THROUGH_FILE, "\n".join(dict.fromkeys((*through(home), address))) + "\n")


def through(home: Path) -> tuple[str, ...]:
    file = home / CHARTER_DIR / THROUGH_FILE
    return tuple(file.read_text("utf-8").split()) if file.exists() else ()


def lineage_of(home: Path, settings: Settings) -> Lineage:
    """The mesh of this home: what it joined, else the plain name in its settings. Raises CharterError if they disagree."""
    found, name = joined(home), settings.mesh.charter
    if found is None:
        return Lineage.plain(name)
    if "charter" in settings.mesh.model_fields_set and name != found.current.name:
        raise CharterError(
            f"{home} has joined the mesh {found.current.name}, but mesh.charter says {name}: take that key out of the settings, "
            "or use another home"
        )
    return found


def mesh_of_log(home: Path) -> bytes:
    """The mesh that this home's credit log belongs to; b"" if there is no log yet. Raises UnreadableLog."""
    try:
        with open_read_only(home) as store:
            return store.meta("net")
    except Absent:
        return b""
    except LedgerError as error:
        raise UnreadableLog(str(error)) from None


def ensure_of_log(home: Path, lineage: Lineage) -> None:
    """Raises CharterError if the credit log here is another mesh's."""
    logged, now = mesh_of_log(home), lineage.current.name
    if logged in (b"", lineage.net):
        return
    folder, again = home / CHARTER_DIR, "join that mesh again, with an invite line of a member (`meshgen join LINE`)"
    raise CharterError(
        f"this home's credit log belongs to the mesh {logged.hex()}, not to {now} ({lineage.net.hex()}): "
        + (
            f"move {folder} away and {again}; for {now}, use another home"
            if lineage.documents
            else f"no charter of it is in {folder}, so {again}, or set mesh.charter to its name if it is but a name"
        )
    )


def doors(home: Path, settings: Settings) -> tuple[str, ...]:
    """The addresses that this home joins through. Raises CharterError."""
    return with_charter(settings, lineage_of(home, settings).current, through(home)).mesh.bootstrap


def with_charter(settings: Settings, charter: Charter, besides: tuple[str, ...] = ()) -> Settings:
    """The settings with the charter's word wherever the owner said nothing. ``besides`` are more addresses to join through."""
    policies, bootstrap = charter.policies, tuple(filter(_is_address, dict.fromkeys((*charter.bootstrap, *besides))))
    worker = {
        "max_pixels": policies.max_pixels,
        "max_steps": policies.max_steps,
        "max_count": policies.max_count,
        "price_permille": policies.price_permille,
        "max_debt_mkudos": policies.max_debt_mkudos,
        "stranger_pictures_per_minute": policies.stranger_pictures_per_minute,
    }
    groups = {"worker": _filled(settings.worker, worker), "mesh": _filled(settings.mesh, {"bootstrap": bootstrap})}
    return settings.model_copy(update=groups)


def _filled(group: BaseModel, values: Mapping[str, object]) -> BaseModel:
    open_ones = {name: value for name, value in values.items() if name not in group.model_fields_set}
    filled = group.model_copy(update=open_ones)
    filled.model_fields_set.intersection_update(group.model_fields_set)  # what a charter fills stays the next charter's to fill
    return filled


def _is_address(text: str) -> bool:
    try:
        return bool(peer_address(text))
    except ValueError:
        return False
