from __future__ import annotations

from collections.abc import Iterator

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.verb import count
from meshgen.peers.reaching import is_alone

FORWARD = "forward the TCP port of mesh.listen at the router and name it in mesh.announce, or join through a node that relays"


def _why_alone(patient: Patient) -> tuple[str, str]:
    """And what to do."""
    settings = patient.usable()
    if settings and not is_alone(settings.mesh.listen):
        return "this machine has no network now: nobody elsewhere can dial this node", "the node notices when there is one"
    cure = "let mesh.listen name this machine's own address, or /ip4/0.0.0.0/tcp/4711 for all of them"
    return "mesh.listen is for this machine alone: nobody elsewhere can dial this node", cure


def reach(patient: Patient) -> Iterator[Finding]:
    """Can others dial this node?"""
    found = patient.running.get("reach")
    if not found:
        return
    relays, seen = int(found["relays"]), ", ".join(found["observed"])
    if is_alone(patient.running.get("addresses", [])):
        yield Finding("nat", "note", *_why_alone(patient))
    elif found["state"] == "public":
        yield Finding("nat", "ok", "others can dial this node" + (f" at {seen}" if seen else ""))
    elif found["state"] == "unknown":
        yield Finding("nat", "note", "nobody has tried yet whether this node can be dialled")
    elif relays:
        yield Finding("nat", "ok", f"behind NAT (a router or firewall); others get in through {count(relays, 'relay')}")
    elif patient.has_role("worker", "hub", "archivist"):
        text = "behind NAT (a router or firewall), and no relay lets others in: only peers that it dials itself can use it"
        yield Finding("nat", "fault", text, FORWARD)
    else:
        yield Finding(
            "nat", "note", "behind NAT (a router or firewall) without a relay: it dials others, and nobody dials it", FORWARD
        )
