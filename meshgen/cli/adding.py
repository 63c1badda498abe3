"""Putting models on the list: one, or what an installation has, with how far it has come, and what is not taken and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from meshgen.cli.faults import Cancelled, Fault
from meshgen.cli.model_views import below, cut
from meshgen.cli.progress import Progress

if TYPE_CHECKING:
    from meshgen.engine.models.catalog import Catalog, Entry
    from meshgen.engine.models.places import Found

UPSCALER = "an upscaler: those are not on this list, alchemy takes them from its own folder"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for besides the place."""

    allow_pickle: bool = False
    licence: str = ""
    source: str = ""
    control: str = ""
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies somewhere, and what it turned out to be."""

    found: Found
    kind: str
    family: str = ""
    fault: str = ""


@dataclass(slots=True)
class Added:
    entries: list[Entry] = field(default_factory=list)
    known: int = 0
    refused: list[tuple[Path, str]] = field(default_factory=list)


def see(found: Sequence[Found], wish: Wish) -> list[Seen]:
    """Reads heads of files alone."""
    with Progress("looking", len(found)) as progress:
        seen = []
        for number, one in enumerate(found):
            progress.at(number)
            seen.append(_see(one, wish))
    return seen


def _see(one: Found, wish: Wish) -> Seen:
    from meshgen.engine.models.judging import NotTaken, judge

    if one.fault or one.kind == "post":
        return Seen(one, one.kind, fault=one.fault or UPSCALER)
    try:
        judged = judge(one.path, wish.allow_pickle, wish.control)
    except NotTaken as error:
        return Seen(one, one.kind, fault=str(error))
    return Seen(one, judged.kind, judged.family)


def add_one(catalog: Catalog, name: str, path: Path, wish: Wish) -> Entry:
    """Raises CatalogError, Cancelled."""
    with Progress(f"reading {cut(name, 40)}", 100) as progress:
        try:
            return catalog.add(
                name,
                path,
                wish.allow_pickle,
                wish.licence,
                source=wish.source,
                control=wish.control,
                replaces=wish.replaces,
                tell=lambda done, total: progress.at(100 * done // max(total, 1)),
            )
        except KeyboardInterrupt:
            raise Cancelled(f"interrupted: {name} is not added") from None


def add_all(catalog: Catalog, found: Sequence[Found], wish: Wish) -> Added:
    """Each is on the list as soon as it is read, so that an interruption loses only the one at hand. Raises Cancelled."""
    from meshgen.engine.models.catalog import CatalogError, name_for

    done = Added()
    places = {entry.path: entry for entry in catalog.entries()}
    names = set() if wish.replaces else {entry.name for entry in places.values()}
    for one in found:
        fault = one.fault or (UPSCALER if one.kind == "post" else "")
        name = name_for(one.path)
        if not fault and one.path in places:
            done.known += 1
            continue
        if not fault and name in names:
            fault = f"{name} is on the list already, from elsewhere; to have both: meshgen models add OTHER_NAME {one.path}"
        if fault:
            done.refused.append((one.path, fault))
            continue
        try:
            done.entries.append(add_one(catalog, name, one.path, wish))
            names.add(name)
        except CatalogError as error:
            done.refused.append((one.path, str(error)))
        except Cancelled:
            raise Cancelled(f"interrupted: {len(done.entries)} are added and stay; the same again adds the rest") from None
    return done


def chosen(found: Sequence[Found], globs: Sequence[str], root: Path) -> list[Found]:
    """Those whose name, or path below the root, fits one of the patterns. Raises Fault if none does."""
    if not globs:
        return list(found)
    fitting = [one for one in found if any(_fits(one.path, root, glob) for glob in globs)]
    if not fitting:
        raise Fault(f"nothing in {root} fits {' or '.join(globs)}", f"`meshgen models add {root}` lists what is there")
    return fitting


def _fits(path: Path, root: Path, glob: str) -> bool:
    names = (path.name, path.stem, below(path, root))
    return any(fnmatch(name.lower(), glob.lower()) for name in names)
