"""What do others remember of the own chain? Asked once a run, before anything is appended: a home may have come from a backup.

Who appends to a chain whose end he has forgotten forks it, and is punished like a cheat. So the own head is asked of others, and
what a backup has lost is taken back from them. A peer that keeps none of the chain knows nothing of its end: it does not count,
unless nobody better is found. Nor does a number alone: what was lost bears the own signature, and who speaks of it can show it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import trio

from meshgen.identity import peer_id
from meshgen.ledger.errors import Fork, LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.net.conduct import Fault
from meshgen.net.port import Net, NetError, PeerId, about, request
from meshgen.peers.archivist import Archivist
from meshgen.peers.directory import Directory
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import HOLD, PROTOCOL, Heads, HeadsRequest, Hold, decode_entry

log = logging.getLogger(__name__)

MAX_ASKED = 3
"""At a time, of each of three lines: who says nothing keeps nobody of another line from being asked."""
ANSWER_S = 5.0
AGAIN_S = 2.0
"""Whoever did not answer is asked again after so long."""
TAKE_S = 10.0
"""More, for who has shown what was lost: it may be long."""
LOOK_S = 0.25
"""How often a peer looks whether there is somebody else to ask."""
MEET_S = 3.0
"""So long an archivist is looked for before others that keep some of the chain are enough."""
PATIENCE_S = 15.0
"""So long somebody is looked for who keeps any of it; then the first answer is enough, for in a young mesh nobody does. It is
never enough for a log that `meshgen restore` has brought back: of that one it is known that something happened to it. So long,
too, whoever speaks of more than is held here, and shows none of it, may still do so: a liar says as much, but so does who has
dropped those entries behind a checkpoint, or has not judged them yet."""
LOST_PATIENCE_S = 180.0
"""Once something was lost, so long those are waited for who were dealt with last: the very last entry may be known to one of them
alone, and whoever does not hear of it forks the chain. With a copy so long for all that may have been dealt with."""
DEALT_LATELY = 64
"""Entries."""
MAX_WITNESSES = 64
"""Of all without a link that might have dealt with the node that a copy was made of."""


class Recall:
    def __init__(self, net: Net, ledger: Ledger, archivist: Archivist, directory: Directory) -> None:
        self._net = net
        self._ledger = ledger
        self._archivist = archivist
        self._directory = directory
        self._knowing: set[PeerId] = set()
        self._ignorant: set[PeerId] = set()
        self._vain: dict[PeerId, float] = {}  # who did not answer, and when that was
        self._claiming: set[PeerId] = set()
        """Who spoke of more than is held here, and showed none of it..."""
        self._claimed_s = math.inf
        """...and when somebody did first: many of them, one after the other, get no more time than one."""
        self._shown: set[PeerId] = set()
        """Who showed an own entry that was lost..."""
        self._shown_upto = 0
        """...and the last of these."""
        self._round_s = 0.0

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
                if self._ledger.is_restored or self._lacks():
                    self._ask_again(trio.current_time())
            why = ""
        finally:
            self._allow(why)
        if restored or copied or self._shown:
            log.info("this home's credit log is whole again, with %d entries: this node asks and earns", self._ledger.head().seq)

    def _allow(self, refusal: str) -> None:
        try:
            self._ledger.allow_appends(refusal)
        except OSError as error:
            log.warning("it can't be noted that the own log is whole, so others are asked again next time: %s", error.strerror)

    def _is_enough(self, waited_s: float) -> bool:
        if waited_s < LOST_PATIENCE_S and self._misses_somebody(waited_s):
            return False
        if self._lacks() or (self._claiming and trio.current_time() < self._claimed_s + PATIENCE_S):
            return False
        if self._knowing & set(self._archivists()):
            return True
        if waited_s < PATIENCE_S:
            return waited_s >= MEET_S and bool(self._knowing) and not self._unasked()
        return bool(self._knowing or ((self._ignorant or self._claiming) and not self._ledger.is_restored))

    def _lacks(self) -> bool:
        """Is an own entry known that is not here? Then whatever is appended forks, however long was waited. A log that can't be
        appended to need not wait."""
        hopeless = self._ledger.fault() or self._ledger.forked_at(self._ledger.identity.public_key)
        return self._shown_upto > self._ledger.head().seq and not hopeless

    def _misses_somebody(self, waited_s: float) -> bool:
        """Where something was lost, or a copy may lack it, one archivist is not enough: it may have come from a backup itself."""
        if self._ledger.is_copied and waited_s < PATIENCE_S:
            return True  # it is not known yet who is there
        return bool(self._witnesses() - self._knowing - self._ignorant)

    def _witnesses(self) -> set[PeerId]:
        """Who may know of entries that this home does not, and must be heard."""
        if self._ledger.is_copied:
            able = {
                PeerId(advert.peer) for advert in self._directory.adverts() if {"worker", "archivist"} & {*advert.message.roles}
            }
            linked = self._linked()
            return self._partners() | self._shown | (able & linked) | set(sorted(able - linked)[:MAX_WITNESSES])
        return self._partners() | self._shown if self._shown else set()

    def _ask_again(self, now_s: float) -> None:
        """Who kept nothing of it may have heard of it since."""
        if now_s - self._round_s > PATIENCE_S:
            self._round_s = now_s
            self._ignorant.clear()

    def _partners(self) -> set[PeerId]:
        """Who was dealt with lately, as far as the own chain is known by now."""
        mine, last = self._ledger.identity.public_key, self._ledger.head().seq
        wires = self._ledger.entries(mine, max(1, last - DEALT_LATELY), last)
        entries = [decode_entry(wire, verify=False, view=False) for wire in wires]
        return {PeerId(peer_id(Hold.from_entry(entry).payee)) for entry in entries if entry.kind == HOLD}

    def _archivists(self) -> list[PeerId]:
        return [PeerId(advert.peer) for advert in self._directory.adverts() if "archivist" in advert.message.roles]

    def _linked(self) -> set[PeerId]:
        return {link.peer for link in self._net.links()}

    def _lines(self) -> tuple[list[PeerId], list[PeerId], list[PeerId]]:
        """Who is yet to be heard: who is likely to know and to be there; who is known by an advert, which costs nothing; and all
        others that are there. In each line, whoever did not answer goes to its end."""
        linked, witnesses, archivists = self._linked(), self._witnesses(), self._archivists()
        near = [peer for peer in archivists if peer in linked]
        near += sorted(self._partners() & (linked | witnesses)) + sorted(witnesses & (linked | self._shown))
        told = [*sorted(witnesses), *archivists]
        placed = self._knowing | self._ignorant

        def line(peers: Iterable[PeerId]) -> list[PeerId]:
            found = [peer for peer in dict.fromkeys(peers) if peer not in placed]
            placed.update(found)
            return sorted(found, key=lambda peer: self._vain.get(peer, -1.0))

        return line(near), line(told), line(link.peer for link in self._net.links())

    def _unasked(self) -> list[PeerId]:
        return [peer for line in self._lines() for peer in line]

    def _next(self) -> list[PeerId]:
        late_s = trio.current_time() - AGAIN_S
        lines = [[peer for peer in line if self._vain.get(peer, -math.inf) <= late_s] for line in self._lines()]
        new = [peer for peer in lines[0] if peer not in self._vain and peer in self._witnesses()]
        if len(new) >= MAX_ASKED:  # all of them must be heard: they don't wait for those that say nothing
            return new[:MAX_ASKED]
        return [peer for line in lines for peer in line[:MAX_ASKED]]

    async def _ask_some(self) -> None:
        async with trio.open_nursery() as nursery:
            for peer in self._next():
                nursery.start_soon(self._ask, peer)

    async def _ask(self, peer: PeerId) -> None:
        knows: bool | None = None
        try:
            with trio.move_on_after(ANSWER_S) as patience:
                knows = await self._hear(peer, patience)
        except NetError as error:
            level = logging.DEBUG if peer in self._vain else logging.INFO  # once is enough for people
            log.log(level, "not told where the own log ends: %s", about(peer, error))
        except (Malformed, LedgerError) as error:
            knows = False
            log.warning("a wrong answer to where the own log ends: %s", about(peer, error))
            if isinstance(error, Malformed):
                self._net.blame(peer, Fault.MALFORMED)
        if knows is None:
            self._vain[peer] = trio.current_time()
            return
        (self._knowing if knows else self._ignorant).add(peer)
        self._claiming.discard(peer)

    async def _hear(self, peer: PeerId, patience: trio.CancelScope) -> bool | None:
        """True if it knows of the own chain, and we hold all that it says there is. None: it is to be asked again.

        What follows on the own head is asked for first: so who holds it says so and proves it in one, and may die after that.
        """
        mine = self._ledger.identity.public_key
        await self._take_back(peer, self._ledger.head().seq + 1, patience)
        reply = Heads.decode(await request(self._net, peer, PROTOCOL, HeadsRequest(self._ledger.net, (mine,)).encode()))
        theirs = next((frontier for frontier in reply.frontiers if frontier.author == mine), None)
        if theirs is None:
            return False
        if theirs.seq > self._ledger.head().seq:  # it may keep the end alone
            await self._take_back(peer, theirs.seq, patience)
        if (head := self._ledger.head()).seq < theirs.seq:
            if await self._archivist.compare(peer, mine, head.seq):
                raise Fork(mine, head.seq, (head.id, theirs.id))
            self._claiming.add(peer)
            self._claimed_s = min(self._claimed_s, trio.current_time())
            return None
        if self._ledger.id_at(mine, theirs.seq) != theirs.id:
            await self._archivist.compare(peer, mine, theirs.seq)
            raise Fork(mine, theirs.seq, (theirs.id, theirs.id))
        return True

    async def _take_back(self, peer: PeerId, seq: int, patience: trio.CancelScope) -> None:
        """Everything, if they show that own entry, and with it that something was lost."""
        mine = self._ledger.identity.public_key
        if await self._archivist.shown(peer, mine, seq) is None:
            return
        self._shown.add(peer)
        self._shown_upto = max(self._shown_upto, seq)
        patience.deadline += TAKE_S
        held = self._ledger.head().seq
        log.warning(
            "others hold entries of the own log that this home has lost (a backup?), from %d on: taking them back", held + 1
        )
        await self._archivist.pull(peer, mine)
