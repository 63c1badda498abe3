"""A short soak: the long one is ``make soak``."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.soak.__main__ import table
from tests.soak.mix import cases
from tests.soak.soak import soak

pytestmark = pytest.mark.torch

JOBS, SEED = 30, 2


async def test_no_job_is_lost_and_nothing_is_left_behind(tmp_path: Path) -> None:
    for needed in ("torch", "diffusers", "transformers"):
        pytest.importorskip(needed)
    with trio.fail_after(600):
        report = await soak(tmp_path, cases(JOBS, SEED, slow_faults=False), silence_s=300)
    assert not report.unexpected, f"seed {SEED}\n{table(report)}"
    assert not report.left_behind and {sample.children for sample in report.samples} <= {0, 1}
    assert {kind for kind, _ in report.outcomes} >= {"plain", "crash", "bad file", "cancelled", "short of memory together"}
