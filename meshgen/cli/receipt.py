from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.credit_text import when
from meshgen.cli.faults import FAULT, BadHome, NotRunning
from meshgen.cli.verb import Call, Verbs, count, kudos, verb

if TYPE_CHECKING:
    from meshgen.cli.receipts import Check

MARKS = {True: "yes", False: "NO", None: "?"}


@click.group(cls=Verbs)
def receipt() -> None:
    """Receipts: what was paid for, and its proof.

    A receipt is named by its id, by the beginning of it, or by a picture that it paid for. The node need not run.

    \b
    meshgen receipt show 5b1c90d2a7f3
    meshgen receipt verify lighthouse.png
    """


@receipt.command()
@click.argument("which", metavar="ID|PICTURE")
@verb
def show(call: Call, which: str) -> None:
    """The hold, the bill, the receipt, and who signed them."""
    found, _ = _look_up(call, which, check=False)
    call.result(found, _shown(found, call))


@receipt.command()
@click.argument("which", metavar="ID|PICTURE")
@verb
def verify(call: Call, which: str) -> None:
    """Check a receipt's signatures, its place in the log, and all entries before it.

    Of a picture it also says whether the receipt pays for this very file. The exit code is 1 if anything does not hold.
    """
    found, checks = _look_up(call, which, check=True)
    found["checks"] = [{"what": check.what, "ok": check.ok, "why": check.why} for check in checks]
    found["ok"] = all(check.ok is not False for check in checks)
    lines = [f"{MARKS[check.ok]:>4}  {check.what}{f': {check.why}' if check.why else ''}" for check in checks]
    head = f"receipt {found['receipt']['id'][:12]}: {kudos(found['mkudos'])} kudos"
    call.result(found, "\n".join([head, *lines, "all that can be checked holds" if found["ok"] else "it does not hold"]))
    if not found["ok"]:
        click.get_current_context().exit(FAULT)


def _look_up(call: Call, which: str, check: bool) -> tuple[dict[str, Any], list[Check]]:
    from meshgen.cli import receipts
    from meshgen.ledger.errors import LedgerError
    from meshgen.ledger.store import open_read_only

    path = Path(which)
    picture = receipts.read_picture(path) if path.suffix or path.is_file() else None
    try:
        with open_read_only(call.home) as store:
            dossier = receipts.find(store, picture.receipt if picture else which)
            return receipts.document(dossier, picture), receipts.checks(store, dossier, picture) if check else []
    except LedgerError as error:
        raise BadHome(str(error)) from None


def _shown(found: dict[str, Any], call: Call) -> str:
    bill, place, hold = found["bill"], found["place"], found["hold"]
    name = _names(call)
    drawn = f" for {count(found['units'], 'picture')}" if found["units"] else ""
    lines = [
        f"receipt  {found['receipt']['id']}",
        f"         {kudos(found['mkudos'])} kudos{drawn}, {found['state']}",
        f"payer    {name(found['payer'])}",
        f"payee    {name(found['payee'])}",
        f"signed   {when(found['receipt']['ts_ms'])} UTC by the payer: entry {place['seq']} of {place['of']} in its log",
    ]
    if hold:
        aside = f"{kudos(hold['mkudos'])} kudos set aside {when(hold['ts_ms'])} UTC, until {when(hold['says']['expires_ms'])}"
        lines.append(f"hold     {hold['id']}\n         {aside}")
    lines.append(f"bill     {kudos(bill['mkudos'])} kudos, signed by the payee: {bill['sig'][:24]}...")
    lines.append(f"result   {bill['result']}\n         a commitment to the pictures, with salts: it tells nothing of them")
    lines += [f"{one['kind']:8} {one['id']}: {one['words']}" for one in found["others"]]
    lines.append(
        f"Check it: meshgen receipt verify {found['picture']['file'] if found['picture'] else found['receipt']['id'][:12]}"
    )
    return "\n".join(lines)


def _names(call: Call) -> Any:
    """Aliases, if the node runs to be asked for them."""
    from meshgen.cli.client import Api
    from meshgen.cli.whom import People

    try:
        return People(Api.of(call.home)).full
    except NotRunning:
        return str
