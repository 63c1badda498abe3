"""Dropping the beginning of a foreign chain that a CHECKPOINT sums up: its payments go, what they came to stays.

Kept are the chain's state after the last entry that goes, its sums with each counterparty, its deals that are not over or were
claimed, and all its entries that are no payments. So the chain goes on, the home opens and verifies, and balances stay as they
were. What is lost is the proof: a CLAIM that comes later for a deal that was over counts for nothing here, a fork that is
proved later voids none of them, and nobody can be served these entries. The own chain is never pruned, and archivists prune
nothing.
"""

from __future__ import annotations

from functools import partial

import trio

from meshgen.ledger.errors import LedgerError
from meshgen.ledger.fold import Deal, deal_of, gift_of
from meshgen.ledger.log import Log
from meshgen.ledger.rules import Chain
from meshgen.ledger.snapshot import Stub, unpack_stub
from meshgen.protocols.credit import CHECKPOINT, NO_HEAD, Checkpoint


async def prune(log: Log, author: bytes, upto_seq: int) -> None:
    """Raises LedgerError if this chain can't be pruned up to there."""
    log.ensure_usable()
    if author == log.own:
        raise LedgerError("the own chain is never pruned")
    if author in log.forks:
        raise LedgerError("the chain of one who forked is not pruned: it is evidence")
    if not any(checkpoint.upto_seq >= upto_seq for checkpoint in _checkpoints(log, author)):
        raise LedgerError(f"no checkpoint of {author.hex()[:16]} sums up its entries to {upto_seq}")
    if upto_seq <= log.starts.get(author, 0):
        return
    await log.commit()
    with trio.CancelScope(shield=True):
        async with log.lock:
            log.ensure_usable()
            stub = await log.offload(partial(_sum_up, log, author, upto_seq))
            await log.offload(partial(log.store.prune, author, upto_seq, stub.pack()))
            log.starts[author] = upto_seq
            log.books.forget(author, upto_seq)


def _checkpoints(log: Log, author: bytes) -> list[Checkpoint]:
    head = log.heads.get(author, NO_HEAD)
    rows = [row for by, row in log.store.words((CHECKPOINT,)) if by == author and row.seq <= head.seq]
    return [Checkpoint.from_entry(row.revive(verify=False)) for row in rows]


def _sum_up(log: Log, author: bytes, upto_seq: int) -> Stub:
    before = log.store.pruned().get(author)
    stub = (unpack_stub(log.net, before[1]) if before else None) or Stub(Chain(log.net, author))
    deals = {deal.hold_id: deal for deal in stub.deals}
    for row in log.store.rows(author, stub.chain.head.seq + 1, upto_seq):
        entry = row.revive(verify=False)
        stub.chain.append(entry, embedded=False)
        part, gift = deal_of(entry), gift_of(entry)
        if gift:
            stub.gifts[gift.payee] = stub.gifts.get(gift.payee, 0) + gift.amount
        elif part and part.claims:
            stub.claims += [(part.hold_id, claim) for claim in part.claims]
        elif part:
            deals[part.hold_id] = deals[part.hold_id].join(part) if part.hold_id in deals else part
        elif entry.content is None:
            stub.unfolded += 1
    _sort(stub, deals, log.books.complete(deals, author))
    return stub


def _sort(stub: Stub, said: dict[bytes, Deal], complete: dict[bytes, Deal]) -> None:
    """What is over goes into the sums, the rest is kept as its payer said it."""
    stub.deals = []
    for hold_id, own in said.items():
        deal = complete[hold_id]
        if deal.terms and not deal.claims and (own.paid or own.released):
            stub.edges[deal.terms.payee] = stub.edges.get(deal.terms.payee, 0) + deal.value
        else:
            stub.deals.append(own)
