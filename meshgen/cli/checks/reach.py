from __future__ import annotations

from collections.abc import Iterator

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.verb import count
from meshgen.peers.reaching import is_alone

FORWARD = "forward the TCP port of mesh.listen at the router and name it in mesh.announce, or join through a node that relays"


def reach(patient: Patient) -> Iterator[Finding]:
    """Can others dial this node?"""
    found = patient.running.get("reach")
    if not found:
        return
    relays, seen = int(found["relays"]), ", ".join(found["observed"])
    if is_alone(patient.running.get("addresses", [])):
        cure = "let mesh.listen name this machine's own address, or /ip4/0.0.0.0/tcp/4711 for all of them"
        yield Finding("nat", "note", "mesh.listen is for this machine alone: nobody elsewhere can dial this node", cure)
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
