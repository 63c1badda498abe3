"""News of credit logs by gossip: what this peer saw of others' chains by dealing with them, and forks that it can prove.

A cheat that tells two workers two stories is caught here: each says which head it was shown, and each compares.
"""

from __future__ import annotations

import logging

import trio

from meshgen.ledger.errors import LedgerError
from meshgen.ledger.forks import ForkEvidence, judge
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Gossip, Net, NetError, PeerId
from meshgen.peers.archivist import Archivist
from meshgen.peers.trouble import level_of
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import HOLD, MAX_NEWS_HEADS, MAX_NEWS_PROOFS, RECEIPT, Entry, Frontier, News

log = logging.getLogger(__name__)

NEWS_GAP_S = 10.0
"""Heads are told at most so often; forks at once."""
MAX_UNTOLD = 4096


def news_topic(mesh: bytes) -> str:
    return f"/meshgen/{mesh.hex()}/credit"


class NewsDesk:
    def __init__(self, net: Net, ledger: Ledger, archivist: Archivist) -> None:
        self._net = net
        self._ledger = ledger
        self._archivist = archivist
        self._heads: dict[bytes, None] = {}  # authors whose chains grew, in that order
        self._forks: dict[bytes, ForkEvidence] = {}
        self._heard_forks: set[tuple[bytes, int]] = set()
        self._something = trio.Event()
        self._urgent = trio.Event()
        ledger.on_append.append(self.said)
        archivist.on_dealing.append(self.saw)
        archivist.on_fork.append(self.proved)

    def saw(self, author: bytes) -> None:
        """Others should know how far this chain goes."""
        if len(self._heads) < MAX_UNTOLD:
            self._heads[author] = None
            self._something.set()

    def said(self, entry: Entry) -> None:
        """What no job shows to anybody is told at once: should this home be lost, others remember that it was said."""
        if entry.kind not in (HOLD, RECEIPT):
            self.saw(entry.author)
            self._urgent.set()

    def proved(self, evidence: ForkEvidence) -> None:
        if (evidence.author, evidence.seq) not in self._heard_forks:
            self._heard_forks.add((evidence.author, evidence.seq))
            self._forks[evidence.author] = evidence
            self._something.set()
            self._urgent.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery, self._net.subscribe(news_topic(self._ledger.net), self._is_valid) as heard:
            nursery.start_soon(self._tell)
            task_status.started()
            async for gossip in heard:
                await self._hear(gossip)

    async def _tell(self) -> None:
        while True:
            await self._something.wait()
            self._something, self._urgent = trio.Event(), trio.Event()
            await self._publish()
            if self._heads or self._forks:
                self._something.set()
            with trio.move_on_after(NEWS_GAP_S):
                await self._urgent.wait()

    async def _publish(self) -> None:
        authors = list(self._heads)[:MAX_NEWS_HEADS]
        accused = list(self._forks)[:MAX_NEWS_PROOFS]
        known = [(author, self._ledger.known(author)) for author in authors]
        frontiers = tuple(Frontier(author, *head) for author, head in known if head.seq)
        news = News(self._ledger.net, frontiers, tuple(self._forks[author].as_message() for author in accused))
        for author in authors:
            del self._heads[author]
        for author in accused:
            del self._forks[author]
        try:
            await self._net.publish(news_topic(self._ledger.net), news.encode())
        except NetError as error:
            log.info("news could not be told: %s", error)

    def _is_valid(self, _sender: PeerId, data: bytes) -> bool:
        try:
            return News.decode(data).net == self._ledger.net
        except Malformed:
            return False

    async def _hear(self, gossip: Gossip) -> None:
        news = News.decode(gossip.data)
        for proof in news.proofs:
            try:
                evidence = judge(self._ledger.net, (proof.wire_a, proof.wire_b))
                self._heard_forks.add((evidence.author, evidence.seq))  # it is on its way to everybody already
                await self._archivist.convict(evidence)
                if not self._ledger.forked_at(evidence.author):
                    self._heard_forks.discard((evidence.author, evidence.seq))
            except (Malformed, LedgerError) as error:
                log.log(level_of(error), "an accusation was refused: %s", error)
        for frontier in news.frontiers:
            self._archivist.heard_head(frontier, gossip.sender)
