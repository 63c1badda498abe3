"""What a node keeps for others in the directory table, and how it serves them: bounded a peer and in all.

py-libp2p answers twelve DHT streams at a time and lets each stand idle for ever, so that twelve silent ones end the service;
it keeps 50,000 values of up to a MiB, and provider keys without number; and the first twenty providers of a key keep all others
out.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import trio
from libp2p.kad_dht.common import PROTOCOL_ID
from libp2p.kad_dht.provider_store import ProviderRecord

from meshgen.net.conduct import Buckets, Fault
from meshgen.net.port import MAX_TABLE_KEY_BYTES, PeerId, TooLarge

STREAMS = 128
STREAMS_PER_PEER = 8
"""One more is refused, and asks again."""
SILENT_S = 10.0
"""Whoever opens a stream asks something in this time, and again in IDLE_S."""
IDLE_S = 60.0
READS_S, READS_BURST = 60.0, 600.0
"""A question takes two or three."""
MAX_QUESTION_BYTES = 64 * 1024
MAX_VALUES, MAX_VALUE_BYTES = 4096, 16 * 1024 * 1024
VALUES_PER_PEER = 8
"""A peer publishes its own advert; it may hand on a few others."""
MAX_PROVIDER_KEYS = 4096
KEYS_PER_PEER = 160
PROVIDERS_PER_KEY = 64
MAX_ADDRESSES = 8

Blame = Callable[[PeerId, float], None]
_asking: ContextVar[PeerId | None] = ContextVar("_asking", default=None)
"""Whose question this task answers; None when it is this node's own."""


def guard_table(dht: Any, host: Any, blame: Blame) -> None:
    """Bound what the DHT keeps and whom it serves."""
    dht._inbound_limiter.total_tokens = STREAMS
    Values(dht.value_store)
    Providers(dht.provider_store)
    host.set_stream_handler(PROTOCOL_ID, Service(dht.handle_stream, blame).serve)


class Service:
    """Serves DHT streams, so many a peer, each at a pace."""

    def __init__(self, handle: Callable[[Any], Any], blame: Blame) -> None:
        self._handle = handle
        self._blame = blame
        self._open: Counter[PeerId] = Counter()
        self._reads = Buckets(READS_S, READS_BURST, time.monotonic)

    async def serve(self, stream: Any) -> None:
        peer = PeerId(str(stream.muxed_conn.peer_id))
        if self._open[peer] >= STREAMS_PER_PEER:
            self._blame(peer, Fault.REFUSED)
            await stream.reset()
            return
        self._open[peer] += 1
        token = _asking.set(peer)
        try:
            await self._handle(_Paced(stream, peer, self._reads, self._blame))
        finally:
            _asking.reset(token)
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]


class _Paced:
    """A stream whose reading is bounded in size, pace and patience; the rest is the stream's own."""

    def __init__(self, stream: Any, peer: PeerId, reads: Buckets, blame: Blame) -> None:
        self._stream = stream
        self._peer = peer
        self._reads = reads
        self._blame = blame
        self._asked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, count: int | None = None) -> bytes:
        if count is not None and count > MAX_QUESTION_BYTES:
            self._blame(self._peer, Fault.MALFORMED)
            raise TooLarge("a question to the table is over its limit")
        await trio.sleep(self._reads.owe(self._peer))
        with trio.move_on_after(IDLE_S if self._asked else SILENT_S):
            data: bytes = await self._stream.read(count)
            self._asked = True
            return data
        if not self._asked:
            self._blame(self._peer, Fault.SLOW)
        return b""


class Values:
    """Bounds a value store, in the place of its own eviction: the oldest goes, whose size is not one of the smallest."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._senders: OrderedDict[bytes, PeerId] = OrderedDict()  # of keys that others sent
        self._put_record = store.put_record
        store.put_record = self.put_record
        store._evict_if_full = self._make_room

    def put_record(self, key: bytes, record: Any) -> None:
        """Raises ValueError for a sender that keeps too much here already."""
        sender = _asking.get()
        if sender is not None:
            known = sum(each == sender for other, each in self._senders.items() if other != key)
            if known >= VALUES_PER_PEER:
                raise ValueError("this peer keeps too many values here")
            self._senders[key] = sender
            self._senders.move_to_end(key)
        self._put_record(key, record)

    def _make_room(self) -> None:
        entries = self._store.store
        for key in [key for key in self._senders if key not in entries and key != next(reversed(self._senders))]:
            del self._senders[key]
        size = sum(len(record.value) for record, _ in entries.values())
        while entries and (len(entries) >= MAX_VALUES or size > MAX_VALUE_BYTES):
            oldest = next((key for key in entries if key not in self._store.local_keys), next(iter(entries)))
            size -= len(entries.pop(oldest)[0].value)


class Providers:
    """Bounds a provider store, in the place of its own ``add_provider``."""

    def __init__(self, store: Any) -> None:
        self._providers: dict[bytes, dict[str, Any]] = store.providers
        self._keys: Counter[str] = Counter()  # by provider; counted anew when it seems too many
        store.add_provider = self.add_provider

    def add_provider(self, key: bytes, provider: Any) -> None:
        """Keep an announcement. The oldest of a full key makes room: who is there announces itself again and again."""
        name = str(provider.peer_id)
        records = self._providers.get(key, {})
        if len(key) > MAX_TABLE_KEY_BYTES or (name not in records and not self._may_add(name)):
            return
        records.pop(name, None)
        if len(records) >= PROVIDERS_PER_KEY:
            del records[min(records, key=lambda each: records[each].timestamp)]
        provider.addrs = provider.addrs[:MAX_ADDRESSES]
        records[name] = ProviderRecord(provider_info=provider, timestamp=time.time())
        self._providers[key] = records
        if len(self._providers) > MAX_PROVIDER_KEYS:
            del self._providers[min(self._providers, key=self._renewed)]

    def _may_add(self, name: str) -> bool:
        if self._keys[name] >= KEYS_PER_PEER or len(self._keys) > MAX_PROVIDER_KEYS:
            self._keys = Counter(each for records in self._providers.values() for each in records)
        if self._keys[name] >= KEYS_PER_PEER:
            return False
        self._keys[name] += 1
        return True

    def _renewed(self, key: bytes) -> float:
        return max((record.timestamp for record in self._providers[key].values()), default=0.0)
