from __future__ import annotations

from collections.abc import Iterator

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.checks.work import draws_itself


def models(patient: Patient) -> Iterator[Finding]:
    from meshgen.engine.models.catalog import Catalog, CatalogError

    if not draws_itself(patient):
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
    if sound := [model.name for model in found if model.name not in faults]:
        yield Finding("models", "ok", ", ".join(sound))
