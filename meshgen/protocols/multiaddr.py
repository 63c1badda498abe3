"""Multiaddrs as bytes, as libp2p's specification has them, for the few protocols that lead to a peer of the mesh.

One text has one form in bytes and the other way round, so that what was signed or summed up stays what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

from meshgen.identity import peer_id, public_key_of
from meshgen.protocols.codec import Malformed

MAX_MULTIADDR_BYTES = 128

_PEER_HEAD = bytes.fromhex("002408011220")  # identity multihash of the protobuf (type Ed25519, 32 bytes)
_PEER_BYTES = len(_PEER_HEAD) + 32
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?")
_DNS = {53: "dns", 54: "dns4", 55: "dns6"}
_SIZES = {4: 4, 6: 2, 41: 16, 290: 0}
"""Protocol -> bytes of its value; all others say how many there are."""


def pack_multiaddr(text: str) -> bytes:
    """Raises Malformed for what is none, or is not written in the one way."""
    parts = text.split("/")[1:] if text.startswith("/") else []
    packed = b""
    while parts:
        name, *rest = parts
        code = _CODES.get(name)
        if code is None:
            raise Malformed("multiaddr: only ip4, ip6, dns, dns4, dns6, tcp, p2p and p2p-circuit have a place in one")
        taken = 0 if code == 290 else 1
        try:
            value = _TO_BYTES[code](rest[0] if taken else "")
        except (ValueError, IndexError):
            raise Malformed(f"multiaddr: no such {name}") from None
        packed += _varint(code) + (b"" if code in _SIZES else bytes([len(value)])) + value
        parts = rest[taken:]
    if unpack_multiaddr(packed) != text:
        raise Malformed("multiaddr: not written in the one way")
    return packed


def unpack_multiaddr(data: bytes) -> str:
    """Raises Malformed."""
    if not 0 < len(data) <= MAX_MULTIADDR_BYTES:
        raise Malformed(f"multiaddr: 1 to {MAX_MULTIADDR_BYTES} bytes belong there")
    return "".join(_components(data))


def _components(data: bytes) -> Iterator[str]:
    place = 0
    while place < len(data):
        code, place = _read_varint(data, place)
        if code not in _NAMES:
            raise Malformed(f"multiaddr: protocol {code} has no place here")
        size = _SIZES.get(code)
        if size is None:
            size, place = (data[place], place + 1) if place < len(data) else (0, place)
        value = data[place : place + size]
        place += size
        if len(value) != size:
            raise Malformed("multiaddr: cut short")
        try:
            shown = _TO_TEXT[code](value)
        except ValueError:
            raise Malformed(f"multiaddr: no such {_NAMES[code]}") from None
        yield f"/{_NAMES[code]}/{shown}" if shown else f"/{_NAMES[code]}"


def _varint(code: int) -> bytes:
    return bytes([code]) if code < 128 else bytes([code & 127 | 128, code >> 7])


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """One or two bytes, the fewest that hold it: no protocol here needs more."""
    first, second = (*data[place : place + 2], 0)[:2]
    if first < 128:
        return first, place + 1
    if not 0 < second < 128:
        raise Malformed("multiaddr: no such protocol")
    return first & 127 | second << 7, place + 2


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("not a host's name in lower case, of 64 characters at most")
    return text


def _port(text: str) -> bytes:
    if len(text) > 5 or not 0 <= int(text) < 2**16:
        raise ValueError("not a port")
    return int(text).to_bytes(2, "big")


def _peer_bytes(text: str) -> bytes:
    return _PEER_HEAD + public_key_of(text)


def _peer_text(value: bytes) -> str:
    if len(value) != _PEER_BYTES or not value.startswith(_PEER_HEAD):
        raise ValueError("not an Ed25519 peer id")
    return peer_id(value[len(_PEER_HEAD) :])


_TO_BYTES: dict[int, Callable[[str], bytes]] = {
    4: lambda text: IPv4Address(text).packed,
    6: _port,
    41: lambda text: IPv6Address(text).packed,
    **dict.fromkeys(_DNS, lambda text: _host(text).encode("ascii")),
    290: lambda _: b"",
    421: _peer_bytes,
}
_TO_TEXT: dict[int, Callable[[bytes], str]] = {
    4: lambda value: str(IPv4Address(value)),
    6: lambda value: str(int.from_bytes(value, "big")),
    41: lambda value: str(IPv6Address(value)),
    **dict.fromkeys(_DNS, lambda value: _host(value.decode("ascii"))),
    290: lambda _: "",
    421: _peer_text,
}
_NAMES = {4: "ip4", 6: "tcp", 41: "ip6", 290: "p2p-circuit", 421: "p2p", **_DNS}
_CODES = {name: code for code, name in _NAMES.items()}
