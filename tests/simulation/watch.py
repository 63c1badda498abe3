"""What workers hand over, read off the wire: the one figure that no ledger keeps."""

from __future__ import annotations

from meshgen.net.memory import Event
from meshgen.net.port import PeerId
from meshgen.protocols.credit import Bill
from meshgen.protocols.job import PROTOCOL, BillMessage
from meshgen.protocols.record import peek_tag
from meshgen.testing import Trace


class Deliveries:
    """By hold: what the pictures that went out came to, and the price of one, in milli-kudos."""

    def __init__(self, trace: Trace) -> None:
        self.billed: dict[bytes, int] = {}
        self.price: dict[bytes, int] = {}
        self.worker: dict[bytes, PeerId] = {}
        self.payer: dict[bytes, bytes] = {}
        self.pictures = 0
        trace.listeners.append(self._hear)

    def _hear(self, event: Event) -> None:
        if event.kind != "message" or event.name != PROTOCOL or peek_tag(event.data) != BillMessage.TAG:
            return
        bill = Bill.decode(BillMessage.decode(event.data).bill)
        step = bill.amount - self.billed.get(bill.hold_id, 0)
        if step > 0:
            self.pictures += 1
            self.billed[bill.hold_id] = bill.amount
            self.price[bill.hold_id] = max(step, self.price.get(bill.hold_id, 0))
            self.worker[bill.hold_id] = event.peer
            self.payer[bill.hold_id] = bill.payer
