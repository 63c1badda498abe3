"""Dues: what a job has come to and no entry says yet.

The payer keeps the RECEIPT that the last bill calls for before it signs the voucher; the payee keeps the CLAIM that the last
voucher allows before it shows the next picture. Both survive a crash, so the log ends right whoever is killed when.
"""

from __future__ import annotations

from meshgen.protocols.codec import Limits, Malformed, decode, encode
from meshgen.protocols.credit import Claim, Receipt

Due = Receipt | Claim
"""As it would be appended. One a hold; a later one, which covers more, replaces it."""

_DATA = Limits(max_bytes=1024, max_items=64, max_depth=1)


def pack(due: Due) -> tuple[int, bytes]:
    """Its kind and data, for the disk."""
    return due.KIND, encode(due.data())


def unpack(kind: int, data: bytes) -> Due:
    """Raises Malformed for what :func:`pack` did not make."""
    values = decode(data, _DATA)
    if kind == Receipt.KIND and isinstance(values, tuple):
        return Receipt.from_value((Receipt.TAG, *values))
    if kind == Claim.KIND and isinstance(values, tuple):
        return Claim.from_value((Claim.TAG, *values))
    raise Malformed(f"a due of kind {kind} is neither a receipt nor a claim")
