"""A whole agreement between one requester and one worker, made in memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from meshgen.protocols.credit import HOLD, Entry, Hold, job_id, make_entry
from meshgen.protocols.envelope import Signed, sign
from meshgen.protocols.job_terms import Terms, terms
from meshgen.protocols.offer import Award, Bid, Offer
from meshgen.protocols.order import WorkOrder
from tests.conformance.samples import NET, NOW_MS, REQUESTER, SECRET, WORKER, h

PRICE = 500
SIDE = 64
STEPS = 20


@dataclass(frozen=True)
class Deal:
    """The five things that :func:`terms` looks at; ``with_(...)`` changes one."""

    offer: Signed[Offer]
    bid: Signed[Bid]
    award: Signed[Award]
    hold: Entry
    work: WorkOrder

    def terms(self) -> Terms:
        return terms(self.offer, self.bid, self.award, self.hold, self.work)


def make_deal(count: int = 3, nonce: bytes = bytes(16), net: bytes = NET) -> Deal:
    head, expires_ms = h("worker's head"), NOW_MS + 60_000
    offer = sign(
        REQUESTER,
        Offer(net, nonce, "m", b"", "other", SIDE, SIDE, STEPS, count, ("txt2img",), 1000, NOW_MS, expires_ms, ()),
    )
    bid = sign(WORKER, Bid(net, offer.id, h("weights"), count, PRICE, 0, 1000, bytes(32), 3, head, 0, expires_ms))
    hold = make_hold(Hold(job_id(bytes(32), offer.id), WORKER.public_key, PRICE * count, expires_ms, 3, head), net)
    award = sign(REQUESTER, Award(net, offer.id, bid.id, count, hold.id, (hold.wire,), b"sealed"))
    work = WorkOrder(offer.id, SECRET, "", "m", h("weights"), SIDE, SIDE, STEPS, 5000, "", tuple(range(7, 7 + count)), 0)
    return Deal(offer, bid, award, hold, work)


def make_hold(hold: Hold, net: bytes = NET) -> Entry:
    return make_entry(REQUESTER, net, 2, h("genesis"), NOW_MS, kind=HOLD, data=hold.data())


def png(width: int = SIDE, height: int = SIDE, size: int = 3000, fill: int = 0) -> bytes:
    """What passes the protocol's look at a picture: signature, first chunk, any bytes behind."""
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return head + bytes([fill]) * (size - len(head))
