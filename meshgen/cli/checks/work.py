from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshgen.cli.checks.finding import Finding, Level
from meshgen.cli.checks.patient import Patient

if TYPE_CHECKING:
    from meshgen.engine.port import ModelInfo

NEEDED = ("torch", "diffusers", "transformers")
CURES = {
    "paused": "take work again with: meshgen resume",
    "driver": "look after the device's driver, or take worker.max_temperature_c and max_power_w out",
    "engine": "see the node's log; `meshgen models check` looks at the files",
    "no_model": "run: meshgen models ls, and look at worker.models",
}
"""By the code of what keeps a worker from working."""


def draws_itself(patient: Patient) -> bool:
    """Is it a worker with an engine, all of which is installed?"""
    settings = patient.usable()
    return patient.has_role("worker") and settings is not None and settings.worker.engine != "fake" and not missing()


def fake_models(patient: Patient) -> list[ModelInfo]:
    """Those of a worker whose engine only plays."""
    from meshgen.engine.fake import fake_model

    settings = patient.usable()
    return [fake_model()] if settings and patient.has_role("worker") and settings.worker.engine == "fake" else []


def missing() -> list[str]:
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def engine(patient: Patient) -> Iterator[Finding]:
    settings = patient.usable()
    if settings is None or not patient.has_role("worker"):
        return
    if settings.worker.engine == "fake":
        cure = "set worker.engine: auto for real ones"
        yield Finding("engine", "note", "the fake engine draws labels instead of pictures", cure)
    elif (absent := missing()) == list(NEEDED):
        text = "torch is not installed: this machine draws nothing itself, and works for others through AI Horde's workers alone"
        yield Finding("engine", "note", text, "to draw: pip install 'meshgen-node[worker]'")
    elif absent:
        cure = "run: pip install 'meshgen-node[worker]', or take worker out of node.roles"
        yield Finding("engine", "fault", f"{', '.join(absent)} not installed: this worker can't draw", cure)
    else:
        yield Finding("engine", "ok", f"{', '.join(NEEDED)} are installed")


def working(patient: Patient) -> Iterator[Finding]:
    worker = patient.running.get("worker") or {}
    for reason in worker.get("reasons", []):
        level: Level = "fault" if reason["code"] in ("driver", "engine", "no_model") else "note"
        yield Finding("worker", level, f"takes no work: {reason['text']}", CURES.get(reason["code"], ""))
    for trouble in worker.get("troubles", []):
        yield Finding("worker", "fault", trouble, CURES["engine"])
