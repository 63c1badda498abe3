"""What the two sides of a modelled job have in common: the deal, their logs, their steps.

All that is judged, signed or folded is judged, signed and folded by the real code (:mod:`meshgen.protocols.job_sides`,
:mod:`meshgen.ledger.rules`, :mod:`meshgen.ledger.fold`). What is modelled is the shell around it (``purchase``, ``delivery`` and
``collector`` of :mod:`meshgen.peers`), cut at each write to the disk and each send: between any two of them it may be killed.
"""

from __future__ import annotations

import hashlib
from copy import copy
from typing import Any, NamedTuple

from meshgen.ledger.fold import gather
from meshgen.ledger.rules import replay
from meshgen.protocols.credit import Content, Entry, Hold, make_entry
from meshgen.protocols.envelope import Signed, sign
from meshgen.protocols.job_sides import RequesterSide, WorkerSide
from meshgen.protocols.job_terms import Terms, terms
from meshgen.protocols.offer import Award, Bid, Offer
from meshgen.protocols.order import WorkOrder
from meshgen.protocols.record import peek_tag
from tests.ledger.people import EXPIRES_MS, NET, START_MS, Author, author
from tests.protocols.deals import SIDE, STEPS, png

PRICE = 500
PAYER, PAYEE = author(1), author(2)

Log = tuple[Entry, ...]


class Snapshot:
    """A side of a job, frozen: equal to another if everything in them is equal."""

    __slots__ = ("_side", "key")

    def __init__(self, side: RequesterSide | WorkerSide) -> None:
        self._side = side
        self.key = tuple((name, _frozen(value)) for name, value in sorted(vars(side).items()) if name != "terms")

    def thaw(self) -> Any:
        """A side of one's own to go on with."""
        twin = copy(self._side)
        vars(twin).update({name: copy(value) for name, value in vars(twin).items() if isinstance(value, list | bytearray)})
        return twin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return bytes(value) if isinstance(value, bytearray) else value


class Deal(NamedTuple):
    """What both sides agreed on before the job, and the award that says so."""

    hold: Hold
    award: bytes
    terms: Terms
    offer: Signed[Offer]
    pictures: tuple[bytes, ...]


def make_deal(count: int) -> Deal:
    head, expires_ms = PAYEE.head, EXPIRES_MS
    size = (SIDE, SIDE, STEPS, count)
    offer = sign(PAYER.identity, Offer(NET, bytes(16), "m", b"", "other", *size, (), 1000, START_MS, expires_ms, ()))
    weights = hashlib.sha256(b"weights").digest()
    bid = sign(PAYEE.identity, Bid(NET, offer.id, weights, count, PRICE, 0, 1000, bytes(32), *head, 1, expires_ms))
    hold = Hold(hashlib.sha256(b"job").digest(), PAYEE.key, PRICE * count, expires_ms, *head)
    entry = append(PAYER, tuple(PAYER.entries), hold, START_MS)[-1]
    award = sign(PAYER.identity, Award(NET, offer.id, bid.id, count, entry.id, (entry.wire,), b"sealed"))
    work = WorkOrder(offer.id, "a prompt", "", "m", weights, SIDE, SIDE, STEPS, 5000, "", tuple(range(count)), 0)
    pictures = tuple(png(size=200, fill=index) for index in range(count))
    return Deal(hold, award.wire, terms(offer, bid, award, entry, work), offer, pictures)


def append(writer: Author, log: Log, content: Content, ts_ms: int) -> Log:
    """The log with one entry more, judged by the rules. Raises InvalidEntry: an honest shell never meets that."""
    head = log[-1].head
    entry = make_entry(writer.identity, NET, head.seq + 1, head.id, ts_ms, kind=content.KIND, data=content.data())
    longer = (*log, entry)
    replay(NET, writer.key, longer)
    return longer


def value_of(hold_id: bytes, *logs: Log) -> int:
    deal = gather(entry for log in logs for entry in log).get(hold_id)
    return deal.value if deal else 0


class Step(NamedTuple):
    """One step of one side: what it is, what it leads to, what it sends, what becomes of the channel."""

    label: str
    local: Any
    sends: tuple[bytes, ...] = ()
    leaves: bool = False


def name_of(message: bytes) -> str:
    """A message by its TAG; what is in an envelope has none."""
    return peek_tag(message) or "a signed message"


def thaw(side: Snapshot | None) -> Any:
    """A copy of the side that there must be."""
    assert side is not None
    return side.thaw()


def now_ms(expired: bool) -> int:
    return EXPIRES_MS if expired else START_MS
