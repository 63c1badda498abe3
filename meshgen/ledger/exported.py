"""Is this exported log what it says? Every signature and every rule, from the lines of a jsonl file alone.

Each fault names its line, and the first fault of a chain ends that chain: what follows it can't be judged.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from meshgen.identity import KEY_BYTES, peer_id, public_key_of
from meshgen.ledger.errors import InvalidEntry, LedgerError
from meshgen.ledger.export import FORMAT, MAX_LINE_BYTES, VERSION, entry_line
from meshgen.ledger.forks import ForkEvidence, judge
from meshgen.ledger.retold import Retold
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import NET_BYTES, Entry, decode_entry

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
    """What was found. ``story`` holds the good entries' chains, forks and balances."""

    own: bytes
    """Whose home it was taken from; b"" if the file does not say."""
    story: Retold
    faults: list[LineFault] = field(default_factory=list)
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
                self._accuse(found)
            elif found.get("end") is True:
                self._end = found
            else:
                raise Malformed("neither an entry, nor a fork, nor the end")
        except Malformed as error:
            self._fault(line, str(error))

    def finish(self, line: int) -> None:
        self.story.finish()
        if self._end is None:
            self._fault(line, "the file is cut off: its last line is missing")
        elif self._end.get("entries") != self._lines:
            self._fault(line, f"it holds {self._lines} entries, where its last line counts {self._end.get('entries')}")

    def _entry(self, line: int, found: dict[str, Any]) -> None:
        try:
            entry = decode_entry(_bytes(found["wire"]))
        except Malformed as error:
            self._named_fault(line, found, str(error))
            return
        if entry.author in self._broken:
            return
        try:
            _compare(found, entry)
            if found.get("branch") is True:
                self.story.take_beside(entry)
            else:
                self.story.take(entry)
        except (InvalidEntry, Malformed) as error:
            self._broken.add(entry.author)
            self._fault(line, str(error), entry.author, entry.seq)

    def _accuse(self, found: dict[str, Any]) -> None:
        fork = _fork(self.story.net, found)
        if self._lines:
            raise Malformed("the proof of a fork stands before all entries")
        self.story.accuse(fork)

    def _prune(self, found: dict[str, Any]) -> None:
        author, upto = _author(found["pruned"]), found.get("upto")
        if not author or not isinstance(upto, int) or self._lines:
            raise Malformed("what was pruned is named by a peer id and a number, before all entries")
        self.story.pruned[author] = upto

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
    return Exported(own, Retold(net))


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
