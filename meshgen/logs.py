"""How a node's log is written: as lines for people or as JSON for programs, to stderr and, where asked for, to a file that can't
grow without end.

Under systemd the journal adds time and level by itself, and keeps and drops lines by its own rules. What may stand in a line is
decided where it is written: never a prompt, never a key.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal

FILE_BYTES = 10 * 2**20
FILES = 3
"""The one that is written to among them."""
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, what ``extra`` named, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD and name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class JournalLines(logging.Formatter):
    """For systemd's journal: the level as its prefix, on each line of what is longer than one."""

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def start_logging(level: str, form: Literal["text", "json"] = "text", file: Path | None = None) -> None:
    """For this process, in place of what a library has set up. Raises OSError if the file can't be opened."""
    logging.basicConfig(level=level.upper(), handlers=list(_handlers(form, file)), force=True)


def _handlers(form: str, file: Path | None) -> Iterator[logging.Handler]:
    dated: logging.Formatter = JsonLines() if form == "json" else logging.Formatter(_TEXT, "%Y-%m-%d %H:%M:%S")
    screen = logging.StreamHandler()
    if form == "json":
        screen.setFormatter(dated)
    else:
        screen.setFormatter(JournalLines("%(name)s: %(message)s") if _is_journal() else logging.Formatter(_TEXT, "%H:%M:%S"))
    yield screen
    if file is not None:
        kept = RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8")
        kept.setFormatter(dated)
        yield kept


def _is_journal() -> bool:
    """Is stderr what systemd says it gave to this service?"""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
