"""The directory table over py-libp2p's Kademlia DHT: fresh answers, paced announcements, bounded waiting."""

from __future__ import annotations

import hashlib
from typing import Any

import trio
from libp2p.kad_dht import kad_dht
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.records.ipns import IPNSValidator
from libp2p.records.pubkey import PublicKeyValidator
from libp2p.records.validator import NamespacedValidator, Validator

from meshgen.net.guard import check_key, check_value, is_valid
from meshgen.net.libp2p.answers import guard_answers
from meshgen.net.port import MAX_TABLE_KEY_BYTES, PeerId, TableRules

LOOKUP_TIMEOUT_S = 10.0
PROVIDE_INTERVAL_S = 1.0
"""Receivers take 10 announcements in 10 s from one peer and drop the rest, while ``provide`` still reports success."""
PROVIDER_TTL_S = 3600.0
"""Announcements older than this are swept. The DHT's own 48 h are far too long for a GPU that is here today."""


class _AnyKey:
    """Stands in for the multihash library where py-libp2p judges what a FIND_NODE is about: it refuses what is over 50 bytes and
    no multihash. go-libp2p and js-libp2p look for a value's place by its key as it is, and ours have 61: no value of theirs came.
    """

    @staticmethod
    def decode(key: bytes) -> None:
        if len(key) > MAX_TABLE_KEY_BYTES:
            raise ValueError("longer than a key may be")


kad_dht.multihash = _AnyKey


class _Rules(Validator):  # type: ignore[misc]
    """The mesh's rules as libp2p wants them: by exception."""

    def __init__(self, rules: TableRules) -> None:
        self._rules = rules

    def validate(self, key: str, value: bytes) -> None:
        if not is_valid(self._rules, key, value):
            raise ValueError("refused by the table's rules")

    def select(self, key: str, values: list[bytes]) -> int:
        return self._rules.selector(key, values)


def make_dht(host: Any, rules: TableRules) -> Any:
    """A server: every node answers for the table, and serves lookups of others."""
    guard_answers()
    validators = {"pk": PublicKeyValidator(), "ipns": IPNSValidator(), rules.namespace: _Rules(rules)}
    validator = NamespacedValidator(validators, strict_validation=True)
    return KadDHT(host, DHTMode.SERVER, strict_validation=True, validator=validator)


class Table:
    """Values and providers."""

    def __init__(self, dht: Any, rules: TableRules) -> None:
        self._dht = dht
        self._rules = rules
        self._me: ID = dht.local_peer_id
        self._providing = trio.Lock()
        self._next_provide_s = 0.0

    async def provide(self, key: str) -> None:
        check_key(key)
        async with self._providing:
            await trio.sleep_until(self._next_provide_s)
            self._next_provide_s = trio.current_time() + PROVIDE_INTERVAL_S
            with trio.move_on_after(LOOKUP_TIMEOUT_S):
                await self._dht.provider_store.provide(_provider_key(key))

    async def find_providers(self, key: str, limit: int) -> list[PeerId]:
        """Asks the network first: the DHT's own search returns the local records alone as soon as there is one."""
        check_key(key)
        raw, store = _provider_key(key), self._dht.provider_store
        local = store.providers.pop(raw, {})
        found: list[Any] = []
        try:
            with trio.move_on_after(LOOKUP_TIMEOUT_S):
                found = await store.find_providers(raw, limit + 1)
        finally:
            store.providers[raw] = local | store.providers.get(raw, {})
        for info in found:
            if info.addrs and info.peer_id != self._me:
                self._dht.host.get_peerstore().add_addrs(info.peer_id, info.addrs, int(PROVIDER_TTL_S))
        peers = [info.peer_id for info in [*found, *store.get_providers(raw)] if info.peer_id != self._me]
        return [PeerId(str(peer)) for peer in dict.fromkeys(peers)][:limit]

    async def put_value(self, key: str, value: bytes) -> None:
        check_value(self._rules, key, value)
        known = self._dht.value_store.get(key.encode())
        if known is not None and known.value != value and self._rules.selector(key, [value, known.value]) != 0:
            raise ValueError(f"an older value would replace a newer one under {key!r}")
        with trio.move_on_after(LOOKUP_TIMEOUT_S):
            await self._dht.put_value(key, value)

    async def get_value(self, key: str) -> bytes | None:
        """Asks the network with the local copy put aside: otherwise it would be the answer, however old."""
        check_key(key)
        raw, store = key.encode(), self._dht.value_store
        record = store.get(raw)
        store.remove(raw)
        found: bytes | None = None
        try:
            with trio.move_on_after(LOOKUP_TIMEOUT_S):
                found = await self._dht.get_value(key)
        finally:
            values = [value for value in (found, record and record.value) if value and is_valid(self._rules, key, value)]
            best = values[self._rules.selector(key, values)] if values else None
            if record is not None and best is not None and not store.has(raw):
                store.put(raw, best)
        return best

    def sweep(self, now_s: float) -> None:
        """Forget announcements that nobody renewed. ``now_s`` is the wall clock, as the records use it."""
        providers: dict[bytes, dict[str, Any]] = self._dht.provider_store.providers
        for key, records in list(providers.items()):
            for peer in [peer for peer, record in records.items() if now_s - record.timestamp > PROVIDER_TTL_S]:
                del records[peer]
            if not records:
                del providers[key]


def _provider_key(key: str) -> bytes:
    """A multihash of the key: js-libp2p keeps provider records under nothing else, and other libraries want a CID there."""
    return b"\x12\x20" + hashlib.sha256(key.encode()).digest()
