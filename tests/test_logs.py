"""The log as people, programs and the journal read it, and that its file has an end."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meshgen import logs
from meshgen.logs import JournalLines, JsonLines


def record(message: str = "hello", level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "meshgen.x", "levelno": level, "levelname": logging.getLevelName(level), "msg": message}
    )
    made.__dict__ |= extra
    made.created, made.msecs = 1_780_315_200.5, 500
    return made


def test_a_json_line_says_when_how_bad_where_and_what() -> None:
    line = JsonLines().format(record("peer %s\nis gone", logging.WARNING, args=("x",), taskName="trio", job="j1", at=Path("/a")))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-06-01T12:00:00.500Z",
        "level": "warning",
        "logger": "meshgen.x",
        "message": "peer x\nis gone",
        "job": "j1",
        "at": "/a",
    }


def test_a_json_line_holds_its_traceback() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        line = json.loads(JsonLines().format(record(exc_info=sys.exc_info())))
    assert line["exception"].endswith("ValueError: no")


def test_extra_does_not_pass_for_the_line_itself() -> None:
    assert json.loads(JsonLines().format(record(level=logging.ERROR, time="never", logger="liar")))["logger"] == "meshgen.x"


def test_each_line_in_the_journal_has_its_level() -> None:
    assert JournalLines("%(message)s").format(record("one\ntwo", logging.ERROR)) == "<3>one\n<3>two"
    assert JournalLines("%(message)s").format(record("one", 25)) == "<6>one"


START = """
import logging, os, sys
from pathlib import Path
from meshgen import logs
logs.FILE_BYTES = 1000
logging.getLogger().addHandler(logging.StreamHandler())  # as a library may have done
if sys.argv[3:]:
    found = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
logs.start_logging("info", sys.argv[1], Path(sys.argv[2]) if sys.argv[2] else None)
for number in range(100):
    logging.getLogger("meshgen").info("line %d", number)
logging.getLogger("meshgen").debug("not this")
"""


def lines(form: str, file: str = "", journal: str = "") -> list[str]:
    words = [sys.executable, "-c", START, form, file, *filter(None, [journal])]
    environment = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"}
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stderr.splitlines()


def test_a_process_logs_to_stderr_and_to_a_file_that_has_an_end(tmp_path: Path) -> None:
    file = tmp_path / "meshgen.log"
    said = [json.loads(line) for line in lines("json", str(file))]
    assert [line["message"] for line in said] == [f"line {number}" for number in range(100)]
    kept = sorted(tmp_path.iterdir())
    assert [one.name for one in kept] == ["meshgen.log", "meshgen.log.1", "meshgen.log.2"]
    assert all(0 < one.stat().st_size <= 1000 for one in kept)
    assert json.loads(file.read_text().splitlines()[-1])["message"] == "line 99"


def test_the_journal_has_the_time_already() -> None:
    assert lines("text", journal="yes")[7] == "<6>meshgen: line 7"
    assert lines("text")[7].endswith(" INFO    meshgen: line 7")


def test_a_file_that_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        logs.start_logging("info", "text", tmp_path / "nowhere" / "meshgen.log")
