from __future__ import annotations

from typing import Any

import click

from meshgen.cli import credit_text as text
from meshgen.cli.client import Api
from meshgen.cli.credit_advice import advise
from meshgen.cli.credit_files import export, verify
from meshgen.cli.credit_words import tip, unvouch, vouch
from meshgen.cli.since import HELP as SINCE_HELP
from meshgen.cli.since import parse_since
from meshgen.cli.verb import Call, Verbs, verb
from meshgen.cli.whom import People

PAGE = 20
of_peer = click.option(
    "--peer", default="", metavar="PEER", help="A peer id, an alias, or the end of a peer id; without it, this node."
)


@click.group(cls=Verbs)
def credit() -> None:
    """Kudos: balances, the log behind them, its proof.

    Kudos order the queue; they are no money. Every figure opens into the signed entries that make it.

    \b
    meshgen credit balance                  what this node earned and spent
    meshgen credit balance --open earned    ... and with whom, deal by deal
    meshgen credit log --since 2d           the signed entries themselves
    meshgen credit explain bob              where bob stands here, and why
    meshgen credit verify                   check every signature and rule
    """


@credit.command()
@of_peer
@click.option("--open", "part", type=click.Choice(["earned", "spent", "held", "contested"]), help="The deals behind one figure.")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True, help=f"Of {PAGE} deals each, with --open.")
@verb
def balance(call: Call, peer: str, part: str | None, page: int) -> None:
    """What a peer earned and spent, and the deals that make it.

    With --json and --open all deals come at once.
    """
    api = Api.of(call.home)
    people = People(api)
    peer = people.find(peer)
    found = api.get("/v1/credit/balance", peer=peer)
    if part is None:
        call.result(found, text.balance(found, people))
    elif call.json:
        call.result(_all_deals(api, peer, part))
    else:
        deals = api.get("/v1/credit/deals", peer=peer, open=part, offset=(page - 1) * PAGE, limit=PAGE)
        call.result(deals, text.deals(deals, people, page, PAGE))


def _all_deals(api: Api, peer: str, part: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/v1/credit/deals", peer=peer, open=part, limit=1000)
    while len(found["items"]) < found["count"]:
        more = api.get("/v1/credit/deals", peer=peer, open=part, offset=len(found["items"]), limit=1000)["items"]
        if not more:
            break
        found["items"] += more
    return found


@credit.command()
@of_peer
@click.option("--since", default="", metavar="SEQ|DATE|SPAN", help=SINCE_HELP)
@click.option("--kind", "kinds", default="", metavar="KIND,...", help="Only these, such as hold,receipt,transfer.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many entries.")
@verb
def log(call: Call, peer: str, since: str, kinds: str, limit: int) -> None:
    """A peer's signed entries, as far as this node keeps them.

    Without --since the newest; with it the first from there on.

    \b
    meshgen credit log --since 2d --kind receipt,claim
    meshgen credit log --peer bob --since 2026-05-01
    """
    start = parse_since(since)
    api = Api.of(call.home)
    people = People(api)
    given = {"since": start.seq, "since_ms": start.ms, "kind": kinds, "limit": limit, "newest": "" if since else "true"}
    found = api.get("/v1/credit/log", peer=people.find(peer), **given)
    call.result(found, text.log(found, people, bool(since or kinds)))


@credit.command()
@click.argument("peer")
@verb
def explain(call: Call, peer: str) -> None:
    """Why PEER stands where it stands for this node, and what would change it.

    Its place in this node's queue comes from what this node, and those it owes, owe PEER: path by path, entry by entry.
    """
    api = Api.of(call.home)
    people = People(api)
    found = api.get("/v1/credit/explain", peer=people.find(peer))
    call.result(found, text.explanation(found, people))


for command in (verify, export, tip, vouch, unvouch, advise):
    credit.add_command(command)
