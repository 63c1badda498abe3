"""What the verbs that ask the mesh for something have in common: the prompt's words, their limits, what it would cost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault
from meshgen.cli.verb import count, kudos
from meshgen.cli.whom import People


def limits(one: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of every request; ``one`` is what the most that is paid is for."""
    options = (
        click.option(
            "--nsfw", is_flag=True, help="What comes out may be not safe for work: ask only workers that take such jobs."
        ),
        click.option("--dry-run", is_flag=True, help="Say what it would cost, and ask nobody anything."),
        click.option("--max-kudos", type=click.FloatRange(0, 2**30), default=None, help=f"The most that {one} may cost."),
        click.option(
            "--timeout", type=click.FloatRange(1, 86400), default=None, metavar="SECONDS", help="Give up after so long."
        ),
        click.option("--worker", "workers", multiple=True, metavar="PEER", help="Ask this peer alone (repeatable)."),
        click.option("--avoid", "avoid_workers", multiple=True, metavar="PEER", help="Don't ask this peer (repeatable)."),
    )
    return lambda command: reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def limits_body(nsfw: bool, dry_run: bool, max_kudos: float | None, timeout: float | None, **whom: Any) -> dict[str, Any]:
    mkudos = None if max_kudos is None else round(max_kudos * 1000)
    return {"nsfw": nsfw, "dry_run": dry_run, "max_mkudos": mkudos, "timeout_s": timeout} | whom


def by_id(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """With the peers' ids where people named peers. Raises Fault."""
    named = {key: body[key] for key in ("workers", "avoid_workers") if body[key]}
    people = People(api) if named else None
    return body | {key: [people.find(name) for name in names] for key, names in named.items() if people}


def prompt_of(words: Sequence[str], what: str) -> str:
    """One text in quotes, the words of one without them, or ``-`` for standard input. Raises Fault, UsageError."""
    if len(words) > 1 and any(not word or any(map(str.isspace, word)) for word in words):
        raise click.UsageError("there is more than one prompt: put quotes around the whole of it, and a - before each option")
    prompt = sys.stdin.read() if tuple(words) == ("-",) else " ".join(words)
    if not prompt.strip():
        raise Fault("the prompt is empty", what, code="no_prompt")
    return prompt


def price(quote: dict[str, Any], what: str) -> str:
    """A dry run's answer. ``what`` would be bought: "2 pictures of 512x512 in 20 steps by sd15"."""
    each = " each" if quote["count"] > 1 else ""
    one = f"{kudos(quote['max_mkudos'])}{each}; " if each else ""
    lines = [what, f"by the tariff: {kudos(quote['tariff_total_mkudos'])} kudos{', shared' if quote['shared'] else ''}"]
    lines.append(f"at most:       {kudos(quote['total_mkudos'])} kudos ({one}--max-kudos sets it)")
    lines += [_level(level, quote["tariff_mkudos"], each) for level in quote["levels"]]
    if not quote["levels"]:
        lines.append("no worker is known yet that would do it")
    if quote["own"]:
        lines.append("this node can do it too, for nothing")
    return "\n".join([*lines, "nobody was asked anything"])


def _level(level: dict[str, Any], tariff_mkudos: int, each: str) -> str:
    who = count(level["workers"], "worker asks", "workers ask")
    asks = f"{who} the tariff" if level["mkudos"] == tariff_mkudos else f"{who} {kudos(level['mkudos'])} kudos{each}"
    return asks + ("" if level["in_reach"] else ", which is more than that")
