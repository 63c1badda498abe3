from __future__ import annotations

from collections.abc import Iterator

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient


def charter(patient: Patient) -> Iterator[Finding]:
    from meshgen.peers.charter_file import CharterError
    from meshgen.peers.charter_home import UnreadableLog, ensure_of_log, lineage_of
    from meshgen.peers.mesh_key import mesh_key

    settings = patient.usable()
    if settings is None:
        return
    try:
        lineage = lineage_of(patient.home, settings)
        private = ", private" if mesh_key(patient.home) else ""
    except CharterError as error:
        yield Finding("mesh", "fault", str(error), "mend that, or join the mesh again with an invite line of one of its members")
        return
    except PermissionError:  # the check of the home says so
        return
    try:
        ensure_of_log(patient.home, lineage)
    except UnreadableLog:  # the check of the log says so
        pass
    except CharterError as error:
        yield Finding("mesh", "fault", str(error))
        return
    version = f", version {lineage.current.version}" if lineage.documents else ""
    yield Finding("mesh", "ok", f"{lineage.current.name} ({lineage.net.hex()}){version}{private}")


def membership(patient: Patient) -> Iterator[Finding]:
    found = patient.running.get("membership", "open")
    if found == "stranger":
        cure = f"ask a delegate of the mesh to run: meshgen mesh admit {patient.running['peer_id']}"
        yield Finding("member", "fault", "this mesh deals with members alone, and this node is none yet", cure)
    elif found == "expelled":
        cure = "ask those who did so; `meshgen mesh members` names the delegates"
        yield Finding("member", "fault", "a delegate has expelled this node from the mesh: nobody there deals with it", cure)
    elif found == "member":
        yield Finding("member", "ok", "of a mesh that deals with members alone")
