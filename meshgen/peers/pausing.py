"""The owner's pause: a small file in the home, so that a worker that was sent to rest stays at rest through a restart."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from meshgen.peers.charter_home import write_whole

log = logging.getLogger(__name__)

PAUSE_FILE = "worker.paused"
MAX_MESSAGE = 120
MAX_PAUSE_MS = 366 * 24 * 3600 * 1000
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Pause:
    """``until_ms`` 0 is until the owner says otherwise. ``message`` is the owner's word about it."""

    since_ms: int
    until_ms: int = 0
    message: str = ""

    def over(self, now_ms: int) -> bool:
        return 0 < self.until_ms <= now_ms


def read_pause(home: Path) -> Pause | None:
    """None if there is none. A file that can't be read still says that the owner wanted a pause."""
    file = home / PAUSE_FILE
    try:
        with file.open("rb") as opened:
            given = json.loads(opened.read(_MAX_BYTES))
        return Pause(int(given["since_ms"]), int(given["until_ms"]), str(given["message"])[:MAX_MESSAGE])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged (%s): the worker stays paused until `meshgen resume`", file, type(error).__name__)
        return Pause(0)


def keep_pause(home: Path, pause: Pause | None) -> None:
    """Raises OSError."""
    if pause is None:
        (home / PAUSE_FILE).unlink(missing_ok=True)
    else:
        write_whole(home / PAUSE_FILE, json.dumps(asdict(pause)) + "\n")
