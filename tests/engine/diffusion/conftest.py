"""Progress is told by the clock, and tiny pipelines are faster than that: here every step is told."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("meshgen.engine.diffusion.watching.PROGRESS_GAP_S", 0.0)
