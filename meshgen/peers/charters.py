"""Keeping a mesh's charter and passing it on: every peer gives it to whoever asks, and takes newer versions, if fully signed.

A question from a version that one has not got tells that its asker has more; so whoever has adopted a version asks those linked
to it for the next, and each of them asks back. No gossip is needed for what changes a few times a year.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Channel, Net, PeerId, request
from meshgen.peers.asking import Asking
from meshgen.peers.charter_file import CharterError
from meshgen.protocols.charter import (
    MAX_ANSWERED,
    PROTOCOL,
    Charter,
    CharterAnswer,
    CharterQuestion,
    Lineage,
    SignedCharter,
)
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import CHARTER, CharterEntry

log = logging.getLogger(__name__)

ASK_S = 3600.0
"""Those linked are asked so often whether there is a newer version, beside when they are met."""


async def fetch_charters(net: Net, peer: PeerId, mesh: bytes, from_version: int) -> list[SignedCharter]:
    """What a peer has from this version on, none of it judged. Raises NetError, Malformed."""
    answer = CharterAnswer.decode(await request(net, peer, PROTOCOL, CharterQuestion(mesh, from_version).encode()))
    if answer.net != mesh:
        raise Malformed("charter: the answer is about another mesh")
    return [SignedCharter.decode(document) for document in answer.documents]


class Charters:
    """``lineage`` is what holds now. ``save`` makes a new one durable; ``on_change`` are told of it."""

    def __init__(self, net: Net, ledger: Ledger, lineage: Lineage, save: Callable[[Lineage], None] | None = None) -> None:
        self._net = net
        self._ledger = ledger
        self._save = save
        self._adopting = trio.Lock()
        self._recording = trio.Lock()
        self._asking = Asking(net, "charter", self._take_newer, CharterError, ASK_S)
        self._nursery: trio.Nursery | None = None
        self.lineage = lineage
        self.on_change: list[Callable[[], None]] = []

    @property
    def current(self) -> Charter:
        return self.lineage.current

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._net.serve(PROTOCOL, self._serve)
            await self._record_signed(nursery)
            await self._asking.run(task_status)

    async def ask(self, peer: PeerId) -> None:
        """Take what this peer has that is newer. A peer that has nothing, or nothing good, is no error."""
        await self._asking.one(peer)

    async def _take_newer(self, peer: PeerId) -> None:
        if not self.lineage.documents:
            return
        while documents := await fetch_charters(self._net, peer, self.lineage.net, self.current.version + 1):
            for document in documents:
                await self.adopt(document)

    async def adopt(self, document: SignedCharter) -> None:
        """The next version, kept and in force when this returns. Raises Malformed if it is not, or too few have signed it;
        CharterError if it can't be kept."""
        async with self._adopting:
            lineage = self.lineage.amended(document)
            if self._save is not None:
                await _kept(self._save, lineage)
            self.lineage = lineage
            for tell in self.on_change:
                tell()
        log.info("version %d of the charter of %s is in force", self.current.version, self.current.name)
        self._asking.all_linked()
        if self._nursery is not None:
            await self._record_signed(self._nursery)

    # -- others' questions

    async def _serve(self, channel: Channel) -> None:
        message = await channel.receive()
        if message is None:
            return
        question = CharterQuestion.decode(message)
        known = self.lineage.documents if question.net == self.lineage.net else ()
        documents = _encoded(known[question.from_version :])
        await channel.send(CharterAnswer(question.net, documents).encode(), last=True)
        if known and question.from_version > len(known):
            self._asking.soon(channel.peer)

    # -- on the record

    async def _record_signed(self, nursery: trio.Nursery) -> None:
        """A delegate's log says which charter it has signed, once."""
        if not self.lineage.documents:
            return
        if self._ledger.confirmed:
            await self._record_latest()
        else:
            nursery.start_soon(self._record_latest)  # which waits as own appends do, and nothing waits for it

    async def _record_latest(self) -> None:
        async with self._recording:
            await self._record()

    async def _record(self) -> None:
        mine = self._ledger.identity.public_key
        documents = self.lineage.documents
        if not documents or mine not in [signature.key for signature in documents[-1].signatures]:
            return
        charter, doc_hash = self.current, self.lineage.hash
        on_record = (CharterEntry.from_entry(entry).doc_hash for entry in self._ledger.words(CHARTER) if entry.author == mine)
        if doc_hash in on_record:
            return
        try:
            await self._ledger.append(CharterEntry(doc_hash, charter.version, charter.parent))
        except LedgerError as error:
            log.warning("the charter could not be put on record: %s", error)


async def _kept(save: Callable[[Lineage], None], lineage: Lineage) -> None:
    try:
        await trio.to_thread.run_sync(save, lineage)
    except OSError as error:
        raise CharterError(f"the charter can't be kept: {error.strerror}") from None


def _encoded(documents: Sequence[SignedCharter]) -> tuple[bytes, ...]:
    return tuple(document.encode() for document in documents[:MAX_ANSWERED])
