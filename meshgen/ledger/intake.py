"""Foreign entries on their way into the log: each is judged, by all cores, before it counts.

In head mode a range is written by its last signature alone, as hash links hold the rest together, and judged later; until then
it counts for nothing. Of an author who forked, entries from the fork on stand each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import trio

from meshgen.ledger.errors import BadChain, Early, Fork, Gap, InvalidEntry, LedgerError
from meshgen.ledger.forks import ForkEvidence, fork_between, judge
from meshgen.ledger.judging import Examined, Link, examine, read_entries, read_links
from meshgen.ledger.log import Log
from meshgen.ledger.rules import Chain
from meshgen.ledger.verifiers import Verifiers
from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.credit import MAX_AHEAD_MS, MAX_BRANCH_ENTRIES, MAX_RANGE_ENTRIES, Entry, Head, decode_entry

INLINE = 8
"""Up to so many entries' signatures, 0.1 ms each, are judged on the loop; more go to the other cores."""
CHUNK = 256
"""So many entries are read, and judged by the rules, between two turns of the loop."""


@dataclass(frozen=True, slots=True)
class Added:
    """How many entries were new, and where the chain ends now."""

    new: int
    head: Head


class Intake:
    """One a ledger. All methods are called from the ledger's loop."""

    def __init__(self, log: Log, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._now_ms = now_ms
        self._verifiers = Verifiers()
        self._judging = trio.Lock()
        self._waiting = trio.Event()
        self.refused: dict[bytes, tuple[int, str]] = {}
        """author -> (seq, why): signed by the author, taken in head mode, and found bad. Forgotten at the next start, which
        may be of a version that judges otherwise."""

    async def close(self) -> None:
        await self._verifiers.close()

    # -- whole chains

    async def add(self, author: bytes, wires: Sequence[bytes], *, head_mode: bool = False) -> Added:
        """See :meth:`meshgen.ledger.ledger.Ledger.add`."""
        log = self._log
        log.ensure_usable()
        if len(wires) > MAX_RANGE_ENTRIES:
            raise BadChain(log.end(author).seq + 1, f"{len(wires)} entries at once, more than {MAX_RANGE_ENTRIES}")
        before = log.end(author).seq
        take = self._add_links if head_mode else self._add_judged
        try:
            await take(author, wires)
        finally:
            after = log.end(author).seq
            await log.commit()
        return Added(after - before, log.end(author))

    async def _add_judged(self, author: bytes, wires: Sequence[bytes]) -> None:
        examined = await self._examine(author, wires)
        while author in self._log.tails:  # asked last: head mode may have added to the chain meanwhile
            await self._judge_tail(author)
        start = self._log.chain(author).head.seq
        for found in examined:
            self._take(author, found.entries)
            start = found.entries[-1][0].seq if found.entries else start
            if found.fault:
                raise BadChain(start + 1, found.fault.why)

    async def _examine(self, author: bytes, wires: Sequence[bytes]) -> list[Examined]:
        chunks = [wires[start : start + CHUNK] for start in range(0, len(wires), CHUNK)]
        if len(wires) <= INLINE or self._log.store.in_memory:
            return [examine(self._log.net, author, chunk) for chunk in chunks]
        results: dict[int, Examined] = {}

        async def work(index: int) -> None:
            readings = read_entries(self._log.net, author, chunks[index])
            results[index] = readings.judged(await self._verifiers.verify(readings.signatures))

        async with trio.open_nursery() as nursery:
            for index in range(len(chunks)):
                nursery.start_soon(work, index)
        return [results[index] for index in range(len(chunks))]

    def _take(self, author: bytes, entries: Sequence[tuple[Entry, bool]]) -> None:
        """Judge and queue. No await in here: what was judged is queued in the same step."""
        log = self._log
        chain = log.chain(author)
        known = self._known_ids(author, [entry for entry, _ in entries if entry.seq <= chain.head.seq])
        for entry, vouched in entries:
            if entry.author == author and entry.net == log.net and entry.seq <= chain.head.seq:
                self._compare(entry, known.get(entry.seq))
                continue
            self._refuse_forked(author, entry.seq)
            self._judge(chain, entry, vouched)
            log.chains[author] = chain
            log.pending.entries.append(entry)
            known[entry.seq] = entry.id  # should it come twice within one answer

    def _judge(self, chain: Chain, entry: Entry, vouched: bool) -> None:
        if entry.seq > chain.head.seq + 1:
            raise Gap(chain.head.seq)
        if entry.ts_ms > self._now_ms() + MAX_AHEAD_MS:
            raise Early(entry.seq, entry.ts_ms)
        try:
            chain.append(entry, embedded=not vouched)
        except InvalidEntry as error:
            raise BadChain(entry.seq, str(error)) from None

    def _refuse_forked(self, author: bytes, seq: int) -> None:
        fork = self._log.forks.get(author)
        if fork and seq >= fork.seq:
            raise Fork(author, fork.seq, fork.ids)
        if author in self.refused:
            raise BadChain(*self.refused[author])

    def _known_ids(self, author: bytes, entries: Sequence[Entry | Link]) -> dict[int, bytes]:
        if not entries:
            return {}
        waiting = {entry.seq: entry.id for entry in self._log.unwritten(author)}
        return self._log.store.ids(author, entries[0].seq, entries[-1].seq) | waiting

    def _compare(self, entry: Entry, known_id: bytes | None) -> None:
        if known_id is None or entry.id == known_id:
            return  # known, or so old that it is not kept any more
        held = self._find(entry.author, entry.seq)
        evidence = fork_between(held, entry)
        if evidence is None:
            raise LedgerError(f"the held entry {entry.seq} of {entry.author.hex()[:16]} is not validly signed")
        self._accuse(evidence)
        raise Fork(entry.author, entry.seq, evidence.ids)

    def _find(self, author: bytes, seq: int) -> Entry:
        for entry in self._log.unwritten(author):
            if entry.seq == seq:
                return entry if isinstance(entry, Entry) else decode_entry(encode((entry.body, entry.sig)), verify=False)
        return next(self._log.store.rows(author, seq, seq)).revive(verify=False)

    # -- head mode

    async def _add_links(self, author: bytes, wires: Sequence[bytes]) -> None:
        log = self._log
        try:
            links = await log.offload(partial(read_links, log.net, author, wires))
        except (Malformed, InvalidEntry) as error:
            raise BadChain(log.end(author).seq + 1, str(error)) from None
        end = log.end(author)
        old = [link for link in links if link.seq <= end.seq]
        known = self._known_ids(author, old)
        for link in old:
            if known.get(link.seq, link.id) != link.id:
                self._compare(link.revive(), known[link.seq])
        if new := links[len(old) :]:
            self._link(author, new, end)
            self._waiting.set()

    def _link(self, author: bytes, links: Sequence[Link], end: Head) -> None:
        log, last = self._log, links[-1]
        self._refuse_forked(author, last.seq)
        if links[0].seq > end.seq + 1:
            raise Gap(end.seq)
        if links[0].prev != end.id:
            raise BadChain(links[0].seq, "it does not follow the entry before it (prev differs)")
        if last.ts_ms > self._now_ms() + MAX_AHEAD_MS:
            raise Early(last.seq, last.ts_ms)
        if author not in log.tails:
            log.pending.judged[author] = end.seq
        log.pending.entries += links
        log.tails[author] = last.head

    async def judge_pending(self) -> None:
        """See :meth:`meshgen.ledger.ledger.Ledger.judge_pending`."""
        while True:
            self._waiting = trio.Event()
            if not await self.judge_next() and not self._log.tails:
                await self._waiting.wait()

    async def judge_next(self) -> int:
        """See :meth:`meshgen.ledger.ledger.Ledger.judge_next`."""
        self._log.ensure_usable()
        return sum([await self._judge_tail(author) for author in list(self._log.tails)])

    async def _judge_tail(self, author: bytes) -> int:
        """One slice; how many entries were good."""
        async with self._judging:
            log = self._log
            if author not in log.tails:
                return 0
            await log.commit()
            chain = log.chain(author)
            start = chain.head.seq + 1
            rows = await log.offload(lambda: list(log.store.rows(author, start, start + MAX_RANGE_ENTRIES - 1)))
            found = await self._examine(author, [row.wire for row in rows])
            fault = self._confirm(chain, found)
            await log.commit()
            if fault:
                seq, why, forged = fault
                await log.cut(author, seq)
                if not forged:
                    self.refused[author] = (seq, why)
            return chain.head.seq + 1 - start

    def _confirm(self, chain: Chain, found: Sequence[Examined]) -> tuple[int, str, bool] | None:
        """Queue what is good for the books. What is not: (seq, why, whether another than the author may have done it)."""
        log, fault = self._log, None
        for part in found:
            for entry, vouched in part.entries:
                try:
                    chain.append(entry, embedded=not vouched)
                except InvalidEntry as error:
                    fault = (chain.head.seq + 1, str(error), False)
                    break
                log.pending.confirmed.append(entry)
            if part.fault and not fault:
                fault = (chain.head.seq + 1, part.fault.why, part.fault.forged)
            if fault:
                break
        log.chains[chain.author] = chain
        whole = chain.head.seq >= log.tails[chain.author].seq
        log.pending.judged[chain.author] = None if whole else chain.head.seq
        if whole:
            del log.tails[chain.author]
        return fault

    # -- who forked

    async def convict(self, evidence: ForkEvidence) -> bool:
        """See :meth:`meshgen.ledger.ledger.Ledger.convict`."""
        self._log.ensure_usable()
        new = self._accuse(judge(self._log.net, evidence.wires))
        await self._log.commit()
        return new

    def _accuse(self, evidence: ForkEvidence) -> bool:
        new = self._log.accuse(evidence)
        if new:
            kept = self._kept(evidence.author)
            for wire in evidence.wires:
                with suppress(Malformed):  # what it holds plays no part in the proof
                    self._keep(decode_entry(wire, verify=False), kept)
        return new

    async def add_branch(self, author: bytes, wires: Sequence[bytes]) -> int:
        """See :meth:`meshgen.ledger.ledger.Ledger.add_branch`."""
        log = self._log
        log.ensure_usable()
        forked_at = log.forked_at(author)
        if not forked_at:
            raise LedgerError(f"{author.hex()[:16]} is not known to have forked")
        new, examined = 0, await self._examine(author, wires)
        kept = self._kept(author)
        try:
            for found in examined:
                for entry, _ in found.entries:
                    if (entry.net, entry.author) != (log.net, author) or entry.seq < forked_at:
                        raise BadChain(entry.seq, "it is not of that author and after its fork")
                    new += self._keep(entry, kept)
                if found.fault:
                    raise BadChain(forked_at, found.fault.why)
        finally:
            await log.commit()
        return new

    def _kept(self, author: bytes) -> set[bytes]:
        """The ids of all that is held of one who forked, from the fork on."""
        log = self._log
        queued = (entry for batch in (log.in_flight, log.pending) for entry in batch.branches)
        ids = {entry.id for entry in queued if entry.author == author}
        ids.update(log.store.ids(author, log.forked_at(author), log.end(author).seq).values())
        ids.update(entry.id for entry in log.unwritten(author) if entry.seq >= log.forked_at(author))
        return ids | log.store.branch_ids(author)

    def _keep(self, entry: Entry, kept: set[bytes]) -> bool:
        """Queue an entry off the main chain. False if it is held, or if too many are."""
        if entry.id in kept or len(kept) >= MAX_BRANCH_ENTRIES:
            return False
        kept.add(entry.id)
        self._log.pending.branches.append(entry)
        return True
