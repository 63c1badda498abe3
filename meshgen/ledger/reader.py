"""Deals that are over, read back from the log: for a late CLAIM, for the voids of a fork, and to explain a balance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshgen.ledger.fold import Deal, deal_of
from meshgen.ledger.rules import Chain
from meshgen.ledger.snapshot import unpack_stub
from meshgen.ledger.store import Row, Store
from meshgen.protocols.credit import NO_HEAD, TRANSFER, Entry, Head, Transfer


class Reader:
    """Sees the entries that are in the books, and none of those that are merely on disk.

    ``heads``: how far each chain is in the books. ``branches``: the ids of the entries off it that are.
    """

    def __init__(self, store: Store, heads: Mapping[bytes, Head], branches: Mapping[bytes, set[bytes]]) -> None:
        self._store = store
        self._heads = heads
        self._branches = branches

    def recall(self, payer: bytes, hold_id: bytes, hold_seq: int) -> Deal | None:
        """What the payer says of a hold; None if the HOLD is not in the books. See :data:`meshgen.ledger.books.Recall`."""
        upto = self._upto(payer)
        found = self._row(payer, hold_id, hold_seq)
        rows = [*self._branch(payer)]
        if found and found.seq <= upto:
            rows += [found, *self._store.closing(payer, hold_id, found.seq + 1, upto)]
        deal = _joined(rows).get(hold_id)
        return deal if deal and deal.terms else None

    def between(self, payer: bytes, payee: bytes) -> dict[bytes, Deal]:
        """What the payer says of its deals with the payee."""
        rows = self._store.payments(payer, payee, self._upto(payer))
        deals = _joined((*rows, *self._branch(payer)))
        return {hold_id: deal for hold_id, deal in deals.items() if deal.terms and deal.terms.payee == payee}

    def made_by(self, payer: bytes) -> dict[bytes, Deal]:
        """What the payer says of all its deals."""
        rows = self._store.payments(payer, payer, self._upto(payer))  # its own key stands in every entry
        return {hold_id: deal for hold_id, deal in _joined((*rows, *self._branch(payer))).items() if deal.terms}

    def transfers(self, author: bytes) -> Iterator[Entry]:
        """The TRANSFERs by and to this author. Looks through all chains."""
        rows = [row for giver, row in self._store.transfers(author) if row.seq <= self._upto(giver)]
        beside = (
            row for giver, row in self._store.branches() if row.kind == TRANSFER and row.id in self._branches.get(giver, ())
        )
        for row in (*rows, *beside):
            entry = row.revive(verify=False)
            if author in (entry.author, Transfer.from_entry(entry).payee):
                yield entry

    def _upto(self, author: bytes) -> int:
        return self._heads.get(author, NO_HEAD).seq

    def _row(self, payer: bytes, hold_id: bytes, hold_seq: int) -> Row | None:
        if not hold_seq:
            return self._store.find(payer, hold_id)
        row = next(self._store.rows(payer, hold_seq, hold_seq), None)
        return row if row and row.id == hold_id else None

    def _branch(self, author: bytes) -> list[Row]:
        known = self._branches.get(author)
        return [row for row in self._store.branch(author) if row.id in known] if known else []


def prefix_of(store: Store, net: bytes, author: bytes, seq: int) -> Chain:
    """An author's chain as it stood before its entry ``seq``, as far as it is held."""
    before = store.pruned().get(author)
    stub = unpack_stub(net, before[1]) if before else None
    chain = stub.chain if stub else Chain(net, author)
    for row in store.chain(author, after=chain.head.seq):
        if row.seq >= seq:
            break
        chain.append(row.revive(verify=False), embedded=False)
    return chain


def _joined(rows: Iterable[Row]) -> dict[bytes, Deal]:
    deals: dict[bytes, Deal] = {}
    for row in rows:
        part = deal_of(row.revive(verify=False))
        if part and not part.claims:
            known = deals.get(part.hold_id)
            deals[part.hold_id] = known.join(part) if known else part
    return deals
