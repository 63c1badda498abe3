"""What a person adds to the own log: tips and vouches. Each is asked for once more, as nothing in a log can be taken back."""

from __future__ import annotations

import re
from typing import Any

import click

from meshgen.cli.agreeing import ask
from meshgen.cli.client import Api
from meshgen.cli.credit_text import SHORT, when
from meshgen.cli.faults import Fault
from meshgen.cli.since import parse_span
from meshgen.cli.verb import Call, kudos, verb
from meshgen.cli.whom import People, is_peer_id

MAX_MKUDOS = 2**40
REASONS = ("tip", "share", "rating", "treasury")
MAX_VOUCH_MS = 400 * 24 * 3600 * 1000
_AMOUNT = re.compile(r"(\d{1,10})(?:\.(\d{1,3}))?", re.ASCII)

unasked = click.option("--yes", is_flag=True, help="Do not ask; PEER must be a whole peer id then.")


def parse_kudos(text: str, hint: str = "KUDOS") -> int:
    """Milli-kudos in "12" or "12.345". Raises click.BadParameter."""
    match = _AMOUNT.fullmatch(text.strip())
    amount = int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0")) if match else 0
    if not 0 < amount <= MAX_MKUDOS:
        bounds = f"from 0.001 to {MAX_MKUDOS // 1000}, three decimals at most"
        raise click.BadParameter(f"{text[:40]!r} is no amount such as 5 or 2.5: {bounds}", param_hint=hint)
    return amount


@click.command()
@click.argument("peer")
@click.argument("amount", metavar="KUDOS")
@click.option("--reason", type=click.Choice(REASONS), default="tip", show_default=True, help="What it is for.")
@click.option("--receipt", default="", metavar="ID", help="The whole id of the receipt, or other entry, that it is for.")
@unasked
@verb
def tip(call: Call, peer: str, amount: str, reason: str, receipt: str, yes: bool) -> None:
    """Give PEER some KUDOS of this node's.

    It moves the balance and gives PEER no better place in anybody's queue. It can't be taken back.

    \b
    meshgen credit tip bob 5
    meshgen credit tip 12D3KooW... 0.5 --receipt 5b1c... --yes
    """
    mkudos = parse_kudos(amount)
    if receipt and not re.fullmatch(r"[0-9a-f]{64}", receipt):
        raise click.BadParameter("the whole id is needed, 64 hex digits", param_hint="--receipt")
    api = Api.of(call.home)
    whom, people = _whom(api, peer, yes)
    free = _free(api)
    lacking = (
        f"\nThat is more than this node has to give ({kudos(free)} kudos free); it would owe the rest." if mkudos > free else ""
    )
    ask(f"Give {kudos(mkudos)} kudos to {people.full(whom)}?{lacking}", yes)
    found = api.post("/v1/credit/tip", {"peer": whom, "mkudos": mkudos, "reason": reason, "about": receipt})
    call.result(found, f"gave {kudos(mkudos)} kudos to {people.name(whom)}: entry {found['entry']['id'][:SHORT]}")


@click.command()
@click.argument("peer")
@click.argument("amount", metavar="KUDOS")
@click.option("--for", "span", default="30d", show_default=True, metavar="SPAN", help="How long; 400 days at most.")
@unasked
@verb
def vouch(call: Call, peer: str, amount: str, span: str, yes: bool) -> None:
    """Answer for PEER up to KUDOS, as if this node owed it so much.

    PEER, and its account's other devices, are then served sooner by whoever owes this node something. If PEER uses it up, that
    is charged to this node's own standing there. A later vouch replaces an earlier one; `meshgen credit unvouch` ends it.

    \b
    meshgen credit vouch bob 100 --for 8w
    """
    mkudos, for_ms = parse_kudos(amount), parse_span(span, "--for")
    if for_ms > MAX_VOUCH_MS:
        raise click.BadParameter("400 days at most", param_hint="--for")
    api = Api.of(call.home)
    whom, people = _whom(api, peer, yes)
    ask(f"Answer for {people.full(whom)} with up to {kudos(mkudos)} kudos, for {span}?", yes)
    found = api.post("/v1/credit/vouch", {"peer": whom, "mkudos": mkudos, "for_ms": for_ms})
    until = when(found["expires_ms"])
    call.result(found, f"vouched for {people.name(whom)} until {until} UTC: entry {found['entry']['id'][:SHORT]}")


@click.command()
@click.argument("peer")
@unasked
@verb
def unvouch(call: Call, peer: str, yes: bool) -> None:
    """Answer for PEER no longer. What was used of the vouch stays used."""
    api = Api.of(call.home)
    whom, people = _whom(api, peer, yes)
    found = api.post("/v1/credit/vouch", {"peer": whom, "mkudos": 0})
    call.result(found, f"no longer vouching for {people.name(whom)}: entry {found['entry']['id'][:SHORT]}")


def _whom(api: Api, peer: str, yes: bool) -> tuple[str, People]:
    people = People(api)
    if yes and not is_peer_id(peer):
        raise Fault(
            f"with --yes {peer[:40]!r} must be a whole peer id: an alias is anybody's to choose", "`meshgen peers` shows them"
        )
    return people.find(peer), people


def _free(api: Api) -> int:
    found: dict[str, Any] = api.get("/v1/credit/balance")
    return max(0, int(found["balance_mkudos"]) - int(found["held_mkudos"]))
