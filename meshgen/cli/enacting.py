"""How a charter takes effect at a home, or why it can't: what the verbs of `meshgen mesh` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshgen.cli.charter_words import file_document, file_text
from meshgen.cli.client import Api
from meshgen.cli.config import settings_of
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.keyfiles import begin_key
from meshgen.cli.verb import Call, count
from meshgen.gateway.runfile import read_run
from meshgen.home import CONFIG_FILE
from meshgen.identity import Identity
from meshgen.net.port import NetError
from meshgen.peers.charter_file import CharterError, in_words
from meshgen.peers.charter_home import joined, keep, mesh_of_log, write_whole
from meshgen.peers.charter_text import render_charter
from meshgen.protocols.charter import Charter, Lineage, SignedCharter
from meshgen.protocols.codec import Malformed


def outcome(call: Call, file: Path, signed: SignedCharter, rules: Charter) -> tuple[dict[str, Any], str]:
    """What becomes of a version that this home has just signed."""
    missing = rules.threshold - len(signed.signers(rules.delegates))
    if missing > 0:
        hint = f"{count(missing, 'signature')} of another delegate still missing; each runs: meshgen mesh sign {file.name}"
        if signed.charter.version == 0:
            hint += f"\nthen every home, this one too, joins before its first `meshgen run`: meshgen mesh join {file.name}"
        return file_document(signed, rules), f"{file_text(signed, rules)}\n{file} is signed; {hint}"
    in_force, effect = _take_effect(call.home, signed)
    return file_document(signed, rules) | {"in_force": in_force}, f"{file_text(signed, rules)}\n{effect}"


def _take_effect(home: Path, signed: SignedCharter) -> tuple[bool, str]:
    """Does it hold at this home now, and how it goes on."""
    before = joined(home)
    if signed.charter.version == 0:
        lineage = Lineage.founded(signed)
        if mesh_of_log(home) not in (b"", lineage.net) or before:
            return False, f"the mesh {lineage.net.hex()} is founded; this home belongs to another, members join with the file"
    else:
        assert before is not None  # the rules came from it
        lineage = before.amended(signed)
    run = read_run(home)
    if run is not None and run.alive() and signed.charter.version:
        Api.of(home).post("/v1/mesh/charter", {"text": render_charter(signed)})
        return True, "it is in force at the running node, and on its way to the others"
    keep_at(home, lineage)
    if signed.charter.version == 0:
        return True, f"it is in force at this home; next: meshgen run, then invite others with `meshgen mesh invite`{_idle(home)}"
    return True, "it is in force at this home; others get it from the node when it runs"


def _idle(home: Path) -> str:
    """How a founder's node comes to work for others, if it would not."""
    if {"worker", "hub"}.intersection(settings_of(home).node.roles):
        return ""
    cure = "add worker to node.roles in its config.yaml"
    if not (home / CONFIG_FILE).exists():
        cure = "`meshgen init --profile laptop` (or gpu-server), now"
    return f"\nthis node asks for pictures and draws none for others; to have it do so: {cure}"


def keep_at(home: Path, lineage: Lineage) -> None:
    """Raises Fault if the home belongs elsewhere."""
    ensure_free(home, lineage.net, f"{lineage.current.name} ({lineage.net.hex()})")
    before = joined(home)
    if before is None or len(before.documents) < len(lineage.documents):
        keep(home, lineage)


def ensure_free(home: Path, net: bytes, name: str) -> None:
    """May it belong to the mesh ``net``? Raises Fault if it belongs elsewhere, CharterError."""
    before = joined(home)
    other = before.net if before else mesh_of_log(home)
    if other not in (b"", net):
        its = f"the mesh {before.current.name}" if before else "another mesh"
        raise BadHome(
            f"{home} belongs to {its} ({other.hex()}), not to {name}",
            "credit never crosses from one mesh to another; use another home: meshgen --home FOLDER join ...",
            code="other_mesh",
        )


def write_charter(file: Path, signed: SignedCharter) -> None:
    try:
        write_whole(file, render_charter(signed))
    except OSError as error:
        raise Fault(f"{file} can't be written: {error.strerror}") from None


def rules_for(signed: SignedCharter, home: Lineage | None) -> Charter | None:
    """The version whose delegates decide about this one: itself if it founds, else its parent; None if the parent is unknown."""
    if signed.charter.version == 0:
        return signed.charter
    for document in home.documents if home else ():
        if document.hash == signed.charter.parent:
            return document.charter
    return None


def line_with(home: Path, signed: SignedCharter, hash_: str) -> Lineage:
    """The mesh that this version founds, or the home's own with it as the next."""
    before = joined(home)
    lineage = before.amended(signed) if before and signed.charter.version else Lineage.founded(signed)
    if hash_:
        ensure_hash(lineage, hash_)
    return lineage


def ensure_hash(lineage: Lineage, text: str) -> None:
    """Raises Fault if this is another mesh than the one meant."""
    if not lineage.documents[0].hash.hex().startswith(text.lower()):
        raise Fault(f"that charter founds the mesh {lineage.net.hex()}, not {text[:64]}", "is it the right file or address?")


# -- homes


def delegate_of(home: Path, rules: Charter) -> Identity:
    me = begin_key(home)
    if me.public_key not in rules.delegates:
        raise Fault(f"this home, {me.peer_id}, is no delegate of {rules.name}", "only its delegates can sign; see `mesh show`")
    return me


def joined_by(home: Path) -> Lineage:
    lineage = joined(home)
    if lineage is None:
        raise Fault("this home has joined no signed charter", "found one with `meshgen mesh create`, or join one")
    return lineage


def ensure_stopped(home: Path) -> None:
    run = read_run(home)
    if run is not None and run.alive():
        raise Fault("the node of this home runs", "stop it first: meshgen stop")


@contextmanager
def explained() -> Iterator[None]:
    try:
        yield
    except (CharterError, Malformed) as error:
        raise Fault(in_words(str(error)), code="bad_charter") from None
    except NetError as error:
        raise Fault(f"no charter came from there: {error}", "is the address right, and does that node run?") from None
