"""Whom this node deals with: its owner's block and allow lists, and the roll of a mesh that lists its members.

The roles know nothing of it: they work on a net that is :func:`gated`. A *blocked* peer is hung up on and stays away; what it
gossips is passed on, as that is for the others to judge, and not looked at. A *stranger* in a mesh that lists its members gets
the charter and the roll, so that it can see that it is none and apply, and nothing else; what it gossips goes no further.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from meshgen.identity import peer_id, public_key_of
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Channel, ChannelHandler, Gossip, GossipValidator, Net, PeerId, Unreachable
from meshgen.peers.membership import Membership
from meshgen.protocols.charter import PROTOCOL as CHARTER_PROTOCOL
from meshgen.protocols.pulse import PROTOCOL as PULSE_PROTOCOL
from meshgen.protocols.roll import PROTOCOL as ROLL_PROTOCOL
from meshgen.settings import Settings
from meshgen.settings.blocking import Block, parse_block

log = logging.getLogger(__name__)

PUBLIC = frozenset((CHARTER_PROTOCOL, ROLL_PROTOCOL, PULSE_PROTOCOL))
"""What all are answered on who are not blocked: what the mesh is, who belongs to it, and whether this node is there."""
WORDS = {
    "blocked": "this node's owner has blocked it",
    "not_allowed": "this node's owner deals with nobody but those whom node.allow names",
    "stranger": "it is no member of this mesh, whose charter lists them",
    "outside": "this node is no member of this mesh yet: a delegate admits it with `meshgen mesh admit`",
    "expelled": "a delegate of this mesh has expelled this node",
}


@dataclass(frozen=True, slots=True)
class Lists:
    """The owner's, by peer id or account id in hex."""

    blocks: dict[str, Block] = field(default_factory=dict)
    allow: frozenset[str] = frozenset()
    only_allowed: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Lists:
        given = settings.node
        blocks = [parse_block(line) for line in given.block]
        return cls({block.who: block for block in blocks}, frozenset(given.allow), given.only_allowed)

    def block_of(self, names: Iterable[str], now_ms: int) -> Block | None:
        """The first of these names that is blocked now."""
        found = (self.blocks.get(name) for name in names)
        return next((block for block in found if block and block.holds(now_ms)), None)


class Gate:
    """``lists`` may be replaced at any time; ``membership`` is None until the charter is known."""

    def __init__(self, ledger: Ledger, now_ms: Callable[[], int], lists: Lists) -> None:
        self.ledger = ledger
        self.now_ms = now_ms
        self.lists = lists
        self.membership: Membership | None = None
        self.refusals: dict[str, Callable[[Channel], Any]] = {}
        """By protocol: what answers a stranger with a refusal that it can read."""

    def why_not(self, key: bytes) -> str:
        """Why this peer is not dealt with: a key of WORDS, "" if it is."""
        if key == self.ledger.identity.public_key:
            return ""
        if self.block_of(key):
            return "blocked"
        if self.lists.only_allowed and not self.allows(key):
            return "not_allowed"
        if self.membership is None or self.membership.open:
            return ""
        if not self.membership.includes(key):
            return "stranger"
        return self.why_outside()

    def refusal_of(self, peer: str) -> str:
        """The same in words, with the cure that is this node's owner's; "" for what is no peer id either."""
        try:
            key = public_key_of(peer)
        except ValueError:
            return ""
        why = self.why_not(key)
        block = self.block_of(key) if why == "blocked" else None
        return WORDS.get(why, "") + (f" (`meshgen peers unblock {block.who}` takes it back)" if block else "")

    def deals_with(self, key: bytes) -> bool:
        return not self.why_not(key)

    def block_of(self, key: bytes) -> Block | None:
        """What blocks it. A word about the peer itself goes before one about its account."""
        if not self.lists.blocks:
            return None
        peer, account = self._names(key)
        own = self.lists.block_of([peer], self.now_ms())
        return own or (None if peer in self.lists.allow else self.lists.block_of([account], self.now_ms()))

    def allows(self, key: bytes) -> bool:
        """Has the owner said so? Devices of the own account go without saying."""
        peer, account = self._names(key)
        same = self.ledger.accounts.same(key, self.ledger.identity.public_key)
        return same or not self.lists.allow.isdisjoint((peer, account))

    def is_stranger(self, key: bytes) -> bool:
        return self.membership is not None and not self.membership.includes(key)

    def why_outside(self) -> str:
        """Why this node itself is none of the members: a key of WORDS, "" if it is one."""
        state = self.membership.state if self.membership else "open"
        return {"stranger": "outside", "expelled": "expelled"}.get(state, "")

    def _names(self, key: bytes) -> tuple[str, str]:
        return peer_id(key), self.ledger.account_of(key).hex()

    def closed_for(self, peer: PeerId, protocol: str) -> str:
        """Why nothing is said to this peer on this protocol; "" if something is."""
        why = self.why_not(_key(peer))
        return "" if why != "blocked" and protocol in PUBLIC else why


@lru_cache(maxsize=4096)
def _key(peer: PeerId) -> bytes:
    return public_key_of(peer)


def gated(net: Net, gate: Gate) -> Net:
    """That net, without those whom the gate keeps out. All else is the net's own."""
    return cast(Net, _Gated(net, gate))


class _Gated:
    def __init__(self, net: Net, gate: Gate) -> None:
        self._net = net
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)

    def serve(self, protocol: str, handler: ChannelHandler) -> None:
        async def guarded(channel: Channel) -> None:
            why = self._gate.closed_for(channel.peer, protocol)
            if not why:
                await handler(channel)
            elif why == "stranger" and (refuse := self._gate.refusals.get(protocol)):
                await refuse(channel)
            else:
                raise Unreachable(f"{channel.peer} is not answered: {WORDS[why]}")

        self._net.serve(protocol, guarded)

    @asynccontextmanager
    async def open(self, peer: PeerId, protocol: str) -> AsyncIterator[Channel]:
        if why := self._gate.closed_for(peer, protocol):
            raise Unreachable(f"{peer} is not asked: {WORDS[why]}")
        async with self._net.open(peer, protocol) as channel:
            yield channel

    @asynccontextmanager
    async def subscribe(self, topic: str, validator: GossipValidator) -> AsyncIterator[AsyncIterator[Gossip]]:
        def judged(sender: PeerId, data: bytes) -> bool | None:
            """Who forwards a stranger's words may have heard later than this node that it is one: no fault."""
            return None if self._gate.is_stranger(_key(sender)) else validator(sender, data)

        async with self._net.subscribe(topic, judged) as heard:
            yield _Heeded(heard, self._gate)

    async def publish(self, topic: str, data: bytes) -> None:
        if why := self._gate.why_outside():
            log.debug("nothing is published: %s", WORDS[why])
            return
        await self._net.publish(topic, data)


class _Heeded:
    """What is heard of those who are dealt with. Closing and counting are the mailbox's own."""

    def __init__(self, heard: AsyncIterator[Gossip], gate: Gate) -> None:
        self._heard = heard
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._heard, name)

    def __aiter__(self) -> _Heeded:
        return self

    async def __anext__(self) -> Gossip:
        while self._gate.why_not(_key((gossip := await anext(self._heard)).sender)):
            pass
        return gossip
