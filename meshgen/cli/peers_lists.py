"""Whom this node blocks, allows and follows: `meshgen peers block`, `allow`, `follow` and their opposites, kept in settings."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.client import Api
from meshgen.cli.credit_text import when
from meshgen.cli.faults import Fault
from meshgen.cli.since import parse_span
from meshgen.cli.verb import Call, count, table, verb
from meshgen.cli.whom import People, is_peer_id

if TYPE_CHECKING:
    from meshgen.settings.blocking import Block

MAX_WHY = 120
MINUTE_MS = 60_000
_WHY = re.compile(rf"[ -'*-~]{{0,{MAX_WHY}}}")


@click.command()
@click.argument("peer", metavar="PEER|ACCOUNT")
@click.option("--for", "span", default="", metavar="SPAN", help="How long, e.g. 12h, 7d (default: until it is unblocked).")
@click.option("--why", default="", help=f"A few words for you to remember; {MAX_WHY} plain letters at most, without brackets.")
@verb
def block(call: Call, peer: str, span: str, why: str) -> None:
    """Have nothing to do with PEER: no link, no work either way. An ACCOUNT (64 hex digits) means all its devices.

    It takes effect at once. What runs with it ends: results that came stay and are paid. Only this node does so; to tell
    those who follow it, there is `meshgen peers advise`.

    \b
    meshgen peers block bob --for 7d --why "floods"
    """
    if not _WHY.fullmatch(why):
        raise click.BadParameter(
            f"{MAX_WHY} plain letters, digits and signs at most, without brackets (ASCII)", param_hint="--why"
        )
    from meshgen.settings.blocking import Block, parse_block

    api = Api.of(call.home)
    whom, people = _other(api, peer)
    until_ms = _minute(time.time_ns() // 1_000_000 + parse_span(span, "--for")) if span else 0
    lines = [line for line in _list(api, "block") if parse_block(line).who != whom]
    made = Block(whom, until_ms, why.strip())
    _write(api, "block", [*lines, str(made)])
    until = f"until {when(until_ms)} UTC" if until_ms else "until `meshgen peers unblock`"
    call.result(_shown(made, people), f"blocked {_name(whom, people)} {until}")


@click.command()
@click.argument("peer", metavar="PEER|ACCOUNT")
@verb
def unblock(call: Call, peer: str) -> None:
    """Deal with PEER again."""
    from meshgen.settings.blocking import parse_block

    api = Api.of(call.home)
    lines = _list(api, "block")
    blocks = [parse_block(line) for line in lines]
    whom, people = _whom(api, peer, [one.who for one in blocks])
    if whom not in [one.who for one in blocks]:
        account = api.get("/v1/credit/balance", peer=whom)["account"] if is_peer_id(whom) else ""
        if account in [one.who for one in blocks]:
            through = f"{_name(whom, people)} is blocked through its account {account[:12]}"
            raise Fault(through, f"to deal with all its devices again: meshgen peers unblock {account}")
        raise Fault(f"{_name(whom, people)} is not blocked", "`meshgen peers blocked` shows who is")
    _write(api, "block", [line for line, one in zip(lines, blocks, strict=True) if one.who != whom])
    call.result({"peer": whom, "blocked": False}, f"{_name(whom, people)} is blocked no more")


@click.command()
@verb
def blocked(call: Call) -> None:
    """Whom this node blocks, until when, and why."""
    from meshgen.settings.blocking import parse_block

    api = Api.of(call.home)
    people, now_ms = People(api), time.time_ns() // 1_000_000
    rows = [_shown(parse_block(line), people) for line in _list(api, "block")]
    cells = [(row["name"], _until(row["until_ms"], now_ms), row["why"] or "-", row["peer"]) for row in rows]
    call.result({"blocked": rows}, table(("WHO", "UNTIL", "WHY", "ID"), cells) if rows else "nobody is blocked")


@click.command()
@click.argument("peer", metavar="PEER|ACCOUNT")
@verb
def allow(call: Call, peer: str) -> None:
    """No advice counts against PEER, nor a block of its account. With `node.only_allowed`, only such are dealt with."""
    api = Api.of(call.home)
    _add(call, api, "allow", *_other(api, peer), "is allowed")


@click.command()
@click.argument("peer", metavar="PEER|ACCOUNT")
@verb
def unallow(call: Call, peer: str) -> None:
    """Take PEER off the list of those allowed."""
    _remove(call, "allow", peer, "is on the list of those allowed no more")


@click.command()
@click.argument("peer")
@verb
def follow(call: Call, peer: str) -> None:
    """Heed PEER's advice: whom it says to avoid, this node asks for nothing and does nothing for.

    One who says "trust" makes up for one who says "avoid". Nobody's advice is passed on.
    """
    api = Api.of(call.home)
    whom, people = _other(api, peer)
    if not is_peer_id(whom):
        raise Fault(f"{_name(whom, people)} says nothing itself", "follow one of its devices, by its peer id")
    _add(call, api, "follow", whom, people, "is followed")


@click.command()
@click.argument("peer")
@verb
def unfollow(call: Call, peer: str) -> None:
    """Heed PEER's advice no more."""
    _remove(call, "follow", peer, "is followed no more")


@click.command()
@verb
def followed(call: Call) -> None:
    """Whose advice this node heeds."""
    api = Api.of(call.home)
    people, keys = People(api), _list(api, "follow")
    cells = [(people.name(key), key) for key in keys]
    call.result({"followed": keys}, table(("WHO", "PEER ID"), cells) if keys else "nobody is followed")


# -- the lists in the settings


def _list(api: Api, name: str) -> list[str]:
    return list(api.get("/v1/settings")["settings"][f"node.{name}"])


def _write(api: Api, name: str, lines: list[str]) -> None:
    done = api.patch("/v1/settings", {"changes": {f"node.{name}": lines}})
    if done["decided"]:
        raise Fault(
            f"it is in the settings' file now, but node.{name} is set by the environment or the command line, which goes first",
            f"take it out there, or put the whole list there: {', '.join(lines)}",
        )


def _add(call: Call, api: Api, name: str, whom: str, people: People, told: str) -> None:
    keys = _list(api, name)
    if whom not in keys:
        _write(api, name, [*keys, whom])
    call.result({name: whom}, f"{_name(whom, people)} {told}")


def _remove(call: Call, name: str, peer: str, told: str) -> None:
    api = Api.of(call.home)
    keys = _list(api, name)
    whom, people = _whom(api, peer, keys)
    if whom not in keys:
        raise Fault(f"{_name(whom, people)} is not on that list", f"it holds {count(len(keys), 'entry', 'entries')}")
    _write(api, name, [key for key in keys if key != whom])
    call.result({name: keys}, f"{_name(whom, people)} {told}")


# -- whom


def _whom(api: Api, text: str, listed: list[str] | None = None) -> tuple[str, People]:
    """A peer or an account. Who is on the list is found by the beginning or end of its id, though it may be known no more."""
    people = People(api)
    if not text:
        raise Fault("an empty name names nobody", "give a peer id or an alias, from `meshgen peers`, or an account id")
    fitting = [who for who in listed or () if len(text) >= 4 and (who.startswith(text) or who.endswith(text))]
    if len(fitting) == 1:
        return fitting[0], people
    return (text if re.fullmatch(r"[0-9a-f]{64}", text) else people.find(text)), people


def _other(api: Api, text: str) -> tuple[str, People]:
    """The same, for a list on which this node's own names mean nothing. Raises Fault."""
    whom, people = _whom(api, text)
    own = api.get("/v1/credit/balance")
    if whom == own["peer"]:
        raise Fault("that is this node itself")
    if whom == own["account"]:
        raise Fault("that is this node's own account")
    return whom, people


def _name(who: str, people: People) -> str:
    return people.full(who) if is_peer_id(who) else f"the account {who[:12]}"


def _shown(one: Block, people: People) -> dict[str, Any]:
    return {"peer": one.who, "name": people.called(one.who), "until_ms": one.until_ms or None, "why": one.why}


def _minute(ms: int) -> int:
    """Lists are kept to the minute: the end of it, as nobody is to be let in again too soon."""
    return -(-ms // MINUTE_MS) * MINUTE_MS


def _until(until_ms: int | None, now_ms: int) -> str:
    if not until_ms:
        return "for good"
    return f"{when(until_ms)}{' (over)' if until_ms <= now_ms else ''}"
