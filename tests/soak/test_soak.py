"""A short soak: the long one is ``make soak``."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.soak.mix import DRAWN, few_stories
from tests.soak.models import save_good
from tests.soak.soak import soak
from tests.soak.table import table

pytestmark = pytest.mark.torch

SEED = 2


async def test_no_job_is_lost_and_nothing_is_left_behind(tmp_path: Path) -> None:
    for needed in ("torch", "diffusers", "transformers"):
        pytest.importorskip(needed)
    save_good(tmp_path)
    with trio.fail_after(600):
        report = await soak(tmp_path, few_stories(SEED), silence_s=300)
    told = f"seed {SEED}\n{table(report)}"
    assert not report.wrong, told
    assert report.restarts.total() == report.restarts["crash"] == 1, told
    assert report.happened["too many at once"] and report.happened["too large, thrice"], told
    assert report.outcomes["crash, then none", DRAWN] == report.outcomes["too large, then less", DRAWN] == 1, told
