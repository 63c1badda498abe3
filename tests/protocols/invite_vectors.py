"""What of the invite's vectors its fields alone don't give: lines, and addresses that lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack

from meshgen.protocols.invite import Invite, InvitePeer
from tests.conformance.samples import DOORS, SAMPLES, WORKER, h
from tests.conformance.vectors import Vector, describe

_INVITE: Any = SAMPLES[Invite]
PLAIN = Invite.to(b"", "meshgen-public-v0", DOORS[:1])
GOOD = {
    "line": _INVITE,
    "line-of-a-plain-name": PLAIN,
    "line-to-nobody": Invite(name="a"),
    "line-with-a-key": Invite.to(h("charter"), "", DOORS[:2], h("key")),
}
IP4, TCP, PORT0 = bytes([4, 192, 0, 2, 7]), bytes([6, 18, 103]), bytes([6, 0, 0])
PEER = b"\xa5\x03" + bytes([38]) + bytes.fromhex("002408011220") + WORKER.public_key
BAD_WAYS = {
    "no-port": IP4,
    "no-host": TCP,
    "port-0": IP4 + PORT0,
    "cut-short": IP4[:-1],
    "udp": IP4 + b"\x91\x02" + b"\x12\x67",
    "two-ports": IP4 + TCP + TCP,
    "with-its-peer": IP4 + TCP + PEER,
    "circuit-without-relay": IP4 + TCP + b"\xa2\x02",
    "varint-too-long": bytes([0x84, 0]) + IP4[1:] + TCP,
    "varint-of-three-bytes": bytes([0x84, 0x80, 0]) + IP4[1:] + TCP,
    "other-peer-id": IP4 + TCP + PEER.replace(b"\x12\x20", b"\x12\x21") + b"\xa2\x02",
    "peer-too-short": IP4 + TCP + b"\xa5\x03\x02\x00\x00" + b"\xa2\x02",
    "dns-upper-case": b"\x35\x03Hub" + TCP,
    "dns-not-ascii": b"\x35\x03h\xc3\xbc" + TCP,
    "dns-empty": b"\x35\x00" + TCP,
    "dns-slash": b"\x35\x03a/b" + TCP,
    "dns-65-bytes": b"\x35\x41" + b"a" * 65 + TCP,
}


def invite_vectors() -> Iterator[Vector]:
    for name, invite in GOOD.items():
        yield Vector("invite", "line", name, invite.line.encode(), describe(invite))
    for name, line, error in _bad_lines(_INVITE.line):
        yield Vector("invite", "line", name, line.encode(), error=error)
    for name, way in BAD_WAYS.items():
        yield Vector("invite", "peer", f"peer-{name}", _peer(way), error="multiaddr" if _unreadable(name) else "addresses")
    yield Vector("invite", "peer", "peer-address-twice", _peer(IP4 + TCP, IP4 + TCP), error="twice")
    yield from _contradictions()


def _unreadable(name: str) -> bool:
    return name not in {"no-port", "no-host", "port-0", "two-ports", "with-its-peer", "circuit-without-relay"}


def _peer(*ways: bytes) -> bytes:
    return bytes(msgpack.packb((InvitePeer.TAG, WORKER.public_key, ways)))


def _bad_lines(line: str) -> Iterator[tuple[str, str, str]]:
    cut, swapped = "cut or mistyped", line[:40] + line[41] + line[40] + line[42:]
    assert swapped != line
    yield "line-cut", line[:-1], cut
    yield "line-with-two-characters-swapped", swapped, cut
    yield "line-with-one-more", line + "0", cut
    yield "line-in-lower-case", line[:9] + line[9:].lower(), cut
    yield "line-broken-in-two", f"{line[:40]}\n{line[40:]}", cut
    yield "line-with-an-o-for-a-zero", line[:9] + line[9:].replace("0", "O", 1), cut
    yield "line-of-version-2", line.replace(":1", ":2", 1), "newer version"
    yield "line-without-its-beginning", line[9:], "no invite line"
    yield "line-of-nothing", "MESHGEN:1", cut
    yield "line-not-filled-up-with-zeros", line[:-1] + chr(ord(line[-1]) + 1), cut


def _contradictions() -> Iterator[Vector]:
    peers = tuple(peer.to_value() for peer in _INVITE.peers)
    for name, fields, error in (
        ("invite-of-two-meshes", (h("charter"), "ours", peers, b""), "invite/1.name"),
        ("invite-to-no-mesh", (b"", "", peers, b""), "invite/1.name"),
        ("invite-name-not-plain", (b"", "Ours", (), b""), "invite/1.name"),
        ("invite-peer-twice", (b"", "ours", peers[:1] * 2, b""), "invite/1.peers"),
        ("invite-address-nowhere", (b"", "ours", ((InvitePeer.TAG, WORKER.public_key, (IP4,)),), b""), "peer/1.addresses"),
    ):
        yield Vector("invite", "invite", name, msgpack.packb((Invite.TAG, *fields)), error=error)
