"""What libp2p keeps of peers."""

from __future__ import annotations

import time

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerstore import create_signed_peer_record
from multiaddr import Multiaddr

from meshgen.net.libp2p.addresses import MAX_PROTOCOLS, AddressBook


def test_a_peer_whose_addresses_have_expired_has_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = create_new_key_pair(bytes(32))
    peer, address = ID.from_pubkey(keys.public_key), Multiaddr("/ip4/192.0.2.1/tcp/4711")
    book = AddressBook()
    assert book.consume_peer_record(create_signed_peer_record(peer, [address], keys.private_key), 3600)
    assert book.get_peer_record(peer) is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600)
    assert book.get_peer_record(peer) is None


def made_up(count: int, salt: int = 0) -> list[ID]:
    return [ID(b"\x00\x24\x08\x01\x12\x20" + bytes([salt]) + number.to_bytes(31)) for number in range(count)]


def test_a_crowd_of_hearsay_pushes_out_nobody_that_matters() -> None:
    address, book = Multiaddr("/ip4/192.0.2.1/tcp/4711"), AddressBook(max_peers=100)
    keys = create_new_key_pair(bytes(32))
    me = ID.from_pubkey(keys.public_key)
    book.add_key_pair(me, keys)
    linked, met, hearsay = made_up(1, 1)[0], made_up(1, 2)[0], made_up(300)
    book.linked = lambda: [linked]
    book.add_addrs(linked, [address], 3600)
    book.add_addrs(met, [address], 3600)
    book.add_protocols(met, ["/test/1"])
    for peer in hearsay:
        book.add_addrs(peer, [address], 3600)
        assert len(book.peer_ids()) <= 100
    assert {me, linked, met, hearsay[-1]} <= set(book.peer_ids())
    assert book.privkey(me).to_bytes() == keys.private_key.to_bytes()
    for peer in made_up(300, 3):  # a crowd that is met pushes out others that were met
        book.add_protocols(peer, ["/test/1"])
        book.add_addrs(peer, [address], 3600)
    assert {me, linked} <= set(book.peer_ids()) and met not in book.peer_ids()
    for peer in made_up(100, 4):  # nor is who was told of last forgotten before it can be dialled
        book.add_addrs(peer, [address], 3600)
        assert book.addrs(peer) == [address]


def test_nobody_tells_a_node_where_it_is_or_that_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, book = create_new_key_pair(bytes(32)), AddressBook()
    me, address = ID.from_pubkey(keys.public_key), Multiaddr("/ip4/192.0.2.1/tcp/4711")
    book.add_key_pair(me, keys)
    book.add_addrs(me, [address], 60)
    book.consume_peer_record(create_signed_peer_record(me, [address], keys.private_key), 60)  # its own, replayed
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert book.addrs(me) == []
    book._cleanup_expired_records()
    assert book.has_peer(me)


def test_what_a_peer_says_of_itself_has_a_limit() -> None:
    keys, book = create_new_key_pair(bytes(32)), AddressBook()
    peer, address = ID.from_pubkey(keys.public_key), Multiaddr("/ip4/192.0.2.1/tcp/4711")
    many = [Multiaddr(f"/ip4/192.0.2.{last}/tcp/{port}") for last in range(256) for port in range(1, 9)]
    assert not book.consume_peer_record(create_signed_peer_record(peer, many, keys.private_key), 3600)
    assert book.consume_peer_record(create_signed_peer_record(peer, [address], keys.private_key), 3600)
    assert book.addrs(peer) == [address]
    book.add_protocols(peer, ["/" * 129, *(f"/test/{number}" for number in range(1000))])
    book.add_protocols(peer, ["/one/more"])
    assert book.get_protocols(peer) == [f"/test/{number}" for number in range(MAX_PROTOCOLS)]
