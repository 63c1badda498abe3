"""`meshgen mesh key`: the key that makes a mesh private."""

from __future__ import annotations

from typing import IO

import click

from meshgen.cli.enacting import ensure_stopped, explained
from meshgen.cli.faults import Fault
from meshgen.cli.verb import Call, Verbs, verb

MAX_PASTED = 4096
INVITE = "the others get it by `meshgen mesh invite`"


@click.group(cls=Verbs)
def key() -> None:
    """A private mesh's key, mesh.key in the home: nodes without it can't even begin a handshake with those that have it."""


@key.command()
@click.option("--replace", is_flag=True, help="In place of the one that is there: all others need the new one.")
@verb
def new(call: Call, replace: bool) -> None:
    """Make this home's mesh private, or give it another key."""
    from meshgen.peers.mesh_key import keep_key, mesh_key, new_key

    ensure_stopped(call.home)
    with explained():
        if not replace and mesh_key(call.home):
            raise Fault(
                "this home has a mesh's key already", "to make another: --replace; those who have the old one stay outside"
            )
    keep_key(call.home, new_key())
    call.result({"private": True}, f"this home's mesh is private from its next `meshgen run` on; {INVITE}")


@key.command("set")
@click.argument("file", type=click.File("r", encoding="ascii", errors="replace"), default="-")
@verb
def set_(call: Call, file: IO[str]) -> None:
    """Take the key in FILE, or on standard input: as `show` prints it, or any libp2p's swarm.key."""
    from meshgen.peers.mesh_key import keep_key, parse_key

    ensure_stopped(call.home)
    with explained():
        keep_key(call.home, parse_key(file.read(MAX_PASTED), "that"))
    call.result({"private": True}, "the key is kept; this home's mesh is private from its next `meshgen run` on")


@key.command()
@verb
def show(call: Call) -> None:
    """Print the key. Whoever sees it can join."""
    from meshgen.peers.mesh_key import mesh_key, render_key

    with explained():
        found = mesh_key(call.home)
    if found is None:
        raise Fault("this home has no mesh's key: its mesh is open", "to make it private: meshgen mesh key new")
    call.result({"key": found.hex()}, render_key(found).rstrip())


@key.command()
@verb
def rm(call: Call) -> None:
    """Forget the key: this home's mesh is open to all again, and closed to those who still have it."""
    from meshgen.peers.mesh_key import drop_key

    ensure_stopped(call.home)
    drop_key(call.home)
    call.result({"private": False}, "this home has no mesh's key any more")
