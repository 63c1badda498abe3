from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault, NotRunning
from meshgen.cli.verb import Call, table, verb

if TYPE_CHECKING:
    from meshgen.engine.catalog import Catalog


@click.group(invoke_without_command=True)
@verb
def models(call: Call) -> None:
    """Models of the mesh; with ls, add, rm those of this node."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = Api.of(call.home).get("/v1/models")
    rows = [
        (row["name"], row["workers"], row["queued"], ", ".join(digest[:12] for digest in row["digests"])) for row in found["mesh"]
    ]
    text = table(("MODEL", "WORKERS", "QUEUED", "WEIGHTS"), rows)
    call.result(found, text if rows else "nobody in the mesh serves a model now; `meshgen peers` shows who is there")


@models.command("ls")
@verb
def list_local(call: Call) -> None:
    """Models on this machine."""
    rows = [{"name": model.name, "digest": model.digest.hex(), "path": str(model.path)} for model in _catalog(call.home).models()]
    text = table(("MODEL", "WEIGHTS", "FOLDER"), ((row["name"], row["digest"][:12], row["path"]) for row in rows))
    call.result({"local": rows}, text if rows else "no models here; add one with `meshgen models add NAME PATH`")


@models.command()
@click.argument("name")
@click.argument("path", type=click.Path(exists=True, file_okay=False))
@verb
def add(call: Call, name: str, path: str) -> None:
    """Serve the diffusers folder PATH under NAME."""
    folder = Path(path).absolute()
    try:
        found: dict[str, Any] = Api.of(call.home).post("/v1/models", {"name": name, "path": str(folder)})
    except NotRunning:
        from meshgen.engine.catalog import CatalogError

        try:
            model = _catalog(call.home).add(name, folder)
        except CatalogError as error:
            raise Fault(str(error), code="bad_model") from None
        found = {"name": model.name, "digest": model.digest.hex(), "path": str(folder)}
    call.result(found, f"{name} is added; its weights are {found['digest'][:12]}")


@models.command("rm")
@click.argument("name")
@verb
def remove(call: Call, name: str) -> None:
    """Forget the model NAME; its files stay."""
    try:
        Api.of(call.home).delete(f"/v1/models/{name}")
    except NotRunning:
        from meshgen.engine.catalog import CatalogError

        try:
            _catalog(call.home).remove(name)
        except CatalogError as error:
            raise Fault(str(error), code="no_model") from None
    call.result({"removed": name}, f"{name} is forgotten; its files stay")


def _catalog(home: Path) -> Catalog:
    from meshgen.engine.catalog import Catalog

    return Catalog(home)
