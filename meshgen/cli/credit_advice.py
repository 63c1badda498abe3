"""Advisories: what this node recommends to those who follow it (`node.follow` in their settings)."""

from __future__ import annotations

import re

import click

from meshgen.cli.agreeing import ask
from meshgen.cli.client import Api
from meshgen.cli.credit_text import SHORT, when
from meshgen.cli.since import parse_span
from meshgen.cli.verb import Call, verb
from meshgen.cli.whom import People

RECOMMENDATIONS = ("trust", "caution", "avoid")
MAX_LABEL = 64


@click.command()
@click.argument("subject", metavar="PEER|MODEL")
@click.argument("recommendation", type=click.Choice(RECOMMENDATIONS))
@click.option("--why", "--label", "label", default="", help="A few words why; everybody can read them. 64 plain letters at most.")
@click.option("--list", "topic", default="meshgen", show_default=True, help="Which of your lists it is for.")
@click.option("--for", "span", default="90d", show_default=True, metavar="SPAN", help="How long; 400 days at most.")
@click.option("--withdraw", is_flag=True, help="Take such an advisory back.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def advise(call: Call, subject: str, recommendation: str, label: str, topic: str, span: str, withdraw: bool, yes: bool) -> None:
    """Recommend to trust or to avoid a PEER, or a MODEL by its digest.

    Only nodes that follow this one (`meshgen peers follow`) heed it, and none passes it on. It is signed, in the log for
    everybody to read, and ends by itself.

    \b
    meshgen peers advise bob avoid --why "sends noise" --for 30d
    """
    if len(label) > MAX_LABEL or not (label.isascii() and (label.isprintable() or not label)):
        raise click.BadParameter(f"{MAX_LABEL} plain letters, digits and signs at most (ASCII)", param_hint="--why")
    api = Api.of(call.home)
    people = People(api)
    model = bool(re.fullmatch(r"[0-9a-f]{64}", subject))
    if not model and re.fullmatch(r"[0-9a-f]{12,63}", subject):
        raise click.BadParameter("a model needs its whole digest, 64 hex digits: meshgen models --json", param_hint="MODEL")
    whom, name = (subject, f"the model {subject[:SHORT]}") if model else ((found := people.find(subject)), people.full(found))
    ask(f"{'Take back' if withdraw else 'Publish'} the advice: {recommendation} {name}?", yes)
    body = {"model" if model else "peer": whom, "recommendation": recommendation, "label": label, "list": topic}
    said = api.post("/v1/credit/advise", body | {"for_ms": parse_span(span, "--for"), "withdraw": withdraw})
    until = "taken back" if withdraw else f"until {when(said['expires_ms'])} UTC"
    call.result(said, f"advised to {recommendation} {name}, {until}: entry {said['entry']['id'][:SHORT]}")
