from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.charter_words import file_document, file_text, mesh_document, mesh_text
from meshgen.cli.client import Api
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.verb import Call, count, verb
from meshgen.gateway.runfile import read_run

if TYPE_CHECKING:
    from meshgen.identity import Identity
    from meshgen.protocols.charter import Charter, Lineage, SignedCharter

FILE = click.Path(dir_okay=False)


@click.group()
def mesh() -> None:
    """The mesh's charter: found a mesh, join one, show or change what it agrees on."""


@mesh.command()
@click.argument("name")
@click.option("--delegate", "delegates", multiple=True, metavar="PEER", help="May sign changes, beside this node (repeatable).")
@click.option("--threshold", type=click.IntRange(1, 32), help="Delegates who must sign a change (default: more than half).")
@click.option("--bootstrap", multiple=True, metavar="ADDRESS", help="A node to join through (repeatable).")
@click.option("--tariff", multiple=True, metavar="FILE|KEY=VALUE", help="What differs from the default tariff (repeatable).")
@click.option("--about", default="", help="A line about it.")
@click.option("--out", default="charter.yaml", show_default=True, type=FILE, help="Where to write the charter.")
@verb
def create(call: Call, name: str, threshold: int | None, out: str, **given: Any) -> None:
    """Found a mesh: write its charter, signed by this home's key. The node need not run."""
    from meshgen.cli.founding import founding_charter
    from meshgen.protocols.charter import SignedCharter

    file = Path(out)
    if file.exists():
        raise Fault(f"{file} exists already", "choose another --out, or change it with `meshgen mesh amend`")
    with _explained():
        me = _identity(call.home)
        charter = founding_charter(name, me.public_key, threshold, **given)
        signed = SignedCharter.unsigned(charter).signed_by(me)
    _write(file, signed)
    call.result(*_outcome(call, file, signed, charter))


@mesh.command()
@click.argument("source", metavar="FILE|ADDRESS")
@click.argument("hash_", metavar="[HASH]", default="")
@verb
def join(call: Call, source: str, hash_: str) -> None:
    """Make this home a member: of the mesh of a charter's FILE, or of the mesh HASH, asked for at a member's ADDRESS."""
    from meshgen.peers.charter_home import keep_through, read_charter

    _ensure_stopped(call.home)
    with _explained():
        if source.startswith("/") and "/p2p/" in source:
            from meshgen.cli.founding import lineage_from

            lineage = lineage_from(source, hash_)
        else:
            lineage = _line(call.home, read_charter(Path(source)), hash_)
        _keep(call.home, lineage)
        if source.startswith("/") and "/p2p/" in source:
            keep_through(call.home, source)
    text = f"this home is a member of {lineage.current.name}\n{mesh_text(lineage)}\nstart it with `meshgen run`"
    call.result(mesh_document(lineage), text)


@mesh.command()
@click.argument("file", required=False, type=FILE)
@click.option("--yaml", "as_yaml", is_flag=True, help="The whole text, to be changed and given to `meshgen mesh amend`.")
@verb
def show(call: Call, file: str | None, as_yaml: bool) -> None:
    """What a charter says and who has signed it: FILE's, else that of this home's mesh."""
    from meshgen.cli.config import settings_of
    from meshgen.peers.charter_home import joined, lineage_of, read_charter
    from meshgen.peers.charter_text import render_charter
    from meshgen.protocols.charter import SignedCharter

    with _explained():
        home_lineage = lineage_of(call.home, settings_of(call.home))
        if file:
            signed = read_charter(Path(file))
        elif home_lineage.documents:
            signed = home_lineage.documents[-1]
        else:
            signed = SignedCharter.unsigned(home_lineage.current)
        if as_yaml:
            click.echo(render_charter(signed), nl=False)
        elif file:
            rules = _rules(signed, joined(call.home))
            call.result(file_document(signed, rules), file_text(signed, rules))
        else:
            call.result(mesh_document(home_lineage), mesh_text(home_lineage))


@mesh.command()
@click.argument("file", type=FILE)
@verb
def amend(call: Call, file: str) -> None:
    """Sign the changed text in FILE as the next version of this home's charter; it takes effect once enough have signed."""
    from dataclasses import replace

    from meshgen.peers.charter_home import read_charter
    from meshgen.protocols.charter import SignedCharter

    with _explained():
        lineage = _joined(call.home)
        now = lineage.current
        charter = replace(read_charter(Path(file)).charter, version=now.version + 1, parent=lineage.hash)
        if replace(charter, version=now.version, parent=now.parent) == now:
            raise Fault(f"{file} says what is in force already", "change something, then amend")
        if charter.name != now.name:
            raise Fault(f"{file} is called {charter.name}: a mesh keeps its name, which is {now.name}")
        me = _delegate(call.home, now)
        signed = SignedCharter.unsigned(charter).signed_by(me)
        _write(Path(file), signed)
        call.result(*_outcome(call, Path(file), signed, now))


@mesh.command()
@click.argument("file", type=FILE)
@verb
def sign(call: Call, file: str) -> None:
    """Add this home's signature to the charter in FILE, as it stands there; it takes effect once enough have signed."""
    from meshgen.peers.charter_home import joined, read_charter

    with _explained():
        signed, home = read_charter(Path(file)), joined(call.home)
        rules = _rules(signed, home)
        if home and signed.hash in [document.hash for document in home.documents]:
            raise Fault(f"{file} is in force already", "to change it, edit it and run: meshgen mesh amend " + file)
        if rules is None:
            raise Fault(
                f"{file} is version {signed.charter.version}, and no child of what this home has joined",
                "join its mesh first, or ask for the newest text",
            )
        signed.signers(rules.delegates)
        signed = signed.signed_by(_delegate(call.home, rules))
        _write(Path(file), signed)
        call.result(*_outcome(call, Path(file), signed, rules))


# -- taking effect


def _outcome(call: Call, file: Path, signed: SignedCharter, rules: Charter) -> tuple[dict[str, Any], str]:
    """What becomes of a version that this home has just signed."""
    missing = rules.threshold - len(signed.signers(rules.delegates))
    if missing > 0:
        hint = f"{count(missing, 'signature')} of another delegate still missing; each runs: meshgen mesh sign {file.name}"
        return file_document(signed, rules), f"{file_text(signed, rules)}\n{file} is signed; {hint}"
    effect = _take_effect(call.home, signed)
    return file_document(signed, rules) | {"in_force": True}, f"{file_text(signed, rules)}\n{effect}"


def _take_effect(home: Path, signed: SignedCharter) -> str:
    from meshgen.peers.charter_home import joined, mesh_of_log
    from meshgen.peers.charter_text import render_charter
    from meshgen.protocols.charter import Lineage

    before = joined(home)
    if signed.charter.version == 0:
        lineage = Lineage.founded(signed)
        if mesh_of_log(home) not in (b"", lineage.net) or before:
            return f"the mesh {lineage.net.hex()} is founded; this home belongs to another, members join with the file"
    else:
        assert before is not None  # the rules came from it
        lineage = before.amended(signed)
    run = read_run(home)
    if run is not None and run.alive() and signed.charter.version:
        Api.of(home).post("/v1/mesh/charter", {"text": render_charter(signed)})
        return "it is in force at the running node, and on its way to the others"
    _keep(home, lineage)
    return "it is in force at this home; others get it from the node when it runs"


def _keep(home: Path, lineage: Lineage) -> None:
    """Raises Fault if the home belongs elsewhere."""
    from meshgen.peers.charter_home import joined, keep, mesh_of_log

    before, logged = joined(home), mesh_of_log(home)
    other = before.net if before else logged
    if other not in (b"", lineage.net):
        name = f"the mesh {before.current.name}" if before else "another mesh"
        raise BadHome(
            f"{home} belongs to {name} ({other.hex()}), not to {lineage.current.name} ({lineage.net.hex()})",
            "credit never crosses from one mesh to another; use another home: meshgen --home FOLDER mesh join ...",
            code="other_mesh",
        )
    if before is None or len(before.documents) < len(lineage.documents):
        keep(home, lineage)


def _write(file: Path, signed: SignedCharter) -> None:
    from meshgen.peers.charter_home import write_whole
    from meshgen.peers.charter_text import render_charter

    try:
        write_whole(file, render_charter(signed))
    except OSError as error:
        raise Fault(f"{file} can't be written: {error.strerror}") from None


def _rules(signed: SignedCharter, home: Lineage | None) -> Charter | None:
    """The version whose delegates decide about this one: itself if it founds, else its parent; None if the parent is unknown."""
    if signed.charter.version == 0:
        return signed.charter
    for document in home.documents if home else ():
        if document.hash == signed.charter.parent:
            return document.charter
    return None


def _line(home: Path, signed: SignedCharter, hash_: str) -> Lineage:
    """The mesh that this version founds, or the home's own with it as the next."""
    from meshgen.cli.founding import ensure_hash
    from meshgen.peers.charter_home import joined
    from meshgen.protocols.charter import Lineage

    before = joined(home)
    lineage = before.amended(signed) if before and signed.charter.version else Lineage.founded(signed)
    if hash_:
        ensure_hash(lineage, hash_)
    return lineage


# -- homes


def _identity(home: Path) -> Identity:
    from meshgen.identity import IdentityError, load_or_create

    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return load_or_create(home)
    except (OSError, IdentityError) as error:
        raise BadHome(str(error)) from None


def _delegate(home: Path, rules: Charter) -> Identity:
    me = _identity(home)
    if me.public_key not in rules.delegates:
        raise Fault(f"this home, {me.peer_id}, is no delegate of {rules.name}", "only its delegates can sign; see `mesh show`")
    return me


def _joined(home: Path) -> Lineage:
    from meshgen.peers.charter_home import joined

    lineage = joined(home)
    if lineage is None:
        raise Fault("this home has joined no signed charter", "found one with `meshgen mesh create`, or join one")
    return lineage


def _ensure_stopped(home: Path) -> None:
    run = read_run(home)
    if run is not None and run.alive():
        raise Fault("the node of this home runs", "stop it first: meshgen stop")


@contextmanager
def _explained() -> Iterator[None]:
    from meshgen.net.port import NetError
    from meshgen.peers.charter_file import CharterError
    from meshgen.protocols.codec import Malformed

    try:
        yield
    except (CharterError, Malformed) as error:
        raise Fault(str(error), code="bad_charter") from None
    except NetError as error:
        raise Fault(f"no charter came from there: {error}", "is the address right, and does that node run?") from None
