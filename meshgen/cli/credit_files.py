"""The log as files: check one, write one. Neither needs the node, neither minds if it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from meshgen.cli.faults import FAULT, BadHome, Fault
from meshgen.cli.progress import Progress
from meshgen.cli.since import HELP as SINCE_HELP
from meshgen.cli.since import parse_since
from meshgen.cli.verb import Call, count, kudos, verb

FORMATS = ("jsonl", "parquet", "csv", "graphml")
SQLITE = b"SQLite format 3\0"
SHOWN_FAULTS = 20


@click.command()
@click.argument("file", required=False, type=click.Path())
@verb
def verify(call: Call, file: str | None) -> None:
    """Check every signature and rule of a log, from its first entry on.

    Without FILE all that this home keeps; the node need not run. FILE is a jsonl export, or another home or its ledger.db.
    The exit code is 1 if anything does not hold.

    \b
    meshgen credit verify
    meshgen credit verify colleague.jsonl
    """
    path = Path(file) if file else call.home
    found = _verify_export(path) if file and _is_text(path) else _verify_home(path)
    call.result(found, _verdict(found))
    if not found["ok"]:
        click.get_current_context().exit(FAULT)


def _is_text(path: Path) -> bool:
    if path.is_dir():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) != SQLITE
    except OSError as error:
        raise Fault(f"{path} can't be read: {error.strerror}") from None


def _verify_home(path: Path) -> dict[str, Any]:
    from meshgen.identity import peer_id
    from meshgen.ledger.errors import LedgerError
    from meshgen.ledger.verify import verify_home

    try:
        with Progress("checking", unit=" entries") as progress:
            report = verify_home(path, progress.at)
    except LedgerError as error:
        raise BadHome(str(error)) from None
    return {
        "ok": report.ok,
        "peer": peer_id(report.own) if report.own else "",
        "chains": len(report.heads),
        "partial": 0,
        "entries": report.entries,
        "forks": len(report.forks),
        "faults": [f"{_whose(one.author, one.seq)}{one.why}" for one in report.faults],
        "at": [{"peer": _peer(fault.author), "seq": fault.seq, "why": fault.why} for fault in report.faults],
        "balance_mkudos": report.balance.net,
        "total_mkudos": report.total,
    }


def _verify_export(path: Path) -> dict[str, Any]:
    from meshgen.ledger.exported import NoExport, read_export
    from meshgen.ledger.fold import NOTHING

    try:
        report = read_export(_lines(path))
    except NoExport as error:
        raise Fault(f"{path}: {error}") from None
    except OSError as error:
        raise Fault(f"{path} can't be read: {error.strerror}") from None
    story = report.story
    balances = story.balances()
    total = sum(balance.net for balance in balances.values())
    return {
        "ok": not report.faults and not total,
        "peer": _peer(report.own),
        "chains": len(story.chains),
        "partial": len(story.partial),
        "entries": story.entries,
        "forks": len(story.forks),
        "faults": [str(fault) for fault in report.faults],
        "at": [{"line": one.line, "peer": _peer(one.author), "seq": one.seq, "why": one.why} for one in report.faults],
        "balance_mkudos": balances.get(report.own, NOTHING).net,
        "total_mkudos": total,
    }


def _lines(path: Path) -> Iterator[bytes]:
    """A line that never ends comes in pieces, each of which is no line of an export."""
    from meshgen.ledger.export import MAX_LINE_BYTES

    size = path.stat().st_size
    with path.open("rb") as file, Progress("checking", size, "B") as progress:
        while line := file.readline(MAX_LINE_BYTES + 1):
            yield line
            progress.at(file.tell())


def _verdict(found: dict[str, Any]) -> str:
    held = f"{count(found['chains'], 'log')} with {count(found['entries'], 'signed entry', 'signed entries')}"
    partial = (
        f"; {count(found['partial'], 'log')} of them without the first entries, so checked only from where they begin"
        if found["partial"]
        else ""
    )
    if found["ok"]:
        forks = f"; {count(found['forks'], 'peer')} caught with two histories" if found["forks"] else ""
        return f"all holds: {held}, every signature and rule checked, credits sum to zero{forks}{partial}"
    lines = [f"fault: {fault}" for fault in found["faults"][:SHOWN_FAULTS]]
    if more := len(found["faults"]) - SHOWN_FAULTS:
        lines += [f"... and {count(more, 'fault')} more; --json lists them"] if more > 0 else []
    if found["total_mkudos"]:
        lines.append(f"fault: credits sum to {kudos(found['total_mkudos'])} kudos instead of zero")
    return "\n".join([*lines, f"what holds: {held}{partial}"])


def _whose(author: bytes, seq: int) -> str:
    return f"{_peer(author)} entry {seq}: " if author else ""


def _peer(key: bytes) -> str:
    from meshgen.identity import KEY_BYTES, peer_id

    return peer_id(key) if len(key) == KEY_BYTES else ""


@click.command()
@click.option("--format", "form", type=click.Choice(FORMATS), default="jsonl", show_default=True, help="What kind of file.")
@click.option("--out", default="-", type=click.Path(), metavar="FILE", help="Where to; - is standard output, as without it.")
@click.option("--peer", default="", metavar="PEER_ID", help="One peer's entries alone.")
@click.option("--since", default="", metavar="SEQ|DATE|SPAN", help=SINCE_HELP)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@verb
def export(call: Call, form: str, out: str, peer: str, since: str, force: bool) -> None:
    """Write the log that this home keeps to a file. The node may run or not.

    \b
    jsonl     lossless, signatures included; `meshgen credit verify FILE` checks it
    csv       a line an entry, for spreadsheets
    parquet   the same, for pandas, DuckDB, R (needs: pip install 'meshgen-node[research]')
    graphml   peers and what they owe each other, for Gephi, yEd, networkx

    \b
    meshgen credit export --out log.jsonl
    meshgen credit export --format csv --since 2026-05-01 --out may.csv
    """
    if out == "-" and (call.json or (form == "parquet" and sys.stdout.isatty())):
        raise click.UsageError("give --out FILE: standard output is taken")
    if form == "graphml" and since:
        raise click.UsageError("graphml shows sums, which --since would cut")
    found = _export(call, form, out, peer, since, force)
    if out != "-":
        call.result(found, f"{found['file']}: {count(found['entries'], 'entry', 'entries')}")


def _export(call: Call, form: str, out: str, peer: str, since: str, force: bool) -> dict[str, Any]:
    from meshgen.cli.exporting import WRITERS, Source, target
    from meshgen.identity import public_key_of
    from meshgen.ledger.errors import LedgerError
    from meshgen.ledger.export import Selection
    from meshgen.ledger.store import open_read_only

    try:
        author = public_key_of(peer) if peer else b""
    except ValueError:
        raise click.BadParameter(f"{peer[:64]!r} is not a peer id; `meshgen peers` shows them", param_hint="--peer") from None
    start = parse_since(since)
    try:
        with open_read_only(call.home) as store, target(out, force) as file, Progress("exporting", unit=" entries") as progress:
            net, own = store.meta("net"), store.meta("self")
            source = Source(store, Selection(net, own, author, since, time.time_ns() // 1_000_000), start, progress.at)
            WRITERS[form](source, file)
    except LedgerError as error:
        raise BadHome(str(error)) from None
    return {"file": out, "format": form, "entries": source.written}
