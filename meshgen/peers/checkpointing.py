"""Checkpoints: now and then this peer has its own sums witnessed; what others' witnessed sums cover need not be kept for ever."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from meshgen.ledger import checkpoints
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Net, NetError, PeerId, request
from meshgen.peers.directory import Directory
from meshgen.peers.interest import DAY_MS, Interest
from meshgen.peers.trouble import level_of
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import CHECKPOINT, MAX_COSIGS, PROTOCOL, Checkpoint, Entry, Witness, WitnessRequest

log = logging.getLogger(__name__)

CHECK_S = 3600.0
MIN_ENTRIES = 1000
"""Own entries since the last checkpoint that make another one worth while."""
MIN_WITNESSES = 2
PRUNE_AGE_MS = 30 * DAY_MS
ANSWER_S = 10.0


class Checkpointing:
    """An archivist prunes nothing."""

    def __init__(self, net: Net, ledger: Ledger, directory: Directory, interest: Interest, now_ms: Callable[[], int]) -> None:
        self._net = net
        self._ledger = ledger
        self._directory = directory
        self._interest = interest
        self._now_ms = now_ms

    async def run(self) -> None:
        while True:
            await trio.sleep(CHECK_S)
            try:
                if self._ledger.head().seq - self._last_upto() >= MIN_ENTRIES:
                    await self.make()
                await self.prune()
            except LedgerError as error:
                log.log(level_of(error), "no checkpoint: %s", error)

    def _last_upto(self) -> int:
        own = (entry for entry in self._ledger.words(CHECKPOINT) if entry.author == self._ledger.identity.public_key)
        return max((_content(entry).upto_seq for entry in own), default=0)

    async def make(self) -> Entry | None:
        """Have the own sums witnessed, and say so in the log; None if too few peers find the same. Raises LedgerError."""
        ledger = self._ledger
        mine = ledger.identity.public_key
        found = checkpoints.sums(mine, ledger.balance(mine), ledger.edges())
        asked = checkpoints.question(ledger.net, mine, ledger.head(), found)
        notes: list[Witness] = []
        async with trio.open_nursery() as nursery:
            for peer in self._witnesses()[:MAX_COSIGS]:
                nursery.start_soon(self._ask, peer, asked, notes)
        if len(notes) < MIN_WITNESSES:
            return None
        return await ledger.append(checkpoints.content(asked, notes))

    def _witnesses(self) -> list[PeerId]:
        """Archivists first: they hold everything that the sums are made of."""
        linked = [link.peer for link in self._net.links()]
        adverts = {peer: self._directory.get(peer) for peer in linked}
        return sorted(linked, key=lambda peer: (not ((advert := adverts[peer]) and "archivist" in advert.roles), peer))

    async def _ask(self, peer: PeerId, asked: WitnessRequest, notes: list[Witness]) -> None:
        try:
            with trio.move_on_after(ANSWER_S):
                note = Witness.decode(await request(self._net, peer, PROTOCOL, asked.encode()))
                if checkpoints.note(asked, note.witness).body() == note.body() and note.witness != asked.author:
                    notes.append(note)
        except (NetError, Malformed) as error:
            log.debug("%s is no witness: %s", peer, error)

    async def prune(self) -> None:
        """Drop what old, well witnessed checkpoints of others cover."""
        if self._interest.keep_all:
            return
        for entry in self._ledger.words(CHECKPOINT):
            if self._covers(entry):
                await self._ledger.prune(entry.author, _content(entry).upto_seq)

    def _covers(self, entry: Entry) -> bool:
        """The witnesses are peers that this one knows, and the sums' author spoke of the chain that is held here."""
        content = _content(entry)
        known = sum(bool(self._ledger.known(cosig.witness).seq) for cosig in content.cosigs)
        old = entry.ts_ms <= self._now_ms() - PRUNE_AGE_MS
        own = entry.author == self._ledger.identity.public_key
        same = self._ledger.id_at(entry.author, content.upto_seq) == content.upto_id
        return old and not own and known >= MIN_WITNESSES and same


def _content(entry: Entry) -> Checkpoint:
    return Checkpoint.from_entry(entry)
