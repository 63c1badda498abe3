"""What a stranger's bytes do to a node: nothing that lasts. The attackers' tools are those of ``tests/attackers``."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from libp2p.kad_dht.common import PROTOCOL_ID as KAD
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.stream_muxer.yamux.yamux import FLAG_ACK, YAMUX_HEADER_FORMAT
from multiaddr import Multiaddr

from meshgen.net.conduct import LIMIT, Fault
from meshgen.net.libp2p import crowd as libp2p_crowd
from meshgen.net.libp2p import door as libp2p_door
from meshgen.net.libp2p import frames as libp2p_frames
from meshgen.net.libp2p import intake as libp2p_intake
from meshgen.net.libp2p import keeping as libp2p_keeping
from meshgen.net.libp2p import wire as libp2p_wire
from meshgen.net.libp2p.host import Limits
from meshgen.net.libp2p.prefixed import Prefixed
from meshgen.net.port import PeerId, TooLarge, Unreachable, request
from tests.attackers.attacks import FAILED
from tests.attackers.hands import GONE, Field, gossip, rpc, stranger, stream, write
from tests.net.conftest import Libp2pWorld, echo, identity, until

ECHO = "/test/echo/1"
MESHSUB = "/meshsub/1.1.0"
_FRAME = struct.Struct(YAMUX_HEADER_FORMAT)


async def pair(world: Libp2pWorld, **options: Any) -> tuple[Any, Any, Field]:
    """The attacker, its victim, which serves ECHO, and the field."""
    mallory, victim = await world.join(1), await world.join(2, **options)
    victim.serve(ECHO, echo)
    await request(mallory, victim.peer_id, ECHO, b"x")
    return mallory, victim, Field(victim.addresses()[0])


# -- the door


async def test_a_slot_is_free_again_when_its_connection_ends(libp2p_world: Libp2pWorld) -> None:
    """As it comes, each connection of a node's life keeps its slot."""
    hub = await libp2p_world.join(1, limits=Limits(connections=4))
    for number in range(2, 10):
        guest = await libp2p_world.join(number)
        await until(lambda: len(hub.links()) == 1)
        await libp2p_world.kill(guest)
        await until(lambda: not hub.links())


async def test_who_does_nothing_makes_room_for_newcomers(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_crowd, "SETTLED_S", 0.0)
    hub: Any = await libp2p_world.join(1, limits=Limits(connections=4))
    hub.thank((friend := await libp2p_world.join(2)).peer_id, 5)
    for number in range(3, 9):
        await libp2p_world.join(number)
    assert friend.peer_id in {link.peer for link in hub.links()}
    await until(lambda: len(hub.links()) <= 3)


async def test_a_crowd_makes_room_before_who_came_alone(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood is young: while the young were not judged, those that had been there quietly went."""
    homes: dict[str, str] = {}
    monkeypatch.setattr(libp2p_door, "household", lambda each: homes.get(str(getattr(each, "peer_id", "")), ""))
    hub: Any = await libp2p_world.join(1, limits=Limits(connections=4))
    quiet = await libp2p_world.join(2)
    await until(hub.links)
    hub._swarm.get_connections()[0]._created_at -= 60
    for number in range(3, 6):
        homes[identity(number).peer_id] = "192.0.2.1"
        await libp2p_world.join(number)
        assert quiet.peer_id in {link.peer for link in hub.links()}
    await until(lambda: len(hub.links()) <= 3)


async def test_who_stays_and_answers_is_remembered(libp2p_world: Libp2pWorld) -> None:
    hub: Any = await libp2p_world.join(1)
    guest = await libp2p_world.join(2)
    hub._door.sweep()
    assert 0 < hub.conduct.merit(guest.peer_id) < 1


async def test_an_address_has_so_many_connections(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_door, "CONNECTIONS_PER_ADDRESS", 3)
    hub = await libp2p_world.join(1)
    field = Field(hub.addresses()[0], addresses=1)
    sockets = [await field.raw() for _ in range(8)]
    hung_up = 0
    for socket in sockets[3:]:
        with trio.fail_after(5):
            hung_up += await socket.receive_some() == b""
    assert hung_up == 5
    assert await field_is_open(libp2p_world, hub)
    for socket in sockets:
        await socket.aclose()


async def field_is_open(world: Libp2pWorld, hub: Any) -> bool:
    """Others, from other addresses, still come in."""
    guest: Any = await world.join(99)
    return bool(guest.links()) and bool(hub.peer_id)


async def test_the_slowest_handshake_makes_room(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_door, "HANDSHAKES", 3)
    hub = await libp2p_world.join(1)
    field = Field(hub.addresses()[0])
    sockets = [await field.raw() for _ in range(6)]
    assert await field_is_open(libp2p_world, hub)
    for socket in sockets:
        await socket.aclose()


async def test_an_announced_monster_ends_the_negotiation(libp2p_world: Libp2pWorld) -> None:
    hub = await libp2p_world.join(1)
    async with await Field(hub.addresses()[0]).raw() as socket:
        await socket.send_all(b"\xff\xff\xff\xff\x07" + bytes(1000))
        with trio.fail_after(5), suppress(*GONE):
            while await socket.receive_some():
                pass


async def test_a_cut_off_peer_burdens_its_address(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_door, "household", lambda _connection: "192.0.2.1")
    hub: Any = await libp2p_world.join(1)
    for number in range(2, 6):
        guest = await libp2p_world.join(number)
        hub.blame(guest.peer_id, LIMIT)
        await until(lambda: not hub.links())
    with pytest.raises(Unreachable):
        await libp2p_world.join(7)


async def test_a_crowd_does_not_come_between_a_newcomer_and_whom_it_dialled(libp2p_world: Libp2pWorld) -> None:
    hub: Any = await libp2p_world.join(1)
    newcomer: Any = await libp2p_world.join(2, limits=Limits(connections=6))
    crowd = [await libp2p_world.join(number) for number in range(3, 13)]
    async with hub.subscribe("t", lambda _sender, _data: True) as heard, newcomer.subscribe("t", lambda _sender, _data: True):
        for each in crowd:
            with suppress(Unreachable):
                await each.connect(newcomer.addresses()[0])
        assert hub.peer_id in {link.peer for link in newcomer.links() if link.outbound}
        await until(lambda: newcomer._pubsub.peer_topics.get("t"))
        await newcomer.publish("t", b"an offer")
        with trio.fail_after(10):
            assert (await anext(heard)).data == b"an offer"
        assert hub.peer_id in {str(peer) for peer in newcomer._dht.routing_table.get_peer_ids()}


# -- frames

MALFORMED = {
    "another version": _FRAME.pack(7, 0, 0, 1, 0),
    "an unknown type": _FRAME.pack(0, 9, 0, 1, 0),
    "no stream": _FRAME.pack(0, 0, 1, 0, 0),
    "a stream of this side's": _FRAME.pack(0, 1, 1, 1000, 0),
    "larger than any window": _FRAME.pack(0, 0, 0, 1, 2**31),
}


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED)
async def test_a_frame_that_is_none_ends_the_connection(libp2p_world: Libp2pWorld, frame: bytes) -> None:
    victim, mallory, field = await pair(libp2p_world)  # whoever is dialled has the even numbers
    field.address = victim.addresses()[0]
    await write(mallory, field, frame)
    await until(lambda: victim.conduct.score(mallory.peer_id) > 0)


async def test_what_nobody_reads_is_bounded(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_frames, "UNREAD_BYTES", 2**20)
    mallory, victim, field = await pair(libp2p_world)
    wait = trio.Event()
    victim.serve("/test/deaf/1", lambda _channel: wait.wait())
    opened = await stream(mallory, field, "/test/deaf/1")
    number = opened.muxed_stream.stream_id
    with suppress(*FAILED):
        for _ in range(64):
            await write(mallory, field, _FRAME.pack(0, 0, 0, number, 60_000) + bytes(60_000))
    await until(lambda: victim.conduct.score(mallory.peer_id) >= Fault.MALFORMED / 2)


async def test_streams_and_pings_without_end_are_read_slowly(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_frames, "PINGS_BURST", 5.0)
    mallory, victim, field = await pair(libp2p_world)
    await write(mallory, field, _FRAME.pack(0, 2, 1, 0, 7) * 200)
    await until(lambda: victim.conduct.score(mallory.peer_id) > 0)


async def test_only_what_was_asked_can_be_answered(libp2p_world: Libp2pWorld) -> None:
    """Else who sends pongs without end passes for alive, and for as near as it likes."""
    _, victim, _ = await pair(libp2p_world)
    connection = victim._swarm.get_connections()[0].muxed_conn
    connection._ping_id, connection._ping_event = 77, trio.Event()
    await connection._ping(FLAG_ACK, 76)
    assert not connection._ping_event.is_set()
    await connection._ping(FLAG_ACK, 77)
    assert connection._ping_event.is_set()


async def test_a_line_that_is_no_text_harms_nobody(libp2p_world: Libp2pWorld) -> None:
    mallory, victim, field = await pair(libp2p_world)
    number = mallory._swarm.get_connections()[0].muxed_conn.next_stream_id + 100
    await write(mallory, field, _FRAME.pack(0, 0, 1, number, 5) + b"\x04\xff\xfe\xff\n")
    assert await request(mallory, victim.peer_id, ECHO, b"y") == b"y"


async def test_half_a_message_does_not_hold_a_stream(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_wire, "STALLED_S", 0.1)
    mallory, victim, field = await pair(libp2p_world)
    opened = await stream(mallory, field, ECHO)
    await opened.write(struct.pack("!IB", 100, 0) + b"x")
    await until(lambda: victim.conduct.score(mallory.peer_id) >= Fault.SLOW / 2)


async def test_messages_that_are_begun_are_bounded(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_wire, "BEGUN_BYTES", 250)
    mallory, victim, field = await pair(libp2p_world)
    for _ in range(3):
        opened = await stream(mallory, field, ECHO)
        await opened.write(struct.pack("!IB", 100, 0) + b"x")
    await until(lambda: victim.conduct.score(mallory.peer_id) >= Fault.REFUSED / 2)
    assert await request(mallory, victim.peer_id, ECHO, b"y") == b"y"


# -- gossip


async def heard(world: Libp2pWorld, say: Callable[[Any], list[bytes]], enough: Callable[[Any, Any], bool]) -> tuple[Any, Any]:
    """Mallory says this to a victim that listens to "t"; until that is so."""
    mallory, victim, field = await pair(world)
    async with victim.subscribe("t", lambda _sender, _data: True):
        out = await stream(mallory, field, MESHSUB)
        with suppress(*FAILED):
            for message in say(mallory):
                await out.write(message)
        await until(lambda: enough(victim, mallory))
    return mallory, victim


async def test_a_key_that_is_none_does_not_end_gossip(libp2p_world: Libp2pWorld) -> None:
    """As it comes, one such message ends the service, and with it the node."""

    def say(_mallory: Any) -> list[bytes]:
        message = gossip(stranger(), "t", b"x", signed=False)
        message.from_id, message.key = b"\x12\x20" + os.urandom(32), b"no key"
        return [rpc(message)]

    _, victim = await heard(libp2p_world, say, lambda victim, mallory: victim.conduct.score(mallory.peer_id) > 0)
    assert victim._pubsub.manager.is_running


async def test_signatures_that_are_none_cut_their_forwarder_off(libp2p_world: Libp2pWorld) -> None:
    await heard(
        libp2p_world,
        lambda _: [rpc(gossip(stranger(), "t", b"x", signed=False)) for _ in range(5)],
        lambda victim, mallory: victim.conduct.is_shut(mallory.peer_id),
    )


async def test_no_length_at_all_is_malformed(libp2p_world: Libp2pWorld) -> None:
    await heard(libp2p_world, lambda _: [b"\xff" * 10], lambda victim, mallory: victim.conduct.score(mallory.peer_id) > 0)


async def test_one_origin_says_so_much_over_one_neighbour(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_intake, "ORIGIN_BURST", 10.0)
    monkeypatch.setattr(libp2p_intake, "ORIGIN_S", 0.001)
    who = stranger()
    box: list[bytes] = []

    def validator(_sender: PeerId, data: bytes) -> bool:
        box.append(data)
        return True

    mallory, victim, field = await pair(libp2p_world)
    async with victim.subscribe("t", validator):
        out = await stream(mallory, field, MESHSUB)
        for number in range(50):
            await out.write(rpc(gossip(who, "t", bytes([number]))))
        await out.write(rpc(gossip(stranger(), "t", b"another's")))
        await until(lambda: b"another's" in box)
    assert len(box) == 11
    assert victim.conduct.score(mallory.peer_id) == 0  # it forwards what another says too often: not its fault


async def test_who_talks_too_much_himself_bears_it(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_intake, "ORIGIN_BURST", 10.0)
    monkeypatch.setattr(libp2p_intake, "ORIGIN_S", 0.001)
    await heard(
        libp2p_world,
        lambda _: [rpc(gossip(identity(1), "t", bytes([number]))) for number in range(200)],
        lambda victim, mallory: victim.conduct.is_shut(mallory.peer_id),
    )


@pytest.mark.parametrize(
    ("pieces", "messages"), [((b"\x01a\x00", b"\x02bc"), [b"a", b"", b"bc"]), ((b"\x82", b"\x00ab"), [b"ab"])]
)
async def test_prefixed_messages_are_read_across_pieces(pieces: tuple[bytes, ...], messages: list[bytes]) -> None:
    source = Prefixed(stream := FakeStream(*pieces), 10)
    assert [await source.next() for _ in messages] == messages
    assert await source.next() is None
    assert stream.held == 0


@pytest.mark.parametrize("piece", [b"\x0b" + bytes(11), b"\xff\xff\xff\xff\xff\x01"])
async def test_prefixed_messages_have_a_limit(piece: bytes) -> None:
    with pytest.raises(TooLarge):
        await Prefixed(stream := FakeStream(piece), 10).next()
    assert stream.held == 0


async def test_what_waits_of_a_message_is_told() -> None:
    source = Prefixed(stream := FakeStream(b"\x01a\x05bc", b"d"), 10)
    assert await source.next() == b"a"
    assert stream.held == 3
    assert await source.next() is None
    assert stream.held == 0


class FakeStream:
    """A stream that gives these pieces, and ends."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.held = 0
        self.muxed_stream, self.muxed_conn = self, self

    async def take(self, _stream: Any) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""

    def put_by(self, count: int) -> None:
        self.held += count


# -- the table


async def test_silent_streams_do_not_end_the_tables_service(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_keeping, "SILENT_S", 0.2)
    mallory, victim, field = await pair(libp2p_world)
    for _ in range(libp2p_keeping.STREAMS_PER_PEER + 8):
        with suppress(*FAILED):
            await stream(mallory, field, KAD)
    friend = await libp2p_world.join(3)
    await friend.connect(victim.addresses()[0])
    await friend.put_value("/meshgen/k", b"v1")
    assert await friend.get_value("/meshgen/k") == b"v1"
    await until(lambda: victim.conduct.score(mallory.peer_id) >= Fault.SLOW or victim.conduct.is_shut(mallory.peer_id))


async def test_one_peer_keeps_so_many_values(libp2p_world: Libp2pWorld) -> None:
    mallory, victim, _ = await pair(libp2p_world)
    for number in range(libp2p_keeping.VALUES_PER_PEER + 4):
        await mallory.put_value(f"/meshgen/{number}", b"v1")
    assert len(victim._dht.value_store.store) == libp2p_keeping.VALUES_PER_PEER


async def test_values_are_bounded_in_all(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_keeping, "MAX_VALUES", 3)
    victim: Any = await libp2p_world.join(1)
    for number in range(9):
        victim._dht.value_store.put(f"/meshgen/{number}".encode(), b"v1")
    assert len(victim._dht.value_store.store) <= 3


async def test_providers_are_bounded_and_newcomers_push_out_the_oldest(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libp2p_keeping, "PROVIDERS_PER_KEY", 3)
    monkeypatch.setattr(libp2p_keeping, "MAX_PROVIDER_KEYS", 5)
    monkeypatch.setattr(libp2p_keeping, "KEYS_PER_PEER", 4)
    store = (await libp2p_world.join(1))._dht.provider_store  # type: ignore[attr-defined]
    names = [ID.from_base58(stranger().peer_id) for _ in range(9)]
    for name in names:
        store.add_provider(b"model", PeerInfo(name, [Multiaddr("/ip4/192.0.2.1/tcp/1")] * 50))
    assert [info.peer_id for info in store.get_providers(b"model")] == names[-3:]
    assert all(len(info.addrs) <= libp2p_keeping.MAX_ADDRESSES for info in store.get_providers(b"model"))
    for number in range(20):
        store.add_provider(b"key %d" % number, PeerInfo(names[number // 3], [Multiaddr("/ip4/192.0.2.1/tcp/1")]))
    assert len(store.providers) <= 5
    for number in range(20):
        store.add_provider(b"mine %d" % number, PeerInfo(names[8], [Multiaddr("/ip4/192.0.2.1/tcp/1")]))
    assert sum(str(names[8]) in records for records in store.providers.values()) <= 4
