"""What makes strangers a community, at one peer: whom it keeps away from, who belongs to the mesh and who says so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from meshgen.identity import Identity, peer_id, public_key_of
from meshgen.net.port import Channel, Net, PeerId
from meshgen.peers.advice import Advice, advisory_view
from meshgen.peers.bookkeeping import Bookkeeping
from meshgen.peers.charters import Charters
from meshgen.peers.directory import Directory
from meshgen.peers.gate import Gate, Lists
from meshgen.peers.membership import Membership
from meshgen.peers.relay_dues import RelayDues
from meshgen.peers.roll_home import keep_page, read_pages
from meshgen.peers.rolls import Rolls
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.offer import OFFER_PROTOCOL, Award, Offer, Refusal
from meshgen.protocols.record import Record
from meshgen.settings import Settings

LOOK_S = 1.0
"""A link to a peer that is blocked lasts so long at most."""


class Community:
    """Made of the gated net, with the gate that it goes through."""

    def __init__(
        self, net: Net, charters: Charters, gate: Gate, membership: Membership, rolls: Rolls, identity: Identity
    ) -> None:
        self._net = net
        self._identity = identity
        self._charters = charters
        self._gate = gate
        self._bookkeeping: Bookkeeping
        self._directory: Directory
        self._outside: set[PeerId] = set()
        self._dropped: set[PeerId] = set()
        self._dues = RelayDues(net, gate.ledger, lambda: charters.current.relay_gib_mkudos, gate.deals_with)
        self.membership = membership
        self.rolls = rolls
        self._was = ""
        self._relay_among()

    def _relay_among(self) -> None:
        """Of those dealt with. Relays that refused this node while it was no member are asked anew when it is one."""
        if self._was != self.membership.state:
            self._was = self.membership.state
            self._net.relay_among(lambda peer: self._gate.deals_with(public_key_of(peer)), self._may_carry)

    def _may_carry(self, peer: PeerId) -> bool:
        """A relay reads nothing: it need not be one of those whom the owner allows, where they alone are dealt with."""
        key, gate = public_key_of(peer), self._gate
        return not (gate.block_of(key) or gate.is_stranger(key) or gate.why_outside())

    def attend(self, directory: Directory, bookkeeping: Bookkeeping) -> None:
        """From now on these heed the gate."""
        self._bookkeeping, self._directory = bookkeeping, directory
        directory.heeds = self._gate.deals_with
        bookkeeping.heed(self._gate)

    def follow(self, settings: Settings) -> None:
        """The owner's lists as they are now."""
        self._gate.lists = Lists.of(settings)
        self._bookkeeping.follow(frozenset(map(public_key_of, settings.node.follow)))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.rolls.run)
            nursery.start_soon(self._dues.run)
            task_status.started()
            while True:
                await self.keep_away()
                self._relay_among()
                self._greet(nursery)
                await trio.sleep(LOOK_S)

    def _greet(self, nursery: trio.Nursery) -> None:
        """Those who are linked, were kept out and no longer are: they have heard nothing of each other so far."""
        linked = {link.peer for link in self._net.links()}
        outside = {peer for peer in linked if self._gate.why_not(public_key_of(peer))}
        for peer in sorted((self._outside - outside) & linked):
            nursery.start_soon(self._directory.meet, peer)
        self._outside = outside

    async def meet(self, peer: PeerId) -> None:
        """A newcomer is asked for the charter, then for the roll."""
        await self._charters.ask(peer)
        await self.rolls.ask(peer)

    # -- those who are blocked

    async def keep_away(self) -> None:
        """Hang up on whoever is blocked now, and let in again whoever no longer is. What runs with them ends: results that came
        are paid for, others are somebody else's to draw."""
        named = {PeerId(who) for who in self._gate.lists.blocks if who.startswith("12D3")}
        known = named | self._dropped | {link.peer for link in self._net.links()}
        blocked = {peer for peer in known if self._gate.block_of(public_key_of(peer))}
        for peer in sorted(blocked - self._dropped):
            await self._net.drop(peer, math.inf)
        for peer in sorted(self._dropped - blocked):
            self._net.pardon(peer)
        self._dropped = blocked

    # -- what is said of people

    def advice_on(self, subject: bytes) -> list[dict[str, Any]]:
        """Who recommends what about a key or an account, whoever it is: those followed are marked, and alone heeded."""
        advice, account = self._bookkeeping.advice, self._gate.ledger.account_of(subject)
        heard = advice.heard(subject) + (advice.heard(account) if account != subject else [])
        return [{"by": peer_id(author), "followed": author in advice.follow, **advisory_view(word)} for author, word in heard]

    # -- those who belong

    async def change(self, admit: Iterable[bytes], expel: Iterable[bytes]) -> dict[str, Any]:
        """On this delegate's page of the roll. Raises RollError, Malformed: ValueErrors with a text for people."""
        await self.rolls.change(self._identity, admit, expel)
        return self.view()

    def knows(self, account: bytes) -> bool:
        """Is a log kept here that tells which devices it has?"""
        return bool(self._gate.ledger.accounts.members(account))

    def view(self) -> dict[str, Any]:
        """Who belongs to the mesh, fit for JSON."""
        charter, state = self._charters.current, self.membership.state
        rows = self.membership.rows()
        return {"members": charter.members, "roll_threshold": charter.roll_threshold, "membership": state, "rows": rows}


def community_of(net: Net, charters: Charters, gate: Gate, home: Path | None, identity: Identity) -> Community:
    """With the roll that the home keeps; the gate heeds it from now on."""
    rolls = Rolls(net, charters, read_pages(home) if home else {}, partial(keep_page, home) if home else None)
    gate.membership = Membership(gate.ledger, charters, rolls, gate.now_ms)
    gate.refusals |= {protocol: partial(refuse, identity) for protocol in (OFFER_PROTOCOL, JOB_PROTOCOL)}
    return Community(net, charters, gate, gate.membership, rolls, identity)


async def refuse(identity: Identity, channel: Channel) -> None:
    """A stranger's offer or award gets an answer that it can read."""
    wire = await channel.receive()
    if wire is None:
        return
    signed: Signed[Record] = unsign(wire, Offer, Award)
    message = signed.message
    assert isinstance(message, Offer | Award)
    offer_id = message.offer_id if isinstance(message, Award) else signed.id
    await channel.send(sign(identity, Refusal(message.net, offer_id, "not_member", 0)).wire, last=True)


def with_company(rows: list[dict[str, Any]], gate: Gate, advice: Advice) -> list[dict[str, Any]]:
    """Rows of peers, each with what stands between it and this node, and what those who are followed say of it."""
    for row in rows:
        key = public_key_of(row["peer_id"])
        said = [{"by": peer_id(author), **advisory_view(word)} for author, word in advice.of_peer(key)]
        row |= {"kept_out": gate.why_not(key), "advice": said, "avoided": advice.avoids(key)}
    return rows
