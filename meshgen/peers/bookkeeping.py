"""All that keeps this peer's view of the credit logs whole, put together."""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Net
from meshgen.peers.advice import Advice
from meshgen.peers.archivist import Archivist
from meshgen.peers.checkpointing import Checkpointing
from meshgen.peers.directory import Directory
from meshgen.peers.gate import Gate
from meshgen.peers.interest import Interest
from meshgen.peers.log_server import LogServer
from meshgen.peers.news import NewsDesk
from meshgen.peers.recall import Recall
from meshgen.peers.reconciliation import Reconciliation


class Bookkeeping:
    """``keep_all`` makes it an archivist's: every chain that it hears of."""

    def __init__(
        self,
        net: Net,
        ledger: Ledger,
        directory: Directory,
        now_ms: Callable[[], int],
        rng: random.Random,
        *,
        keep_all: bool = False,
        follow: frozenset[bytes] = frozenset(),
        kin: frozenset[bytes] = frozenset(),
    ) -> None:
        self.interest = Interest(ledger, now_ms, keep_all=keep_all, follow=follow, kin=kin)
        self.advice = Advice(ledger, follow, now_ms)
        self.archivist = Archivist(net, ledger, self.interest)
        self._server = LogServer(net, ledger)
        self._news = NewsDesk(net, ledger, self.archivist)
        self._reconciliation = Reconciliation(net, ledger, directory, self.archivist, self.interest, self._news, rng)
        self._recall = Recall(net, ledger, self.archivist, directory)
        self.checkpointing = Checkpointing(net, ledger, directory, self.interest, now_ms)
        directory.on_advert.append(self.archivist.heard)
        self._server.on_difference.append(self._reconciliation.differs)

    def follow(self, authors: frozenset[bytes]) -> None:
        """Their advisories count from now on, and their logs are kept."""
        for author in authors - self.advice.follow:
            self.archivist.want(author)
        self.advice.follow = authors
        self.interest.follow(authors)

    def heed(self, gate: Gate) -> None:
        """Strangers' logs are not kept; no advice counts against whom the owner allows."""
        self.interest.admits = lambda author: not gate.is_stranger(author)
        self.advice.exempts = gate.allows

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._server.start()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._recall.run)
            await nursery.start(self.archivist.run)
            await nursery.start(self._news.run)
            nursery.start_soon(self._reconciliation.run)
            nursery.start_soon(self.checkpointing.run)
            task_status.started()
