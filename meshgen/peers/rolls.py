"""Keeping the roll of a mesh that lists its members, and passing it on: as the charter travels, to strangers too.

Whoever is asked by somebody who holds a later page asks back; so one that has taken a page in asks those linked to it, and the
news is everywhere within a second or two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import trio

from meshgen.identity import Identity, peer_id
from meshgen.net.port import Channel, Net, PeerId, request
from meshgen.peers.asking import Asking
from meshgen.peers.charters import Charters
from meshgen.protocols.codec import Malformed
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.roll import MAX_ANSWERED, PROTOCOL, Held, Page, Roll, RollAnswer, RollQuestion, count, held, newer

log = logging.getLogger(__name__)

ASK_S = 600.0
"""Those linked are asked so often whether the roll has changed, beside when they are met."""


class RollError(ValueError):
    """The roll can't be kept, or not by this peer; the text can be shown to a person."""


Save = Callable[[Signed[Page]], None]


class Rolls:
    """``pages`` are the delegates' latest, by key; ``save`` makes a new one durable; ``on_change`` are told of it."""

    def __init__(self, net: Net, charters: Charters, pages: Mapping[bytes, Signed[Page]], save: Save | None = None) -> None:
        self._net = net
        self._charters = charters
        self._save = save
        self._adopting = trio.Lock()
        self._asking = Asking(net, "roll", self._take_newer, RollError, ASK_S)
        self.pages = dict(pages)
        self.on_change: list[Callable[[], None]] = []
        self.roll = Roll()
        self._count()
        charters.on_change.append(self._follow_charter)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._net.serve(PROTOCOL, self._serve)
        await self._asking.run(task_status)

    # -- what is known

    def says(self, key: bytes) -> list[bytes]:
        """The delegates who have admitted this key or account."""
        return sorted(delegate for delegate, page in self.pages.items() if key in page.message.admitted)

    def _count(self) -> None:
        self.roll = count(self._charters.current, self.pages.values())

    def _follow_charter(self) -> None:
        self._count()
        self._tell()
        self._asking.all_linked()

    def _tell(self) -> None:
        for tell in self.on_change:
            tell()

    # -- taking pages in

    async def change(self, identity: Identity, admit: Iterable[bytes], expel: Iterable[bytes]) -> None:
        """This delegate's own page, with these changes, in force here when this returns. Raises RollError, Malformed."""
        if identity.public_key not in self._charters.current.delegates:
            raise RollError(f"this node is no delegate of {self._charters.current.name}: only they admit and expel")
        expel = list(expel)
        if staying := sorted(set(expel).intersection(self._charters.current.delegates)):
            who = peer_id(staying[0])
            raise RollError(f"{who} is a delegate, and a member by the charter: `meshgen mesh amend` takes it out of there first")
        await self._catch_up()
        before = self.pages.get(identity.public_key)
        page = before.message if before else Page(self._charters.lineage.net, 1, (), ())
        changed = page.changed(admit, expel)
        await self.adopt(sign(identity, changed))

    async def _catch_up(self) -> None:
        """With what others have: a home that comes from a backup holds an old page of its own, whose next version is no news."""
        async with trio.open_nursery() as nursery:
            for link in self._net.links():
                nursery.start_soon(self.ask, link.peer)

    async def adopt(self, page: Signed[Page]) -> bool:
        """A page, kept and counted when this returns; False if it is not newer. Raises Malformed if it is no delegate's of this
        mesh, RollError if it can't be kept."""
        async with self._adopting:
            self._judge(page)
            if not newer(page, self.pages.get(page.author)):
                return False
            if self._save is not None:
                await _kept(self._save, page)
            self.pages[page.author] = page
            self._count()
            self._tell()
        log.info("the roll has changed: page %d of %s", page.message.version, page.peer)
        self._asking.all_linked()
        return True

    def _judge(self, page: Signed[Page]) -> None:
        if page.message.net != self._charters.lineage.net:
            raise Malformed(f"{Page.TAG}.net: of another mesh")
        if page.author not in self._charters.current.delegates:
            raise Malformed(f"{Page.TAG}: {page.peer} is no delegate")

    async def ask(self, peer: PeerId) -> None:
        """Take what this peer has that is newer. A peer that has nothing, or nothing good, is no error."""
        await self._asking.one(peer)

    async def _take_newer(self, peer: PeerId) -> None:
        while self._wanted and await self._ask_once(peer):
            pass

    @property
    def _wanted(self) -> bool:
        return self._charters.current.members == "listed" or bool(self.pages)

    async def _ask_once(self, peer: PeerId) -> bool:
        """Did it have anything new?"""
        mesh = self._charters.lineage.net
        answer = RollAnswer.decode(await request(self._net, peer, PROTOCOL, RollQuestion(mesh, held(self._counted())).encode()))
        if answer.net != mesh:
            raise Malformed("roll: the answer is about another mesh")
        return any([await self._take(wire, peer) for wire in answer.pages])

    async def _take(self, wire: bytes, peer: PeerId) -> bool:
        """A bad page, or one of somebody who is a delegate there and not here, hides no other."""
        try:
            return await self.adopt(unsign(wire, Page))
        except Malformed as error:
            log.info("a page of the roll from %s is refused: %s", peer, error)
            return False

    def _counted(self) -> dict[bytes, Signed[Page]]:
        """The pages of those who are delegates now: what others take."""
        return {key: page for key, page in self.pages.items() if key in self._charters.current.delegates}

    # -- others' questions

    async def _serve(self, channel: Channel) -> None:
        message = await channel.receive()
        if message is None:
            return
        question = RollQuestion.decode(message)
        if question.net != self._charters.lineage.net:
            await channel.send(RollAnswer(question.net, ()).encode(), last=True)
            return
        theirs = {one.delegate: one for one in question.held}
        ours = self._counted()
        newest = [page.wire for key, page in sorted(ours.items()) if _is_older(theirs.get(key), page)]
        await channel.send(RollAnswer(question.net, tuple(newest[:MAX_ANSWERED])).encode(), last=True)
        behind = any((one.version, one.id) > _place(ours.get(one.delegate)) for one in question.held)
        if behind:
            self._asking.soon(channel.peer)


def _is_older(theirs: Held | None, page: Signed[Page]) -> bool:
    return theirs is None or (theirs.version, theirs.id) < (page.message.version, page.id)


def _place(page: Signed[Page] | None) -> tuple[int, bytes]:
    return (page.message.version, page.id) if page else (0, b"")


async def _kept(save: Save, page: Signed[Page]) -> None:
    try:
        await trio.to_thread.run_sync(save, page)
    except OSError as error:
        raise RollError(f"the roll can't be kept: {error.strerror}") from None
