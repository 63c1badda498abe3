"""Addresses that others wrote: only those that can be read get in, and so many a peer.

A multiaddr is parsed when somebody first looks at it, not when it is made, and raises a dozen unrelated types then: one bad
address in what a peer says of itself would end whatever task of this node looks next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from libp2p.peer.peerdata import PeerData
from multiaddr import Multiaddr

MOST = 64
"""Of one peer, whoever told them. The first stay: a peer's own word about itself comes in the place of all before it."""
MAX_BYTES = 512


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
