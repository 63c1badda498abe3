"""Who is there and what can they do: adverts of all peers, from presence gossip, from introductions and from the DHT.

Presence is the warm path: every advert reaches everyone within a second. An *introduction* (one question to a peer just met)
fills a newcomer's directory at once. The DHT is for cold discovery of models that nobody nearby has: it is slow, and its values
may be stale, so what comes out of it is judged like any other advert.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import trio

from meshgen.identity import Identity, peer_id
from meshgen.net.port import Channel, Net, NetError, PeerId, TableRules, request
from meshgen.peers.census import Census
from meshgen.peers.matching import No, find_model, refusal
from meshgen.protocols.advert import MAX_LIFETIME_MS, TABLE_NAMESPACE, Advert
from meshgen.protocols.codec import Limits, Malformed, Value, decode, encode
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.offer import Offer

log = logging.getLogger(__name__)

PRESENCE_PROTOCOL = "/meshgen/presence/1"
PRESENCE_S = 30.0
"""A peer says that it is there about so often, in a mesh of ten; its advert lives three times as long."""
LIFETIME_MS = 90_000
SHARE_S = 10.0
"""In a larger one it waits this, times the peers there are, by their logarithm: an advert costs every node, so what all say
together may not grow as they do. Where the pause is longer than an advert may live, a peer knows a share of all at a time. Keys
that somebody makes up count, too: with 1,000 of them idle peers wait 17 minutes, and who makes up as many all the time as a whole
mesh says has them wait for longer and longer, until it ends. The table, introductions, offers, and what changes go on."""
SPREAD = 0.125
"""Pauses are shorter or longer by up to this part, else all who began together would tell together ever after."""
OVERDUE = 1.25
"""Who has not been heard of for a pause and a bit is not counted any more."""
CHANGE_GAP_S = 10.0
"""A change waits so long for the next ones: presence must not grow with the load."""
DRIFT_PARTS = 3
"""What bids tell as it is, the load, and logs, the credit chain, waits for this part of the pause."""
URGENT_GAP_S = 1.0
"""Not even a peer that is elsewhere now says so more often."""
TABLE_S = 300.0
"""An advert goes into the DHT so often, and soon after twice as many are linked: before there was hardly anybody to keep it."""
TABLE_GAP_S = 60.0
TABLE_LIFETIME_MS = 390_000
"""Of an advert in the table: until the next is there, or somebody would look for it in vain."""
GOODBYE_S = 0.5
GOODBYE_LIFETIME_MS = 1500
MAX_PEERS = 5000
MAX_INTRODUCED = 64
QUESTION_S = 5.0
CLOCK_SLACK_MS = 2 * 60 * 1000
"""A peer's clock may be off by so much before its adverts are refused."""
_INTRODUCTION = Limits(max_bytes=1024 * 1024, max_items=MAX_INTRODUCED, max_depth=1)


class Directory:
    """The freshest advert of every peer, one's own among them. ``describe`` makes one's own from the current state."""

    def __init__(
        self, net: Net, identity: Identity, mesh: bytes, now_ms: Callable[[], int], describe: Callable[[int, int], Advert]
    ) -> None:
        self._net = net
        self._identity = identity
        self._mesh = mesh
        self._now_ms = now_ms
        self._describe = describe
        self._adverts: dict[PeerId, Signed[Advert]] = {}
        self._lost: dict[PeerId, Signed[Advert]] = {}  # of peers that fell silent: no work is offered to them
        self._changed = trio.Event()
        self._drifted = trio.Event()
        self._urgent = trio.Event()
        self._heard = trio.Event()
        self._census = Census()
        self._rng = random.Random(f"presence/{net.peer_id}")
        self._pause_s = PRESENCE_S
        self._table_put_s = self._table_due_s = float("-inf")
        self._table_links = 0  # when it was put there last
        self.topic = f"/meshgen/{mesh.hex()}/presence"
        self.on_advert: list[Callable[[Signed[Advert]], None]] = []
        self.heeds: Callable[[bytes], bool] = lambda _: True
        """Is this peer dealt with? What others advertise is kept, and not shown."""
        self.own: Signed[Advert] | None = None

    # -- answers

    def adverts(self) -> Iterator[Signed[Advert]]:
        """Adverts that have not expired, of others that are dealt with."""
        return (signed for signed in self.everybody() if self.heeds(signed.author))

    def everybody(self) -> Iterator[Signed[Advert]]:
        """And of those that are not."""
        now = self._now_ms()
        for peer, signed in list(self._adverts.items()):
            if signed.message.expires_ms <= now:
                del self._adverts[peer]
            else:
                yield signed

    def get(self, peer: PeerId) -> Advert | None:
        return self._counting(self._adverts.get(peer))

    def last_of(self, peer: PeerId) -> Advert | None:
        """Its last word, though it may have fallen silent since."""
        return self._counting(self._adverts.get(peer) or self._lost.get(peer))

    def _counting(self, signed: Signed[Advert] | None) -> Advert | None:
        current = signed is not None and signed.message.expires_ms > self._now_ms() and self.heeds(signed.author)
        return signed.message if signed and current else None

    def alias(self, peer: PeerId) -> str:
        """What to call a peer in front of a person: its own word and the end of its id, which it can't choose."""
        signed = self._adverts.get(peer) or self._lost.get(peer)
        return f"{(signed and signed.message.alias) or 'peer'}#{peer[-6:]}"

    def able(self, offer: Offer) -> tuple[dict[PeerId, int], dict[PeerId, No]]:
        """Who could do this offer, with the pictures queued there; and why each other peer that knows the model could not."""
        can: dict[PeerId, int] = {}
        others: dict[PeerId, No] = {}
        for signed in self.adverts():
            advert = signed.message
            if "worker" not in advert.roles or find_model(advert.models, offer.model, offer.digest) is None:
                continue
            no = refusal(offer, advert, self._now_ms())
            if no is None:
                can[PeerId(signed.peer)] = advert.queued
            else:
                others[PeerId(signed.peer)] = no
        return can, others | self._away(offer)

    def _away(self, offer: Offer) -> dict[PeerId, No]:
        """Of those that fell silent: who knew the model, and may be back."""
        self._forget_expired()
        models = {peer: signed.message.models for peer, signed in self._lost.items()}
        return {peer: No("away") for peer, known in models.items() if find_model(known, offer.model, offer.digest)}

    def addresses(self, peer: PeerId) -> tuple[str, ...]:
        """Where a peer says that it can be dialled."""
        advert = self.last_of(peer)
        return advert.addresses if advert else ()

    def own_addresses(self) -> tuple[str, ...]:
        """Where this peer can be dialled, as its last advert says."""
        return self.own.message.addresses if self.own else ()

    async def wait_heard(self) -> None:
        """Until a peer is heard of that was not known, or one with other models; or this node itself has others."""
        await self._heard.wait()

    # -- who fell silent

    def lost(self, peer: PeerId) -> None:
        """It does not answer: it is not offered any work, until it is heard of anew."""
        self._forget_expired()
        if signed := self._adverts.pop(peer, None):
            self._lost[peer] = signed

    def _forget_expired(self) -> None:
        now = self._now_ms()
        self._lost = {peer: signed for peer, signed in self._lost.items() if signed.message.expires_ms > now}

    def found(self, peer: PeerId) -> None:
        """It answers: what it said of itself before counts again."""
        if signed := self._lost.pop(peer, None):
            self.learn(signed)

    # -- life

    def announce(self) -> None:
        """A fresh advert goes out at once: this peer was away, or is elsewhere now."""
        self._urgent.set()
        self.changed()

    def changed(self) -> None:
        """Own state changed: a fresh advert goes out soon."""
        self._changed.set()
        self.drifted()

    def drifted(self) -> None:
        """The load did, or the credit chain, which bids and logs tell as they are: in a large mesh the advert may wait."""
        self._drifted.set()
        self._tell_waiting()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._net.serve(PRESENCE_PROTOCOL, self._introduce)
        async with trio.open_nursery() as nursery, self._net.subscribe(self.topic, self._is_valid) as heard:
            nursery.start_soon(self._advertise, nursery)
            task_status.started()
            async for gossip in heard:
                self._learn_wire(gossip.data)

    async def meet(self, peer: PeerId) -> None:
        """Ask a peer whom it knows. A peer that does not answer is no error."""
        if len(self._net.links()) >= 2 * self._table_links:
            self._table_due_s = min(self._table_due_s, self._table_put_s + TABLE_GAP_S)
        self.drifted()
        try:
            with trio.move_on_after(QUESTION_S):
                answer = await request(self._net, peer, PRESENCE_PROTOCOL, self._own_wire())
                self.found(peer)
                wires = decode(answer, _INTRODUCTION)
                for wire in wires if isinstance(wires, tuple) else ():
                    if isinstance(wire, bytes):
                        self._learn_wire(wire)
        except (NetError, Malformed) as error:
            log.debug("no introductions from %s: %s", peer, error)

    async def search(self, model: str) -> None:
        """Look in the DHT for workers with a model, and learn their adverts."""
        try:
            with trio.move_on_after(QUESTION_S):
                for peer in await self._net.find_providers(model_key(self._mesh, model)):
                    if peer != self._net.peer_id and (value := await self._net.get_value(advert_key(peer))):
                        self._learn_wire(value)
        except NetError as error:
            log.debug("no answer from the table: %s", error)

    async def _advertise(self, nursery: trio.Nursery) -> None:
        try:
            await self._keep_advertising(nursery)
        finally:
            with trio.move_on_after(GOODBYE_S, shield=True), suppress(NetError):
                await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """A last advert that is over at once: others need not wait until the one before expires."""
        now = self._now_ms()
        await self._net.publish(self.topic, sign(self._identity, self._describe(now, now + GOODBYE_LIFETIME_MS)).wire)

    def _pause(self) -> float:
        """Seconds until this peer tells of itself again, though nothing happens."""
        now, lately_s = trio.current_time(), MAX_LIFETIME_MS / 1000
        overdue_s = max(lately_s, OVERDUE * self._pause_s)
        self._census.forget(now - overdue_s)
        lately = self._census.count(now - lately_s) * overdue_s / lately_s  # a crowd that is gone is seen before it is forgotten
        there = 1 + min(float(self._census.count(now - overdue_s)), lately)
        return max(PRESENCE_S, SHARE_S * there / math.log2(1 + there))

    def _spread(self) -> float:
        return self._rng.uniform(1 - SPREAD, 1 + SPREAD)

    async def _keep_advertising(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._keep_in_table)
        while True:
            self._changed, self._drifted, self._urgent = trio.Event(), trio.Event(), trio.Event()
            self._pause_s = self._pause()
            await self._net.publish(self.topic, self._described().wire)
            await self._something_new(trio.current_time())

    def _described(self) -> Signed[Advert]:
        """The own advert, anew."""
        now = self._now_ms()
        lifetime_ms = min(MAX_LIFETIME_MS, round(self._pause_s / PRESENCE_S * LIFETIME_MS))
        self.own = sign(self._identity, self._describe(now, now + lifetime_ms))
        return self.own

    def _own_wire(self) -> bytes:
        """For who asks: one that lives, though all others are told only when the pause is over. Empty before the first."""
        if self.own and self.own.message.expires_ms <= self._now_ms():
            return self._described().wire
        return self.own.wire if self.own else b""

    async def _something_new(self, told_s: float) -> None:
        """Worth another advert after the last; or else its pause is over, or no longer what it was: adverts cost nothing, and
        who made up a crowd would silence this peer for long."""
        await trio.sleep(URGENT_GAP_S)
        for event, until_s in (
            (self._urgent, told_s + CHANGE_GAP_S),
            (self._changed, told_s + self._pause_s / DRIFT_PARTS),
            (self._drifted, told_s + self._pause_s * self._spread()),
        ):
            while trio.current_time() < until_s and self._pause() > self._pause_s / 2:
                with trio.move_on_at(min(until_s, trio.current_time() + MAX_LIFETIME_MS / 1000)):
                    await event.wait()
                    return

    async def _keep_in_table(self) -> None:
        """By a clock of its own: where many are, all hear of this peer more seldom than its advert lives in the table."""
        while True:
            await trio.sleep(CHANGE_GAP_S)
            if trio.current_time() >= self._table_due_s and self._net.links():
                self._table_put_s, self._table_links = trio.current_time(), len(self._net.links())
                self._table_due_s = self._table_put_s + TABLE_S * self._spread()
                await self._to_table()

    async def put_own(self) -> Advert:
        """Into the DHT, as it is now. Raises NetError, and ValueError if the table knows better."""
        now = self._now_ms()
        own = sign(self._identity, self._describe(now, now + TABLE_LIFETIME_MS))
        await self._net.put_value(advert_key(self._net.peer_id), own.wire)
        return own.message

    async def _to_table(self) -> None:
        try:
            for model in (await self.put_own()).models:
                await self._net.provide(model_key(self._mesh, model.name))
        except (NetError, ValueError) as error:
            log.info("the table took no advert: %s", error)

    async def _introduce(self, channel: Channel) -> None:
        theirs = await channel.receive()
        self.found(channel.peer)
        if theirs:
            self._learn_wire(theirs)
        known = [signed.wire for signed in self.adverts() if signed.peer != channel.peer]
        own = [wire] if (wire := self._own_wire()) else []
        wires: tuple[Value, ...] = tuple((own + known)[:MAX_INTRODUCED])
        while len(answer := encode(wires)) > _INTRODUCTION.max_bytes:
            wires = wires[: len(wires) // 2]
        await channel.send(answer, last=True)

    # -- learning

    def _is_valid(self, sender: PeerId, data: bytes) -> bool | None:
        """For the gossip layer: whole, signed by whoever published it, of this mesh; None if expired: it may be the clock."""
        try:
            signed = unsign(data, Advert)
        except Malformed:
            return False
        if signed.peer != sender or signed.message.net != self._mesh:
            return False
        return self._is_current(signed.message) or None

    def _is_current(self, advert: Advert) -> bool:
        now = self._now_ms()
        return advert.net == self._mesh and now < advert.expires_ms <= now + MAX_LIFETIME_MS + CLOCK_SLACK_MS

    def _learn_wire(self, wire: bytes) -> None:
        try:
            self.learn(unsign(wire, Advert))
        except Malformed as error:
            log.debug("an advert was refused: %s", error)

    def learn(self, signed: Signed[Advert]) -> None:
        """Keep an advert if it is this mesh's, current and newer than what is known of its peer."""
        peer = PeerId(signed.peer)
        known = self._adverts.get(peer)
        if peer == self._net.peer_id or not self._is_current(signed.message):
            return
        lost = self._lost.get(peer)
        if any(before and before.message.seq >= signed.message.seq for before in (known, lost)):
            return
        self._lost.pop(peer, None)
        self._adverts.pop(peer, None)
        if len(self._adverts) >= MAX_PEERS:
            del self._adverts[self._least_wanted()]
        self._adverts[peer] = signed
        self._census.hear(peer, trio.current_time())
        for listener in self.on_advert:
            listener(signed)
        if not known or known.message.models != signed.message.models:
            self._tell_waiting()

    def _least_wanted(self) -> PeerId:
        """Who was not heard of for longest, whatever it said of its own life, and is not connected: adverts cost nothing."""
        linked = {link.peer for link in self._net.links()}
        return next((peer for peer in self._adverts if peer not in linked), next(iter(self._adverts)))

    def _tell_waiting(self) -> None:
        self._heard.set()
        self._heard = trio.Event()


def advert_key(peer: PeerId) -> str:
    return f"/{TABLE_NAMESPACE}/{peer}"


def model_key(mesh: bytes, model: str) -> str:
    """A provider key of fixed length: names may be long and keys may not."""
    return f"/{TABLE_NAMESPACE}-model/{hashlib.sha256(mesh + model.encode()).hexdigest()[:40]}"


def table_rules(now_ms: Callable[[], int]) -> TableRules:
    """What the DHT may store: an unexpired advert under its own author's key; the highest seq wins."""

    def validate(key: str, value: bytes) -> bool:
        try:
            signed = unsign(value, Advert)
        except Malformed:
            return False
        return key == advert_key(PeerId(peer_id(signed.author))) and signed.message.expires_ms > now_ms()

    def select(_key: str, values: list[bytes]) -> int:
        return max(range(len(values)), key=lambda index: seq(values[index]))

    def seq(value: bytes) -> int:
        """0 for what is no advert: the table may hold what came before these rules."""
        try:
            return unsign(value, Advert).message.seq
        except Malformed:
            return 0

    return TableRules(TABLE_NAMESPACE, validate, select)
