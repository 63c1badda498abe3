"""The same seed is the same picture: alone, in a batch, and after a restart, through the real child."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from PIL import Image

from meshgen.engine.models.catalog import BUNDLED, Catalog
from meshgen.engine.pool.engine import open_engine
from meshgen.engine.port import Engine, Picture, Work

pytestmark = pytest.mark.torch

Pixels = np.ndarray[Any, Any]

RESTARTED = 0
TOGETHER = 1
"""Sums over larger batches are rounded elsewhere: the last of a channel's 255 levels may differ."""
ANOTHER_WORKER = 2
"""Of the same fingerprint: the same weights, the same kind of device. It may have another number of cores."""

SEEDS = (7, 8, 9, 10)
JOBS = [
    Work(BUNDLED, "a red circle above a blue square", "", 64, 64, 6, 3.0, "", SEEDS),
    Work("sd1", "a fjord", "rain", 32, 32, 6, 5.0, "k_euler_a", SEEDS),  # noise of its own in each step
    Work("sd3", "a fjord", "rain", 32, 32, 6, 5.0, "", SEEDS),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for needed in ("torch", "diffusers", "transformers"):
        pytest.importorskip(needed)
    from tests.engine.tiny_pipelines import save_tiny_sd, save_tiny_sd3

    home = tmp_path_factory.mktemp("home")
    catalog = Catalog(home)
    catalog.add("sd1", save_tiny_sd(home / "sd1"))
    catalog.add("sd3", save_tiny_sd3(home / "sd3"))
    return home


async def test_alone_in_a_batch_and_after_a_restart(home: Path) -> None:
    with trio.fail_after(300):
        async with open_engine(Catalog(home), "cpu") as engine:
            alone = [await each_alone(engine, job) for job in JOBS]
            together = [await pixels(engine, job) for job in JOBS]
        async with open_engine(Catalog(home), "cpu") as engine:
            restarted = [await each_alone(engine, job) for job in JOBS]
    for job, first, batch, again in zip(JOBS, alone, together, restarted, strict=True):
        assert difference(first, batch) <= TOGETHER, job.model
        assert difference(first, again) <= RESTARTED, job.model
        assert difference(first[:1], first[1:2]) > 100, "other seeds draw other pictures"


async def each_alone(engine: Engine, job: Work) -> Pixels:
    return np.concatenate([await pixels(engine, replace(job, seeds=(seed,))) for seed in job.seeds[:2]])


async def pixels(engine: Engine, job: Work) -> Pixels:
    """The job's first two pictures."""
    async with engine.run(job) as events:
        pngs = {event.index: event.png async for event in events if isinstance(event, Picture)}
    return np.stack([np.asarray(Image.open(BytesIO(pngs[index]))).astype(int) for index in sorted(pngs)][:2])


def difference(one: Pixels, other: Pixels) -> int:
    """The largest, in levels of a channel."""
    return int(np.abs(one - other).max())
