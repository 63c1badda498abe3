"""Multiaddrs as people give them: checked for what this node can do with them."""

from __future__ import annotations

import ipaddress
import re

_PEER = r"/p2p/[1-9A-HJ-NP-Za-km-z]{46,64}"
_ADDRESS = re.compile(rf"/(ip4|ip6|dns|dns4|dns6)/([^/\s]+)/tcp/(\d{{1,5}})({_PEER}(?:/p2p-circuit{_PEER})?)?")


def tcp_address(text: str) -> str:
    """A TCP multiaddr, with or without a peer id at its end, unchanged. Raises ValueError with words for people."""
    match = _ADDRESS.fullmatch(text)
    if not match or "/p2p-circuit" in text:
        raise ValueError(f"{text!r} is not a TCP multiaddr such as /ip4/192.0.2.7/tcp/4711")
    if len(text) > 70 and "/p2p/" not in text:
        raise ValueError(f"{text!r} is longer than the 70 characters that fit into an advert")
    kind, host, port = match[1], match[2], int(match[3])
    if kind.startswith("ip"):
        ipaddress.IPv4Address(host) if kind == "ip4" else ipaddress.IPv6Address(host)
    if port > 65535:
        raise ValueError(f"{text!r}: a port is at most 65535")
    return text


def peer_address(text: str) -> str:
    """A multiaddr that ends with a peer id, of one behind a relay too, unchanged. Raises ValueError with words for people."""
    before, circuit, _peer = text.partition("/p2p-circuit")
    if circuit and not _ADDRESS.fullmatch(text):
        raise ValueError(
            f"{text!r} is no way through a relay, such as /ip4/192.0.2.7/tcp/4711/p2p/12D3KooW.../p2p-circuit/p2p/..."
        )
    if "/p2p/" not in tcp_address(before if circuit else text):
        raise ValueError(f"{text!r} must end with /p2p/ and the other node's peer id, as `meshgen status` shows it there")
    return text
