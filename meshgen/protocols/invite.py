"""One line that leads a newcomer into a mesh: which mesh, whom to ask, and its key if it has one.

``MESHGEN:1`` and then, in Crockford's base32, the bytes of an :class:`Invite` and a checksum. It knows no lower case and no two
characters that look alike, so it survives mails, chats, paper and a voice, and fits a small QR code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Self

from meshgen.identity import peer_id, public_key_of
from meshgen.protocols.charter import NAME, NET_BYTES
from meshgen.protocols.codec import Limits, Malformed
from meshgen.protocols.multiaddr import MAX_MULTIADDR_BYTES, pack_multiaddr, unpack_multiaddr
from meshgen.protocols.record import Array, Bin, MaybeHash, Record, Text

SCHEME = "MESHGEN:"
VERSION = "1"
MAX_PEERS = 8
MAX_ADDRESSES = 4
MAX_LINE_CHARS = 8192
"""Of a line as people bring it, with whatever came between its characters."""
CHECK_BYTES = 4
"""Of four thousand million mistyped lines, one passes for good."""
TAG_DIGITS = 10

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = {char: value for value, char in enumerate(_ALPHABET)}
_LOOKALIKES = str.maketrans("OIL", "011")
_BETWEEN = re.compile(r"[\s\"'`<>|*_=.,;()\[\]\u2018-\u201f\u00ab\u00bb\u00ad\u200b-\u200f\u2060\ufeff-]+")
"""What line breaks, mails, chats and people put into and around a line."""
_WAY = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/[^/]+/tcp/[1-9]\d*(/p2p/[^/]+/p2p-circuit)?")
_CUT = "this invite line was cut or mistyped: copy it once more, from MESHGEN: to its end"


@dataclass(frozen=True, slots=True)
class InvitePeer(Record):
    """Whom to ask. ``addresses`` are multiaddrs without the peer's own id at their end."""

    TAG = "peer/1"
    LIMITS = Limits(max_bytes=1024)
    key: Annotated[bytes, Bin(32)]
    addresses: Annotated[tuple[bytes, ...], Array(Bin(1, MAX_MULTIADDR_BYTES), MAX_ADDRESSES, low=1)]

    def check(self) -> None:
        if len(set(self.addresses)) < len(self.addresses):
            raise Malformed(f"{self.TAG}.addresses: one stands twice")
        for address in self.addresses:
            if not _WAY.fullmatch(unpack_multiaddr(address)):
                raise Malformed(f"{self.TAG}.addresses: one leads to no peer over TCP")


@dataclass(frozen=True, slots=True)
class Invite(Record):
    """``charter`` is the hash of a founding charter, ``name`` a plain name: a mesh has one of them. Its repr shows no key."""

    TAG = "invite/1"
    LIMITS = Limits(max_bytes=2048)
    charter: MaybeHash = b""
    name: Annotated[str, Text(64)] = ""
    peers: Annotated[tuple[InvitePeer, ...], Array(InvitePeer, MAX_PEERS)] = ()
    psk: Annotated[bytes, Bin(32, optional=True)] = field(default=b"", repr=False)

    def check(self) -> None:
        if bool(self.charter) == bool(self.name):
            raise Malformed(f"{self.TAG}.name: a mesh has a charter or a plain name")
        if self.name and not NAME.fullmatch(self.name):
            raise Malformed(f"{self.TAG}.name: only a-z, 0-9, dots and hyphens, a letter or digit first")
        if len({peer.key for peer in self.peers}) < len(self.peers):
            raise Malformed(f"{self.TAG}.peers: one stands twice")

    @classmethod
    def to(cls, charter: bytes, name: str, addresses: Iterable[str], psk: bytes = b"") -> Self:
        """``addresses`` are multiaddrs that end with a peer id, the best first. Raises Malformed."""
        peers: dict[bytes, list[bytes]] = {}
        for address in dict.fromkeys(addresses):
            way, _, peer = address.rpartition("/p2p/")
            peers.setdefault(_key(peer), []).append(pack_multiaddr(way))
        return cls(charter, name, tuple(InvitePeer(key, tuple(ways)) for key, ways in peers.items()), psk)

    @property
    def net(self) -> bytes:
        """The mesh's id, as it stands in every message."""
        return (self.charter or hashlib.sha256(self.name.encode()).digest())[:NET_BYTES]

    @property
    def addresses(self) -> tuple[str, ...]:
        """As multiaddrs that end with the peer's id."""
        return tuple(f"{unpack_multiaddr(way)}/p2p/{peer_id(peer.key)}" for peer in self.peers for way in peer.addresses)

    @property
    def line(self) -> str:
        body = self.encode()
        return f"{SCHEME}{VERSION}{_base32(body + _checksum(body))}"


def read_line(text: str) -> Invite:
    """The invite in what somebody pasted, typed or scanned. Raises Malformed with words for people, never with what was in it."""
    if len(text) > MAX_LINE_CHARS:
        raise Malformed("this is too long for an invite line")
    _, scheme, rest = _BETWEEN.sub("", text).upper().partition(SCHEME)
    return decode_line(scheme + rest.translate(_LOOKALIKES))


def decode_line(line: str) -> Invite:
    """The invite of a line in its one form. Raises Malformed."""
    if not line.startswith(SCHEME):
        raise Malformed(f"this is no invite line: one begins with {SCHEME}{VERSION}")
    version, digits = line[len(SCHEME) :][:1], line[len(SCHEME) + 1 :]
    if version != VERSION:
        newer = version.isascii() and version.isalnum()
        raise Malformed("this invite line is of a newer version: upgrade meshgen, then try again" if newer else _CUT)
    data = _unbase32(digits)
    body, checksum = data[:-CHECK_BYTES], data[-CHECK_BYTES:]
    if not body or checksum != _checksum(body):
        raise Malformed(_CUT)
    return Invite.decode(body)


def neighbours_tag(net: bytes, psk: bytes | None) -> str:
    """By which peers of one mesh know each other on a local network, and nobody else knows anything: hex digits."""
    return hashlib.sha256(b"meshgen/neighbours/v1\0" + net + (psk or b"")).hexdigest()[:TAG_DIGITS]


def _key(peer: str) -> bytes:
    try:
        return public_key_of(peer)
    except ValueError:
        raise Malformed("an address to join through ends with /p2p/ and an Ed25519 peer id") from None


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(b"meshgen/invite/v1\0" + body).digest()[:CHECK_BYTES]


def _base32(data: bytes) -> str:
    """Five bits a digit, the first bits first; zeros fill the last one."""
    count = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << count * 5 - len(data) * 8
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(count)))


def _unbase32(digits: str) -> bytes:
    size = len(digits) * 5 // 8
    number = 0
    try:
        for digit in digits:
            number = number << 5 | _DIGITS[digit]
        spare = len(digits) * 5 - size * 8
        data = (number >> spare).to_bytes(size, "big")
    except KeyError:
        raise Malformed(_CUT) from None
    if _base32(data) != digits:
        raise Malformed(_CUT)
    return data


def _line_of(data: bytes) -> Invite:
    try:
        return decode_line(data.decode("ascii"))
    except UnicodeDecodeError:
        raise Malformed(_CUT) from None


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {
    "peer": InvitePeer.decode,
    "invite": Invite.decode,
    "line": _line_of,
}
"""A ``line``'s bytes are its characters in ASCII."""
