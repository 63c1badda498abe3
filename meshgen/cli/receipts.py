"""A receipt with all that belongs to it, from the log that a home keeps; the node may run or not."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshgen.cli.faults import BadHome, Fault
from meshgen.identity import peer_id
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.fold import Deal, deal_of
from meshgen.ledger.rules import Chain
from meshgen.ledger.store import Store
from meshgen.pictures import SIGNATURE, PictureError, bare, text_of
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    CLAIM,
    HOLD,
    RECEIPT,
    RELEASE,
    SALT_BYTES,
    Bill,
    Entry,
    Hold,
    Receipt,
    decode_entry,
    result_commitment,
)

MIN_PREFIX = 6
"""Hex digits of an id that are enough, if only one entry fits."""
MAX_PICTURE_BYTES = 256 * 1024 * 1024
_DEAL_KINDS = (HOLD, RECEIPT, CLAIM, RELEASE)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's file, and what its ``meshgen`` text says. That text is not signed."""

    path: str
    file_sha256: bytes
    """Of the file without its texts: what the worker sent."""
    receipt: str
    opened: tuple[tuple[bytes, bytes], ...] = ()
    """(salt, SHA-256) of each picture of the job, which open the receipt's commitment; none if they were not kept."""


@dataclass(slots=True)
class Dossier:
    """What is known of one receipt."""

    receipt: Entry
    hold: Entry | None
    others: list[Entry] = field(default_factory=list)
    """Claims and releases on the same hold."""
    head_seq: int = 0
    """How far the payer's chain is kept."""
    forked_at: int = 0
    """Where the payer is proved to have signed two histories; 0 = nowhere."""

    @property
    def content(self) -> Receipt:
        return Receipt.from_entry(self.receipt)

    @property
    def bill(self) -> Bill:
        """What the payee signed, put together from the receipt."""
        return Chain(self.receipt.net, self.receipt.author).bill_of(self.content)

    @property
    def deal(self) -> Deal:
        parts = [part for entry in (self.hold, self.receipt, *self.others) if entry and (part := deal_of(entry))]
        deal = parts[0]
        for part in parts[1:]:
            deal = deal.join(part)
        return deal


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``ok`` None: it can't be told."""

    what: str
    ok: bool | None
    why: str = ""


def read_picture(path: Path) -> Picture:
    """Raises Fault unless this is a picture that names its receipt."""
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise Fault(f"{path} is too large for a picture")
        data = path.read_bytes()
        if not data.startswith(SIGNATURE):
            raise PictureError("it is not a PNG")
        said = json.loads(text_of(data).get("meshgen", "null"))
        sha256 = hashlib.sha256(bare(data)).digest()
    except OSError as error:
        raise Fault(f"{path} can't be read: {error.strerror}") from None
    except (PictureError, ValueError, RecursionError) as error:
        raise Fault(f"{path}: {error}") from None
    if not isinstance(said, dict):
        raise Fault(f"{path} says nothing of meshgen: its texts were taken out, or it was not made here")
    receipt = said.get("receipt")
    if not isinstance(receipt, str) or not re.fullmatch("[0-9a-f]{64}", receipt):
        raise Fault(f"{path} names no receipt: this node drew it itself, or it was not paid for")
    return Picture(str(path), sha256, receipt, _openings(said.get("opened")))


def _openings(value: object) -> tuple[tuple[bytes, bytes], ...]:
    try:
        pairs = tuple((bytes.fromhex(salt), bytes.fromhex(digest)) for salt, digest in value) if isinstance(value, list) else ()
    except (ValueError, TypeError):
        return ()
    return pairs if all(len(salt) == SALT_BYTES and len(digest) == 32 for salt, digest in pairs) else ()


def find(store: Store, prefix: str) -> Dossier:
    """The receipt of that id, or the one that belongs to the hold or claim of that id. Raises Fault."""
    entry = _one(store, prefix)
    about = deal_of(entry)
    if about is None:
        raise Fault(f"entry {entry.id.hex()[:12]} is no receipt and belongs to none")
    parts = list(_deal_entries(store, about.hold_id))
    receipt = next((one for one in parts if one.kind == RECEIPT), None)
    if receipt is None:
        state = ", ".join(one.content.TAG for one in parts if one.content)
        raise Fault(f"no receipt is kept for hold {about.hold_id.hex()[:12]}", f"what is known of it: {state}")
    hold = next((one for one in parts if one.kind == HOLD), None)
    others = [one for one in parts if one.kind not in (HOLD, RECEIPT)]
    head_seq = max((row.seq for row in store.chain(receipt.author)), default=0)
    forked_at = min((fork.seq for fork in store.forks() if fork.author == receipt.author), default=0)
    return Dossier(receipt, hold, others, head_seq, forked_at)


def _one(store: Store, prefix: str) -> Entry:
    plain = prefix.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{MIN_PREFIX},64}}", plain):
        raise Fault(f"{prefix[:70]!r} is no receipt's id ({MIN_PREFIX} to 64 hex digits), and no picture's file")
    found = [(author, row.seq) for author in store.authors() for row in store.chain(author) if row.id.hex().startswith(plain)]
    if not found:
        raise Fault(f"no entry {plain[:12]} is kept in this home", "`meshgen credit log --kind receipt` lists the own ones")
    if len(found) > 1:
        raise Fault(f"{len(found)} entries begin with {plain}", "give more digits", code="ambiguous")
    return decode_entry(store.wires(found[0][0], found[0][1], found[0][1])[0], verify=False)


def _deal_entries(store: Store, hold_id: bytes) -> Iterator[Entry]:
    """All entries about one hold. Only rows that hold the id's bytes are decoded."""
    for author in store.authors():
        for row in store.chain(author):
            if row.kind in _DEAL_KINDS and (row.id == hold_id or hold_id in row.body):
                try:
                    entry = row.revive(verify=False)
                except Malformed as error:
                    why = f"entry {row.seq} of {peer_id(author)} is damaged: {error}"
                    raise BadHome(why, "`meshgen credit verify` shows all that is wrong") from None
                if (part := deal_of(entry)) and part.hold_id == hold_id:
                    yield entry


def checks(store: Store, dossier: Dossier, picture: Picture | None) -> list[Check]:
    """Everything that can be proved of a receipt, and what can't."""
    receipt, seq = dossier.receipt, dossier.receipt.seq
    fault = _chain_fault(store, receipt.author, seq)
    found = [
        Check("the payer signed the receipt", receipt.is_signed()),
        Check("the payee signed the bill inside it", dossier.bill.is_signed()),
        _hold_check(dossier),
        Check(f"the payer's log holds from its first entry to this one, number {seq}", not fault, fault),
        _fork_check(dossier),
    ]
    return found + (_picture_checks(dossier, picture) if picture else [])


def _hold_check(dossier: Dossier) -> Check:
    what = "the credit had been set aside for this job and payee"
    if dossier.hold is None:
        return Check(what, False, "its hold is not kept here")
    hold, receipt = Hold.from_entry(dossier.hold), dossier.content
    same = (hold.job, hold.payee) == (receipt.job, receipt.payee)
    return Check(what, same and receipt.amount <= hold.amount and dossier.hold.seq < dossier.receipt.seq)


def _fork_check(dossier: Dossier) -> Check:
    what = "nobody has shown a second history of the payer"
    if not dossier.forked_at:
        return Check(what, True)
    before = dossier.receipt.seq < dossier.forked_at
    why = f"it signed two entries {dossier.forked_at}; " + (
        "this receipt is older" if before else "this receipt is on one branch"
    )
    return Check(what, before, why)


def _chain_fault(store: Store, author: bytes, upto: int) -> str:
    """Every signature and rule of the chain's beginning; "" if all holds."""
    chain = Chain(_net(store), author)
    for row in store.chain(author):
        if row.seq > upto:
            break
        try:
            chain.append(row.revive(verify=True))
        except (Malformed, InvalidEntry) as error:
            return f"entry {row.seq}: {error}"
    return "" if chain.head.seq == upto else f"it is kept only up to entry {chain.head.seq}"


def _net(store: Store) -> bytes:
    return store.meta("net")


def _picture_checks(dossier: Dossier, picture: Picture) -> list[Check]:
    named = Check(
        "the picture names this receipt (anybody could have written that into it)", picture.receipt == dossier.receipt.id.hex()
    )
    what = "the receipt pays for this very picture"
    if not picture.opened:
        return [named, Check(what, None, "the salts that open the receipt's commitment are not in the file")]
    if result_commitment(picture.opened) != dossier.content.result:
        return [named, Check(what, False, "the salts in the file do not open the receipt's commitment")]
    digests = [digest for _, digest in picture.opened]
    if picture.file_sha256 not in digests:
        return [
            named,
            Check(what, False, "its pixels, or how they are stored, are not what was paid for: edited, or saved anew?"),
        ]
    return [named, Check(what, True, f"picture {digests.index(picture.file_sha256) + 1} of {len(digests)} of that job")]


def document(dossier: Dossier, picture: Picture | None) -> dict[str, Any]:
    from meshgen.peers.accounting import entry_view

    bill, deal = dossier.bill, dossier.deal
    return {
        "receipt": entry_view(dossier.receipt),
        "hold": entry_view(dossier.hold) if dossier.hold else None,
        "others": [entry_view(entry) for entry in dossier.others],
        "payer": peer_id(bill.payer),
        "payee": peer_id(bill.payee),
        "mkudos": bill.amount,
        "units": dossier.content.units,
        "state": str(deal.state),
        "bill": {"job": bill.job.hex(), "result": bill.result.hex(), "mkudos": bill.amount, "sig": bill.sig.hex()},
        "place": {"seq": dossier.receipt.seq, "of": dossier.head_seq, "prev": dossier.receipt.prev.hex()},
        "picture": {"file": picture.path, "receipt": picture.receipt} if picture else None,
    }
