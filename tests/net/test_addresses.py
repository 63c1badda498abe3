"""What libp2p keeps of peers."""

from __future__ import annotations

import time

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerstore import create_signed_peer_record
from multiaddr import Multiaddr

from meshgen.net.libp2p.addresses import AddressBook


def test_a_peer_whose_addresses_have_expired_has_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = create_new_key_pair(bytes(32))
    peer, address = ID.from_pubkey(keys.public_key), Multiaddr("/ip4/192.0.2.1/tcp/4711")
    book = AddressBook()
    assert book.consume_peer_record(create_signed_peer_record(peer, [address], keys.private_key), 3600)
    assert book.get_peer_record(peer) is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600)
    assert book.get_peer_record(peer) is None
