"""The ledger as roles use it: append to the own chain, take in others', ask what everybody owes.

All methods are called from one trio loop. What is known is held folded in memory, so questions cost no I/O; only
:meth:`Ledger.entries` reads the disk. An append returns once it is durable. Appends that come together share one transaction:
whoever gets the lock first writes for all who wait, so 32 jobs at once cost one fsync, not 32.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from meshgen.home import read_account
from meshgen.identity import Identity, load_or_create
from meshgen.ledger.books import Books
from meshgen.ledger.dues import Due
from meshgen.ledger.errors import BadChain, Early, Fork, Gap, InvalidEntry, LedgerError
from meshgen.ledger.fold import Balance, Deal, Edge, Line, State, Terms, explain
from meshgen.ledger.forks import ForkEvidence, fork_between
from meshgen.ledger.prints import bucket_prints, proofs_print
from meshgen.ledger.rules import Chain
from meshgen.ledger.standing import Standing
from meshgen.ledger.store import Disk, Store, open_store
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    MAX_AHEAD_MS,
    MAX_LABEL_BYTES,
    MAX_RANGE_ENTRIES,
    NO_HEAD,
    Bill,
    Claim,
    Content,
    Entry,
    Genesis,
    Head,
    Hold,
    Receipt,
    Release,
    Voucher,
    decode_entry,
    make_entry,
)

RECOVERY_DIR = "recovery"
"""Holds the key whose hash GENESIS commits to. Its owner does well to move the folder to another place."""
SLICE = 32
"""So many foreign entries are judged at a time, that the loop is not held up for long: 0.1 ms for each bill or voucher inside."""
INLINE = 8
"""Up to so many entries' own signatures, 0.1 ms each, are judged on the loop; more go to a thread."""


@dataclass(frozen=True, slots=True)
class Added:
    """What :meth:`Ledger.add` did: how many entries were new, and where the chain ends now."""

    new: int
    head: Head


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
        ledger = Ledger(store, identity, net, now_ms)
        ledger._load()
        if ledger.head() == NO_HEAD:
            await ledger._append(Genesis(_account(home), _next_key_hash(home, identity), _ascii_label(label)))
            ledger.is_new = True
        yield ledger


class Ledger:
    """Made by :func:`open_ledger`."""

    def __init__(self, store: Store, identity: Identity, net: bytes, now_ms: Callable[[], int]) -> None:
        self.identity = identity
        self.net = net
        self._store = store
        self._now_ms = now_ms
        self._chains: dict[bytes, Chain] = {}  # what was judged, written or not
        self._heads: dict[bytes, Head] = {}  # what is written
        self._books = Books()
        self._forks: dict[bytes, ForkEvidence] = {}
        self._unwritten: list[Entry] = []  # judged, in order
        self._unwritten_forks: list[ForkEvidence] = []
        self._dues: dict[bytes, Due] = {}
        self._unwritten_dues: dict[bytes, Due | None] = {}
        self._writing = trio.Lock()
        self._broken = ""
        self._confirmed = trio.Event()
        self._confirmed.set()
        self._refusal = ""
        self.is_new = False
        """Was the own chain begun in this run?"""

    # -- the own chain

    def head(self) -> Head:
        """Where the own chain ends on disk: never ahead of what would survive a crash."""
        return self.known(self.identity.public_key)

    async def hold(self, job: bytes, payee: bytes, amount: int, expires_ms: int, payee_head: Head) -> Entry:
        """Set ``amount`` aside for one job. Raises LedgerError, and Malformed for values that no entry may hold."""
        return await self._append(Hold(job, payee, amount, expires_ms, payee_head.seq, payee_head.id))

    async def receipt(self, hold_id: bytes, bill: Bill, units: int = 0) -> Entry:
        """Pay what the payee's signed bill says, and close the hold. ``units`` is the number of pictures. Raises LedgerError."""
        mine = self.identity.public_key
        if (bill.net, bill.hold_id, bill.payer) != (self.net, hold_id, mine):
            raise InvalidEntry("the bill is for another mesh, hold or payer")
        return await self._append(Receipt(bill.job, hold_id, bill.payee, bill.amount, bill.result, units, bill.sig))

    async def claim(self, hold_id: bytes, payer: bytes, voucher: Voucher, result: bytes) -> Entry:
        """Show the payer's last voucher to the mesh, when no receipt came. Raises LedgerError."""
        mine = self.identity.public_key
        if (voucher.net, voucher.hold_id, voucher.payer, voucher.payee) != (self.net, hold_id, payer, mine):
            raise InvalidEntry("the voucher is for another mesh, hold, payer or payee")
        info = self.hold_info(hold_id)
        return await self._append(Claim(hold_id, info.seq if info else 1, payer, voucher.amount, voucher.sig, result))

    async def release(self, hold_id: bytes, reason: int, payee_sig: bytes = b"") -> Entry:
        """Take a hold back: once it has expired, or with the signature of the payee's Consent. Raises LedgerError."""
        return await self._append(Release(hold_id, reason, payee_sig))

    async def append(self, content: Content) -> Entry:
        """Say anything else: a transfer, a vouch, a word about keys. Raises LedgerError, and Malformed as above."""
        return await self._append(content)

    def open_holds(self) -> list[HoldInfo]:
        """The own holds that are neither paid nor released, oldest first: to take up after a restart, to release after expiry."""
        infos = (self.hold_info(hold_id) for hold_id in self._chain(self.identity.public_key).holds)
        return [info for info in infos if info]

    # -- a home that may have come from a backup

    @property
    def confirmed(self) -> bool:
        """Is it known where the own chain ends?"""
        return self._confirmed.is_set()

    def hold_appends(self) -> None:
        """Own appends wait from here on, until others have said how far they know the own chain."""
        self._confirmed = trio.Event()

    def allow_appends(self, refusal: str = "") -> None:
        """They go on, or fail with this text."""
        self._refusal = refusal
        self._confirmed.set()

    # -- dues: what no entry says yet

    async def keep_due(self, due: Due) -> None:
        """On disk when it returns; it replaces what was kept of this hold before. Raises LedgerError."""
        self._ensure_usable()
        self._dues[due.hold_id] = self._unwritten_dues[due.hold_id] = due
        await self._commit()

    def drop_due(self, hold_id: bytes) -> None:
        """An entry says it now. It leaves the disk with the next write: what is settled twice is settled once."""
        if self._dues.pop(hold_id, None):
            self._unwritten_dues[hold_id] = None

    def dues(self) -> list[Due]:
        """Of a run that was cut off, or of jobs that are under way."""
        return list(self._dues.values())

    async def settle(self, due: Due) -> Entry:
        """Append what is due, which is dropped in the same write. Raises LedgerError."""
        return await self._append(due)

    # -- others' chains

    async def add(self, author: bytes, wires: Sequence[bytes], *, head_mode: bool = False) -> Added:
        """Take in consecutive entries of one author that overlap or follow what is known. Each is judged; known ones are skipped.

        Raises BadChain, Gap, Early or Fork at the first entry that is refused; those before it are kept.
        """
        self._ensure_usable()
        if len(wires) > MAX_RANGE_ENTRIES:
            raise BadChain(self.known(author).seq + 1, f"{len(wires)} entries at once, more than {MAX_RANGE_ENTRIES}")
        before = self._chain(author).head.seq
        try:
            for start in range(0, len(wires), SLICE):
                entries, fault = await self._decode(author, wires[start : start + SLICE])
                self._take(author, entries)
                if fault:
                    raise fault
        finally:
            after = self._chain(author).head.seq
            await self._commit()
        return Added(after - before, self.known(author))

    async def judge_pending(self) -> None:
        """Judge what head mode took in, in the background, until cancelled."""
        await trio.sleep_forever()

    async def convict(self, evidence: ForkEvidence) -> bool:
        """Keep the proof of a fork. True if it says more than what was known."""
        self._ensure_usable()
        if 0 < self.forked_at(evidence.author) <= evidence.seq:
            return False
        self._forks[evidence.author] = evidence
        self._unwritten_forks.append(evidence)
        await self._commit()
        return True

    async def add_branch(self, author: bytes, wires: Sequence[bytes]) -> int:
        """Take in entries of an author who forked, at and after the fork, each for itself. How many were new."""
        return 0

    def branch(self, author: bytes, after: tuple[int, bytes] = (0, b""), limit: int = MAX_RANGE_ENTRIES) -> list[bytes]:
        """What is held of an author who forked, at and after the fork, in the order of (seq, id), from the one after ``after``."""
        return []

    def proofs_print(self) -> bytes:
        """One fingerprint of all forks and branches: :func:`meshgen.ledger.prints.proofs_print`."""
        return proofs_print([(fork.author, fork.seq) for fork in self.forks()], ())

    def known(self, author: bytes) -> Head:
        """How far this author's chain is held; (0, b"") if not at all."""
        return self._heads.get(author, NO_HEAD)

    def entries(self, author: bytes, from_seq: int, to_seq: int) -> list[bytes]:
        """The wires from..to, both included, as far as they are held and fit into one range reply."""
        return self._store.wires(author, from_seq, to_seq)

    def heads(self) -> list[tuple[bytes, Head]]:
        return list(self._heads.items())

    def id_at(self, author: bytes, seq: int) -> bytes:
        """The id of one entry; b"" if it is not held."""
        head = self.known(author)
        return head.id if seq == head.seq else self._store.ids(author, seq, seq).get(seq, b"")

    def prints(self) -> bytes:
        """One fingerprint a bucket: :func:`meshgen.ledger.prints.bucket_prints`."""
        return bucket_prints(self._heads.items())

    def forked_at(self, author: bytes) -> int:
        """The lowest number at which the author is proved to have forked; 0 if it is not."""
        fork = self._forks.get(author)
        return fork.seq if fork else 0

    def forks(self) -> list[ForkEvidence]:
        """Proof against each author who was caught."""
        return list(self._forks.values())

    # -- what it all comes to

    def hold_info(self, hold_id: bytes) -> HoldInfo | None:
        deal = self._books.deals.get(hold_id)
        return _info(deal, deal.terms) if deal and deal.terms else None

    def balance(self, author: bytes) -> Balance:
        return self._books.balance(author)

    def edges(self) -> Mapping[tuple[bytes, bytes], Edge]:
        """(payer, payee) -> what lies between them."""
        return self._books.edges

    def balances(self) -> dict[bytes, Balance]:
        return dict(self._books.balances)

    def explain(self, author: bytes) -> list[Line]:
        """The deals behind a balance, each with the ids of the entries that make it."""
        return explain(self._books.deals, author)

    def unfolded(self, author: bytes) -> int:
        """Entries of this author that this version carries without understanding: its balance leaves them out."""
        return self._books.unfolded.get(author, 0)

    def standing(self, requester: bytes) -> Standing:
        """What :func:`meshgen.ledger.standing.decide` asks for."""
        mine = self.identity.public_key
        theirs = self._books.edge(requester, mine)
        i_owe = max(0, self._books.edge(mine, requester).owed - theirs.owed)
        open_holds = self._books.open_holds(requester, mine, self._now_ms())
        return Standing(i_owe, theirs.claimed, open_holds, requester in self._forks)

    # -- inside: judging

    def _chain(self, author: bytes) -> Chain:
        chain = self._chains.get(author)
        return chain if chain else Chain(self.net, author)

    async def _decode(self, author: bytes, wires: Sequence[bytes]) -> tuple[list[Entry], BadChain | None]:
        """The good entries at the front, and what is wrong with the first that is not."""
        start = self._chain(author).head.seq
        if len(wires) <= INLINE or self._store.in_memory:
            return _decode_all(wires, start)
        return await trio.to_thread.run_sync(_decode_all, wires, start)

    def _take(self, author: bytes, entries: Sequence[Entry]) -> None:
        """Judge and queue. No await in here: what was judged is queued in the same step."""
        if author in self._forks:
            fork = self._forks[author]
            raise Fork(author, fork.seq, fork.ids)
        chain = self._chain(author)
        known = self._known_ids(author, entries, chain.head.seq)
        for entry in entries:
            if entry.author == author and entry.net == self.net and entry.seq <= chain.head.seq:
                self._compare(entry, known[entry.seq])
                continue
            self._judge(chain, entry)
            self._chains[author] = chain
            self._unwritten.append(entry)
            known[entry.seq] = entry.id

    def _judge(self, chain: Chain, entry: Entry) -> None:
        if entry.seq > chain.head.seq + 1:
            raise Gap(chain.head.seq)
        if entry.ts_ms > self._now_ms() + MAX_AHEAD_MS:
            raise Early(entry.seq, entry.ts_ms)
        try:
            chain.append(entry)
        except InvalidEntry as error:
            raise BadChain(entry.seq, str(error)) from None

    def _known_ids(self, author: bytes, entries: Sequence[Entry], head_seq: int) -> dict[int, bytes]:
        seqs = [entry.seq for entry in entries if entry.seq <= head_seq]
        if not seqs:
            return {}
        waiting = {entry.seq: entry.id for entry in self._unwritten if entry.author == author}
        return self._store.ids(author, min(seqs), max(seqs)) | waiting

    def _compare(self, entry: Entry, known_id: bytes) -> None:
        if entry.id == known_id:
            return
        held = self._find(entry.author, entry.seq)
        evidence = fork_between(held, entry)
        if evidence is None:
            raise LedgerError(f"the held entry {entry.seq} of {entry.author.hex()[:16]} is not validly signed")
        self._forks[entry.author] = evidence
        self._unwritten_forks.append(evidence)
        raise Fork(entry.author, entry.seq, evidence.ids)

    def _find(self, author: bytes, seq: int) -> Entry:
        for entry in self._unwritten:
            if (entry.author, entry.seq) == (author, seq):
                return entry
        return decode_entry(self._store.wires(author, seq, seq)[0], verify=False)

    # -- inside: writing

    async def _append(self, content: Content) -> Entry:
        """Judge, queue and write one own entry. Once queued it can't be cancelled: a chain has no holes."""
        await self._confirmed.wait()
        if self._refusal:
            raise LedgerError(self._refusal)
        self._ensure_usable()
        mine = self.identity.public_key
        if mine in self._forks:
            raise LedgerError("this identity's chain has forked (a restored copy? two processes?): it must not append any more")
        chain = self._chain(mine)
        ts_ms = self._date(chain)
        seq, prev = chain.head.seq + 1, chain.head.id
        entry = make_entry(self.identity, self.net, seq, prev, ts_ms, kind=content.KIND, data=content.data())
        chain.append(entry)
        self._chains[mine] = chain
        self._unwritten.append(entry)
        if isinstance(content, Receipt | Claim | Release):
            self.drop_due(content.hold_id)
        await self._commit()
        return entry

    def _date(self, chain: Chain) -> int:
        """Now, or the last entry's date if the clock went back a little. Further back, others would not take the entry."""
        now_ms = self._now_ms()
        if chain.ts_ms > now_ms + MAX_AHEAD_MS:
            ahead_s = (chain.ts_ms - now_ms) // 1000
            raise LedgerError(f"the own chain's last entry is dated {ahead_s} s ahead of this machine's clock; set the clock")
        return max(now_ms, chain.ts_ms)

    async def _commit(self) -> None:
        """Return when everything that was pending is written, by this call or by another's."""
        with trio.CancelScope(shield=True):
            async with self._writing:
                self._ensure_usable()
                if self._unwritten or self._unwritten_forks or any(self._unwritten_dues.values()):
                    await self._write(list(self._unwritten), list(self._unwritten_forks), dict(self._unwritten_dues))

    async def _write(self, batch: list[Entry], forks: list[ForkEvidence], dues: dict[bytes, Due | None]) -> None:
        durable = any(dues.values()) or any(entry.author == self.identity.public_key for entry in batch)
        write = partial(self._store.write, batch, forks, durable=durable, dues=dues)
        try:
            if self._store.in_memory:
                write()
            else:
                await trio.to_thread.run_sync(write)
        except sqlite3.Error as error:
            # What was judged is not what is written any more; only a fresh start can tell.
            self._broken = f"the credit log can't be written ({error}); free the disk and restart"
            raise LedgerError(self._broken) from error
        except BaseException as error:
            self._broken = f"the credit log was interrupted ({error!r}); restart"
            raise
        del self._unwritten[: len(batch)], self._unwritten_forks[: len(forks)]
        self._unwritten_dues = {key: due for key, due in self._unwritten_dues.items() if due is not dues.get(key, self)}
        for entry in batch:
            self._books.add(entry)
            self._heads[entry.author] = entry.head

    def _ensure_usable(self) -> None:
        if self._broken:
            raise LedgerError(self._broken)

    # -- inside: starting

    def _load(self) -> None:
        """Fold what is on disk. Signatures were judged when it was written; the rules are applied again."""
        held = self._store.meta("net")
        if held and held != self.net:
            raise LedgerError(f"this home belongs to the mesh {held.hex()}, not {self.net.hex()}; use another MESHGEN_HOME")
        self._store.set_meta("net", self.net)
        self._store.set_meta("self", self.identity.public_key)
        self._forks = {fork.author: fork for fork in self._store.forks()}
        self._dues = {due.hold_id: due for due in self._store.dues()}
        for author in self._store.authors():
            self._load_chain(author)

    def _load_chain(self, author: bytes) -> None:
        chain = Chain(self.net, author)
        for row in self._store.chain(author):
            try:
                entry = row.revive(verify=False)
                chain.append(entry, embedded=False)
            except (Malformed, InvalidEntry) as error:
                self._cut(author, row.seq, str(error))
                break
            self._books.add(entry)
        if chain.head != NO_HEAD:
            self._chains[author] = chain
            self._heads[author] = chain.head

    def _cut(self, author: bytes, seq: int, why: str) -> None:
        """A damaged foreign chain is pulled again from there; the own one can't be."""
        if author == self.identity.public_key:
            raise LedgerError(f"the own chain is damaged at entry {seq} ({why}); restore it from a backup before going on")
        self._store.cut(author, seq)


def _decode_all(wires: Sequence[bytes], start: int) -> tuple[list[Entry], BadChain | None]:
    entries: list[Entry] = []
    for wire in wires:
        try:
            entries.append(decode_entry(wire))
        except Malformed as error:
            seq = entries[-1].seq + 1 if entries else start + 1
            return entries, BadChain(seq, str(error))
    return entries, None


def _info(deal: Deal, terms: Terms) -> HoldInfo:
    receipt_id = deal.paid.entry_id if deal.paid else b""
    payer, payee, amount, expires_ms, job, seq, _ = terms
    return HoldInfo(deal.hold_id, payer, payee, amount, expires_ms, job, seq, deal.value, deal.state, receipt_id)


def _next_key_hash(home: Path | Disk | None, identity: Identity) -> bytes:
    """What GENESIS commits to. A ledger in memory has no time to lose a key, and stays deterministic."""
    key = load_or_create(home / RECOVERY_DIR).public_key if isinstance(home, Path) else identity.public_key
    return hashlib.sha256(key).digest()


def _account(home: Path | Disk | None) -> bytes:
    """The account that the home was made for; b"" begins one of its own."""
    try:
        return read_account(home) if isinstance(home, Path) else b""
    except ValueError as error:
        raise LedgerError(str(error)) from None


def _ascii_label(label: str) -> str:
    plain = "".join(char if char.isascii() and char.isprintable() else "?" for char in label)
    return plain[:MAX_LABEL_BYTES]
