"""Acquaintances on disk: one JSON file in the home, written whole or not at all, and believed only where it makes sense."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import trio

from meshgen.net.port import PeerId
from meshgen.peers.acquaintances import BEST, MOST, WORST, Acquaintance
from meshgen.protocols.advert import MAX_ADDRESS_BYTES, MAX_ADDRESSES, ROLES
from meshgen.protocols.codec import MAX_UINT

log = logging.getLogger(__name__)

PEERS_FILE = "peers.json"
VERSION = 1
MAX_FILE_BYTES = 2 * 2**20
MAX_PEER_ID = 128


class Shelf(Protocol):
    """Where acquaintances outlive the node."""

    def load(self) -> list[Acquaintance]: ...

    async def save(self, known: Sequence[Acquaintance]) -> None:
        """Raises OSError."""


class PeersFile:
    """``peers.json`` in a home."""

    def __init__(self, home: Path) -> None:
        self._file = home / PEERS_FILE

    def load(self) -> list[Acquaintance]:
        """A file that makes no sense is moved aside: the node goes on with nobody it knows."""
        try:
            if self._file.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
            return parse(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            aside = self._file.with_name(f"{PEERS_FILE}.damaged")
            log.warning("%s can't be read (%s): moved to %s; other peers are met anew", self._file, error, aside.name)
            self._move(aside)
            return []

    def _move(self, aside: Path) -> None:
        try:
            self._file.replace(aside)
        except OSError as error:
            log.warning("%s can't be moved aside: %s", self._file, error)

    async def save(self, known: Sequence[Acquaintance]) -> None:
        await trio.to_thread.run_sync(self._write, write(known))

    def _write(self, text: str) -> None:
        scratch = self._file.with_name(f".{PEERS_FILE}.new")
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._file)


def write(known: Sequence[Acquaintance]) -> str:
    """One peer a line, for whoever looks into it."""
    rows = [json.dumps({name: getattr(each, name) for name in Acquaintance.__slots__}) for each in known[:MOST]]
    return f'{{"version": {VERSION}, "peers": [\n' + ",\n".join(rows) + "\n]}\n"


def parse(text: str) -> list[Acquaintance]:
    """Raises ValueError."""
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("version") != VERSION or not isinstance(found.get("peers"), list):
        raise ValueError(f"no list of peers of version {VERSION}")
    return [_acquaintance(row) for row in found["peers"][:MOST]]


def _acquaintance(row: Any) -> Acquaintance:
    try:
        known = Acquaintance(**{**row, "addresses": tuple(row["addresses"]), "roles": tuple(row["roles"])})
    except (TypeError, KeyError) as error:
        raise ValueError("a peer without, or with other fields than it should have") from error
    numbers = (known.seen_ms, known.answered, known.failed, known.judged_ms)
    good = (
        isinstance(known.peer, str)
        and 0 < len(known.peer) <= MAX_PEER_ID
        and len(known.addresses) <= MAX_ADDRESSES
        and all(isinstance(address, str) and len(address) <= MAX_ADDRESS_BYTES for address in known.addresses)
        and all(role in ROLES for role in known.roles)
        and all(type(number) is int and 0 <= number <= MAX_UINT for number in numbers)
        and isinstance(known.merit, int | float)
        and math.isfinite(known.merit)
        and WORST <= known.merit <= BEST
    )
    if not good:
        raise ValueError("a peer with a field that makes no sense")
    return Acquaintance(PeerId(known.peer), known.addresses, known.roles, *numbers[:3], float(known.merit), known.judged_ms)
