"""A small story between three people, in valid entries with fixed keys and times."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from meshgen.identity import Identity
from meshgen.protocols.credit import (
    Bill,
    Claim,
    Consent,
    Entry,
    Genesis,
    Hold,
    Receipt,
    Release,
    Voucher,
    make_entry,
    net_id,
    result_commitment,
)
from meshgen.protocols.record import Record

TS = 1_789_000_000_000
EXPIRES = TS + 600_000
NET = net_id(b"charter-v0")
PAYER = Identity.from_seed(bytes(range(32)))
PAYEE = Identity.from_seed(bytes(range(32, 64)))
THIRD = Identity.from_seed(bytes(range(64, 96)))


def h(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


RESULT = result_commitment([(bytes(range(16)), h("picture 0")), (bytes(range(16, 32)), h("picture 1"))])


def chain(identity: Identity, *steps: tuple[int, Callable[[list[Entry]], Any]]) -> list[Entry]:
    """Entries at (ms after TS, what it holds given those before it)."""
    entries: list[Entry] = []
    for after_ms, make in steps:
        content = make(entries)
        kind, data = (content.KIND, content.data()) if isinstance(content, Record) else content
        prev = entries[-1].id if entries else b""
        entries.append(make_entry(identity, NET, len(entries) + 1, prev, TS + after_ms, kind=kind, data=data))
    return entries


def genesis(label: str) -> Callable[[list[Entry]], Genesis]:
    return lambda _: Genesis(b"", h("next-key"), label)


PAYEE_CHAIN = chain(PAYEE, (0, genesis("workshop")))


def hold(name: str, amount: int, payee: Identity = PAYEE, expires_ms: int = EXPIRES) -> Hold:
    return Hold(h(name), payee.public_key, amount, expires_ms, 1, PAYEE_CHAIN[0].id)


def bill(held: Entry, amount: int) -> Bill:
    terms = Hold.from_entry(held)
    return Bill(NET, terms.job, held.id, held.author, PAYEE.public_key, amount, RESULT).sign(PAYEE)


def receipt(held: Entry, amount: int) -> Receipt:
    return Receipt(Hold.from_entry(held).job, held.id, PAYEE.public_key, amount, RESULT, 2, bill(held, amount).sig)


def voucher(held: Entry, amount: int) -> Voucher:
    return Voucher(NET, held.id, PAYER.public_key, PAYEE.public_key, amount).sign(PAYER)


def claim(held: Entry, amount: int) -> Claim:
    return Claim(held.id, held.seq, PAYER.public_key, amount, voucher(held, amount).sig, RESULT)


def consent(held: Entry) -> Consent:
    return Consent(NET, held.id, PAYER.public_key, PAYEE.public_key).sign(PAYEE)


PAYER_CHAIN = chain(
    PAYER,
    (0, genesis("laptop")),
    (1000, lambda _: hold("job 1", 20_000)),
    (2000, lambda _: hold("job 2", 10_000)),
    (3000, lambda _: hold("job 3", 10_000)),
    (4000, lambda past: receipt(past[1], 18_000)),
    (5000, lambda past: Release(past[2].id, 1, consent(past[2]).sig)),
    (6000, lambda _: (4, (PAYEE.public_key, 500, 0, b""))),
    (600_000, lambda past: Release(past[3].id, 0, b"")),
)
CLAIM_CHAIN = [*PAYEE_CHAIN]
CLAIM_CHAIN.append(
    make_entry(PAYEE, NET, 2, PAYEE_CHAIN[0].id, TS + 7000, kind=Claim.KIND, data=claim(PAYER_CHAIN[3], 4_000).data())
)
