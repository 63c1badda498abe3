"""Entries in words and plain values, the same on the command line, in the local API and in exports."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from meshgen.identity import peer_id
from meshgen.protocols.credit import (
    CONTENTS,
    KEY_OPS,
    RECOMMENDATIONS,
    RELEASE_REASONS,
    SUBJECT_TYPES,
    TRANSFER_REASONS,
    Advisory,
    CharterEntry,
    Checkpoint,
    Claim,
    Entry,
    Genesis,
    Hold,
    Key,
    Proof,
    Receipt,
    Release,
    Transfer,
    Vouch,
)

SPARE_KINDS = {5: "rate", 7: "proposal", 8: "vote", 15: "tally"}
"""Set aside for later versions; their names are known already."""
KIND_NAMES = {kind: view.TAG for kind, view in sorted(CONTENTS.items())} | SPARE_KINDS
_PEERS = frozenset(("payee", "payer", "witness"))
"""Fields that hold a public key, shown as a peer id."""
_BULKY = frozenset(("body_a", "body_b", "sig_a", "sig_b", "cosigs"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What an entry says, as far as every kind can say it."""

    kind: str
    counterparty: bytes = b""
    """The other side's public key, b"" if there is none."""
    mkudos: int | None = None
    about: bytes = b""
    """The id of the entry, or of the account, that it speaks of."""
    words: str = ""
    """A line for people without amount and counterparty; plain ASCII."""


def kind_name(kind: int) -> str:
    return KIND_NAMES.get(kind, f"kind {kind}")


def kind_number(name: str) -> int:
    """The kind called so, or called by its number. Raises ValueError with the names there are."""
    plain = name.strip().lower().removeprefix("kind ")
    for number, known in KIND_NAMES.items():
        if plain == known:
            return number
    if plain.isascii() and plain.isdigit() and int(plain) <= 255:
        return int(plain)
    raise ValueError(f"{name[:40]!r} is no kind of entry; there are {', '.join(KIND_NAMES.values())}, and numbers up to 255")


def facts(entry: Entry) -> Facts:
    kind = kind_name(entry.kind)
    match entry.content:
        case Hold() as hold:
            return Facts(kind, hold.payee, hold.amount, b"", "sets it aside for a job by")
        case Receipt() as receipt:
            return Facts(kind, receipt.payee, receipt.amount, receipt.hold_id, f"pays for {_pictures(receipt.units)} by")
        case Claim() as claim:
            return Facts(kind, claim.payer, claim.amount, claim.hold_id, "claims it by the voucher of")
        case Release() as release:
            how = "with the payee's consent" if release.payee_sig else "after it expired"
            return Facts(kind, about=release.hold_id, words=f"takes a hold back {how} ({_nth(RELEASE_REASONS, release.reason)})")
        case Transfer() as transfer:
            return Facts(
                kind, transfer.payee, transfer.amount, transfer.ref, f"gives it ({_nth(TRANSFER_REASONS, transfer.reason)}) to"
            )
        case _:
            return _other_facts(kind, entry)


def _other_facts(kind: str, entry: Entry) -> Facts:
    match entry.content:
        case Genesis() as genesis:
            words = "begins a device's log in account" if genesis.account else "begins its log, and an account"
            return Facts(kind, about=genesis.account, words=f"{words}{_labelled(genesis.label)}")
        case Vouch() as vouch:
            words = "no longer answers for account" if vouch.revoke else "answers up to this for account"
            return Facts(kind, mkudos=None if vouch.revoke else vouch.limit, about=vouch.account, words=words)
        case Key() as key:
            return _key_facts(kind, key)
        case Advisory() as advice:
            return Facts(kind, about=advice.subject, words=_advice(advice))
        case Checkpoint() as sums:
            words = f"sums up entries 1 to {sums.upto_seq}, with {len(sums.cosigs)} witnesses"
            return Facts(kind, about=sums.upto_id, words=words)
        case Proof() as proof:
            return Facts(kind, words="shows that somebody signed two histories" if proof.type == 0 else f"proof {proof.type}")
        case CharterEntry() as charter:
            return Facts(kind, about=charter.doc_hash, words=f"signed version {charter.version} of the charter")
    return Facts(kind, words="not understood by this version, and counted in nothing")


def _key_facts(kind: str, key: Key) -> Facts:
    match _nth(KEY_OPS, key.op):
        case "add":
            bound = key.budget or None
            return Facts(
                kind, key.key, bound, words="lets this device into its account" + (", to owe at most this" if bound else "")
            )
        case "retire":
            return Facts(kind, key.key, words=f"retires this device, standing by its entries up to {key.at_seq}")
        case "rotate":
            return Facts(kind, key.key, words="closes this log; the account goes on with")
        case "recover":
            return Facts(
                kind, key.key, about=key.at_id, words=f"takes over from the lost key, standing by its entries up to {key.at_seq}"
            )
        case other:
            return Facts(kind, key.key, words=f"key operation {other}")


def _advice(advice: Advisory) -> str:
    if advice.op:
        return f"takes back its advice on list {advice.list!r}"
    what = f"{_nth(RECOMMENDATIONS, advice.recommendation)} {_nth(SUBJECT_TYPES, advice.subject_type)}"
    return f"advises on list {advice.list!r}: {what}{_labelled(advice.label)}"


def fields(entry: Entry) -> dict[str, Any]:
    """Every field of the entry's kind by name, fit for JSON: bytes as hex, public keys of the two sides as peer ids."""
    if entry.content is None:
        return {}
    view = entry.content
    return {name: _plain(name, getattr(view, name)) for name in _shown(entry.kind)} | _named(entry)


@cache
def _shown(kind: int) -> tuple[str, ...]:
    view: Any = CONTENTS[kind]
    return tuple(field.name for field in dataclasses.fields(view) if field.name not in _BULKY)


def _named(entry: Entry) -> dict[str, Any]:
    """What stands in numbers on the wire, in words."""
    match entry.content:
        case Release(reason=reason):
            return {"reason": _nth(RELEASE_REASONS, reason)}
        case Transfer(reason=reason):
            return {"reason": _nth(TRANSFER_REASONS, reason)}
        case Key(op=op, key=key):
            return {"op": _nth(KEY_OPS, op), "key": peer_id(key)}
        case Advisory() as advice:
            return {
                "subject_type": _nth(SUBJECT_TYPES, advice.subject_type),
                "recommendation": _nth(RECOMMENDATIONS, advice.recommendation),
            }
        case Checkpoint(cosigs=cosigs):
            return {"witnesses": [peer_id(cosig.witness) for cosig in cosigs]}
    return {}


def _plain(name: str, value: object) -> object:
    if isinstance(value, bytes):
        return peer_id(value) if name in _PEERS else value.hex()
    return value


def _nth(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else str(index)


def _pictures(units: int) -> str:
    return "1 picture" if units == 1 else f"{units} pictures" if units else "a job"


def _labelled(label: str) -> str:
    return f" ({label})" if label else ""
