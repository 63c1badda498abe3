"""Credit as people read it."""

from __future__ import annotations

from typing import Any

import click

from meshgen.cli.verb import count, kudos, table
from meshgen.cli.whom import People

SHORT = 12
"""Of an id: enough for `meshgen receipt show`."""
HOP_IDS = 6
"""Entries shown behind one hop; --json has more."""
MEANING = {
    "balance": "earned less spent",
    "earned": "for work done, and tips",
    "spent": "for pictures, and tips",
    "held": "set aside for jobs under way, and for a while after a part was lost or cancelled",
    "contested": "of earned and spent: the payer denies it",
}


def balance(found: dict[str, Any], people: People) -> str:
    rows = [(name, kudos(found[f"{name}_mkudos"]), meaning) for name, meaning in MEANING.items()]
    width = max(len(amount) for _, amount, _ in rows)
    lines = [f"Credit of {people.name(found['peer'])}:"]
    lines += [f"{click.style(f'{name:10}', bold=True)} {amount:>{width}} kudos   {meaning}" for name, amount, meaning in rows]
    if found["devices"] > 1:
        lines.append(f"All {found['devices']} devices of its account together: {kudos(found['account_mkudos'])} kudos")
    if found["forked"]:
        lines.append("This peer signed two histories of itself: it earns nothing more, and need not be served.")
    if found["not_understood"]:
        lines.append(
            f"{count(found['not_understood'], 'entry', 'entries')} of kinds that this version does not know are left out."
        )
    if not found["entries"]:
        lines.append("No entry of that peer is kept here; the figures are from what others say of it.")
    opens = [name for name in ("earned", "spent", "held", "contested") if found[f"{name}_mkudos"]]
    if opens:
        lines.append(f"Open a figure with --open {'|'.join(opens)}; all entries: `meshgen credit log`")
    return "\n".join(lines)


def deals(found: dict[str, Any], people: People, page: int, size: int) -> str:
    total = f"{found['open']}: {kudos(found['mkudos'])} kudos in {count(found['count'], 'deal')}"
    if not found["items"]:
        return total if page == 1 else f"{total}; there is no page {page}"
    rows = [
        (when(item["ts_ms"]), people.name(item["with"]), kudos(item["mkudos"]), item["state"], " ".join(_ids(item["entries"])))
        for item in found["items"]
    ]
    pages = -(-found["count"] // size)
    more = [f"page {page} of {pages}; go on with --page {page + 1}"] if page < pages else []
    return "\n".join([total, table(("TIME (UTC)", "WITH", "KUDOS", "STATE", "ENTRIES"), rows), *more])


def log(found: dict[str, Any], people: People, chosen: bool) -> str:
    entries = found["entries"]
    if not entries:
        none = "no entries of that peer are kept here yet; they were asked for now: try again"
        return "no such entries" if found["head"] else none
    rows = (
        (entry["seq"], when(entry["ts_ms"]), entry["kind"], _amount(entry), said(entry, people), entry["id"][:SHORT])
        for entry in entries
    )
    lines = [table(("SEQ", "TIME (UTC)", "KIND", "KUDOS", "WHAT", "ID"), rows)]
    if found["next"]:
        lines.append(f"more follow: --since {found['next']}")
    elif not chosen and entries[0]["seq"] > 1:
        lines.append(f"the newest of {found['head']}; from the beginning: --since 1")
    return "\n".join(lines)


def said(entry: dict[str, Any], people: People) -> str:
    """An entry as a line: what, to whom, about which other entry."""
    whom = f" {people.name(entry['with'])}" if "with" in entry else ""
    about = f" [{entry['about'][:SHORT]}]" if "about" in entry else ""
    return f"{entry['words']}{whom}{about}"


def explanation(found: dict[str, Any], people: People) -> str:
    lines = [people.full(found["peer"]), _verdict(found)]
    if len(found["devices"]) > 1:
        lines.append(
            f"one of {count(len(found['devices']), 'device')} of account {found['account'][:SHORT]}, which stand together"
        )
    if fork := found["fork"]:
        ids = " and ".join(_ids(fork["entries"]))
        lines.append(f"it signed two different entries {fork['seq']}: {ids}; the proof is kept here")
    lines += _paths(f"credit that reaches it from this node: {kudos(found['credit_mkudos'])} kudos", found["paths"], people)
    if found["used"]:
        spent = sum(path["mkudos"] for path in found["used"])
        lines += _paths(f"used up by what this node did for it: {kudos(spent)} kudos", found["used"], people)
    if found["claimed_mkudos"]:
        lines.append(
            f"it gave no receipt for {kudos(found['claimed_mkudos'])} kudos of this node's work, which had to be claimed"
        )
    if found["open_holds"]:
        lines.append(f"{count(found['open_holds'], 'hold')} of its are open here")
    for word in found["vouches"]:
        limit = f"{kudos(word['mkudos'])} kudos until {when(word['expires_ms'])}"
        lines.append(f"{people.name(word['by'])} answers for it up to {limit} [{word['entry'][:SHORT]}]")
    return "\n".join([*lines, "What would change it:", *(f"- {way}" for way in found["changes"])])


def _verdict(found: dict[str, Any]) -> str:
    """Its place in this node's queue, in words."""
    if not found["served"]:
        return f"NOT SERVED here: {found['why']}"
    if found["tier"] != "others" or found["over_budget"]:
        return f"here: {found['why']}"
    if not found["bucket"]:
        return "served last here, as no credit reaches it from this node; so is everybody at first"
    low, high = 2 ** (found["bucket"] - 1), 2 ** found["bucket"] - 1
    step = f"step {found['bucket']}, of {kudos(low)} to {kudos(high)} kudos; each step is twice the one before"
    return f"served here before those with less credit ({step}); within a step, whoever has waited longest"


def _paths(head: str, paths: list[dict[str, Any]], people: People) -> list[str]:
    lines = [head + (f", by {count(len(paths), 'path')}" if paths else "")]
    for path in paths:
        lines.append(f"  {kudos(path['mkudos'])} kudos:")
        lines += [f"    {_hop(hop, people)}" for hop in path["hops"]]
    return lines


def _hop(hop: dict[str, Any], people: People) -> str:
    parts = [f"owes {kudos(hop['owed_mkudos'])} for work"] if hop["owed_mkudos"] else []
    parts += [f"vouches for {kudos(hop['vouched_mkudos'])}"] if hop["vouched_mkudos"] else []
    used = f", {kudos(hop['used_mkudos'])} of it used up here" if hop["used_mkudos"] else ""
    shown = _ids(hop["entries"][:HOP_IDS])
    more = hop["entry_count"] - len(shown)
    ids = f" [{' '.join(shown)}{f' and {more} more' if more > 0 else ''}]" if shown else ""
    return f"{people.name(hop['debtor'])} -> {people.name(hop['creditor'])}: {' and '.join(parts) or 'nothing now'}{used}{ids}"


def when(ms: int | None) -> str:
    from datetime import UTC, datetime

    if ms is None:
        return "-"
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(ms)


def _amount(entry: dict[str, Any]) -> str:
    return kudos(entry["mkudos"]) if "mkudos" in entry else ""


def _ids(ids: list[str]) -> list[str]:
    return [one[:SHORT] for one in ids]
