"""Keeping others' credit chains: every peer pulls what it needs, an archivist everything.

What there is to pull is heard from adverts (each peer's own head), from the news (what others saw), and in reconciliation.
Wherever two chains of one author turn out to differ, they are compared down to the first place where they do: that proves a fork.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

import trio

from meshgen.identity import peer_id
from meshgen.ledger.errors import BadChain, Fork, LedgerError
from meshgen.ledger.forks import ForkEvidence, fork_between
from meshgen.ledger.ledger import Added, Ledger
from meshgen.net.port import Net, NetError, PeerId, request
from meshgen.peers.interest import Interest
from meshgen.peers.trouble import level_of, own_trouble
from meshgen.protocols.advert import Advert
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    MAX_RANGE_ENTRIES,
    PROTOCOL,
    Branch,
    BranchRequest,
    Entry,
    Frontier,
    RangeReply,
    RangeRequest,
    decode_entry,
)
from meshgen.protocols.envelope import Signed

log = logging.getLogger(__name__)

PULL_S = 10.0
MAX_PULLS = 4
"""Chains pulled at the same time..."""
MAX_PULLS_FROM = 2
"""...and from one source, which may say nothing for PULL_S."""
MAX_WANTED = 4096
HEAD_MODE_ENTRIES = 4096
"""A chain that is behind by more than so many entries is taken in by its last signatures, and judged afterwards."""


class Archivist:
    """``interest`` says which chains are kept; ``on_fork`` hears of each fork that is newly proved here."""

    def __init__(self, net: Net, ledger: Ledger, interest: Interest) -> None:
        self._net = net
        self._ledger = ledger
        self._interest = interest
        self._wanted: OrderedDict[bytes, PeerId] = OrderedDict()  # author -> whom to ask, in the order of asking
        self._news = trio.Event()
        self._following: dict[bytes, PeerId] = {}  # author -> who is being asked
        self.on_fork: list[Callable[[ForkEvidence], None]] = []
        self.on_dealing: list[Callable[[bytes], None]] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_PULLS):
                nursery.start_soon(self._follow_wanted)
            nursery.start_soon(self._ledger.judge_pending)
            task_status.started()

    # -- what there is to pull

    def want(self, author: bytes, source: PeerId | None = None) -> None:
        """Pull this chain soon, from its author or another source; asking again while it waits costs nothing."""
        if author == self._ledger.identity.public_key or author in self._wanted:
            return
        if len(self._wanted) >= MAX_WANTED:
            self._wanted.popitem(last=False)  # a flood of strangers must not keep newcomers out
        self._wanted[author] = source or PeerId(peer_id(author))
        self._nudge()

    def heard(self, advert: Signed[Advert]) -> None:
        """An advert came in: does its head run ahead of what is known, or aside of it?"""
        if advert.message.head_seq:
            self.heard_head(Frontier(advert.author, advert.message.head_seq, advert.message.head_id), PeerId(advert.peer))

    def heard_head(self, frontier: Frontier, source: PeerId) -> None:
        """Somebody holds an author's chain up to there."""
        author, known = frontier.author, self._ledger.known(frontier.author)
        forked_at = self._ledger.forked_at(author)
        if forked_at and known.seq >= forked_at - 1:
            return  # what stands below the fork is all that there is of its chain
        if frontier.seq > known.seq:
            if self._interest.keeps(author):
                self.want(author, source)
        elif self._ledger.id_at(author, frontier.seq) not in (frontier.id, b""):
            self.want(author, source)

    async def take(self, author: bytes, wires: Sequence[bytes]) -> Added:
        """Entries that came in the course of a job with their author. Raises LedgerError."""
        try:
            added = await self._ledger.add(author, wires)
        except Fork as fork:
            self._tell_fork(fork.author)
            raise
        if added.new:
            self._tell_dealing(author)
        return added

    def _tell_dealing(self, author: bytes) -> None:
        for listener in self.on_dealing:
            listener(author)

    # -- pulling

    def _nudge(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _follow_wanted(self) -> None:
        while True:
            author = self._next()
            if author is None:
                await self._news.wait()
                continue
            source = self._following[author] = self._wanted.pop(author)
            before = self._ledger.known(author).seq
            try:
                with trio.move_on_after(PULL_S) as patience:
                    await self.pull(source, author)
                if patience.cancelled_caught and self._ledger.known(author).seq > before:
                    self.want(author, source)  # a long chain goes on after the others have had their turn
                elif patience.cancelled_caught:
                    self._give_up(source)
            except (NetError, Malformed, LedgerError) as error:
                log.log(level_of(error), "a chain could not be pulled: %s", error)
                if isinstance(error, NetError):
                    self._give_up(source)
            finally:
                del self._following[author]
                self._nudge()

    def _next(self) -> bytes | None:
        """Whose chain is pulled next: the first that waits, but none twice at the same time, and few from one source."""
        asked = Counter(self._following.values())
        waiting = (author for author in self._wanted if author not in self._following)
        return next((author for author in waiting if asked[self._wanted[author]] < MAX_PULLS_FROM), None)

    def _give_up(self, source: PeerId) -> None:
        """It does not answer: what else it was to be asked for, others tell of again. One liar must not keep them all waiting."""
        for author in [author for author, whom in self._wanted.items() if whom == source]:
            del self._wanted[author]

    async def pull(self, source: PeerId, author: bytes, *, dealing: bool = False) -> None:
        """Fetch from ``source`` what is missing of an author's chain, in the course of a job with it or not.

        Raises NetError, Malformed, LedgerError.
        """
        while self._interest.may_add(author, dealing=dealing):
            start, last = self._missing(author)
            if last < start:
                return
            reply = await self._range(source, author, start, last)
            if not reply.entries:
                await self.compare(source, author, min(start - 1, reply.head_seq))
                return
            try:
                is_long = not dealing and self._is_long(author, reply.head_seq - start)  # a job's HOLD counts once it is judged
                added = await self._ledger.add(author, reply.entries, head_mode=is_long)
            except Fork:
                self._tell_fork(author)
                return
            except BadChain:
                if start == 1 or not await self.compare(source, author, start - 1):
                    raise
                return
            self._interest.added(author, added.new, dealing=dealing)
            if dealing:
                self._tell_dealing(author)
            if not added.new or added.head.seq >= reply.head_seq:
                return

    def _is_long(self, author: bytes, missing: int) -> bool:
        """Then it is taken in by its last signatures, to its end; the own chain never."""
        if author == self._ledger.identity.public_key:
            return False
        return missing >= HEAD_MODE_ENTRIES or not self._ledger.is_judged(author)

    def _missing(self, author: bytes) -> tuple[int, int]:
        """(first, last) of the next range to ask for; of who forked, nothing that is not below the fork."""
        start, forked_at = self._ledger.known(author).seq + 1, self._ledger.forked_at(author)
        last = start + MAX_RANGE_ENTRIES - 1
        return start, min(last, forked_at - 1) if forked_at else last

    async def _range(self, source: PeerId, author: bytes, first: int, last: int) -> RangeReply:
        question = RangeRequest(self._ledger.net, author, first, last)
        reply = RangeReply.decode(await request(self._net, source, PROTOCOL, question.encode()))
        if reply.author != author or reply.net != self._ledger.net:
            raise Malformed("range: the answer is about another chain")
        return reply

    # -- forks

    async def compare(self, source: PeerId, author: bytes, upto_seq: int) -> bool:
        """Do we hold another chain of this author than ``source``, up to there? Then prove it, at the first difference."""
        if upto_seq < 1 or (theirs := await self._differing(source, author, upto_seq)) is None:
            return False
        same, differs = 0, upto_seq
        while differs - same > 1:
            middle = (same + differs) // 2
            found = await self._differing(source, author, middle)
            if found is None:
                same = middle
            else:
                differs, theirs = middle, found
        ours = self._ledger.entries(author, differs, differs)  # none if it is not judged yet
        evidence = fork_between(decode_entry(ours[0], view=False), theirs) if ours else None
        return evidence is not None and await self.convict(evidence)

    async def _differing(self, source: PeerId, author: bytes, seq: int) -> Entry | None:
        """Their entry of that number, if it is another than ours. What is not kept any more differs from nothing."""
        entry = await self.shown(source, author, seq)
        return None if entry is None or self._ledger.id_at(author, seq) in (entry.id, b"") else entry

    async def shown(self, source: PeerId, author: bytes, seq: int) -> Entry | None:
        """Their entry of that number, with its author's signature; None if they have none to show. Raises NetError, Malformed."""
        reply = await self._range(source, author, seq, seq)
        if not reply.entries:
            return None
        entry = decode_entry(reply.entries[0], view=False)
        if (entry.net, entry.author, entry.seq) != (self._ledger.net, author, seq):
            raise Malformed("range: the answer is about another place")
        return entry

    async def convict(self, evidence: ForkEvidence) -> bool:
        """Keep the proof; tell everybody if it is new. Raises LedgerError."""
        new = self._interest.may_accuse(evidence.author) and await self._ledger.convict(evidence)
        if new:
            self._interest.accused(evidence.author)
            if evidence.author == self._ledger.identity.public_key:
                log.error("%s", own_trouble(self._ledger))
            for listener in self.on_fork:
                listener(evidence)
        return new

    def _tell_fork(self, author: bytes) -> None:
        for evidence in self._ledger.forks():
            if evidence.author == author:
                for listener in self.on_fork:
                    listener(evidence)

    async def pull_branch(self, source: PeerId, author: bytes) -> None:
        """Fetch what another holds of an author who forked. Raises NetError, Malformed, LedgerError."""
        after = (0, b"")
        while self._interest.may_add(author):
            question = BranchRequest(self._ledger.net, author, *after)
            reply = Branch.decode(await request(self._net, source, PROTOCOL, question.encode()))
            if reply.author != author or reply.net != self._ledger.net:
                raise Malformed("branch: the answer is about another author")
            if not reply.entries:
                return
            last = decode_entry(reply.entries[-1], verify=False)
            if (last.seq, last.id) <= after:
                raise Malformed("branch: the answer does not go on")
            after = (last.seq, last.id)
            self._interest.added(author, await self._ledger.add_branch(author, reply.entries))
