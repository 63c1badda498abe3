"""The roll's pages in a home, a file a delegate, beside the charter."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from meshgen.peers.charter_home import CHARTER_DIR
from meshgen.protocols.codec import Malformed
from meshgen.protocols.envelope import OVERHEAD_BYTES, Signed, unsign
from meshgen.protocols.roll import MAX_PAGE_BYTES, Page

log = logging.getLogger(__name__)

ROLL_DIR = "roll"


def read_pages(home: Path) -> dict[bytes, Signed[Page]]:
    """The latest page of each delegate. One that is damaged is left out: others have it still."""
    found: dict[bytes, Signed[Page]] = {}
    for file in sorted((home / CHARTER_DIR / ROLL_DIR).glob("*.page")):
        try:
            with file.open("rb") as opened:
                page = unsign(opened.read(MAX_PAGE_BYTES + OVERHEAD_BYTES + 1), Page)
            found[page.author] = page
        except (OSError, Malformed) as error:
            log.warning("%s is left out: %s", file, error)
    return found


def keep_page(home: Path, page: Signed[Page]) -> None:
    """Whole or not at all. Raises OSError."""
    folder = home / CHARTER_DIR / ROLL_DIR
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"{page.peer}.page"
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with beside.open("wb") as opened:
        opened.write(page.wire)
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)
