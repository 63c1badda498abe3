from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.checks.work import CURES, draws_itself, fake_models

if TYPE_CHECKING:
    from meshgen.engine.port import ModelInfo


def models(patient: Patient) -> Iterator[Finding]:
    from meshgen.engine.models.catalog import Catalog, CatalogError

    if not draws_itself(patient):
        yield from _unserved(patient, fake_models(patient))
        return
    catalog = Catalog(patient.home)
    try:
        found, faults = catalog.models(), catalog.check()
    except CatalogError as error:
        yield Finding("models", "fault", str(error))
        return
    if not found:
        cure = "run: meshgen models add NAME PATH"
        yield Finding("models", "fault", "no model is installed: this worker has nothing to draw with", cure)
    for name, why in faults.items():
        yield Finding("models", "fault", f"{name}: {why}", f"bring it back, or run: meshgen models rm {name}")
    sound = [model.info for model in found if model.name not in faults]
    if sound:
        yield Finding("models", "ok", ", ".join(info.name for info in sound))
    yield from _unserved(patient, sound)


def _unserved(patient: Patient, installed: Sequence[ModelInfo]) -> Iterator[Finding]:
    """By the owner's rules and the charter's. A node that runs says so itself."""
    from meshgen.peers.charter_file import CharterError
    from meshgen.peers.charter_home import lineage_of
    from meshgen.peers.rules import NONE_SERVED, rules_of

    settings = patient.usable()
    if settings is None or patient.lives or not installed:
        return
    try:
        rules = rules_of(settings, lineage_of(patient.home, settings).current)
    except (CharterError, PermissionError):  # the checks of the mesh and of the home say so
        return
    if not rules.served(installed, {}):
        alchemy = settings.worker.engine != "fake" and importlib.util.find_spec("onnxruntime") is not None
        text = "; ".join([NONE_SERVED, *rules.notes(installed)])
        yield Finding("models", "note" if alchemy else "fault", text, CURES["no_model"])  # forms are no models on the list
