from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault
from meshgen.cli.verb import Call, table, verb

if TYPE_CHECKING:
    from meshgen.engine.catalog import Catalog, CatalogModel


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
    with _explained():
        found = _catalog(call.home).models()
    rows = [(model.name, model.info.family, model.info.default_size, model.digest.hex()[:12], model.path) for model in found]
    text = table(("MODEL", "FAMILY", "SIDE", "WEIGHTS", "FOLDER"), rows)
    call.result(
        {"models": list(map(_row, found))}, text if rows else "no models here; add one with `meshgen models add NAME PATH`"
    )


@models.command()
@click.argument("name")
@click.argument("path", type=click.Path(exists=True, file_okay=False))
@click.option("--licence", default="", help="What its card says, if the folder does not.")
@click.option(
    "--allow-pickle", is_flag=True, help="Take weights that are not safetensors; they can run any code on this machine."
)
@verb
def add(call: Call, name: str, path: str, licence: str, allow_pickle: bool) -> None:
    """Serve the diffusers folder PATH under NAME; a running node takes it up by itself."""
    with _explained():
        model = _catalog(call.home).add(name, Path(path).absolute(), allow_pickle, licence)
    call.result(_row(model), f"{name} is added: {model.info.family}, weights {model.digest.hex()[:12]}")


@models.command("rm")
@click.argument("name")
@verb
def remove(call: Call, name: str) -> None:
    """Forget the model NAME; its files stay."""
    with _explained():
        _catalog(call.home).remove(name)
    call.result({"removed": name}, f"{name} is forgotten; its files stay")


def _row(model: CatalogModel) -> dict[str, Any]:
    info = model.info
    return {"name": info.name, "family": info.family, "default_size": info.default_size, "features": list(info.features)} | {
        "licence": info.licence,
        "digest": info.digest.hex(),
        "path": str(model.path),
    }


def _catalog(home: Path) -> Catalog:
    from meshgen.engine.catalog import Catalog

    return Catalog(home)


@contextmanager
def _explained() -> Iterator[None]:
    from meshgen.engine.catalog import CatalogError

    try:
        yield
    except CatalogError as error:
        raise Fault(str(error), code="bad_model") from None
