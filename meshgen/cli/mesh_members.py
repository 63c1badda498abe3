"""`meshgen mesh members`, `admit` and `expel`: the roll of a mesh whose charter lists its members."""

from __future__ import annotations

import re
from typing import Any

import click

from meshgen.cli.agreeing import ask
from meshgen.cli.client import Api
from meshgen.cli.faults import Fault
from meshgen.cli.verb import Call, count, table, verb
from meshgen.cli.whom import People

_HOW = {"delegate": 0, "admitted": 1, "device": 2, "expelled": 3}


@click.command()
@verb
def members(call: Call) -> None:
    """Who belongs to this node's mesh, if its charter lists them."""
    api = Api.of(call.home)
    found, people = api.get("/v1/mesh/members"), People(api)
    if found["members"] == "open":
        call.result(
            found, "this mesh is open to anybody; a charter with `members: listed` is for those alone whom delegates admit"
        )
        return
    rows = sorted(found["rows"], key=lambda row: (_HOW[row["how"]], row["peer_id"]))
    cells = [(_who(row, people), row["how"], _by(row, people), row["peer_id"] or row["account"]) for row in rows]
    told = table(("WHO", "HOW", "BY", "PEER ID"), cells)
    if found["membership"] != "member":
        told += f"\n{outside(found['membership'], api.get('/v1/status')['peer_id'])}"
    call.result(found, told)


@click.command()
@click.argument("peers", nargs=-1, metavar="PEER...")
@click.option("--all-of", "of", default="", metavar="PEER", help="All whom that delegate has admitted, before it leaves.")
@verb
def admit(call: Call, peers: tuple[str, ...], of: str) -> None:
    """Let PEERs (peer ids or account ids) into this mesh. Only its delegates can; it takes effect within seconds.

    Where the charter's roll_threshold is above 1, so many delegates must do so. The devices of a PEER's account come along.
    """
    api = Api.of(call.home)
    people = People(api)
    chosen = [_subject(peer, people) for peer in peers]
    if of:
        rows, whom = api.get("/v1/mesh/members")["rows"], people.find(of)
        chosen += [row["peer_id"] for row in rows if whom in row["by"]]
    if not chosen:
        raise click.UsageError("say whom: peer ids, as `meshgen status` shows them there")
    _change(call, api, {"admit": chosen}, f"admitted {count(len(chosen), 'peer')}")


@click.command()
@click.argument("peers", nargs=-1, required=True, metavar="PEER...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def expel(call: Call, peers: tuple[str, ...], yes: bool) -> None:
    """Put PEERs (peer ids or account ids) out of this mesh, with the devices of their accounts. Only its delegates can.

    It outweighs others' admissions until those who expelled admit again. Jobs that run are done and paid.
    """
    api = Api.of(call.home)
    people = People(api)
    chosen = [_subject(peer, people) for peer in peers]
    ask(f"Expel {', '.join(people.full(peer) for peer in chosen)}?", yes, "nobody was expelled")
    _change(call, api, {"expel": chosen}, f"expelled {count(len(chosen), 'peer')}")


def outside(membership: str, peer: str) -> str:
    """What somebody does who is no member."""
    if membership == "expelled":
        return f"this node was expelled: those delegates who did so can let it in again, with: meshgen mesh admit {peer}"
    return f"this node is no member yet: send its peer id to a delegate, who runs: meshgen mesh admit {peer}"


def _change(call: Call, api: Api, body: dict[str, list[str]], told: str) -> None:
    found = api.post("/v1/mesh/members", body)
    if found["members"] == "open":
        told += "; it counts once the charter says `members: listed`"
    elif found["roll_threshold"] > 1:
        told += f"; it counts once {found['roll_threshold']} delegates have done so"
    call.result(found, told)


def _subject(text: str, people: People) -> str:
    found = text if re.fullmatch(r"[0-9a-f]{64}", text) else people.find(text)
    if not found:
        raise Fault("an empty name names nobody", "give peer ids, from `meshgen status` there")
    return found


def _who(row: dict[str, Any], people: People) -> str:
    return people.name(row["peer_id"]) if row["peer_id"] else f"account {row['account'][:12]}"


def _by(row: dict[str, Any], people: People) -> str:
    return ", ".join(map(people.name, row["by"])) or "-"
