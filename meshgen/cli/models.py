from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshgen.cli.adding import Added, Wish, add_all, add_one, chosen, see
from meshgen.cli.client import Api
from meshgen.cli.faults import Cancelled, Fault
from meshgen.cli.model_views import (
    NOTHING,
    counted,
    described,
    entry_row,
    found_in,
    found_row,
    kind_of,
    listed,
    mesh_text,
    refusals,
    seen_row,
    size_of,
)
from meshgen.cli.progress import Progress
from meshgen.cli.verb import Call, Verbs, count, verb

if TYPE_CHECKING:
    from meshgen.engine.models.catalog import Catalog
    from meshgen.engine.models.entries import Entry


@click.group(cls=Verbs, invoke_without_command=True)
@verb
def models(call: Call) -> None:
    """Models of the mesh; with ls, add, rm, show, check, scan those of this node."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = Api.of(call.home).get("/v1/models")
    call.result(found, mesh_text(found) if found["mesh"] else NOTHING)


@models.command("ls")
@verb
def list_local(call: Call) -> None:
    """Models and adapters on this machine."""
    with _explained():
        found = _catalog(call.home).entries()
    document = {
        "models": [entry_row(entry) for entry in found if entry.kind == "model"],
        "adapters": [entry_row(entry) for entry in found if entry.kind != "model"],
    }
    if not found:
        call.result(document, "no models here; `meshgen models scan` looks for places that have some")
        return
    call.result(document, "\n".join([listed(found), *_too_many(len(document["adapters"]))]))


def _too_many(adapters: int) -> list[str]:
    from meshgen.protocols.advert import MAX_ADAPTERS

    told = f"the mesh is told of {MAX_ADAPTERS} of these {adapters} adapters at most:"
    return [told, "upscalers and ControlNets, then what most ask for, then the newest"] if adapters > MAX_ADAPTERS else []


@models.command()
@click.argument("words", nargs=-1, required=True, metavar="[NAME] PATH")
@click.option("--only", multiple=True, metavar="GLOB", help="Of a folder with several: those whose name fits. May be repeated.")
@click.option("--all", "everything", is_flag=True, help="Of a folder with several: all of them.")
@click.option("--type", "control", default="", help="What a ControlNet follows: canny, depth, openpose, ...")
@click.option("--licence", default="", help="What its card says, if the files do not.")
@click.option("--source", default="", help="Where it came from, if the files do not say.")
@click.option("--replace", "replaces", is_flag=True, help="Also if the list has something else under that name.")
@click.option(
    "--allow-pickle", is_flag=True, help="Take weights that are not safetensors; they can run any code on this machine."
)
@verb
def add(
    call: Call,
    words: tuple[str, ...],
    only: tuple[str, ...],
    everything: bool,
    control: str,
    licence: str,
    source: str,
    replaces: bool,
    allow_pickle: bool,
) -> None:
    """Serve the model or adapter at PATH; a running node takes it up by itself.

    PATH is a file (.safetensors, .gguf), the folder of one model, or a folder with several: a Hugging Face cache, the folder of
    ComfyUI, A1111 or Forge, or any other. Nothing is copied.
    """
    name, path = _name_and_path(words)
    wish = Wish(allow_pickle, licence, source, control, replaces)
    with _explained():
        catalog = _catalog(call.home)
        if not _is_place(path):
            _add_one(call, catalog, name, path, wish)
        else:
            _add_several(call, catalog, name, path, wish, only, everything)


@models.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@verb
def remove(call: Call, names: tuple[str, ...]) -> None:
    """Forget models or adapters; their files stay."""
    with _explained():
        catalog = _catalog(call.home)
        for name in names:
            catalog.remove(name)
    gone = ", ".join(names)
    call.result({"removed": list(names)}, f"{gone} {'is' if len(names) == 1 else 'are'} forgotten; the files stay")


@models.command()
@click.argument("name")
@verb
def show(call: Call, name: str) -> None:
    """Everything that is known of one."""
    with _explained():
        entry = _catalog(call.home).find(name)
    there = entry.path.exists()
    text = described(entry) + ("" if there else f"\n{entry.path} is not there now")
    call.result(entry_row(entry) | {"there": there}, text)


@models.command()
@verb
def check(call: Call) -> None:
    """Look at all files again: what is gone, cut or changed."""
    with _explained():
        catalog = _catalog(call.home)
        before = {entry.name: entry.digest for entry in catalog.entries()}
        with Progress("reading", 100) as progress:
            faults = catalog.check(lambda done, total: progress.at(100 * done // max(total, 1)))
        after = catalog.entries()
    states = {
        entry.name: faults.get(entry.name) or ("ok" if entry.digest == before[entry.name] else "changed") for entry in after
    }
    changed = [name for name, state in states.items() if state == "changed"]
    lines = [f"{name}: {why}" for name, why in faults.items()]
    lines += [f"{name}: its files have changed; it has a new digest now" for name in changed]
    lines.append(f"{count(len(after) - len(faults), 'entry', 'entries')} in order" + (f", {len(faults)} not" if faults else ""))
    call.result({"states": states, "faults": faults}, "\n".join(lines))
    if faults:
        click.get_current_context().exit(1)


@models.command()
@verb
def scan(call: Call) -> None:
    """Look for places on this machine that have models."""
    from meshgen.engine.models.places import look_through, suggest

    places = [(place, look_through(place.path)) for place in suggest()]
    document = {
        "places": [
            {"kind": place.kind, "path": str(place.path), "found": [found_row(one) for one in found]} for place, found in places
        ]
    }
    lines = [f"{place.path}\n  {place.kind}: {counted(one.kind for one in found)}" for place, found in places]
    if places:
        lines.append("`meshgen models add PATH` lists what is in one; with --all or --only GLOB it adds that")
    call.result(
        document, "\n".join(lines) or "none found in the usual places; `meshgen models add PATH` takes any folder or file"
    )


def _name_and_path(words: tuple[str, ...]) -> tuple[str, Path]:
    """Raises Fault."""
    if len(words) > 2:
        raise Fault("one at a time: meshgen models add [NAME] PATH", "put quotes around a name or path with spaces")
    path = Path(words[-1]).expanduser().absolute()
    if not path.exists() and not path.is_symlink():
        other = len(words) == 2 and Path(words[0]).expanduser().exists()
        raise Fault(f"{path} does not exist", "the name comes first: meshgen models add NAME PATH" if other else "")
    return words[0] if len(words) == 2 else "", path


def _is_place(path: Path) -> bool:
    from meshgen.engine.models.places import kind_of_place

    return bool(kind_of_place(path))


def _add_one(call: Call, catalog: Catalog, name: str, path: Path, wish: Wish) -> None:
    from meshgen.engine.models.catalog import NameTaken, name_for

    chosen_name = name or name_for(path)
    known = next((entry for entry in catalog.entries() if entry.name == chosen_name), None)
    try:
        entry = add_one(catalog, chosen_name, path, wish)
    except NameTaken as error:
        raise Fault(
            str(error),
            f"give this one a name: meshgen models add NAME {path}; or let it take that place: --replace",
            code="taken",
        ) from None
    call.result(entry_row(entry), f"{entry.name} {_became(known, entry)}")


def _became(known: Entry | None, entry: Entry) -> str:
    if known is not None and (known.digest, known.path) == (entry.digest, entry.path):
        return "is there already, and its files are the same" + (
            "" if known.info == entry.info else "; what is told of it has changed"
        )
    if known is not None and known.digest == entry.digest:
        return f"is there already; it is read from {entry.path} now"
    how = "is added" if known is None else "has changed" if known.path == entry.path else "is replaced"
    family, weights = entry.info.family or "?", entry.digest.hex()[:10]
    return f"{how}: {kind_of(entry)} of the family {family}, {size_of(entry)}, weights {weights}"


def _add_several(
    call: Call, catalog: Catalog, name: str, path: Path, wish: Wish, only: tuple[str, ...], everything: bool
) -> None:
    from meshgen.engine.models.places import look_through

    found = look_through(path)
    if not found:
        raise Fault(
            f"{path} has no models: no .safetensors, no .gguf, no folder of a model", "`meshgen models scan` suggests places"
        )
    found = chosen(found, only, path)
    if name and len(found) > 1:
        raise Fault(f"{path} has several models: a name is for one", "leave the name out, or give the path of one file in it")
    if name:
        _add_one(call, catalog, name, found[0].path, wish)
        return
    if not only and not everything:
        seen = see(found, wish)
        good = counted(one.kind for one in seen if not one.fault)
        text = f"{found_in(seen, path)}\n{good} can be added: all with --all, some with --only GLOB"
        call.result({"found": [seen_row(one) for one in seen]}, text)
        return
    done = add_all(catalog, found, wish)
    call.result(_document(done), _summary(done, path))
    if done.refused and not done.entries and not done.known:
        click.get_current_context().exit(1)


def _document(done: Added) -> dict[str, object]:
    refused = [{"path": str(path), "why": why} for path, why in done.refused]
    return {"added": [entry_row(entry) for entry in done.entries], "known": done.known, "refused": refused}


def _summary(done: Added, root: Path) -> str:
    lines = [listed(done.entries)] if done.entries else []
    lines += refusals(done.refused, root)
    known = f", {done.known} there already" if done.known else ""
    lines.append(f"{len(done.entries)} added{known}" + (f", {len(done.refused)} not taken" if done.refused else ""))
    return "\n".join(lines)


def _catalog(home: Path) -> Catalog:
    from meshgen.engine.models.catalog import Catalog

    return Catalog(home)


@contextmanager
def _explained() -> Iterator[None]:
    from meshgen.engine.models.catalog import CatalogError

    try:
        yield
    except CatalogError as error:
        raise Fault(str(error), code="bad_model") from None
    except KeyboardInterrupt:
        raise Cancelled("interrupted: what was read before is kept") from None
