"""The ledger as roles use it: append to the own chain, take in others', ask what everybody owes.

All methods are called from one trio loop. What is known is held folded in memory, so most questions cost no I/O. An append
returns once it is durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import trio

from meshgen.identity import Identity
from meshgen.ledger.beginning import genesis, is_copied, is_restored, note_beginning, note_recalled
from meshgen.ledger.dues import Due
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.fold import Balance, Deal, Edge, Line, State, Terms, explain
from meshgen.ledger.forks import ForkEvidence
from meshgen.ledger.intake import Added, Intake
from meshgen.ledger.log import Log
from meshgen.ledger.opening import load
from meshgen.ledger.prints import bucket_prints, digest, proofs_print
from meshgen.ledger.pruning import prune
from meshgen.ledger.standing import Standing
from meshgen.ledger.standings import Standings
from meshgen.ledger.store import Disk, fitting, open_store
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    MAX_AHEAD_MS,
    MAX_RANGE_ENTRIES,
    NO_HEAD,
    Claim,
    Content,
    Entry,
    Head,
    Hold,
    Receipt,
    Release,
    make_entry,
)

__all__ = ["Added", "HoldInfo", "Ledger", "open_ledger"]


@dataclass(frozen=True, slots=True)
class HoldInfo:
    """One hold as the whole log shows it. Amounts in milli-kudos."""

    hold_id: bytes
    payer: bytes
    payee: bytes
    amount: int
    expires_ms: int
    job: bytes
    seq: int
    value: int
    """What it has come to so far."""
    state: State
    receipt_id: bytes
    """Of the RECEIPT; b"" if there is none."""


@asynccontextmanager
async def open_ledger(
    home: Path | Disk | None, identity: Identity, net: bytes, *, now_ms: Callable[[], int], label: str = ""
) -> AsyncIterator[Ledger]:
    """The ledger of this home, locked to this process; GENESIS is written on first run. Raises LedgerError.

    None: in memory, gone at the end. A :class:`Disk`: in memory, and there when it is opened again.
    """
    with open_store(home) as store:
        log = load(store, net, identity.public_key)
        ledger = Ledger(log, identity, now_ms)
        ledger.on_recalled = partial(note_recalled, home)
        ledger.is_copied = is_copied(home)
        if is_restored(home, identity):  # without a log, too: others have it, or may have
            ledger.distrust()
        elif ledger.head() == NO_HEAD:
            await ledger.append(genesis(home, identity, label))
            ledger.is_new = True
        if ledger.head() != NO_HEAD:
            note_beginning(home, identity)
        try:
            yield ledger
        finally:
            await ledger.close()


class Ledger:
    """Made by :func:`open_ledger`."""

    def __init__(self, log: Log, identity: Identity, now_ms: Callable[[], int]) -> None:
        self.identity = identity
        self.net = log.net
        self.accounts = log.accounts
        self.promises, self.fault = log.promises, log.fault
        self.standings = Standings(identity.public_key, log.books.edges, log.promises.vouches, log.accounts)
        log.watchers.append(self.standings)
        self._log = log
        self._now_ms = now_ms
        self._intake = Intake(log, now_ms)
        self._confirmed = trio.Event()
        self._confirmed.set()
        self._refusal = ""
        self.on_append: list[Callable[[Entry], None]] = []
        """Hear of each own entry, once it is durable."""
        self.is_new = False
        """Was the own chain begun in this run?"""
        self.is_restored = self.is_copied = False
        """Brought back by its owner: somebody who keeps it must say where it ends. A copy: it may lack what was said since."""
        self.on_recalled: Callable[[], None] = lambda: None

    async def close(self) -> None:
        """Done by :func:`open_ledger`."""
        self._log.close()
        await self._intake.close()

    # -- the own chain

    def head(self) -> Head:
        """Where the own chain ends on disk: never ahead of what would survive a crash."""
        return self._log.heads.get(self.identity.public_key, NO_HEAD)

    async def hold(self, job: bytes, payee: bytes, amount: int, expires_ms: int, payee_head: Head) -> Entry:
        """Set ``amount`` aside for one job. Raises LedgerError, and Malformed for values that no entry may hold."""
        return await self.append(Hold(job, payee, amount, expires_ms, payee_head.seq, payee_head.id))

    async def release(self, hold_id: bytes, reason: int, payee_sig: bytes = b"") -> Entry:
        """Take a hold back: once it has expired, or with the signature of the payee's Consent. Raises LedgerError."""
        return await self.append(Release(hold_id, reason, payee_sig))

    async def append(self, content: Content) -> Entry:
        """Say it in the own chain; durable when it returns. What was due of the same hold is dropped in the same write.

        Raises InvalidEntry if it may not stand there, LedgerError if the log can't be written. Once queued it can't be cancelled:
        a chain has no holes.
        """
        if not self._confirmed.is_set():  # else nothing is waited for, and nothing cancels it
            await self._confirmed.wait()
        if self._refusal:
            raise LedgerError(self._refusal)
        log, mine = self._log, self.identity.public_key
        log.ensure_usable()
        if mine in log.forks:
            raise LedgerError("this identity's chain has forked (a restored copy? two processes?): it must not append any more")
        chain = log.chain(mine)
        ts_ms = self._date(chain.ts_ms)
        seq, prev = chain.head.seq + 1, chain.head.id
        entry = make_entry(self.identity, self.net, seq, prev, ts_ms, kind=content.KIND, data=content.data())
        chain.append(entry)
        log.chains[mine] = chain
        log.pending.entries.append(entry)
        if isinstance(content, Receipt | Claim | Release):
            self.drop_due(content.hold_id)
        await log.commit()
        for listener in self.on_append:
            listener(entry)
        return entry

    def _date(self, last_ms: int) -> int:
        """Now, or the last entry's date if the clock went back a little. Further back, others would not take the entry."""
        now_ms = self._now_ms()
        if last_ms > now_ms + MAX_AHEAD_MS:
            ahead_s = (last_ms - now_ms) // 1000
            raise LedgerError(f"the own chain's last entry is dated {ahead_s} s ahead of this machine's clock; set the clock")
        return max(now_ms, last_ms)

    def open_holds(self) -> list[HoldInfo]:
        """The own holds that are neither paid nor released, oldest first: to take up after a restart, to release after expiry."""
        infos = (self.hold_info(hold_id) for hold_id in self._log.chain(self.identity.public_key).holds)
        return [info for info in infos if info]

    # -- a home that may have come from a backup

    @property
    def confirmed(self) -> bool:
        """Is it known where the own chain ends?"""
        return self._confirmed.is_set()

    def distrust(self) -> None:
        """It was brought back: own appends fail until others have been asked."""
        self.is_restored = True
        self._refusal = (
            "this home came from a backup, and its credit log may lack what it said since: start the node where others can be"
            " reached, which asks them, before this"
        )

    def hold_appends(self) -> None:
        """Own appends wait from here on, until others have said how far they know the own chain."""
        self._confirmed = trio.Event()

    def allow_appends(self, refusal: str = "") -> None:
        """They go on, or fail with this text. Raises OSError if it can't be noted for the next run that they do."""
        self._refusal = refusal
        self._confirmed.set()
        if not refusal:
            self.is_restored = self.is_copied = False
            self.on_recalled()

    # -- dues: what no entry says yet

    async def keep_due(self, due: Due) -> None:
        """On disk when it returns; it replaces what was kept of this hold before. Raises LedgerError."""
        self._log.ensure_usable()
        self._log.dues[due.hold_id] = self._log.pending.dues[due.hold_id] = due
        await self._log.commit()

    def drop_due(self, hold_id: bytes) -> None:
        """An entry says it now. It leaves the disk with the next write: what is settled twice is settled once."""
        if self._log.dues.pop(hold_id, None):
            self._log.pending.dues[hold_id] = None

    def dues(self) -> list[Due]:
        """Of a run that was cut off, or of jobs that are under way."""
        return list(self._log.dues.values())

    # -- others' chains

    async def add(self, author: bytes, wires: Sequence[bytes], *, head_mode: bool = False) -> Added:
        """Take in consecutive entries of one author that overlap or follow what is known. Each is judged; known ones are skipped.

        Raises BadChain, Gap, Early or Fork at the first entry that is refused; those before it are kept.
        ``head_mode``: the last signature vouches for the range; it is all taken or none, and counts once it has been judged.
        """
        return await self._intake.add(author, wires, head_mode=head_mode)

    async def judge_pending(self) -> None:
        """Judge what head mode took in, in the background, until cancelled."""
        await self._intake.judge_pending()

    async def judge_next(self) -> int:
        """Judge at most a range of each chain that waits for it; how many entries were good. 0: none waits."""
        return await self._intake.judge_next()

    def is_judged(self, author: bytes) -> bool:
        """Has everything that is held of this author been judged?"""
        return author not in self._log.tails

    def refused(self) -> dict[bytes, tuple[int, str]]:
        """author -> (seq, why), of whom head mode took in what was bad, since the start."""
        return dict(self._intake.refused)

    async def prune(self, author: bytes, upto_seq: int) -> None:
        """Drop a foreign chain's payments up to there; see :mod:`meshgen.ledger.pruning`. Raises LedgerError."""
        await prune(self._log, author, upto_seq)

    def known(self, author: bytes) -> Head:
        """How far this author's chain is held, judged or not; (0, b"") if not at all."""
        return self._log.tails.get(author) or self._log.heads.get(author, NO_HEAD)

    def entries(self, author: bytes, from_seq: int, to_seq: int) -> list[bytes]:
        """The wires from..to, both included, as far as they are held and judged and fit into one range reply."""
        log = self._log
        if from_seq <= log.starts.get(author, 0):
            return []
        try:
            return log.store.wires(author, from_seq, min(to_seq, log.heads.get(author, NO_HEAD).seq))
        except Malformed as error:
            raise log.damaged(author, str(error)) from error

    def heads(self) -> list[tuple[bytes, Head]]:
        """Where each chain ends that is held and judged."""
        return list(self._log.heads.items())

    def id_at(self, author: bytes, seq: int) -> bytes:
        """The id of one entry; b"" if it is not held."""
        head = self.known(author)
        return head.id if seq == head.seq else self._log.store.ids(author, seq, seq).get(seq, b"")

    def words(self, kind: int) -> Iterator[Entry]:
        """Entries of a kind that is no payment, of all chains, each chain's in order. Few, and found without a search."""
        for author, row in self._log.store.words((kind,)):
            if row.seq <= self._log.heads.get(author, NO_HEAD).seq:
                yield row.revive(verify=False)

    # -- who forked

    async def convict(self, evidence: ForkEvidence) -> bool:
        """Keep the proof of a fork. True if it says more than what was known. Raises Malformed if it proves nothing."""
        return await self._intake.convict(evidence)

    async def add_branch(self, author: bytes, wires: Sequence[bytes]) -> int:
        """Take in entries of an author who forked, at and after the fork, each for itself. How many were new.

        Raises BadChain at the first that may not stand; those before it are kept.
        """
        return await self._intake.add_branch(author, wires)

    def branch(self, author: bytes, after: tuple[int, bytes] = (0, b""), limit: int = MAX_RANGE_ENTRIES) -> list[bytes]:
        """What is held of one who forked, at and after the fork, in the order of (seq, id), from the one after ``after``."""
        forked_at = self._log.forked_at(author)
        if not forked_at:
            return []
        main = self._log.store.rows(author, max(forked_at, after[0]), self._log.heads.get(author, NO_HEAD).seq)
        rows = sorted((row.seq, row.id, row) for row in (*main, *self._log.store.branch(author)) if row.seq >= forked_at)
        return fitting(islice((row for seq, entry_id, row in rows if (seq, entry_id) > after), limit))

    def forked_at(self, author: bytes) -> int:
        """The lowest number at which the author is proved to have forked; 0 if it is not."""
        return self._log.forked_at(author)

    def forks(self) -> list[ForkEvidence]:
        """Proof against each author who was caught."""
        return list(self._log.forks.values())

    # -- is it the same that another peer holds?

    def prints(self) -> bytes:
        """One fingerprint a bucket: :func:`meshgen.ledger.prints.bucket_prints`."""
        return bucket_prints(self._log.common_heads())

    def proofs_print(self) -> bytes:
        """One fingerprint of all forks and branches: :func:`meshgen.ledger.prints.proofs_print`."""
        forks = self._log.forks.values()
        return proofs_print([(fork.author, fork.seq) for fork in forks], self._log.branch_ids())

    def digest(self) -> bytes:
        """One value for everything that is held and judged."""
        return digest(self._log.common_heads(), self.proofs_print())

    # -- what it all comes to

    def hold_info(self, hold_id: bytes, payer: bytes = b"", hold_seq: int = 0) -> HoldInfo | None:
        """A hold that is open, claimed or lately closed; with its payer (and number) any other too, which is read from disk."""
        deal = self._log.books.deal(hold_id)
        if deal is None and payer:
            deal = self._log.reader.recall(payer, hold_id, hold_seq)
        return _info(deal, deal.terms) if deal and deal.terms else None

    def balance(self, author: bytes) -> Balance:
        return self._log.books.balance(author)

    def balances(self) -> dict[bytes, Balance]:
        return self._log.books.balances

    def edges(self) -> Mapping[tuple[bytes, bytes], Edge]:
        """(payer, payee) -> what lies between them."""
        return self._log.books.edges

    def account_of(self, key: bytes) -> bytes:
        return self._log.accounts.account_of(key)

    def explain(self, author: bytes) -> list[Line]:
        """The deals behind a balance, each with the ids of the entries that make it. Reads the disk: see :meth:`lines`."""
        return list(self.lines(author))

    def lines(self, author: bytes) -> Iterator[Line]:
        """The same, one payer after the other."""
        payers = sorted({author, *(payer for payer, payee in self._log.books.edges if payee == author)})
        return (line for payer in payers for line in self._lines(payer, author))

    def between(self, payer: bytes, payee: bytes) -> list[Line]:
        """The deals behind one edge."""
        return [line for line in self._lines(payer, payee) if line.payer == payer]

    def _lines(self, payer: bytes, author: bytes) -> list[Line]:
        """The payer's deals with the author, or all of them if that is the author itself."""
        reader = self._log.reader
        deals = reader.made_by(payer) if author == payer else reader.between(payer, author)
        return explain(self._log.books.complete(deals, payer), author)

    def transfers(self, author: bytes) -> Iterator[Entry]:
        """The TRANSFERs by and to one author, which move its balance as its deals do. Reads the disk."""
        return self._log.reader.transfers(author)

    def unfolded(self, author: bytes) -> int:
        """Entries of this author that this version carries without understanding: its balance leaves them out."""
        return self._log.books.unfolded.get(author, 0)

    def standing(self, requester: bytes) -> Standing:
        """What :func:`meshgen.ledger.standing.decide` asks for."""
        now_ms, books, mine = self._now_ms(), self._log.books, self.identity.public_key
        member = self.accounts.member(requester)
        return Standing(
            credit=self.standings.credit(requester, now_ms),
            claimed=books.edge(requester, mine).claimed,
            open_holds=books.open_holds(requester, mine, now_ms),
            forked=requester in self._log.forks,
            own=self.standings.is_own(requester),
            retired=member is not None and member.retired,
            over_budget=member is not None and 0 < member.budget < self._owes(member.line),
            debt=max(0, -books.balance(requester).net),
        )

    def _owes(self, line: bytes) -> int:
        """What one line of keys has spent and set aside beyond what it earned."""
        keys = [member.key for member in self.accounts.members(self.account_of(line)).values() if member.line == line]
        sums = [self.balance(key) for key in keys]
        return sum(balance.spent + balance.held - balance.earned for balance in sums)


def _info(deal: Deal, terms: Terms) -> HoldInfo:
    receipt_id = deal.paid.entry_id if deal.paid else b""
    payer, payee, amount, expires_ms, job, seq, _ = terms
    return HoldInfo(deal.hold_id, payer, payee, amount, expires_ms, job, seq, deal.value, deal.state, receipt_id)
