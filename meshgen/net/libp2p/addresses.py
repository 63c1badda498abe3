"""Addresses and peer ids that others wrote: only those that can be read get in, and so many a peer.

A multiaddr is parsed when somebody first looks at it, not when it is made, and raises a dozen unrelated types then: one bad
address in what a peer says of itself would end whatever task of this node looks next.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

from libp2p.peer.id import ID
from libp2p.peer.peerdata import PeerData
from libp2p.peer.peerstore import PeerStore, PeerStoreError
from multiaddr import Multiaddr

from meshgen.identity import public_key_of

MOST = 64
"""Of one peer, whoever told them. The first stay: a peer's own word about itself comes in the place of all before it."""
MAX_BYTES = 512
MAX_PEERS = 1000
MAX_RECORD_BYTES = 8192
"""Where a peer says it is, signed; it is kept for as long as its addresses are."""
MAX_PROTOCOLS, MAX_PROTOCOL_CHARS = 128, 128
"""That a peer says it speaks."""
PREFIX_IPV6 = 64
"""What one household has of IPv6."""


def read_address(raw: bytes) -> Multiaddr | None:
    """None for what is no address, or none that an advert could carry on."""
    return _read(bytes(raw)) if len(raw) <= MAX_BYTES else None


@lru_cache(maxsize=1024)
def _read(raw: bytes) -> Multiaddr | None:
    try:
        address = Multiaddr(raw)
        list(address.protocols())
        text = str(address)
    except Exception:  # noqa: BLE001 - a dozen unrelated types
        return None
    return address if text and text.isascii() and text.isprintable() else None


def readable(addresses: Iterable[Multiaddr]) -> list[Multiaddr]:
    """Without those that are none."""
    return [each for each in addresses if read_address(each.to_bytes()) is not None]


def guard_addresses() -> None:
    """Whatever libp2p keeps of peers' addresses goes through here from now on."""
    if not hasattr(PeerData.add_addrs, "guarded"):
        PeerData.add_addrs = _guarded(PeerData.add_addrs)


def _guarded(add: Callable[[Any, Sequence[Multiaddr]], None]) -> Callable[[Any, Sequence[Multiaddr]], None]:
    def add_addrs(self: Any, addresses: Sequence[Multiaddr]) -> None:
        add(self, readable(addresses)[: max(0, MOST - len(self.get_addrs()))])

    add_addrs.guarded = True  # type: ignore[attr-defined]
    return add_addrs


class AddressBook(PeerStore):  # type: ignore[misc]
    """What libp2p knows of peers, this node among them, whose key is nowhere else.

    Where it is full, hearsay goes first, then who was met, the longest unheard of first; never who is linked, nor this node,
    which the base would forget before all others, and its key with it. Nor does anybody else say where this node is.
    """

    def __init__(self, max_peers: int = MAX_PEERS) -> None:
        super().__init__(max_peers=max_peers)
        self.linked: Callable[[], Collection[ID]] = tuple
        self._latest: ID | None = None  # who was told of last is about to be dialled

    def add_addrs(self, peer_id: ID, addrs: Sequence[Multiaddr], ttl: int = 0) -> None:
        if not self._is_own(peer_id):
            self._latest = peer_id
            super().add_addrs(peer_id, addrs, ttl)

    def consume_peer_record(self, envelope: Any, ttl: int) -> bool:
        """False for what is not kept: so the base says it, too."""
        return len(envelope.raw_payload) <= MAX_RECORD_BYTES and bool(super().consume_peer_record(envelope, ttl))

    def add_protocols(self, peer_id: ID, protocols: Sequence[str]) -> None:
        room = MAX_PROTOCOLS - len(self.get_protocols(peer_id) if self.has_peer(peer_id) else ())
        super().add_protocols(peer_id, [each for each in protocols if len(each) <= MAX_PROTOCOL_CHARS][: max(0, room)])

    def _is_own(self, peer: ID) -> bool:
        data = self.peer_data_map.get(peer)
        return data is not None and data.privkey is not None

    def _enforce_peer_limit(self) -> None:
        """A tenth at a time: each look is at all of them."""
        if len(self.peer_data_map) <= self.max_peers:
            return
        kept = {*self.linked(), self._latest}
        rest = [item for item in self.peer_data_map.items() if item[0] not in kept and not self._is_own(item[0])]
        rest.sort(key=lambda item: (not item[1].is_expired(), bool(item[1].protocols), item[1].last_identified))
        for peer, _ in rest[: len(self.peer_data_map) - self.max_peers * 9 // 10]:
            self.peer_record_map.pop(peer, None)
            del self.peer_data_map[peer]

    def maybe_delete_peer_record(self, peer_id: ID) -> None:
        """A peer whose addresses have expired has no record. The base raises instead, out of whatever asked for it: a clock that
        was set ended the node."""
        try:
            super().maybe_delete_peer_record(peer_id)
        except PeerStoreError:
            self.peer_record_map.pop(peer_id, None)


def is_peer(peer: object) -> bool:
    """Is this a peer id, or its text, with an Ed25519 key in it? The mesh has no others."""
    try:
        return bool(public_key_of(str(peer)))
    except ValueError:
        return False


def household(connection: Any) -> str:
    """What shares a limit: an IPv4 address, the /64 of an IPv6 one; "" for this machine itself, and for what is relayed."""
    remote = connection.get_remote_address()
    if remote is None:
        return ""
    address = ipaddress.ip_address(remote[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if str(address) in ("127.0.0.1", "::1"):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, PREFIX_IPV6), strict=False))
    return str(address)
