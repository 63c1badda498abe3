"""Is this exported log what it says? Every signature and every rule, from the lines of a jsonl file alone.

Each fault names its line, and the first fault of a chain ends that chain: what follows it can't be judged. A chain that does not
begin with its first entry (an export ``--since``) is checked as far as it goes: signatures, links, notes, not its holds.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from meshgen.identity import KEY_BYTES, peer_id, public_key_of
from meshgen.ledger.errors import InvalidEntry, LedgerError
from meshgen.ledger.export import FORMAT, MAX_LINE_BYTES, VERSION, entry_line
from meshgen.ledger.fold import Balance, Deal, Gift, balances, deal_of, gift_of, is_void
from meshgen.ledger.forks import ForkEvidence, convictions, judge
from meshgen.ledger.rules import Chain
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import GENESIS, NET_BYTES, NO_HEAD, Bill, Claim, Entry, Head, Receipt, Voucher, decode_entry

MAX_FAULTS = 1000
"""More are not listed."""


class NoExport(LedgerError):
    """The file is not an export at all."""


@dataclass(frozen=True, slots=True)
class LineFault:
    """What does not hold, and where. ``author`` is b"" and ``seq`` 0 where the line does not even say."""

    line: int
    author: bytes
    seq: int
    why: str

    def __str__(self) -> str:
        whose = f"{peer_id(self.author)} entry {self.seq}: " if self.author else ""
        return f"line {self.line}: {whose}{self.why}"


@dataclass(slots=True)
class Exported:
    """What was found."""

    net: bytes
    own: bytes
    entries: int = 0
    """The good ones."""
    deals: dict[bytes, Deal] = field(default_factory=dict)
    gifts: set[Gift] = field(default_factory=set)
    forks: list[ForkEvidence] = field(default_factory=list)
    faults: list[LineFault] = field(default_factory=list)
    partial: set[bytes] = field(default_factory=set)
    """Authors whose chains do not begin with their first entry."""
    pruned: dict[bytes, int] = field(default_factory=dict)
    """author -> up to where the payments in its chain are not kept."""
    chains: dict[bytes, Chain] = field(default_factory=dict)
    _broken: set[bytes] = field(default_factory=set)
    _lines: int = 0
    _end: dict[str, Any] | None = None

    def take(self, line: int, raw: bytes) -> None:
        """One line after the header."""
        if self._end is not None:
            self._fault(line, "something follows the file's last line")
            return
        try:
            found = _object(raw)
            if "wire" in found:
                self._lines += 1
                self._entry(line, found)
            elif "pruned" in found:
                self._prune(found)
            elif "wires" in found:
                self.forks.append(_fork(self.net, found))
            elif found.get("end") is True:
                self._end = found
            else:
                raise Malformed("neither an entry, nor a fork, nor the end")
        except Malformed as error:
            self._fault(line, str(error))

    def finish(self, line: int) -> None:
        if self._end is None:
            self._fault(line, "the file is cut off: its last line is missing")
        elif self._end.get("entries") != self._lines:
            self._fault(line, f"it holds {self._lines} entries, where its last line counts {self._end.get('entries')}")
        elif self.own and self.own not in self.chains and not self.chains:
            self._fault(line, "it holds no entry at all")

    def balances(self) -> dict[bytes, Balance]:
        """What the good entries come to; the nets sum to zero."""
        forked = convictions(self.forks)
        deals = {key: replace(deal, void=True) if is_void(deal.terms, forked) else deal for key, deal in self.deals.items()}
        return balances(deals, self.gifts)

    def _fold(self, entry: Entry) -> None:
        if part := deal_of(entry):
            known = self.deals.get(part.hold_id)
            self.deals[part.hold_id] = known.join(part) if known else part
        if gift := gift_of(entry):
            self.gifts.add(gift)

    def _entry(self, line: int, found: dict[str, Any]) -> None:
        try:
            entry = decode_entry(_bytes(found["wire"]))
        except Malformed as error:
            self._named_fault(line, found, str(error))
            return
        if entry.author in self._broken:
            return
        try:
            if found.get("branch") is not True:
                self._judge(entry)
            elif entry.net != self.net:
                raise InvalidEntry("it belongs to another mesh")
            _compare(found, entry)
        except (InvalidEntry, Malformed) as error:
            self._broken.add(entry.author)
            self._fault(line, str(error), entry.author, entry.seq)
            return
        self.entries += 1
        self._fold(entry)

    def _prune(self, found: dict[str, Any]) -> None:
        author, upto = _author(found["pruned"]), found.get("upto")
        if not author or not isinstance(upto, int) or author in self.chains:
            raise Malformed("what was pruned is named by a peer id and a number, before the peer's entries")
        self.pruned[author] = upto

    def _judge(self, entry: Entry) -> None:
        chain = self.chains.get(entry.author)
        if chain is None:
            chain = self.chains[entry.author] = Chain(self.net, entry.author)
        if _may_jump(chain.head, entry.seq, self.pruned.get(entry.author, 0)):
            self.partial.add(entry.author)
            chain.head = Head(entry.seq - 1, entry.prev)
        if entry.author in self.partial:
            _follow(chain, entry)
        else:
            chain.append(entry)

    def _named_fault(self, line: int, found: dict[str, Any], why: str) -> None:
        """The bytes can't be trusted, so the fault goes to whom the line names."""
        author, seq = _author(found.get("author")), found.get("seq")
        self._broken.add(author)
        self._fault(line, why, author, seq if isinstance(seq, int) else 0)

    def _fault(self, line: int, why: str, author: bytes = b"", seq: int = 0) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(LineFault(line, author, seq, why))


def read_export(lines: Iterable[bytes]) -> Exported:
    """Check all lines of a file. Raises NoExport if the first is not an export's header."""
    number, report = 0, None
    for number, raw in enumerate(lines, 1):
        if report is None:
            report = _begin(raw)
        elif raw.strip():
            report.take(number, raw)
    if report is None:
        raise NoExport("the file is empty")
    report.finish(number)
    return report


def _begin(raw: bytes) -> Exported:
    try:
        found = _object(raw)
    except Malformed:
        raise NoExport("it is no export: `meshgen credit export --format jsonl` makes one") from None
    if found.get("meshgen") != FORMAT:
        raise NoExport("its first line is not an export's: `meshgen credit export --format jsonl` makes one")
    if found.get("version") != VERSION:
        raise NoExport(f"it is an export of version {str(found.get('version'))[:20]}; this meshgen reads {VERSION}")
    net, own = _hex(found.get("net")), _hex(found.get("own_key"))
    if len(net) != NET_BYTES or len(own) not in (0, KEY_BYTES):
        raise NoExport("its first line names no mesh")
    return Exported(net, own)


def _may_jump(head: Head, seq: int, pruned_upto: int) -> bool:
    """May this entry stand here though the one before it is not there?"""
    begins_late = head == NO_HEAD and seq > 1
    return begins_late or head.seq + 1 < seq <= pruned_upto + 1


def _follow(chain: Chain, entry: Entry) -> None:
    """What can be judged of an entry without those before it. Raises InvalidEntry."""
    if entry.net != chain.net:
        raise InvalidEntry("it belongs to another mesh")
    if (entry.seq, entry.prev) != (chain.head.seq + 1, chain.head.id):
        raise InvalidEntry(f"it does not follow entry {chain.head.seq} before it")
    if entry.ts_ms < chain.ts_ms or entry.kind == GENESIS:
        raise InvalidEntry("it may not stand here (its date, or a second GENESIS)")
    if not _note_holds(chain.net, entry):
        raise InvalidEntry("the bill or voucher inside is not signed by the other side")
    chain.head, chain.ts_ms = entry.head, entry.ts_ms


def _note_holds(net: bytes, entry: Entry) -> bool:
    match entry.content:
        case Receipt() as one:
            who = (entry.author, one.payee)
            return Bill(net, one.job, one.hold_id, *who, one.amount, one.result, one.bill_sig).is_signed()
        case Claim() as one:
            return Voucher(net, one.hold_id, one.payer, entry.author, one.amount, one.voucher_sig).is_signed()
    return True


def _compare(found: dict[str, Any], entry: Entry) -> None:
    """What the line says in words must be what its bytes say, or it lies to everybody who reads the words. Raises Malformed."""
    told = entry_line(entry)
    for name in told if entry.content else ("author", "seq", "id", "ts_ms"):
        if name != "wire" and found.get(name) != told[name]:
            raise Malformed(f"its {name!r} is not what was signed")


def _fork(net: bytes, found: dict[str, Any]) -> ForkEvidence:
    wires = found["wires"]
    if not isinstance(wires, list) or len(wires) != 2:
        raise Malformed("a fork is shown by two entries")
    try:
        return judge(net, (_bytes(wires[0]), _bytes(wires[1])))
    except Malformed as error:
        raise Malformed(f"the evidence of a fork proves nothing: {error}") from None


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_LINE_BYTES:
        raise Malformed(f"a line of more than {MAX_LINE_BYTES} bytes")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise Malformed("not a line of JSON") from None
    if not isinstance(found, dict):
        raise Malformed("not an object")
    return found


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raise Malformed("its bytes are not base64") from None


def _hex(text: object) -> bytes:
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _author(text: object) -> bytes:
    try:
        return public_key_of(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
