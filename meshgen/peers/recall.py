"""What do others remember of the own chain? Asked once a run, before anything is appended: a home may have come from a backup.

Who appends to a chain whose end he has forgotten forks it, and is punished like a cheat. So the own head is asked of others, and
what a backup has lost is taken back from them. A peer that keeps none of the chain knows nothing of its end: it does not count,
unless nobody better is found.
"""

from __future__ import annotations

import logging

import trio

from meshgen.identity import peer_id
from meshgen.ledger.errors import Fork, LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Net, NetError, PeerId, about, request
from meshgen.peers.archivist import Archivist
from meshgen.peers.directory import Directory
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import HOLD, PROTOCOL, Frontier, Heads, HeadsRequest, Hold, decode_entry

log = logging.getLogger(__name__)

MAX_ASKED = 3
"""At a time; archivists first."""
ANSWER_S = 5.0
LOOK_S = 0.25
"""How often a peer looks whether there is somebody else to ask."""
MEET_S = 3.0
"""So long an archivist is looked for before others that keep some of the chain are enough."""
PATIENCE_S = 15.0
"""So long somebody is looked for who keeps any of it; then the first answer is enough, for in a young mesh nobody does. It is
never enough for a log that `meshgen restore` has brought back: of that one it is known that something happened to it."""
LOST_PATIENCE_S = 180.0
"""Once something was lost, so long those are waited for who were dealt with last: the very last entry may be known to one of them
alone, and whoever does not hear of it forks the chain. With a copy so long for all that may have been dealt with."""
DEALT_LATELY = 64
"""Entries."""
MAX_WITNESSES = 64
"""Of all that might have dealt with the node that a copy was made of."""


class Recall:
    def __init__(self, net: Net, ledger: Ledger, archivist: Archivist, directory: Directory) -> None:
        self._net = net
        self._ledger = ledger
        self._archivist = archivist
        self._directory = directory
        self._knowing: set[PeerId] = set()
        self._ignorant: set[PeerId] = set()
        self._round_s = 0.0
        self._lost = False
        """Something was, and was taken back."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until somebody has answered. Own appends wait as long; if this is cancelled they are refused."""
        if not self._ledger.is_new:
            self._ledger.hold_appends()
        task_status.started()
        if self._ledger.is_new:
            return
        why = "this node is stopping, and nobody has confirmed yet where its own credit log ends"
        began_s, restored, copied = trio.current_time(), self._ledger.is_restored, self._ledger.is_copied
        try:
            while not self._is_enough(trio.current_time() - began_s):
                await self._ask_some()
                await trio.sleep(LOOK_S)
                if self._ledger.is_restored:
                    self._ask_again(trio.current_time())
            why = ""
        finally:
            self._allow(why)
        if restored or copied or self._lost:
            log.info("this home's credit log is whole again, with %d entries: this node asks and earns", self._ledger.head().seq)

    def _allow(self, refusal: str) -> None:
        try:
            self._ledger.allow_appends(refusal)
        except OSError as error:
            log.warning("it can't be noted that the own log is whole, so others are asked again next time: %s", error.strerror)

    def _is_enough(self, waited_s: float) -> bool:
        if waited_s < LOST_PATIENCE_S and self._misses_somebody(waited_s):
            return False
        if self._knowing & set(self._archivists()):
            return True
        if waited_s < PATIENCE_S:
            return waited_s >= MEET_S and bool(self._knowing) and not self._unasked()
        return bool(self._knowing or (self._ignorant and not self._ledger.is_restored))

    def _misses_somebody(self, waited_s: float) -> bool:
        """Where something was lost, or a copy may lack it, one archivist is not enough: it may have come from a backup itself."""
        if self._ledger.is_copied and waited_s < PATIENCE_S:
            return True  # it is not known yet who is there
        return bool(self._witnesses() - self._knowing - self._ignorant)

    def _witnesses(self) -> set[PeerId]:
        """Who may know of entries that this home does not, and must be heard."""
        if self._ledger.is_copied:
            able = [
                PeerId(advert.peer) for advert in self._directory.adverts() if {"worker", "archivist"} & {*advert.message.roles}
            ]
            return self._partners() | set(sorted(able)[:MAX_WITNESSES])
        return self._partners() if self._lost else set()

    def _ask_again(self, now_s: float) -> None:
        """Who kept nothing of it may have heard of it since."""
        if now_s - self._round_s > PATIENCE_S:
            self._round_s = now_s
            self._ignorant.clear()

    def _partners(self) -> set[PeerId]:
        """Who was dealt with lately, as far as the own chain is known by now."""
        mine, last = self._ledger.identity.public_key, self._ledger.head().seq
        wires = self._ledger.entries(mine, max(1, last - DEALT_LATELY), last)
        entries = [decode_entry(wire, view=False) for wire in wires]
        return {PeerId(peer_id(Hold.from_entry(entry).payee)) for entry in entries if entry.kind == HOLD}

    def _archivists(self) -> list[PeerId]:
        return [PeerId(advert.peer) for advert in self._directory.adverts() if "archivist" in advert.message.roles]

    def _unasked(self) -> list[PeerId]:
        whom = dict.fromkeys((*sorted(self._witnesses()), *self._archivists(), *(link.peer for link in self._net.links())))
        return [peer for peer in whom if peer not in self._knowing | self._ignorant]

    async def _ask_some(self) -> None:
        async with trio.open_nursery() as nursery:
            for peer in self._unasked()[:MAX_ASKED]:
                nursery.start_soon(self._ask, peer)

    async def _ask(self, peer: PeerId) -> None:
        mine = self._ledger.identity.public_key
        try:
            with trio.move_on_after(ANSWER_S):
                question = HeadsRequest(self._ledger.net, (mine,))
                reply = Heads.decode(await request(self._net, peer, PROTOCOL, question.encode()))
                knows = [await self._take_back(peer, frontier) for frontier in reply.frontiers if frontier.author == mine]
                (self._knowing if any(knows) else self._ignorant).add(peer)
        except NetError as error:
            log.info("not told where the own log ends: %s", about(peer, error))
        except (Malformed, LedgerError) as error:
            self._ignorant.add(peer)
            log.warning("a wrong answer to where the own log ends: %s", about(peer, error))

    async def _take_back(self, peer: PeerId, theirs: Frontier) -> bool:
        """True if we hold all that they say there is."""
        mine, held = self._ledger.identity.public_key, self._ledger.head().seq
        if theirs.seq > held:
            lost, self._lost = theirs.seq - held, True
            log.warning("others hold %d entries of the own log that this home has lost (a backup?): taking them back", lost)
            await self._archivist.pull(peer, mine)
        if theirs.seq > self._ledger.head().seq:
            return False
        if self._ledger.id_at(mine, theirs.seq) != theirs.id:
            await self._archivist.compare(peer, mine, theirs.seq)
            raise Fork(mine, theirs.seq, (theirs.id, theirs.id))
        return True
