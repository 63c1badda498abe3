"""Asking others whether they have something newer of what every peer of a mesh keeps: its charter, its roll.

What changes a few times a year needs no gossip: a peer asks whom it meets and,
now and then or when it has news, all those linked.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from meshgen.net.port import Net, NetError, PeerId, about
from meshgen.protocols.codec import Malformed

log = logging.getLogger(__name__)

QUESTION_S = 5.0


class Asking:
    """``take`` asks one peer and takes in what is newer; ``fault``, NetError and Malformed, if it raises them, end that peer's
    turn alone. ``every_s``: all those linked are asked so often."""

    def __init__(
        self, net: Net, what: str, take: Callable[[PeerId], Awaitable[None]], fault: type[Exception], every_s: float
    ) -> None:
        self._net = net
        self._what = what
        self._take = take
        self._faults = (NetError, Malformed, fault)
        self._every_s = every_s
        self._asked: set[PeerId] = set()
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                await trio.sleep(self._every_s)
                self.all_linked()

    async def one(self, peer: PeerId) -> None:
        """Returns when the peer has answered, or will not. One that has nothing, or nothing good, is no error."""
        if peer in self._asked:
            return
        self._asked.add(peer)
        try:
            with trio.move_on_after(QUESTION_S):
                await self._take(peer)
        except self._faults as error:
            log.info("no newer %s: %s", self._what, about(peer, error))
        finally:
            self._asked.discard(peer)

    def soon(self, peer: PeerId) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self.one, peer)

    def all_linked(self) -> None:
        for link in self._net.links():
            self.soon(link.peer)
