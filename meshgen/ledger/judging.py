"""What can be judged of entries without their chain: form and signatures, the dear part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshgen.identity import SIGNATURE_BYTES, verify
from meshgen.ledger.errors import InvalidEntry
from meshgen.protocols.codec import Limits, Malformed, decode_canonical, encode
from meshgen.protocols.credit import (
    HASH_BYTES,
    LARGE_KINDS,
    MAX_BODY_BYTES,
    MAX_KIND,
    MAX_LARGE_BODY_BYTES,
    MAX_WIRE_BYTES,
    Bill,
    Claim,
    Content,
    Entry,
    Head,
    Receipt,
    Voucher,
    decode_entry,
    entry_id,
)

Signature = tuple[bytes, bytes, bytes]
"""Public key, signature, message."""

_WIRE = Limits(max_bytes=MAX_WIRE_BYTES, max_items=2, max_depth=1)
_BODY = Limits(max_bytes=MAX_LARGE_BODY_BYTES)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the first entry that is not good."""

    index: int
    """Which of the wires it is."""
    why: str
    forged: bool = False
    """Its form is good and its signature is not: another than its author may have changed that."""


@dataclass(frozen=True, slots=True)
class Examined:
    """The entries at the front that are good in themselves."""

    entries: list[tuple[Entry, bool]]
    """Each with whether the note inside it has been judged too."""
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Readings:
    """The entries at the front that are well-formed, and the signatures that decide about them."""

    entries: list[Entry]
    signatures: list[Signature]
    """Each entry's own, then those of the notes inside."""
    noted: list[int]
    """Whose notes these are: an index into the entries each."""
    fault: Fault | None

    def judged(self, good: Sequence[bool]) -> Examined:
        """``good``: which signatures are."""
        own, notes = good[: len(self.entries)], good[len(self.entries) :]
        vouched = {index for index, is_good in zip(self.noted, notes, strict=True) if is_good}
        end = next((index for index, is_good in enumerate(own) if not is_good), None)
        fault = self.fault if end is None else Fault(end, "entry: the signature is not its author's", forged=True)
        return Examined([(entry, index in vouched) for index, entry in enumerate(self.entries[:end])], fault)


def read_entries(net: bytes, author: bytes, wires: Sequence[bytes]) -> Readings:
    """Decode; of the signatures inside take those of which the entry says all that was signed."""
    entries, fault = _decoded(wires)
    notes = [(index, note) for index, entry in enumerate(entries) if (note := _note(net, author, entry.content))]
    signatures = [entry.signature for entry in entries] + [note for _, note in notes]
    return Readings(entries, signatures, [index for index, _ in notes], fault)


def examine(net: bytes, author: bytes, wires: Sequence[bytes]) -> Examined:
    """Decode, and judge signatures: here and now."""
    readings = read_entries(net, author, wires)
    return readings.judged([verify(*signature) for signature in readings.signatures])


def _decoded(wires: Sequence[bytes]) -> tuple[list[Entry], Fault | None]:
    entries: list[Entry] = []
    for wire in wires:
        try:
            entries.append(decode_entry(wire, verify=False))
        except Malformed as error:
            return entries, Fault(len(entries), str(error))
    return entries, None


def _note(net: bytes, author: bytes, content: Content | None) -> Signature | None:
    """The bill or voucher inside, if it is one. Its values are the entry's, which are good."""
    match content:
        case Receipt(job, hold_id, payee, amount, result, _, sig):
            return payee, sig, Bill.message(net, job, hold_id, author, payee, amount, result)
        case Claim(hold_id, _, payer, amount, sig, _):
            return payer, sig, Voucher.message(net, hold_id, payer, author, amount)
    return None


@dataclass(frozen=True, slots=True)
class Link:
    """As much of an entry as hash links show: what it says has not been judged."""

    author: bytes
    seq: int
    id: bytes
    prev: bytes
    ts_ms: int
    kind: int
    body: bytes
    sig: bytes

    @property
    def head(self) -> Head:
        return Head(self.seq, self.id)

    def revive(self) -> Entry:
        """The entry. Raises Malformed."""
        return decode_entry(encode((self.body, self.sig)), verify=False)


def read_links(net: bytes, author: bytes, wires: Sequence[bytes]) -> list[Link]:
    """Consecutive entries, each named by the next one's ``prev``, the last one signed. Raises Malformed, InvalidEntry."""
    links: list[Link] = []
    for wire in wires:
        link = _link(net, author, wire)
        if links and (link.seq, link.prev) != (links[-1].seq + 1, links[-1].id):
            raise InvalidEntry(f"entry {link.seq} does not follow the one before it")
        links.append(link)
    if wires:
        decode_entry(wires[-1])
    return links


def _link(net: bytes, author: bytes, wire: bytes) -> Link:
    match decode_canonical(wire, _WIRE):
        case (bytes() as body, bytes() as sig) if len(sig) == SIGNATURE_BYTES:
            pass
        case _:
            raise Malformed("not an entry: [body, signature] expected")
    match decode_canonical(body, _BODY):
        case (1, bytes() as by_net, bytes() as by, int() as seq, bytes() as prev, int() as ts_ms, int() as kind, tuple()):
            if (by_net, by) != (net, author):
                raise InvalidEntry("it is of another mesh or author")
            if seq < 1 or len(prev) != (HASH_BYTES if seq > 1 else 0) or not 0 <= kind <= MAX_KIND or ts_ms < 0:
                raise Malformed("entry: a number is out of its range")
            if len(body) > MAX_BODY_BYTES and kind not in LARGE_KINDS:
                raise Malformed(f"entry {seq}: a body of {len(body)} bytes")
            return Link(author, seq, entry_id(body), prev, ts_ms, kind, body, sig)
    raise Malformed("not an entry: [1, net, author, seq, prev, ts_ms, kind, data] expected")
