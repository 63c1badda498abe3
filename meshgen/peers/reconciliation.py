"""Comparing notes with one neighbour at a time: what gossip did not carry, across a partition or an absence, is found here."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import suppress

import trio

from meshgen.ledger.errors import LedgerError
from meshgen.ledger.forks import ForkEvidence, judge
from meshgen.ledger.ledger import Ledger
from meshgen.ledger.prints import differing
from meshgen.net.port import Net, NetError, PeerId, request
from meshgen.peers.archivist import PULL_S, Archivist
from meshgen.peers.directory import Directory
from meshgen.peers.interest import Interest
from meshgen.peers.news import NEWS_GAP_S, NewsDesk
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    MAX_HEADS,
    MAX_PROOFS,
    PROTOCOL,
    BucketRequest,
    Frontier,
    Heads,
    HeadsRequest,
    Prints,
    PrintsRequest,
    Proofs,
    ProofsRequest,
)
from meshgen.protocols.record import Record

log = logging.getLogger(__name__)

RECONCILE_S = 30.0
QUESTION_S = 10.0
PROVED_S = 2 * RECONCILE_S + 2 * NEWS_GAP_S + PULL_S
"""In a mesh with an archivist, a fork that two peers were shown is proved at all within so long of their being linked again."""
MAX_TRIES = 3
"""A round with a neighbour that does not answer to the end is made up for with another at once."""
MAX_VISITS = 256
"""Return visits that wait."""


class Reconciliation:
    """Every second time with an archivist, where there is one: what one half of the mesh knows, the other finds there."""

    def __init__(
        self,
        net: Net,
        ledger: Ledger,
        directory: Directory,
        archivist: Archivist,
        interest: Interest,
        news: NewsDesk,
        rng: random.Random,
    ) -> None:
        self._net = net
        self._ledger = ledger
        self._directory = directory
        self._archivist = archivist
        self._interest = interest
        self._news = news
        self._rng = rng
        self._rounds = 0
        self._to_visit, self._visit = trio.open_memory_channel[PeerId](MAX_VISITS)
        self._visited: dict[PeerId, float] = {}

    def differs(self, peer: PeerId) -> None:
        """A peer found that it knows of other forks or branches than we. An archivist wants to know what: nobody else has it."""
        if self._interest.keep_all:
            with suppress(trio.WouldBlock):
                self._to_visit.send_nowait(peer)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._return_visits)
            await self._go_round()

    async def _return_visits(self) -> None:
        """To one peer at most once in a round's time, so that two that can't agree don't call on each other for ever."""
        async for peer in self._visit:
            now = trio.current_time()
            self._visited = {other: at_s for other, at_s in self._visited.items() if at_s > now - RECONCILE_S}
            if peer not in self._visited:
                self._visited[peer] = now
                await self.meet(peer)

    async def _go_round(self) -> None:
        while True:
            await trio.sleep(RECONCILE_S * self._rng.uniform(0.75, 1.0))  # so that a mesh does not beat as one
            for _ in range(MAX_TRIES):
                neighbour = self._choose()
                if neighbour is None or await self.meet(neighbour):
                    break

    def _choose(self) -> PeerId | None:
        linked = sorted(link.peer for link in self._net.links())
        self._rounds += 1
        if self._rounds % 2:
            archivists = [
                peer for peer in linked if (advert := self._directory.get(peer)) and {"archivist", "hub"} & {*advert.roles}
            ]
            linked = archivists or linked
        return self._rng.choice(linked) if linked else None

    async def meet(self, neighbour: PeerId) -> bool:
        """Compare everything with one neighbour. False if that came to no end; one that does not answer is no error."""
        try:
            with trio.move_on_after(QUESTION_S) as patience:
                prints = Prints.decode(await self._ask(neighbour, PrintsRequest(self._ledger.net)))
                if prints.net != self._ledger.net:
                    return False
                if prints.proofs != self._ledger.proofs_print():
                    await self._learn_forks(neighbour)
                if self._interest.keep_all:
                    await self._compare_buckets(neighbour, prints)
                else:
                    await self._compare_heads(neighbour)
        except (NetError, Malformed, LedgerError) as error:
            log.debug("no reconciliation with %s: %s", neighbour, error)
            return False
        return not patience.cancelled_caught

    async def _ask(self, neighbour: PeerId, question: Record) -> bytes:
        return await request(self._net, neighbour, PROTOCOL, question.encode())

    async def _learn_forks(self, neighbour: PeerId) -> None:
        after = b""
        while True:
            reply = Proofs.decode(await self._ask(neighbour, ProofsRequest(self._ledger.net, after)))
            for proof in reply.proofs:
                evidence = judge(self._ledger.net, (proof.wire_a, proof.wire_b))
                await self._learn_fork(neighbour, evidence)
                after = max(after, evidence.author)
            if len(reply.proofs) < MAX_PROOFS:
                return

    async def _learn_fork(self, neighbour: PeerId, evidence: ForkEvidence) -> None:
        """What can't be taken of one author, say of a kind that this version judges and the neighbour carries, hides no other."""
        try:
            await self._archivist.convict(evidence)
            if self._ledger.forked_at(evidence.author):
                await self._archivist.pull_branch(neighbour, evidence.author)
        except (Malformed, LedgerError) as error:
            log.info("what %s holds of one who forked is refused: %s", neighbour, error)

    async def _compare_buckets(self, neighbour: PeerId, prints: Prints) -> None:
        for bucket in differing(self._ledger.prints(), prints.prints):
            after = b""
            while True:
                reply = Heads.decode(await self._ask(neighbour, BucketRequest(self._ledger.net, bucket, after)))
                for frontier in reply.frontiers:
                    self._archivist.heard_head(frontier, neighbour)
                if len(reply.frontiers) < MAX_HEADS:
                    break
                after = reply.frontiers[-1].author

    async def _compare_heads(self, neighbour: PeerId) -> None:
        """Only of the chains that are kept here; the neighbour hears of those that it holds less of."""
        for authors in self._kept():
            reply = Heads.decode(await self._ask(neighbour, HeadsRequest(self._ledger.net, authors)))
            theirs = {frontier.author: frontier for frontier in reply.frontiers}
            for author in authors:
                self._compare(neighbour, author, theirs.get(author))

    def _compare(self, neighbour: PeerId, author: bytes, theirs: Frontier | None) -> None:
        if theirs is not None:
            self._archivist.heard_head(theirs, neighbour)
        if self._ledger.known(author).seq > (theirs.seq if theirs else 0) and self._keeps_all(neighbour):
            self._news.saw(author)

    def _keeps_all(self, neighbour: PeerId) -> bool:
        advert = self._directory.get(neighbour)
        return advert is not None and "archivist" in advert.roles

    def _kept(self) -> Iterator[tuple[bytes, ...]]:
        mine = sorted({author for author, _ in self._ledger.heads()} | self._interest.near())
        for start in range(0, len(mine), MAX_HEADS):
            yield tuple(mine[start : start + MAX_HEADS])
