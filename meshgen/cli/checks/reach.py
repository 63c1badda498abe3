from __future__ import annotations

from collections.abc import Iterator

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.verb import count

FORWARD = "forward the TCP port of mesh.listen at the router and name it in mesh.announce, or join through a node that relays"


def reach(patient: Patient) -> Iterator[Finding]:
    """Can others dial this node?"""
    found = patient.running.get("reach")
    if not found:
        return
    relays, seen = int(found["relays"]), ", ".join(found["observed"])
    if found["state"] == "public":
        yield Finding("nat", "ok", "others can dial this node" + (f" at {seen}" if seen else ""))
    elif found["state"] == "unknown":
        yield Finding("nat", "note", "nobody has tried yet whether this node can be dialled")
    elif relays:
        yield Finding("nat", "ok", f"behind NAT; {count(relays, 'relay')} lets others through to it")
    elif patient.has_role("worker", "hub", "archivist"):
        text = "behind NAT, and no relay holds a place for it: only peers that it dials itself can use it"
        yield Finding("nat", "fault", text, FORWARD)
    else:
        yield Finding("nat", "note", "behind NAT without a relay: it dials others, and nobody dials it", FORWARD)
