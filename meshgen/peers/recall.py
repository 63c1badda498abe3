"""What do others remember of the own chain? Asked once a run, before anything is appended: a home may have come from a backup.

Who appends to a chain whose end he has forgotten forks it, and is punished like a cheat. So the own head is asked of up to three
peers, and what a backup has lost is taken back from them.
"""

from __future__ import annotations

import logging

import trio

from meshgen.ledger.errors import Fork, LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Net, NetError, PeerId, request
from meshgen.peers.archivist import Archivist
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import PROTOCOL, Heads, HeadsRequest

log = logging.getLogger(__name__)

MAX_ASKED = 3
ANSWER_S = 5.0
LOOK_S = 0.25
"""How often a peer without neighbours looks whether it has one."""


class Recall:
    def __init__(self, net: Net, ledger: Ledger, archivist: Archivist) -> None:
        self._net = net
        self._ledger = ledger
        self._archivist = archivist

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until somebody has answered. Own appends wait as long; if this is cancelled they are refused."""
        if not self._ledger.is_new:
            self._ledger.hold_appends()
        task_status.started()
        if self._ledger.is_new:
            return
        why = "this node is stopping, and nobody has confirmed yet where its own credit log ends"
        try:
            while True:
                if await self._ask_neighbours():
                    break
                await trio.sleep(LOOK_S)
            why = ""
        finally:
            self._ledger.allow_appends(refusal=why)

    async def _ask_neighbours(self) -> bool:
        """Did anybody answer?"""
        answers = [0]
        async with trio.open_nursery() as nursery:
            for link in self._net.links()[:MAX_ASKED]:
                nursery.start_soon(self._ask, link.peer, answers)
        return answers[0] > 0

    async def _ask(self, peer: PeerId, answers: list[int]) -> None:
        mine = self._ledger.identity.public_key
        try:
            with trio.move_on_after(ANSWER_S):
                question = HeadsRequest(self._ledger.net, (mine,))
                reply = Heads.decode(await request(self._net, peer, PROTOCOL, question.encode()))
                for frontier in reply.frontiers:
                    if frontier.author == mine:
                        await self._take_back(peer, frontier.seq, frontier.id)
                answers[0] += 1
        except (NetError, Malformed, LedgerError) as error:
            log.info("%s could not say where the own log ends: %s", peer, error)

    async def _take_back(self, peer: PeerId, seq: int, entry_id: bytes) -> None:
        mine, held = self._ledger.identity.public_key, self._ledger.head().seq
        if seq > held:
            log.warning("others hold %d entries of the own log that this home has lost (a backup?): taking them back", seq - held)
            await self._archivist.pull(peer, mine)
        if self._ledger.id_at(mine, min(seq, self._ledger.head().seq)) != entry_id and seq <= self._ledger.head().seq:
            await self._archivist.compare(peer, mine, seq)
            raise Fork(mine, seq, (entry_id, entry_id))
