from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.agreeing import at_terminal
from meshgen.cli.charter_words import mesh_document
from meshgen.cli.enacting import ensure_free, ensure_stopped, explained, line_with
from meshgen.cli.faults import Fault
from meshgen.cli.verb import Call, count, verb

if TYPE_CHECKING:
    from meshgen.cli.joining import Entry
    from meshgen.protocols.invite import Invite

MAX_PASTED = 8192
LOOKS = "an invite line begins with MESHGEN:1, an address with /, and a charter is a file"


@click.command()
@click.argument("source", metavar="[LINE|FILE|ADDRESS]", default="")
@click.argument("hash_", metavar="[HASH]", default="")
@click.option("--profile", default=None, help="What a new node is for: laptop (default), gpu-server, hub, observer.")
@click.option("--alias", default="", help="A name that others see beside a new node's peer id.")
@click.option("--charter", type=click.Path(dir_okay=False), help="The invite's charter, if nobody is to be asked for it.")
@click.option("--offline", is_flag=True, help="Ask nobody: for a plain name, or with --charter.")
@click.option("--run", "run_then", is_flag=True, help="Run the node at once.")
@verb
def join(call: Call, source: str, hash_: str, profile: str | None, alias: str, run_then: bool, **given: Any) -> None:
    """Join a mesh by its invite LINE, which a member's `meshgen mesh invite` prints. Makes this machine's node if there is none.

    Without LINE it is read from the terminal or standard input, and stays out of the shell's history. Also: a charter's FILE, or
    a member's ADDRESS and the mesh's id as HASH.
    """
    from meshgen.cli.joining import take_home

    ensure_stopped(call.home)
    with explained():
        entry = _entry(call, source or _pasted(), hash_, **given)
        peer = take_home(call.home, entry, profile, alias)
    call.result(_document(call.home, entry, peer), _text(entry, peer, run_then))
    if run_then:
        _become_the_node(call.home)


def _become_the_node(home: Path) -> None:
    """In place of this process, whose command line may hold a mesh's key for all to see."""
    program = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]  # Python's own options, and what it runs
    debug = ["--debug"] if click.get_current_context().find_root().params.get("debug") else []
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *program, *debug, "--home", str(home), "run"])


def _pasted() -> str:
    """All of it, however many lines it was broken into: what is left over would be the shell's."""
    if not at_terminal():
        return sys.stdin.read(MAX_PASTED + 1).strip()
    click.echo("Invite line, then Enter: ", nl=False, err=True)
    text = ""
    while len(text) <= MAX_PASTED and (line := sys.stdin.readline(MAX_PASTED)).strip():
        text += line
        if _is_whole(text):
            break
    return text.strip()


def _is_whole(text: str) -> bool:
    from meshgen.protocols.codec import Malformed
    from meshgen.protocols.invite import read_line

    try:
        return bool(read_line(text))
    except Malformed:
        click.echo("... the rest of it, or Enter: ", nl=False, err=True)
        return False


def _entry(call: Call, source: str, hash_: str, charter: str | None, offline: bool) -> Entry:
    """Raises Fault, CharterError, Malformed, NetError."""
    from meshgen.cli.joining import Entry
    from meshgen.peers.charter_home import read_charter
    from meshgen.protocols.invite import SCHEME, read_line

    if SCHEME in source.upper():
        return _invited(call, read_line(f"{source} {hash_}"), charter, offline)
    if source.startswith(("/ip4/", "/ip6/", "/dns")):
        return _at(call, source, hash_)
    if not source or not _is_file(source):
        raise Fault("that is no invite line and no file" if source else "no invite line was given", LOOKS)
    return Entry(line_with(call.home, read_charter(Path(source)), hash_))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a name that is too long, which is a line without its beginning
        return False


def _at(call: Call, address: str, hash_: str) -> Entry:
    from meshgen.cli.founding import lineage_from
    from meshgen.cli.joining import Entry
    from meshgen.peers.mesh_key import mesh_key

    if "/p2p/" not in address:
        raise Fault(
            f"{address}: an address ends with the peer id of the node there: .../p2p/12D3KooW...",
            "its `meshgen status` shows it",
        )
    return Entry(lineage_from(address, hash_, mesh_key(call.home)), (address,), answered=address)


def _invited(call: Call, invite: Invite, charter: str | None, offline: bool) -> Entry:
    from meshgen.cli.joining import Entry, ask_all, ensured, key_for
    from meshgen.peers.charter_home import read_charter
    from meshgen.protocols.charter import Lineage

    ensure_free(call.home, invite.net, invite.name or f"that of the invite ({invite.net.hex()})")
    if charter:
        lineage = ensured(line_with(call.home, read_charter(Path(charter)), ""), invite)
        return Entry(lineage, invite.addresses, invite.psk)
    if offline and invite.name:
        return Entry(Lineage.plain(invite.name), invite.addresses, invite.psk)
    if offline:
        raise Fault("this mesh has a charter, which has to come from somewhere", "give its file as well: --charter FILE")
    click.echo(f"asking at {count(len(invite.addresses), 'address', 'addresses')} ...", err=True)
    return ask_all(invite, key_for(call.home, invite))


def _document(home: Path, entry: Entry, peer: str) -> dict[str, Any]:
    told = {"home": str(home), "peer_id": peer, "private": _private(home), "addresses": list(entry.addresses)}
    return mesh_document(entry.lineage) | told | {"answered_by": entry.answered}


def _private(home: Path) -> bool:
    from meshgen.peers.mesh_key import MESH_KEY_FILE

    return (home / MESH_KEY_FILE).exists()


def _text(entry: Entry, peer: str, run_then: bool) -> str:
    mesh = entry.lineage
    version = f", version {mesh.current.version}" if mesh.documents else ""
    whose = "private, its key is kept here" if entry.psk else f"mesh id {mesh.net.hex()}"
    listed = mesh.current.members == "listed"
    lines = [
        f"this home {'is set up for' if listed else 'is a member of'} {mesh.current.name}{version} ({whose}), as {peer}",
        _doors(entry),
    ]
    if listed:
        lines.append(f"its charter lists its members; if this node is none yet, a delegate runs `meshgen mesh admit {peer}`")
    return "\n".join(lines if run_then else [*lines, "next: meshgen run"])


def _doors(entry: Entry) -> str:
    known = len({*entry.addresses, *entry.lineage.current.bootstrap})
    if not known:
        return "it knows nobody to join through: a member's `meshgen mesh invite` does, and neighbours find each other"
    where = f"{entry.answered} answered; " if entry.answered else ""
    return f"{where}{count(known, 'address', 'addresses')} to join through {'is' if known == 1 else 'are'} kept"
