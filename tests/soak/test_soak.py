"""A short soak, without dying processes: the long one is ``make soak``."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.soak.mix import DRAWN, few_stories
from tests.soak.models import save_good
from tests.soak.soak import Report, _read_deeds, soak
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
    assert report.children == 1 and not report.restarts, told
    assert report.happened["too many at once"] and report.happened["too large, thrice"], told
    assert report.outcomes["too large, then less", DRAWN] == 1, told


def test_a_child_whose_last_deed_was_deadly_was_replaced_for_it(tmp_path: Path) -> None:
    deeds, report = tmp_path / "deeds", Report(0)
    rows = ["1 born ", "1 crash plain", "2 born ", "2 slow memory", "3 born ", "3 hang long", "4 born "]
    deeds.write_text("".join(row.replace(" ", "\t") + "\n" for row in rows))
    _read_deeds(deeds, report)
    assert report.children == 4 and report.happened == {"plain": 1, "memory": 1, "long": 1}
    assert report.restarts == {"plain": 1, "something else": 1, "long": 1}
