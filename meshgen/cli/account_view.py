"""What a home's log says of its account; read from the disk, so the node may run or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshgen.cli.faults import BadHome
from meshgen.cli.keyfiles import RECOVERY_DIR, own_key
from meshgen.cli.verb import kudos, table
from meshgen.home import INCOMING_KEY_FILE, read_account
from meshgen.identity import KEY_FILE, peer_id
from meshgen.ledger.accounts import Accounts
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.store import LEDGER_FILE, Store, open_read_only
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import GENESIS, KEY, ROTATE, Genesis, Key, decode_entry


def account_view(home: Path) -> dict[str, Any]:
    """Raises BadHome."""
    key = own_key(home)
    genesis = own_genesis(home, key.public_key)
    try:
        named = genesis[0] if genesis else read_account(home)
    except ValueError as error:
        raise BadHome(str(error)) from None
    found: dict[str, Any] = {
        "peer": key.peer_id,
        "account": named.hex(),
        "begun": genesis is not None,
        "recovery_here": (home / RECOVERY_DIR / KEY_FILE).exists(),
        "unfinished": (home / INCOMING_KEY_FILE).exists(),
        "member": False,
        "devices": [],
    }
    if genesis:
        with open_read_only(home) as store:
            found["devices"] = _devices(store, named)
        found["member"] = any(device["peer"] == key.peer_id for device in found["devices"])
    return found


def own_genesis(home: Path, key: bytes) -> tuple[bytes, Genesis] | None:
    """(account, first entry) of the home's own log; None before its first run. Raises BadHome."""
    if not (home / LEDGER_FILE).exists():
        return None
    try:
        with open_read_only(home) as store:
            wires = store.wires(key, 1, 1)
        if not wires:
            return None
        entry = decode_entry(wires[0], verify=False)
        genesis = Genesis.from_entry(entry)
        return genesis.account or entry.id, genesis
    except (LedgerError, Malformed) as error:
        raise BadHome(str(error)) from None


def _devices(store: Store, account: bytes) -> list[dict[str, Any]]:
    accounts, labels = Accounts(), dict[bytes, str]()
    for author, row in store.words((GENESIS, KEY)):
        entry = row.revive(verify=False)
        accounts.add(entry)
        if isinstance(entry.content, Genesis):
            labels[author] = entry.content.label
    return [
        {
            "peer": peer_id(member.key),
            "label": labels.get(member.key, ""),
            "entries": store.end(member.key).seq,
            "budget_mkudos": member.budget,
            "retired": member.retired,
            "closed": _is_closed(store, member.key),
            "until_seq": member.until_seq if member.retired else None,
            "founder": place == 0,
        }
        for place, member in enumerate(accounts.members(account).values())
    ]


def _is_closed(store: Store, key: bytes) -> bool:
    """Was this key rotated: is that its last word?"""
    last = store.wires(key, end := store.end(key).seq, end)
    content = decode_entry(last[0], verify=False).content if last else None
    return isinstance(content, Key) and content.op == ROTATE


def _standing(device: dict[str, Any], own: str) -> str:
    if device["retired"]:
        return f"retired after {device['until_seq']}"
    return "followed by another" if device["closed"] else "this one" if device["peer"] == own else "device"


def account_text(found: dict[str, Any]) -> str:
    lines = [f"This device is {found['peer']}"]
    if found["unfinished"]:
        lines.append("A change of key was cut off: run `meshgen account rotate` (or recover) again, it goes on from there.")
    if not found["begun"] and found["account"]:
        lines.append(f"Its log will begin in account {found['account']}\nadd it there, then start it: meshgen run")
    elif not found["begun"]:
        lines.append("Its log begins when the node first runs, with an account of its own;")
        lines.append("to make it a device of another: meshgen account join ACCOUNT_ID")
    else:
        lines.append(f"in account {found['account']}")
        lines += _member_lines(found)
    if found["begun"] and not found["recovery_here"]:
        lines.append("Its recovery key is not in this home: good, if you know where it is.")
    elif found["begun"]:
        lines.append("Its recovery key lies in this home: move recovery/ to another place; nobody can restore it.")
    return "\n".join(lines)


def _member_lines(found: dict[str, Any]) -> list[str]:
    rows = [
        (
            device["label"] or "-",
            _standing(device, found["peer"]),
            kudos(device["budget_mkudos"]) if device["budget_mkudos"] else "-",
            device["entries"],
            device["peer"],
        )
        for device in found["devices"]
    ]
    lines = [table(("LABEL", "IS", "MAY OWE", "ENTRIES", "PEER ID"), rows)] if rows else []
    if not found["member"]:
        lines.append("No device of that account has let this one in yet, as far as is known here; on one of them:")
        lines.append(f"  meshgen account add-device {found['peer']}")
    return lines
