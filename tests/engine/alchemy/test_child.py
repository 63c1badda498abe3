"""The real child, spoken to directly: it ends with its input, and an unexpected end tells no value."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meshgen.engine.frames import Frame, pack
from tests.engine.alchemy.drawn import landscape, png
from tests.engine.alchemy.tiny_models import save_upscaler

CHILD = [sys.executable, "-m", "meshgen.engine.alchemy.child", "--memory-mib", "1000"]
SECRET = "a very secret red circle"


def asked(folder: Path, **changes: object) -> Frame:
    save_upscaler(folder, "tiny", 4)
    files = [str(folder / "tiny.param"), str(folder / "tiny.bin")]
    return {"name": "tiny", "kind": "upscale", "files": files, "enlarge": 4, "picture": png(landscape(16)), **changes}


def test_it_ends_with_its_input_in_the_middle_of_a_job_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(pack(asked(tmp_path, picture=png(landscape(1024).resize((2048, 2048))))))
        child.stdin.flush()
        assert b"alive" in child.stdout.read(20)  # it is at work, and has 256 tiles to go
        child.stdin.close()
        assert child.wait(60) == 0


def test_an_unexpected_end_is_told_by_type_and_place_alone(tmp_path: Path) -> None:
    request = asked(tmp_path, enlarge=SECRET, name=SECRET)
    done = subprocess.run(CHILD, input=pack(request), capture_output=True, timeout=60, check=False)
    assert SECRET.encode() not in done.stdout + done.stderr


def test_what_is_no_frame_ends_it() -> None:
    done = subprocess.run(CHILD, input=b"\xff" * 64, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0 and not done.stdout
