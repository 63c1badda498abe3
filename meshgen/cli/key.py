from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.since import parse_span
from meshgen.cli.verb import Call, Verbs, kudos, table, verb

NONE = "no key is shared; make one with `meshgen key new NAME`"
DAY_MS = 24 * 3600 * 1000


@click.group(cls=Verbs, invoke_without_command=True)
@verb
def key(call: Call) -> None:
    """The key by which AI Horde's clients use this node as you; `new`, `ls` and `rm` are about keys for others.

    \b
    meshgen key
    meshgen key new "Aunt May" --kudos 200 --for 30d
    """
    if click.get_current_context().invoked_subcommand is None:
        found = _own_key(call.home)
        call.result({"key": found}, found)


@key.command()
@click.argument("name")
@click.option("--kudos", "most", type=click.IntRange(min=-1), default=5000, show_default=True, help="The most it may spend.")
@click.option("--for", "span", default="", metavar="SPAN", help="How long it works: 30d, 8w (default: until `rm`).")
@click.option("--pixels", type=click.IntRange(min=1), help="Most pixels of a picture, width times height.")
@click.option("--steps", type=click.IntRange(min=1), help="Most steps of a picture.")
@click.option("--tokens", type=click.IntRange(min=1), help="Most tokens of a text.")
@verb
def new(call: Call, name: str, most: int, span: str, **limits: int | None) -> None:
    """Make a key for somebody else, who spends your credit with it."""
    body = {"name": name, "kudos": most, "days": _days(span)}
    fields = {"pixels": "max_image_pixels", "steps": "max_image_steps", "tokens": "max_text_tokens"}
    body |= {fields[option]: value for option, value in limits.items() if value}
    found = Api.of(call.home).post("/v1/keys", body)
    call.result(found, found["id"])


@key.command()
@verb
def ls(call: Call) -> None:
    """Keys of others, with what they have spent."""
    found = Api.of(call.home).get("/v1/keys")
    text = table(("KEY", "NAME", "SPENT", "OF", "UNTIL"), map(_row, found["keys"])) if found["keys"] else NONE
    call.result(found, text)


@key.command()
@click.argument("which", metavar="KEY|NAME")
@verb
def rm(call: Call, which: str) -> None:
    """End a key, by itself or by the name that it was made with. Jobs under way go on."""
    api = Api.of(call.home)
    found = api.delete(f"/v1/keys/{quote(_meant(api.get('/v1/keys')['keys'], which), safe='')}")
    call.result(found, f"{which} opens nothing any more")


def _own_key(home: Path) -> str:
    """Made here if the node never ran."""
    from meshgen.gateway.keys import KeyRingError, load_or_make_key

    if not (home / "identity.key").exists():
        raise BadHome(f"there is no node in {home}", "make one with `meshgen init`")
    try:
        return load_or_make_key(home)
    except KeyRingError as error:
        raise BadHome(str(error)) from None


def _meant(keys: list[dict[str, Any]], which: str) -> str:
    """Raises Fault."""
    named = [key["id"] for key in keys if key["name"] == which]
    if len(named) > 1:
        raise Fault(f"{len(named)} keys are called {which!r}", "say which: `meshgen key ls` shows them", code="ambiguous")
    if not named and which not in [key["id"] for key in keys]:
        raise Fault(f"there is no key {which!r}", "`meshgen key ls` shows those that there are", code="no_key")
    return named[0] if named else which


def _days(span: str) -> int:
    """-1 = without end. Raises click.BadParameter."""
    if not span:
        return -1
    ms = parse_span(span, "--for")
    if ms % DAY_MS:
        raise click.BadParameter("whole days, please, such as 1d or 8w", param_hint="--for")
    return ms // DAY_MS


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    return key["id"], key["name"], kudos(key["used_mkudos"]), _most(key["kudos"]), _until(key["expires_ms"])


def _most(limit: int) -> str:
    return "no limit" if limit == -1 else str(limit)


def _until(ms: int) -> str:
    from meshgen.cli.credit_text import when

    return "you end it" if ms == -1 else when(ms)
