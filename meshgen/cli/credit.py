from __future__ import annotations

from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import FAULT, BadHome
from meshgen.cli.verb import Call, count, kudos, table, verb

of_peer = click.option("--peer", default="", help="A peer id; without it, this node.")


@click.group()
def credit() -> None:
    """Kudos: balances, the log behind them, its proof."""


@credit.command()
@of_peer
@verb
def balance(call: Call, peer: str) -> None:
    """What a peer earned and spent."""
    found = Api.of(call.home).get("/v1/credit/balance", peer=peer)
    rows = [(name, kudos(found[f"{name}_mkudos"])) for name in ("balance", "earned", "spent", "held", "contested")]
    call.result(found, "\n".join(f"{click.style(f'{name:10}', bold=True)} {amount:>14} kudos" for name, amount in rows))


@credit.command()
@of_peer
@click.option("--since", type=click.IntRange(1), default=1, show_default=True, help="The first entry's number.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many entries.")
@verb
def log(call: Call, peer: str, since: int, limit: int) -> None:
    """A peer's signed entries, as far as this node keeps them."""
    found = Api.of(call.home).get("/v1/credit/log", peer=peer, since=since, limit=limit)
    rows = found["entries"]
    call.result(
        found,
        table(("SEQ", "TIME", "KIND", "KUDOS", "ABOUT", "ID"), map(_row, rows)) if rows else "no entries are kept of that peer",
    )


@credit.command()
@verb
def verify(call: Call) -> None:
    """Check every log kept in the home, from its first entry on. The node need not run."""
    from meshgen.identity import peer_id
    from meshgen.ledger.errors import LedgerError
    from meshgen.ledger.verify import verify_home

    try:
        report = verify_home(call.home)
    except LedgerError as error:
        raise BadHome(str(error), "a log begins when the node runs for the first time") from None
    found = {
        "ok": report.ok,
        "peer": peer_id(report.own),
        "chains": len(report.heads),
        "entries": report.entries,
        "forks": len(report.forks),
        "faults": [str(fault) for fault in report.faults],
        "balance_mkudos": report.balance.net,
        "total_mkudos": report.total,
    }
    call.result(found, _verdict(found))
    if not report.ok:
        click.get_current_context().exit(FAULT)


def _verdict(found: dict[str, Any]) -> str:
    held = f"{count(found['chains'], 'log')} with {count(found['entries'], 'signed entry', 'signed entries')}"
    if found["ok"]:
        forks = f"; {count(found['forks'], 'peer')} caught with two histories" if found["forks"] else ""
        return f"all holds: {held}, every signature and rule checked, credits sum to zero{forks}"
    lines = [f"fault: {fault}" for fault in found["faults"]]
    if found["total_mkudos"]:
        lines.append(f"fault: credits sum to {kudos(found['total_mkudos'])} kudos instead of zero")
    return "\n".join([*lines, f"checked {held}"])


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    about = f"to {entry['payee'][-6:]}" if "payee" in entry else f"hold {entry['hold'][:12]}" if "hold" in entry else ""
    amount = kudos(entry["mkudos"]) if "mkudos" in entry else ""
    return entry["seq"], _when(entry["ts_ms"]), entry["kind"], amount, about, entry["id"][:12]


def _when(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
