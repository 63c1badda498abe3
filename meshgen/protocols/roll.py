"""Who belongs to a mesh whose charter lists its members: each delegate keeps a page of its own, and the pages are counted.

Nobody waits for anybody: a delegate signs its own page alone, and whoever holds the pages comes to the same result. Whom as many
delegates have admitted as the charter asks for (``roll_threshold``) belongs to it, unless as many have expelled it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

from meshgen.protocols.charter import MAX_BODY_BYTES, MAX_DELEGATES, Charter
from meshgen.protocols.codec import MAX_UINT, Limits, Malformed, decode
from meshgen.protocols.envelope import OVERHEAD_BYTES, Signed, unsign
from meshgen.protocols.record import Array, Bin, Hash, NetId, Record, UInt

PROTOCOL = "/meshgen/roll/1"
"""To anyone, members or not: a RollQuestion; its answer is a RollAnswer."""
MAX_PAGE_BYTES = 64 * 1024
MAX_ADMITTED = 1500
MAX_EXPELLED = 400
MAX_ANSWERED = 14

_Listed = Annotated[tuple[bytes, ...], Array(Bin(32), MAX_ADMITTED)]


@dataclass(frozen=True, slots=True)
class Page(Record):
    """What one delegate says, whole; its next page replaces it. Entries are peers' public keys, or accounts' ids."""

    TAG = "roll-page/1"
    LIMITS = Limits(max_bytes=MAX_PAGE_BYTES, max_items=MAX_ADMITTED, max_depth=2)
    net: NetId
    version: Annotated[int, UInt(1)]
    """The highest counts; of two alike, the one with the higher id."""
    admitted: _Listed
    expelled: Annotated[tuple[bytes, ...], Array(Bin(32), MAX_EXPELLED)]

    def check(self) -> None:
        for name, listed in (("admitted", self.admitted), ("expelled", self.expelled)):
            if list(listed) != sorted(set(listed)):
                raise Malformed(f"{self.TAG}.{name}: not in ascending order, each once")
        if set(self.admitted) & set(self.expelled):
            raise Malformed(f"{self.TAG}.expelled: somebody stands among the admitted too")

    def changed(self, admit: Iterable[bytes], expel: Iterable[bytes]) -> Page:
        """The next version. Raises Malformed if the page is full."""
        admit, expel = set(admit), set(expel)
        admitted = (set(self.admitted) | admit) - expel
        expelled = (set(self.expelled) | expel) - admit
        return Page(self.net, self.version + 1, tuple(sorted(admitted)), tuple(sorted(expelled)))


@dataclass(frozen=True, slots=True)
class Held(Record):
    """A page that the asker has."""

    TAG = "roll-held/1"
    delegate: Hash
    version: Annotated[int, UInt(1)]
    id: Hash


@dataclass(frozen=True, slots=True)
class RollQuestion(Record):
    TAG = "roll-question/1"
    LIMITS = Limits(max_bytes=4096, max_depth=3)
    net: NetId
    held: Annotated[tuple[Held, ...], Array(Held, MAX_DELEGATES)]


@dataclass(frozen=True, slots=True)
class RollAnswer(Record):
    TAG = "roll-answer/1"
    LIMITS = Limits(max_bytes=1024 * 1024, max_depth=2)
    net: NetId
    pages: Annotated[tuple[bytes, ...], Array(Bin(1, MAX_PAGE_BYTES + OVERHEAD_BYTES), MAX_ANSWERED)]
    """Signed pages that the asker lacks, or has older; none if there are none."""


Pages = Mapping[bytes, Signed[Page]]
"""The latest page of each delegate, by its key."""


def newer(page: Signed[Page], than: Signed[Page] | None) -> bool:
    return than is None or (page.message.version, page.id) > (than.message.version, than.id)


def held(pages: Pages) -> tuple[Held, ...]:
    return tuple(Held(key, page.message.version, page.id) for key, page in sorted(pages.items()))


@dataclass(frozen=True, slots=True)
class Roll:
    """Keys and accounts, as the delegates' pages together have them. Delegates are members without being listed."""

    admitted: frozenset[bytes] = frozenset()
    expelled: frozenset[bytes] = frozenset()


def count(charter: Charter, pages: Iterable[Signed[Page]]) -> Roll:
    """What those pages come to that delegates of this version of the charter have signed."""
    heard = [page.message for page in pages if page.author in charter.delegates]
    admitted = Counter(chain.from_iterable(page.admitted for page in heard))
    expelled = Counter(chain.from_iterable(page.expelled for page in heard))
    out = frozenset(who for who, votes in expelled.items() if votes >= charter.roll_threshold) - set(charter.delegates)
    listed = frozenset(who for who, votes in admitted.items() if votes >= charter.roll_threshold)
    return Roll(listed - out, out)


@dataclass(frozen=True, slots=True)
class _Counted:
    charter: bytes
    pages: tuple[bytes, ...]
    """The ids of those that count."""
    admitted: tuple[bytes, ...]
    expelled: tuple[bytes, ...]


def _counted(data: bytes) -> _Counted:
    """[charter, signed page, ...]"""
    parts = decode(data, Limits(max_bytes=MAX_UINT, max_items=MAX_DELEGATES + 1, max_depth=1))
    given = parts if isinstance(parts, tuple) else ()
    wires = [part for part in given if isinstance(part, bytes)]
    if not wires or len(wires) < len(given) or len(wires[0]) > MAX_BODY_BYTES:
        raise Malformed("roll: a charter, then signed pages")
    charter, pages = Charter.decode(wires[0]), [unsign(wire, Page) for wire in wires[1:]]
    latest: dict[bytes, Signed[Page]] = {}
    for page in pages:
        if newer(page, latest.get(page.author)):
            latest[page.author] = page
    roll = count(charter, latest.values())
    ids = tuple(sorted(page.id for page in latest.values()))
    return _Counted(charter.hash, ids, tuple(sorted(roll.admitted)), tuple(sorted(roll.expelled)))


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {
    "roll-page": Page.decode,
    "roll-held": Held.decode,
    "roll-question": RollQuestion.decode,
    "roll-answer": RollAnswer.decode,
    "roll-counted": _counted,
}
