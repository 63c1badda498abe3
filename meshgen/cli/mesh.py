from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from meshgen.cli.charter_words import file_document, file_text, mesh_document, mesh_text
from meshgen.cli.config import settings_in_force
from meshgen.cli.enacting import (
    delegate_of,
    explained,
    joined_by,
    outcome,
    rules_for,
    write_charter,
)
from meshgen.cli.faults import Fault
from meshgen.cli.join import join
from meshgen.cli.keyfiles import begin_key
from meshgen.cli.mesh_keys import key
from meshgen.cli.mesh_members import admit, expel, members
from meshgen.cli.screen import screen_size
from meshgen.cli.verb import Call, Verbs, verb
from meshgen.peers.charter_file import CharterError, in_words
from meshgen.peers.charter_home import joined, lineage_of, read_charter
from meshgen.peers.charter_text import render_charter
from meshgen.peers.mesh_key import keep_key, mesh_key, new_key
from meshgen.protocols.charter import SignedCharter
from meshgen.protocols.codec import Malformed

FILE = click.Path(dir_okay=False)


@click.group(cls=Verbs)
def mesh() -> None:
    """The mesh: found one, invite to it, join one, show or change what it agrees on."""


for command in (join, key, members, admit, expel):
    mesh.add_command(command)


@mesh.command()
@click.argument("name")
@click.option("--delegate", "delegates", multiple=True, metavar="PEER", help="May sign changes, beside this node (repeatable).")
@click.option("--threshold", type=click.IntRange(1, 32), help="Delegates who must sign a change (default: more than half).")
@click.option("--bootstrap", multiple=True, metavar="ADDRESS", help="A node to join through (repeatable).")
@click.option("--tariff", multiple=True, metavar="FILE|KEY=VALUE", help="What differs from the default tariff (repeatable).")
@click.option("--about", default="", help="A line about it.")
@click.option("--listed", is_flag=True, help="For those alone whom delegates admit: `meshgen mesh admit`.")
@click.option("--private", is_flag=True, help="Make a key too: who has not got it can't even connect.")
@click.option("--out", default="charter.yaml", show_default=True, type=FILE, help="Where to write the charter.")
@verb
def create(call: Call, name: str, threshold: int | None, private: bool, out: str, **given: Any) -> None:
    """Found a mesh: write its charter, signed by this home's key. The node need not run."""
    from meshgen.cli.founding import founding_charter

    file = Path(out)
    if file.exists():
        raise Fault(f"{file} exists already", "choose another --out, or change it with `meshgen mesh amend`")
    with explained():
        me = begin_key(call.home)
    try:
        charter = founding_charter(name, me.public_key, threshold, **given)
    except (CharterError, Malformed) as error:  # nothing but what was given is in it
        raise click.UsageError(in_words(str(error))) from None
    signed = SignedCharter.unsigned(charter).signed_by(me)
    write_charter(file, signed)
    with explained():
        document, text = outcome(call, file, signed, charter)
    if private and document.get("in_force"):
        keep_key(call.home, mesh_key(call.home) or new_key())
        text += "\nit is private: its invites hold the key, so they are secrets"
    elif private:
        text += "\nonce this home has joined it, make its key: meshgen mesh key new"
    call.result(document | {"private": private}, text)


@mesh.command()
@click.option("--no-key", is_flag=True, help="Leave a private mesh's key out: it has to reach the newcomer in another way.")
@click.option(
    "--address", "addresses", multiple=True, metavar="ADDRESS", help="Name this one instead of those found (repeatable)."
)
@click.option("--png", type=FILE, help="Write the QR code as a picture.")
@click.option("--svg", type=FILE, help="Write the QR code as a drawing.")
@click.option("--qr", is_flag=True, help="Draw the QR code even where it does not fit, or standard output is no terminal.")
@verb
def invite(call: Call, no_key: bool, addresses: tuple[str, ...], png: str | None, svg: str | None, qr: bool) -> None:
    """Print the line by which others join this mesh, and its QR code on a terminal. The node may run or not.

    A private mesh's line holds its key: give it to those alone who may join.
    """
    from meshgen.cli.inviting import invite_of
    from meshgen.cli.qr import code_text, save_code

    with explained():
        made = invite_of(call.home, not no_key, addresses)
    for kind, file in (("png", png), ("svg", svg)):
        if file:
            save_code(made.line, Path(file), kind)
    if made.name:
        click.echo(f"it invites to {made.name}, a name that anybody may use; `meshgen mesh create` founds your own", err=True)
    if made.psk:
        click.echo("this line holds the mesh's key: give it to those alone who may join", err=True)
    found = {"line": made.line, "net": made.net.hex(), "private": bool(made.psk), "addresses": list(made.addresses)}
    columns, rows = (0, 0) if qr else screen_size()
    call.result(found, f"{made.line}\n{code_text(made, columns, rows)}" if qr or columns else made.line)


@mesh.command()
@click.argument("file", required=False, type=FILE)
@click.option("--yaml", "as_yaml", is_flag=True, help="The whole text, to be changed and given to `meshgen mesh amend`.")
@verb
def show(call: Call, file: str | None, as_yaml: bool) -> None:
    """What a charter says and who has signed it: FILE's, else that of this home's mesh."""
    with explained():
        home_lineage = lineage_of(call.home, settings_in_force(call.home))
        if file:
            signed = read_charter(Path(file))
        elif home_lineage.documents:
            signed = home_lineage.documents[-1]
        else:
            signed = SignedCharter.unsigned(home_lineage.current)
        if as_yaml:
            click.echo(render_charter(signed), nl=False)
        elif file:
            rules = rules_for(signed, joined(call.home))
            call.result(file_document(signed, rules), file_text(signed, rules))
        else:
            call.result(mesh_document(home_lineage), mesh_text(home_lineage))


@mesh.command()
@click.argument("file", type=FILE)
@verb
def amend(call: Call, file: str) -> None:
    """Sign the changed text in FILE as the next version of this home's charter; it takes effect once enough have signed."""

    with explained():
        lineage = joined_by(call.home)
        now = lineage.current
        charter = replace(read_charter(Path(file)).charter, version=now.version + 1, parent=lineage.hash)
        if replace(charter, version=now.version, parent=now.parent) == now:
            raise Fault(f"{file} says what is in force already", "change something, then amend")
        if charter.name != now.name:
            raise Fault(f"{file} is called {charter.name}: a mesh keeps its name, which is {now.name}")
        me = delegate_of(call.home, now)
        signed = SignedCharter.unsigned(charter).signed_by(me)
        write_charter(Path(file), signed)
        call.result(*outcome(call, Path(file), signed, now))


@mesh.command()
@click.argument("file", type=FILE)
@verb
def sign(call: Call, file: str) -> None:
    """Add this home's signature to the charter in FILE, as it stands there; it takes effect once enough have signed."""
    with explained():
        signed, home = read_charter(Path(file)), joined(call.home)
        rules = rules_for(signed, home)
        if home and signed.hash in [document.hash for document in home.documents]:
            raise Fault(f"{file} is in force already", "to change it, edit it and run: meshgen mesh amend " + file)
        if rules is None:
            raise Fault(
                f"{file} is version {signed.charter.version}, and no child of what this home has joined",
                "join its mesh first, or ask for the newest text",
            )
        signed.signers(rules.delegates)
        signed = signed.signed_by(delegate_of(call.home, rules))
        write_charter(Path(file), signed)
        call.result(*outcome(call, Path(file), signed, rules))
