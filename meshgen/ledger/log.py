"""What one process knows of the log: judged chains, the fold over what is written, and what waits to be written.

Appends that come together share one transaction: whoever gets the lock first writes for all who wait, so 32 jobs at once cost
one fsync, not 32. An entry enters the books when it is on disk, never before.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol, TypeVar

import trio

from meshgen.ledger import snapshot
from meshgen.ledger.accounts import Accounts
from meshgen.ledger.books import Books
from meshgen.ledger.branches import counting
from meshgen.ledger.dues import Due
from meshgen.ledger.errors import LedgerError, Unusable
from meshgen.ledger.fold import Deal
from meshgen.ledger.forks import ForkEvidence, proven_by
from meshgen.ledger.promises import Promises
from meshgen.ledger.reader import Reader, prefix_of
from meshgen.ledger.rules import Chain
from meshgen.ledger.store import Batch, Linked, Store
from meshgen.protocols.credit import (
    ADVISORY,
    CLAIM,
    FORK,
    HOLD,
    NO_HEAD,
    RECEIPT,
    RELEASE,
    TRANSFER,
    VOUCH,
    Claim,
    Entry,
    Genesis,
    Head,
    Key,
    Proof,
)

logger = logging.getLogger(__name__)

SNAPSHOT_EVERY = 100_000
"""So many entries later the fold is stored again, and when the ledger is closed."""
SLICE = 256
"""So many entries enter the books between two turns of the loop."""
PAYMENTS = frozenset((HOLD, RECEIPT, CLAIM, TRANSFER, RELEASE))
FOLD_KEY = "fold"
T = TypeVar("T")


class Watcher(Protocol):
    """Is told what changes, once it is in the books."""

    def dealt(self, payer: bytes, payee: bytes) -> None: ...
    def vouching(self, author: bytes, account: bytes) -> None: ...
    def joining(self, author: bytes) -> None: ...


class Log:
    """Made by :func:`meshgen.ledger.opening.load`."""

    def __init__(self, store: Store, net: bytes, own: bytes) -> None:
        self.store = store
        self.net = net
        self.own = own
        self.chains: dict[bytes, Chain] = {}
        """What was judged, written or not."""
        self.heads: dict[bytes, Head] = {}
        """What is judged and written: what the books hold."""
        self.tails: dict[bytes, Head] = {}
        """Where those chains end that go on beyond what was judged."""
        self.starts: dict[bytes, int] = {}
        """author -> up to where its chain is not kept any more."""
        self.forks: dict[bytes, ForkEvidence] = {}
        """One an author: of the lowest number, and of several for that, the one that all finders choose."""
        self.branches: dict[bytes, set[bytes]] = {}
        """author -> ids of its entries off the main chain that are in the books."""
        self._prefixes: dict[bytes, Chain] = {}
        """author who forked -> its chain below the fork, as it was read last."""
        self.dues: dict[bytes, Due] = {}
        self.accounts = Accounts()
        self.promises = Promises()
        self.watchers: list[Watcher] = []
        self.reader = Reader(store, self.heads, self.branches)
        self.books = Books(self.reader.recall, self._dealt)
        self.pending = Batch()
        self.in_flight = Batch()
        self.lock = trio.Lock()
        self._broken = ""
        self._unsaved = 0

    # -- questions

    def chain(self, author: bytes) -> Chain:
        chain = self.chains.get(author)
        return chain if chain else Chain(self.net, author)

    def end(self, author: bytes) -> Head:
        """Where an author's chain ends, judged or not."""
        return self.tails.get(author) or self.chain(author).head

    def forked_at(self, author: bytes) -> int:
        """0 if it did not."""
        fork = self.forks.get(author)
        return fork.seq if fork else 0

    def unwritten(self, author: bytes) -> Iterator[Linked]:
        """Those of the main chain, in order."""
        for batch in (self.in_flight, self.pending):
            yield from (entry for entry in batch.entries if entry.author == author)

    def common_heads(self) -> list[tuple[bytes, Head]]:
        """Where each chain ends; of who forked, where its branches part: what follows is a set, and which part of it is called
        the chain differs from peer to peer."""
        heads = dict(self.heads)
        for author, fork in self.forks.items():
            if heads.get(author, NO_HEAD).seq >= fork.seq:
                entry_id = self.store.ids(author, fork.seq - 1, fork.seq - 1).get(fork.seq - 1)
                heads[author] = Head(fork.seq - 1, entry_id) if entry_id else NO_HEAD
        return [(author, head) for author, head in heads.items() if head.seq]

    def branch_ids(self) -> set[bytes]:
        """Of everything held of those who forked, at and after their forks."""
        ids = set[bytes]()
        for author, fork in self.forks.items():
            ids.update(self.store.ids(author, fork.seq, self.heads.get(author, NO_HEAD).seq).values())
            ids |= self.store.branch_ids(author)
        return ids

    # -- changes

    def accuse(self, evidence: ForkEvidence) -> bool:
        """Queue a proof; False if what is known says as much."""
        known = self.forks.get(evidence.author)
        if known and (known.seq, known.ids) <= (evidence.seq, evidence.ids):
            return False
        self.forks[evidence.author] = evidence
        self.pending.forks.append(evidence)
        return True

    async def commit(self) -> None:
        """Return when everything that was pending is written, by this call or by another's."""
        with trio.CancelScope(shield=True):
            async with self.lock:
                self.ensure_usable()
                while self.pending:
                    await self._write()
                if self._unsaved >= SNAPSHOT_EVERY:
                    await self.offload(self.prepare_save())

    async def cut(self, author: bytes, from_seq: int) -> None:
        """Forget what is not judged of a chain, from there on."""
        with trio.CancelScope(shield=True):
            async with self.lock:
                self.pending.entries = [entry for entry in self.pending.entries if entry.author != author]
                self.tails.pop(author, None)
                await self.offload(partial(self.store.cut, author, from_seq))

    def prepare_save(self) -> Callable[[], None]:
        """What stores the fold as it is now. Nothing may be pending."""
        self._unsaved = 0
        data = snapshot.pack(self.net, self.books, self.chains.values(), self.branches)
        return partial(self.store.set_meta, FOLD_KEY, data)

    def close(self) -> None:
        if self._unsaved and not self._broken and not self.pending and not self.store.in_memory:
            self.prepare_save()()

    async def offload(self, work: Callable[[], T]) -> T:
        """In a thread, if there is a disk to wait for."""
        return work() if self.store.in_memory else await trio.to_thread.run_sync(work)

    def ensure_usable(self) -> None:
        if self._broken:
            raise Unusable(self._broken)

    def damaged(self, author: bytes, why: str) -> LedgerError:
        """The file is not what was written. Of others' chains a fresh start finds out how much is to be pulled again."""
        cure = "restore it from a backup before going on" if author == self.own else "restart to see what can be mended"
        error = self._broke(f"the credit log is damaged ({author.hex()[:16]}: {why}); {cure}")
        self.store.drop_meta(FOLD_KEY)
        return error

    def fault(self) -> str:
        """Why it can't be used until the node is started anew; "" if it can."""
        return self._broken

    # -- inside

    async def _write(self) -> None:
        batch, self.pending = self.pending, Batch()
        self.in_flight = batch
        durable = any(batch.dues.values()) or any(entry.author == self.own for entry in batch.entries)
        try:
            await self.offload(partial(self.store.write, batch, durable=durable))
        except sqlite3.Error as error:
            # What was judged is not what is written any more; only a fresh start can tell.
            raise self._broke(f"the credit log can't be written ({error}); free the disk and restart") from error
        except BaseException as error:
            self._broke(f"the credit log was interrupted ({error!r}); restart")
            raise
        self.in_flight = Batch()
        await self._enter(batch)

    def _broke(self, why: str) -> Unusable:
        """Told of once: whoever asks for what is damaged may ask again and again."""
        if not self._broken:
            self._broken = why
            logger.error("%s: until then this node asks for nothing and works for nobody", why)
        return Unusable(self._broken)

    async def _enter(self, batch: Batch) -> None:
        count = 0
        for entries in (batch.entries, batch.confirmed):
            for entry in entries:
                if isinstance(entry, Entry):
                    self.enter(entry)
                    if entry.kind not in PAYMENTS:
                        self.hear(entry)
                count += 1
                if count % SLICE == 0:
                    await trio.lowlevel.checkpoint()
        for evidence in batch.forks:
            await self._convict(evidence)
        for author in {entry.author for entry in (*batch.branches, *batch.entries, *batch.confirmed)} & self.forks.keys():
            self.enter_branch(author, await self.offload(partial(self.counting, author)))
        self._unsaved += count + len(batch.forks) + len(batch.branches)

    def enter(self, entry: Entry) -> None:
        if entry.kind != CLAIM or not self._comes_too_late(entry):
            self.books.add(entry)
        self.heads[entry.author] = entry.head

    def _comes_too_late(self, entry: Entry) -> bool:
        """A CLAIM for a deal that was over when it was pruned: what it came to can't be looked up any more."""
        claim = Claim.from_entry(entry)
        return claim.hold_seq <= self.starts.get(claim.payer, 0) and claim.hold_id not in self.books.deals

    def counting(self, author: bytes) -> list[Entry]:
        """What lies off the chain of one who forked, and belongs in the books now (:mod:`meshgen.ledger.branches`)."""
        forked_at, known = self.forked_at(author), self.branches.get(author, set())
        rows = (row for row in self.store.branch(author) if row.seq >= forked_at and row.kind in PAYMENTS)
        off = [row.revive(verify=False) for row in rows]
        new = {entry.id: entry for entry in off if entry.id not in known}
        if not new:
            return []
        main = self.store.rows(author, forked_at, self.heads.get(author, NO_HEAD).seq)
        holds = [entry for entry in off if entry.kind == HOLD]
        holds += [row.revive(verify=False) for row in main if row.kind == HOLD]
        prefix = self._before_fork(author, forked_at)
        return [entry for entry in counting(prefix, forked_at, [*holds, *new.values()]) if entry.id in new]

    def _before_fork(self, author: bytes, forked_at: int) -> Chain:
        """Read once, until more of it is held: a forker must not have a long chain replayed for each entry of a branch."""
        known, upto = self._prefixes.get(author), min(forked_at - 1, self.heads.get(author, NO_HEAD).seq)
        if known is None or known.head.seq != upto:
            known = self._prefixes[author] = prefix_of(self.store, self.net, author, forked_at)
        return known

    def enter_branch(self, author: bytes, entries: Iterable[Entry]) -> None:
        known = self.branches.setdefault(author, set())
        for entry in entries:
            if entry.id not in known:
                self.books.add(entry)
                known.add(entry.id)

    def hear(self, entry: Entry) -> None:
        """Entries that are no payments. Who forked is not heard any more, but as a witness of others' forks."""
        if 0 < self.forked_at(entry.author) <= entry.seq and not isinstance(entry.content, Genesis | Proof):
            return
        match entry.content:
            case Genesis() | Key():
                self.accounts.add(entry)
                for watcher in self.watchers:
                    watcher.joining(entry.author)
            case Proof(type=kind) as proof if kind == FORK:
                self.accuse(proven_by(proof, self.net))
            case _:
                if sides := self.promises.add(entry):
                    for watcher in self.watchers:
                        watcher.vouching(*sides)

    def _dealt(self, payer: bytes, payee: bytes) -> None:
        for watcher in self.watchers:
            watcher.dealt(payer, payee)

    async def _convict(self, evidence: ForkEvidence) -> None:
        if evidence.seq < self.books.forked.get(evidence.author, evidence.seq + 1):
            closed = await self.offload(partial(self.closed_deals, evidence.author))
            self.books.convict(evidence.author, evidence.seq, closed)
            self._silence(evidence.author, evidence.seq)

    def _silence(self, author: bytes, seq: int) -> None:
        """What it vouched, advised and said of keys from ``seq`` on does not count; what it said before, it may have replaced."""
        self.accounts.convict(author, seq)
        gone = self.promises.forget(author)
        for by, row in self.store.words((VOUCH, ADVISORY)):
            if by == author and row.seq < seq:
                self.promises.add(row.revive(verify=False))
        for watcher in self.watchers:
            watcher.joining(author)
            for sides in gone:
                watcher.vouching(*sides)

    def closed_deals(self, payee: bytes) -> list[Deal]:
        """Its deals as payee that are over."""
        payers = [payer for payer, other in list(self.books.edges) if other == payee]
        found = [self.reader.between(payer, payee) for payer in payers]
        return [deal for deals in found for hold_id, deal in deals.items() if hold_id not in self.books.deals]
