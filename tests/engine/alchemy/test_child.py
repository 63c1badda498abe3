"""The real child, spoken to directly: it ends with its input, and an unexpected end tells no value."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshgen.engine.pool.frames import Frame, pack
from tests.engine.alchemy.drawn import landscape, png
from tests.engine.alchemy.tiny_models import save_upscaler

CHILD = [sys.executable, "-m", "meshgen.engine.alchemy.child", "--memory-mib", "1000"]
SECRET = "a very secret red circle"


def asked(folder: Path, **changes: object) -> Frame:
    save_upscaler(folder, "tiny", 4)
    files = [str(folder / "tiny.param"), str(folder / "tiny.bin")]
    return {"name": "tiny", "kind": "upscale", "files": files, "enlarge": 4, "picture": png(landscape(16)), **changes}


@contextmanager
def started() -> Iterator[subprocess.Popen[bytes]]:
    """Killed if a test takes too long, so that none waits for ever."""
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        watchdog = threading.Timer(60, child.kill)
        watchdog.start()
        yield child
        watchdog.cancel()


def test_it_ends_with_its_input_in_the_middle_of_a_job_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with started() as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(pack(asked(tmp_path, picture=png(landscape(1024).resize((2048, 2048))))))
        child.stdin.flush()
        assert b"alive" in child.stdout.read(20)  # it is at work, and has 256 tiles to go
        child.stdin.close()
        assert child.wait(60) == 0


def test_an_unexpected_end_is_told_by_type_and_place_alone(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with started() as child:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        child.stdin.write(pack(asked(tmp_path, files=SECRET, name=SECRET)))
        child.stdin.flush()
        told = child.stderr.read()
        assert child.wait(60) == 1 and b"TypeError at" in told
        assert SECRET.encode() not in told + child.stdout.read()


def test_what_is_no_frame_ends_it() -> None:
    done = subprocess.run(CHILD, input=b"\xff" * 64, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0 and not done.stdout
