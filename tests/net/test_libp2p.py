"""What only the real net can get wrong: bytes from strangers, kept streams, restarts, slow readers, cancelled writes."""

from __future__ import annotations

import gc
import struct
from pathlib import Path
from typing import Any

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.io.exceptions import IOException
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.stream_muxer.yamux.yamux import TYPE_WINDOW_UPDATE
from multiaddr import Multiaddr

from meshgen.net.conduct import LIMIT, Fault
from meshgen.net.libp2p import Libp2pNet, open_libp2p
from meshgen.net.libp2p import yamux as libp2p_yamux
from meshgen.net.libp2p.channel import IDLE_PER_PROTOCOL
from meshgen.net.libp2p.gossip import MeshGossip
from meshgen.net.libp2p.host import Limits
from meshgen.net.libp2p.yamux import MeshYamux
from meshgen.net.port import MAX_MESSAGE_BYTES, Channel, Net, NetError, PeerId, TooLarge, Unreachable, request
from tests.net.conftest import RULES, Libp2pWorld, echo, identity, until

ECHO = "/test/echo/1"
OTHER = "/test/other/1"
LOCAL = ["/ip4/127.0.0.1/tcp/0"]


async def pair(world: Libp2pWorld, **options: Any) -> tuple[Any, Any]:
    a, b = await world.join(1), await world.join(2, **options)
    b.serve(ECHO, echo)
    return a, b


def port_of(net: Net) -> int:
    return int(Multiaddr(net.addresses()[0]).value_for_protocol("tcp"))


def streams(net: Libp2pNet, protocol: str) -> list[Any]:
    return [stream for link in net._swarm.get_connections() for stream in link.get_streams() if stream.get_protocol() == protocol]


# -- strangers


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096, b"\xff" * 70000, b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\xff" * 500, b""],
    ids=["http", "zeros", "ones", "broken noise", "nothing"],
)
async def test_garbage_at_the_door_harms_nobody(libp2p_world: Libp2pWorld, junk: bytes) -> None:
    a, b = await pair(libp2p_world)
    for _ in range(5):
        async with await trio.open_tcp_stream("127.0.0.1", port_of(b)) as stranger:
            try:
                await stranger.send_all(junk)
                await stranger.send_eof()
                with trio.move_on_after(0.2):
                    while await stranger.receive_some():
                        pass
            except trio.BrokenResourceError:
                pass  # hung up on us: fine
    assert await request(a, b.peer_id, ECHO, b"unharmed") == b"unharmed"
    assert [link.peer for link in b.links()] == [a.peer_id]


async def test_plaintext_peers_are_refused(libp2p_world: Libp2pWorld) -> None:
    b = await libp2p_world.join(2)
    keys = create_new_key_pair()
    host = new_host(key_pair=keys, sec_opt={PLAINTEXT_PROTOCOL_ID: InsecureTransport(keys)})
    async with host.run([Multiaddr(LOCAL[0])]):
        with pytest.raises(Exception, match=r"unable to connect|failed"):
            await host.connect(info_from_p2p_addr(Multiaddr(b.addresses()[0])))
    assert b.links() == []


async def test_another_key_at_the_address_is_refused(libp2p_world: Libp2pWorld) -> None:
    a, b = await libp2p_world.join(1), await libp2p_world.join(2)
    with pytest.raises(Unreachable, match="does not correspond"):
        await a.connect(f"/ip4/127.0.0.1/tcp/{port_of(b)}/p2p/{identity(9).peer_id}")


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (struct.pack("!IB", MAX_MESSAGE_BYTES + 1, 0), TooLarge),
        (struct.pack("!IB", 2**32 - 1, 0), TooLarge),
        (struct.pack("!IB", 0, 77), Unreachable),
    ],
    ids=["over the limit", "4 GiB", "unknown type"],
)
async def test_a_malformed_frame_ends_its_stream_alone(libp2p_world: Libp2pWorld, frame: bytes, error: type[Exception]) -> None:
    a, b = await pair(libp2p_world)
    raised: list[type[Exception]] = []

    async def listen(channel: Channel) -> None:
        try:
            await channel.receive()
        except (TooLarge, Unreachable) as problem:
            raised.append(type(problem))
            raise

    b.serve(OTHER, listen)
    wire = await a._fresh_wire(b.peer_id, OTHER)
    await wire._stream.write(frame)
    await until(lambda: raised)
    assert raised == [error]
    assert await request(a, b.peer_id, ECHO, b"unharmed") == b"unharmed"


async def test_streams_per_peer_are_bounded(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world, limits=Limits(streams_per_peer=3))
    wires = [await a._fresh_wire(b.peer_id, ECHO) for _ in range(3)]
    with pytest.raises(Unreachable):
        await request(a, b.peer_id, ECHO, b"one too many")
    await wires[0].close()
    await until(lambda: b._serving[a.peer_id] < 3)
    assert await request(a, b.peer_id, ECHO, b"room again") == b"room again"


# -- kept streams


async def test_a_kept_stream_serves_many_channels(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)
    for number in range(30):
        assert await request(a, b.peer_id, ECHO, bytes([number])) == bytes([number])
    assert len(streams(a, ECHO)) == len(streams(b, ECHO)) == 1


async def test_a_crowd_leaves_few_streams_behind(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)
    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(request, a, b.peer_id, ECHO, b"x")
    await until(lambda: len(streams(b, ECHO)) <= IDLE_PER_PROTOCOL)
    assert len(streams(a, ECHO)) == len(a._idle) == IDLE_PER_PROTOCOL


async def test_the_server_may_speak_first_on_a_kept_stream(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)

    async def greet(channel: Channel) -> None:
        await channel.send(b"welcome")

    b.serve(OTHER, greet)
    for _ in range(3):
        async with a.open(b.peer_id, OTHER) as channel:
            assert await channel.receive() == b"welcome"
    assert len(streams(b, OTHER)) == 1


async def test_what_the_last_channel_left_unread_is_not_the_next_ones(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)

    async def count(channel: Channel) -> None:
        first = await channel.receive() or b""
        for number in range(20):
            await channel.send(first + bytes([number]))

    b.serve(OTHER, count)
    for name in (b"a", b"b", b"c"):
        async with a.open(b.peer_id, OTHER) as channel:
            await channel.send(name)
            assert await channel.receive() == name + b"\0"
    assert len(streams(b, OTHER)) == 1


async def test_a_handler_that_talks_on_after_its_caller_left_blocks_nobody(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)

    async def linger(channel: Channel) -> None:
        await channel.send(await channel.receive() or b"")
        await trio.sleep_forever()

    b.serve(OTHER, linger)
    for _ in range(2):
        assert await request(a, b.peer_id, OTHER, b"x") == b"x"


async def test_a_restarted_peer_is_reached_again_on_the_same_key(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)
    assert await request(a, b.peer_id, ECHO, b"before") == b"before"
    address = f"/ip4/127.0.0.1/tcp/{port_of(b)}"
    await libp2p_world.kill(b)
    again = await libp2p_world._nursery.start(libp2p_world._live, 2, {"listen": [address]})
    again.serve(ECHO, echo)
    assert await request(a, again.peer_id, ECHO, b"after") == b"after"


async def test_a_peer_that_moved_is_found_by_asking_the_network(libp2p_world: Libp2pWorld) -> None:
    hub = await libp2p_world.join(3)
    a, b = await pair(libp2p_world)
    assert await request(a, b.peer_id, ECHO, b"before") == b"before"
    await libp2p_world.kill(b)
    await until(lambda: [link.peer for link in hub.links()] == [a.peer_id])
    moved = await libp2p_world.join(2)  # on another port, and known to the hub alone
    moved.serve(ECHO, echo)
    with trio.fail_after(20):
        while True:  # until the hub has heard the new address from the peer itself
            try:
                assert await request(a, moved.peer_id, ECHO, b"after") == b"after"
                return
            except Unreachable:
                await trio.sleep(0.1)


async def test_a_stale_stream_is_replaced_before_anybody_notices(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)
    assert await request(a, b.peer_id, ECHO, b"one") == b"one"
    (kept,) = streams(b, ECHO)
    await kept.muxed_stream.conn.secured_conn.close()  # b is gone; a has not read the news yet
    assert await request(a, b.peer_id, ECHO, b"two") == b"two"


async def test_a_connection_lost_after_an_answer_is_told(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)
    await request(a, b.peer_id, ECHO, b"leave a kept stream")
    with pytest.raises(Unreachable):
        async with a.open(b.peer_id, ECHO) as channel:
            await channel.send(b"one")
            assert await channel.receive() == b"one"
            (kept,) = streams(b, ECHO)
            await kept.muxed_stream.conn.secured_conn.close()
            await channel.send(b"two")
            await channel.receive()


# -- slow and cancelled


async def test_a_reader_slower_than_yamux_patience_still_gets_everything(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await pair(libp2p_world)
    read_on = trio.Event()
    sizes: list[int] = []

    async def slow(channel: Channel) -> None:
        await read_on.wait()
        while (message := await channel.receive()) is not None:
            sizes.append(len(message))
        await channel.send(b"all")

    b.serve(OTHER, slow)
    async with a.open(b.peer_id, OTHER) as channel, trio.open_nursery() as nursery:

        async def push() -> None:
            for _ in range(3):
                await channel.send(bytes(MAX_MESSAGE_BYTES))
            await channel.end()  # type: ignore[attr-defined]

        nursery.start_soon(push)
        await trio.sleep(0.5)
        read_on.set()
        assert await channel.receive() == b"all"
    assert sizes == [MAX_MESSAGE_BYTES] * 3


async def test_a_reader_that_never_reads_is_given_up(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_yamux, "SLOW_READER_S", 0.2)
    a, b = await pair(libp2p_world)

    async def never(_channel: Channel) -> None:
        await trio.sleep_forever()

    b.serve(OTHER, never)
    with pytest.raises(Unreachable):
        async with a.open(b.peer_id, OTHER) as channel:
            for _ in range(40):
                await channel.send(bytes(MAX_MESSAGE_BYTES))
    assert await request(a, b.peer_id, ECHO, b"unharmed") == b"unharmed"


async def test_a_window_that_opens_byte_by_byte_is_none(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_yamux, "SLOW_READER_S", 0.5)
    monkeypatch.setattr(libp2p_yamux, "SLOWEST_BYTES_S", 1 << 30)
    a, b = await pair(libp2p_world)

    async def trickle(channel: Any) -> None:
        mux, stream = channel.wire._mux, channel.wire._muxed
        while True:
            await mux.secured_conn.write(libp2p_yamux._HEADER.pack(0, TYPE_WINDOW_UPDATE, 0, stream.stream_id, 1))
            await trio.sleep(0.1)

    b.serve(OTHER, trickle)
    with trio.fail_after(10), pytest.raises(Unreachable):
        async with a.open(b.peer_id, OTHER) as channel:
            for _ in range(40):
                await channel.send(bytes(MAX_MESSAGE_BYTES))
    assert await request(a, b.peer_id, ECHO, b"unharmed") == b"unharmed"


async def test_cancelled_writers_leave_the_connection_readable(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)
    (connection,) = a._swarm.get_connections()
    assert isinstance(connection.muxed_conn, MeshYamux)

    async def push(delay_s: float) -> None:
        with trio.move_on_after(delay_s):
            async with a.open(b.peer_id, ECHO) as channel:
                while True:
                    await channel.send(bytes(MAX_MESSAGE_BYTES))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(push, 0.05 + number / 100)
    assert await request(a, b.peer_id, ECHO, b"unharmed") == b"unharmed"
    assert a._swarm.get_connections() == [connection]


async def test_a_silent_peer_is_hung_up_on(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshgen.net.libp2p.yamux.PING_INTERVAL_S", 0.1)
    monkeypatch.setattr("meshgen.net.libp2p.yamux.PONG_TIMEOUT_S", 0.3)
    a, b = await pair(libp2p_world)
    async with a.open(b.peer_id, ECHO) as channel:
        await channel.send(b"x")
        assert await channel.receive() == b"x"
        (connection,) = b._swarm.get_connections()
        monkeypatch.setattr(connection.muxed_conn, "_write_frame", _swallow)  # b hears everything and says nothing
        with trio.fail_after(5), pytest.raises(Unreachable):
            await channel.receive()


async def _swallow(_frame: bytes) -> None:
    await trio.lowlevel.checkpoint()


# -- gossip


def test_the_heartbeat_stays_at_one_second_in_a_poor_mesh() -> None:
    gossip = MeshGossip()
    gossip.mesh = {"t": set()}
    gossip.last_health_update = 0
    gossip._update_network_health()
    gossip._adapt_gossip_parameters()
    assert gossip.heartbeat_interval == 1


async def test_a_neighbour_that_sends_junk_is_cut_off_and_forgiven(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshgen.net.conduct.FIRST_S", 1.0)
    a, b = await pair(libp2p_world)
    judged: list[bytes] = []

    def validator(_sender: PeerId, data: bytes) -> bool:
        judged.append(data)
        return data == b"good"

    async with b.subscribe("t", validator) as messages:
        await until(lambda: a._pubsub.peer_topics.get("t"))
        for number in range(60):
            await a.publish("t", bytes([number]))
        await until(lambda: not b.links())
        assert LIMIT / Fault.JUNK <= len(judged) < 60
        await until(lambda: not b.conduct.is_shut(a.peer_id))
        a._pubsub.router.mcache.msgs.clear()  # who subscribes is told the latest, and that is all junk
        await a.connect(b.addresses()[0])
        await until(lambda: a._pubsub.peer_topics.get("t"))
        await a.publish("t", b"good")
        with trio.fail_after(10):
            assert (await anext(messages)).data == b"good"


async def test_what_a_validator_passes_over_is_nobodys_fault(libp2p_world: Libp2pWorld) -> None:
    a, b = await pair(libp2p_world)
    async with b.subscribe("t", lambda _sender, data: True if data == b"good" else None) as messages:
        await until(lambda: a._pubsub.peer_topics.get("t"))
        for number in range(25):
            await a.publish("t", bytes([number]))
        await a.publish("t", b"good")
        with trio.fail_after(10):
            assert (await anext(messages)).data == b"good"
    assert b.conduct.score(a.peer_id) == 0


# -- start and end


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_port_in_use_is_a_net_error() -> None:
    async with open_libp2p(identity(1), LOCAL, table=RULES) as a:
        with pytest.raises(NetError, match="another node"):
            async with open_libp2p(identity(2), [f"/ip4/127.0.0.1/tcp/{port_of(a)}"], table=RULES):
                pass


@pytest.mark.parametrize("address", ["", "localhost:4001", "/ip4/127.0.0.1/udp/1", "/ip4/300.0.0.1/tcp/1"])
async def test_a_malformed_listen_address_is_a_value_error(address: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        async with open_libp2p(identity(1), [address], table=RULES):
            pass


async def test_all_interfaces_are_advertised_as_addresses_that_can_be_dialled() -> None:
    async with open_libp2p(identity(1), ["/ip4/0.0.0.0/tcp/0"], table=RULES) as a:
        assert a.addresses()
        assert not any("0.0.0.0" in address for address in a.addresses())
        assert any("/127.0.0.1/" in address for address in a.addresses())
    announced = "/ip4/192.0.2.7/tcp/4001"
    async with open_libp2p(identity(1), LOCAL, table=RULES, announce=[announced]) as a:
        assert a.addresses() == [f"{announced}/p2p/{a.peer_id}"]


async def test_bootstrap_peers_are_dialled_again_when_they_come_back(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshgen.net.libp2p.dial.REDIAL_FIRST_S", 0.05)
    a = await libp2p_world.join(1)
    address = a.addresses()[0]
    await libp2p_world.kill(a)
    async with open_libp2p(identity(2), LOCAL, [address], table=RULES) as b:
        assert b.links() == []
        again = await libp2p_world._nursery.start(libp2p_world._live, 1, {"listen": [address.split("/p2p/")[0]]})
        await until(lambda: b.links() and again.links())


async def test_nothing_is_left_running_or_open() -> None:
    gc.collect()
    files = open_files()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_libp2p(identity(1), LOCAL, table=RULES) as a, open_libp2p(identity(2), LOCAL, table=RULES) as b:
        b.serve(ECHO, echo)
        await a.connect(b.addresses()[0])
        assert await request(a, PeerId(b.peer_id), ECHO, b"x") == b"x"
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)
    gc.collect()
    assert open_files() <= files


async def test_an_error_of_the_user_comes_out_as_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_libp2p(identity(1), LOCAL, table=RULES):
            raise ZeroDivisionError


def test_libp2p_errors_are_io_exceptions() -> None:
    """The wire catches this one class for all of them."""
    from libp2p.network.connection.exceptions import RawConnError
    from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamError, StreamReset

    assert all(issubclass(error, IOException) for error in (RawConnError, StreamClosed, StreamEOF, StreamError, StreamReset))
