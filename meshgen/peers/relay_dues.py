"""What relays are given for carrying this node's bytes, where the mesh's charter says how much: a gift from time to time.

Nobody can claim it: the bytes are those that this node counted itself. Nobody can bring it about: whoever dialled a circuit pays
for it, both ways, so a relay or its friend that sends this node bytes on a circuit of its own is owed nothing.
What is not paid yet when this node stops is forgotten.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import trio

from meshgen.identity import public_key_of
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Net, PeerId
from meshgen.peers.trouble import level_of
from meshgen.protocols.credit import TRANSFER_REASONS, Transfer

log = logging.getLogger(__name__)

PAY_S = 3600.0
MIN_DUE_MKUDOS = 1000
"""A gift is an entry that everybody keeps: less than this waits."""
GIB = 2**30
RELAY = TRANSFER_REASONS.index("relay")


class RelayDues:
    """``gib_mkudos`` is what the charter says now; ``deals_with``: others than these get nothing."""

    def __init__(self, net: Net, ledger: Ledger, gib_mkudos: Callable[[], int], deals_with: Callable[[bytes], bool]) -> None:
        self._net = net
        self._ledger = ledger
        self._gib_mkudos = gib_mkudos
        self._deals_with = deals_with
        self._paid_bytes: Counter[PeerId] = Counter()

    async def run(self) -> None:
        while True:
            await trio.sleep(PAY_S)
            try:
                await self.pay()
            except LedgerError as error:
                log.log(level_of(error), "no relay is paid: %s", error)

    async def pay(self) -> int:
        """Give what is due to whom most is due first, as far as this node has it; how much that came to. Raises LedgerError."""
        rate, given = self._gib_mkudos(), 0
        carried = self._net.dialled_through()
        self._paid_bytes = Counter({peer: paid for peer, paid in self._paid_bytes.items() if peer in carried})
        due = {peer: mkudos for peer in carried if (mkudos := self._due(peer, carried[peer], rate)) >= MIN_DUE_MKUDOS}
        for peer, mkudos in sorted(due.items(), key=lambda item: (-item[1], item[0])):
            amount = min(mkudos, self._free())
            if amount < MIN_DUE_MKUDOS:
                break
            self._paid_bytes[peer] += amount * GIB // rate
            await self._ledger.append(Transfer(public_key_of(peer), amount, RELAY, b""))
            given += amount
            log.info("gave %d mkudos to the relay %s", amount, peer)
        return given

    def _due(self, peer: PeerId, carried: int, rate: int) -> int:
        """In mkudos. A charter that gives nothing forgives what was carried meanwhile; the own account is paid nothing."""
        key = public_key_of(peer)
        if not rate or not self._deals_with(key) or self._ledger.accounts.same(key, self._ledger.identity.public_key):
            self._paid_bytes[peer] = carried
            return 0
        return (carried - self._paid_bytes[peer]) * rate // GIB

    def _free(self) -> int:
        balance = self._ledger.balance(self._ledger.identity.public_key)
        return max(0, balance.net - balance.held)
