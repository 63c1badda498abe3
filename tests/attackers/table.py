"""Attacks on the directory table: silence, junk, and answers that are too much."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import cycle
from typing import Any, cast

import trio
from libp2p.exceptions import ParseError
from libp2p.host.exceptions import StreamFailure
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.utils.varint import encode_uvarint, read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from meshgen.net.libp2p import Libp2pNet
from meshgen.net.port import request
from meshgen.peers.directory import PRESENCE_PROTOCOL, advert_key, model_key
from meshgen.testing.mesh import NET
from meshgen.testing.outsiders import MODEL, Outsider
from tests.attackers.attacks import AGAIN_S, FAILED, Nowhere, again, against, at_once
from tests.attackers.hands import Field, is_connected, stranger, stream

KAD = "/ipfs/kad/1.0.0"
_ELSEWHERE = Multiaddr("/ip4/127.0.66.99/tcp/9").to_bytes()


@against("hub")
async def table_silence(field: Field) -> None:
    """Streams to the table that never ask anything."""

    async def stand(net: Libp2pNet) -> None:
        while is_connected(net, field):
            with suppress(StreamFailure, StreamError):
                await stream(net, field, KAD)
            await trio.sleep(0.05)
        field.cut_off()

    await at_once(3, again, field, stand)


@against("hub")
async def table_poisoning(field: Field) -> None:
    """Providers that have nothing, and values of fresh keys, one after the other."""

    async def poison(net: Libp2pNet) -> None:
        while is_connected(net, field):
            for _ in range(20):
                who = stranger()
                wire = Outsider(Nowhere(), who, chain=[None]).advert().wire  # type: ignore[arg-type, list-item]
                with suppress(ValueError):
                    await net._dht.put_value(advert_key(who.peer_id), wire)  # type: ignore[arg-type]
            await net._dht.provider_store.provide(model_key(NET, MODEL.name).encode())
            await net._dht.provider_store.provide(model_key(NET, str(os.urandom(4))).encode())
        field.cut_off()

    await at_once(3, again, field, poison)


@against("hub")
async def table_crowd(field: Field) -> None:
    """Answers to a node's own questions to the table: made-up peers by the thousand, then ids by the hundred thousand."""
    crowd = Message()
    for _ in range(max(field.plenty // 8, 1)):
        crowd.closerPeers.add(id=ID.from_base58(stranger().peer_id).to_bytes(), addrs=[_ELSEWHERE])
    throng = Message(closerPeers=[Message.Peer(id=number.to_bytes(4)) for number in range(field.plenty * 20)])
    bodies = cycle([crowd.SerializeToString(), throng.SerializeToString()])

    async def exaggerate(out: Any) -> None:
        with suppress(*FAILED, ParseError):
            while True:
                asked = Message.FromString(await read_varint_prefixed_bytes_limited(out, 65536))
                body = Message(type=asked.type, key=asked.key).SerializeToString() + next(bodies)
                await out.write(encode_uvarint(len(body)) + body)

    async def be_asked(net: Libp2pNet) -> None:
        net._host.set_stream_handler(KAD, exaggerate)
        who = Outsider(cast(Any, net), stranger(), chain=[None])  # type: ignore[list-item]
        while is_connected(net, field):
            await request(net, field.peer, PRESENCE_PROTOCOL, who.advert(roles=("hub",), models=()).wire)
            await trio.sleep(AGAIN_S)
        field.cut_off()

    await at_once(3, again, field, be_asked)
