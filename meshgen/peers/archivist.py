"""Keeping others' credit chains: every peer answers for what it holds and pulls what it needs; an archivist pulls everything.

Adverts carry each peer's head, so presence tells when a chain has grown; nothing else needs to be gossiped.
"""

from __future__ import annotations

import logging

import trio

from meshgen.identity import peer_id
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Channel, Net, NetError, PeerId, request
from meshgen.protocols.advert import Advert
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    MAX_RANGE_ENTRIES,
    PROTOCOL,
    Frontier,
    Heads,
    HeadsRequest,
    RangeReply,
    RangeRequest,
)
from meshgen.protocols.envelope import Signed
from meshgen.protocols.record import Record, decode_any

log = logging.getLogger(__name__)

PULL_S = 10.0
MAX_PULLS = 4
"""Chains pulled at the same time."""
MAX_WANTED = 1024


class Archivist:
    """``keep_all`` makes it follow every chain that it hears of; else it follows those that are wanted."""

    def __init__(self, net: Net, ledger: Ledger, *, keep_all: bool = False) -> None:
        self._net = net
        self._ledger = ledger
        self._keep_all = keep_all
        self._wanted: dict[bytes, None] = {}  # in the order of asking
        self._news = trio.Event()
        self._following: set[bytes] = set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._net.serve(PROTOCOL, self._serve)
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_PULLS):
                nursery.start_soon(self._follow_wanted)
            task_status.started()

    def want(self, author: bytes) -> None:
        """Pull this chain from its author soon; asking again while it waits costs nothing."""
        if author != self._ledger.identity.public_key:
            if author not in self._wanted and len(self._wanted) >= MAX_WANTED:
                del self._wanted[next(iter(self._wanted))]  # a flood of strangers must not keep newcomers out
            self._wanted[author] = None
            self._nudge()

    def _nudge(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def heard(self, advert: Signed[Advert]) -> None:
        """An advert came in: does its head run ahead of what is known?"""
        known = self._ledger.known(advert.author).seq
        if advert.message.head_seq > known and (self._keep_all or known):
            self.want(advert.author)

    async def _follow_wanted(self) -> None:
        """One after the other; a chain is never pulled twice at the same time."""
        while True:
            author = next((author for author in self._wanted if author not in self._following), None)
            if author is None:
                await self._news.wait()
                continue
            del self._wanted[author]
            self._following.add(author)
            try:
                with trio.move_on_after(PULL_S):
                    await self.pull(PeerId(peer_id(author)), author)
            except (NetError, Malformed, LedgerError) as error:
                log.info("a chain could not be pulled: %s", error)
            finally:
                self._following.discard(author)
                self._nudge()

    async def pull(self, source: PeerId, author: bytes) -> None:
        """Fetch from ``source`` what is missing of an author's chain. Raises NetError, Malformed, LedgerError."""
        while True:
            start = self._ledger.known(author).seq + 1
            question = RangeRequest(self._ledger.net, author, start, start + MAX_RANGE_ENTRIES - 1)
            reply = RangeReply.decode(await request(self._net, source, PROTOCOL, question.encode()))
            if reply.author != author or reply.net != self._ledger.net:
                raise Malformed("range: the answer is about another chain")
            if not reply.entries:
                return
            added = await self._ledger.add(author, reply.entries)
            if not added.new or added.head.seq >= reply.head_seq:
                return

    async def _serve(self, channel: Channel) -> None:
        message = await channel.receive()
        if message is None:
            return
        question: Record = decode_any(message, (RangeRequest, HeadsRequest))
        assert isinstance(question, RangeRequest | HeadsRequest)
        if question.net != self._ledger.net:
            raise Malformed("credit: a question about another mesh")
        answer = self._range(question) if isinstance(question, RangeRequest) else self._heads(question)
        await channel.send(answer, last=True)

    def _range(self, question: RangeRequest) -> bytes:
        last = min(question.to_seq, question.from_seq + MAX_RANGE_ENTRIES - 1)
        entries = tuple(self._ledger.entries(question.author, question.from_seq, last))
        return RangeReply(self._ledger.net, question.author, self._ledger.known(question.author).seq, entries).encode()

    def _heads(self, question: HeadsRequest) -> bytes:
        heads = dict(self._ledger.heads())
        authors = question.authors or tuple(heads)[:MAX_RANGE_ENTRIES]
        frontiers = tuple(Frontier(author, *heads[author]) for author in authors if author in heads)
        return Heads(self._ledger.net, frontiers).encode()
