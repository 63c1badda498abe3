"""Others: the doors to the mesh, who is connected, and whether what this node says arrives."""

from __future__ import annotations

from collections.abc import Iterator

from meshgen.cli.checks.clock import HURTS_S
from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.checks.stranger import Visit
from meshgen.cli.verb import count

SETTLED_S = 60
"""By then presence has been heard, if any will be: peers say so twice a minute."""


def hubs(patient: Patient) -> Iterator[Finding]:
    settings = patient.usable()
    if settings is None:
        return
    if not patient.doors and not patient.has_role("hub") and not settings.mesh.mdns and not patient.connected():
        cure = "join a mesh, or set mesh.bootstrap to a node that you know"
        yield Finding("hub", "note", "no node to join through: this one is alone", cure)
    linked = {door["address"] for door in patient.selftest.get("doors", ()) if door["linked"]}
    for address in patient.doors:
        place, other = _place(address), patient.elsewhere(address)
        if other:
            cure = "join that mesh by an invite line of one of its members, or take another node for mesh.bootstrap"
            yield Finding("hub", "fault", f"{place} is a node of another mesh ({other}); this home's is {patient.mesh}", cure)
        elif address in linked:
            yield Finding("hub", "ok", f"{place}: connected")
        elif visit := patient.visits.get(address):
            yield _judged(place, address, visit)


def _judged(place: str, address: str, visit: Visit) -> Finding:
    if visit.how == "closed":
        return Finding("hub", "fault", f"{place} does not answer: {visit.why}", _cure_of(visit.why))
    if visit.how == "refuses":
        cure = "ask for its address again: its key has changed, or its mesh is private (`meshgen join` takes an invite line)"
        text = f"{place} answers, but not as the node {address.rpartition('/')[2]} of this mesh: {visit.why}"
        return Finding("hub", "fault", text, cure)
    if visit.how == "reserved":
        return Finding("hub", "note", f"{place} is that node, but tells strangers nothing: {visit.why}")
    return Finding("hub", "ok", f"{place} answers as a node of this mesh")


def _cure_of(why: str) -> str:
    """Refused is an answer: the way there is good."""
    look = "see that its node runs" if why.endswith("refused") else "check this machine's network"
    return f"{look}, or take another node for mesh.bootstrap"


def _place(address: str) -> str:
    _, _, host, _, port = address.split("/")[:5]
    return f"{host} port {port}"


def peers(patient: Patient) -> Iterator[Finding]:
    if not patient.running:
        return
    if not patient.connected():
        blocked = f"; blocked here: {', '.join(patient.blocked)}" if patient.blocked else ""
        yield Finding("peers", "note", f"connected to nobody{blocked}", _company(patient))
    else:
        yield Finding("peers", "ok", f"{patient.connected()} connected, {patient.running.get('peers_known', 0)} known")


def _company(patient: Patient) -> str:
    """How it gets some."""
    if patient.blocked:
        return "`meshgen peers unblock` lets one of them in again"
    if patient.has_role("hub"):
        return "it waits for others to come: give them the line that `meshgen mesh invite` prints"
    if any(found.level != "ok" for found in hubs(patient)) and patient.doors:
        return "see hub above"
    if patient.doors:
        return (
            "if the node above, which answers strangers, stays away: ask its owner whether `meshgen peers blocked` names this one"
        )
    return "join others: meshgen join LINE; or have others join with the line that `meshgen mesh invite` prints"


def gossip(patient: Patient) -> Iterator[Finding]:
    found = patient.selftest.get("gossip")
    if found is None or not patient.connected():
        return
    heard_s, excused = found["presence_s"], patient.running["uptime_s"] < SETTLED_S or _is_explained(patient)
    if heard_s is None or heard_s > SETTLED_S:
        since = "nothing" if heard_s is None else f"nothing for {heard_s:.0f} s"
        refused = f"; {found['refused']} of other meshes or clocks were refused" if found["refused"] else ""
        text = f"{since} heard of the {count(patient.connected(), 'peer')} that it is connected to{refused}"
        cure = "see hub and clock above; else those peers run another version"
        yield Finding("gossip", "note" if excused else "fault", text, cure)
    else:
        topics = ", ".join(found["offers"])
        listens = f"; listens for offers of {topics}" if topics else ""
        yield Finding("gossip", "ok", f"{count(found['present'], 'peer')} heard of within a minute{listens}")
    if patient.running.get("worker") and not found["offers"]:
        yield Finding("gossip", "fault", "this worker listens for no offers", "it serves no model: see models above")


def _is_explained(patient: Patient) -> bool:
    """By a fault that another check names, or because all that are connected may be strangers, whose word does not count."""
    if patient.running.get("membership", "open") != "open":
        return True
    return abs(patient.ahead_s or 0) >= HURTS_S or any(map(patient.elsewhere, patient.doors))


def dht(patient: Patient) -> Iterator[Finding]:
    table = patient.selftest.get("table")
    if table is None or not patient.connected():
        return
    if table["error"]:
        yield Finding("dht", "fault", f"the own advert can't be put there: {table['error']}", "see hub and peers above")
        return
    answers = [visit.found for visit in patient.visits.values() if visit.found is not None]
    if any(answers):
        yield Finding("dht", "ok", f"a stranger finds this node's advert; it was put there within {table['ms']} ms")
    elif answers:
        cure = "wait a minute and look again; if it stays so, take another node for mesh.bootstrap"
        yield Finding("dht", "fault", "a stranger does not find this node's advert: newcomers look in vain for its models", cure)
    else:
        yield Finding("dht", "note", f"the own advert was put there within {table['ms']} ms; no stranger may ask for it")
