"""Holes through two routers: what is said before, what a peer may have this node dial. tests/netns has routers to try it on."""

from __future__ import annotations

import errno
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from meshgen.net.libp2p import RelayLimits, punch, punch_port
from meshgen.net.libp2p.punch import DCUTR, SERVED_BURST, Puncher
from meshgen.net.libp2p.punch_port import SHARED, knock
from meshgen.net.libp2p.reach_direct import DirectPaths
from meshgen.net.libp2p.relay_wire import BadMessage, Pipe
from tests.net.conftest import Libp2pWorld, identity, until

MINE = "/ip4/5.77.0.2/tcp/4711"
THEIRS = "/ip4/5.77.0.3/tcp/4711"


def puncher(seen_at: str = MINE, port: int | None = 4711) -> Puncher:
    host = SimpleNamespace(get_network=lambda: None, set_stream_handler=lambda *_: None, outward_port=port)
    return Puncher(host, lambda: [Multiaddr(seen_at)])


def connect(*addresses: str) -> HolePunch:
    return HolePunch(type=HolePunch.CONNECT, ObsAddrs=[Multiaddr(address).to_bytes() for address in addresses])


# -- places


@pytest.mark.parametrize(
    ("seen_at", "places"),
    [
        (MINE, [("5.77.0.2", 4711)]),
        ("/ip4/5.77.0.2/tcp/61000", [("5.77.0.2", 61000), ("5.77.0.2", 4711)]),
        ("/ip4/192.168.1.2/tcp/4711", []),
        ("/ip6/2a00::1/tcp/4711", []),
    ],
)
def test_a_node_names_where_it_is_seen_and_the_port_that_it_leaves_by(seen_at: str, places: list[Any]) -> None:
    assert puncher(seen_at)._own_places() == places


def test_without_a_port_to_share_there_is_nothing_to_name() -> None:
    assert puncher(port=None)._own_places() == []


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/127.0.0.1/tcp/4711",
        "/ip4/192.168.1.2/tcp/4711",
        "/ip4/100.64.0.1/tcp/4711",
        "/ip4/224.0.0.1/tcp/4711",
        "/ip4/0.0.0.0/tcp/4711",
        MINE,  # the own router
        "/ip4/5.77.0.3/tcp/22",
        "/ip4/5.77.0.3/udp/4711/quic-v1",
        "/dns4/third.example/tcp/4711",
    ],
)
def test_what_a_peer_may_not_have_this_node_dial(address: str) -> None:
    assert puncher()._judge(connect(address)) == []
    assert puncher()._judge(connect(address, THEIRS)) == [("5.77.0.3", 4711)]


def test_a_peer_may_name_a_few_ports_of_one_address() -> None:
    named = [f"/ip4/5.77.0.{3 + number % 2}/tcp/{4711 + number}" for number in range(8)]
    assert puncher()._judge(connect(*named)) == [("5.77.0.3", 4711 + number) for number in (0, 2, 4, 6)]
    assert puncher()._judge(connect(*["/ip4/127.0.0.1/tcp/1"] * 8, THEIRS)) == []  # what stands too far behind is not read
    junk = HolePunch(type=HolePunch.CONNECT, ObsAddrs=[b"\xff" * 40, b"", Multiaddr(THEIRS).to_bytes()])
    assert puncher()._judge(junk) == [("5.77.0.3", 4711)]


def test_other_messages_are_no_connect() -> None:
    with pytest.raises(BadMessage):
        puncher()._judge(HolePunch(type=HolePunch.SYNC))


# -- messages, through a relay


class Pair:
    """``a`` dialled ``b`` through a relay. ``knocked``: where either went to punch."""

    def __init__(self, a: Any, b: Any, knocked: list[tuple[int, tuple[str, int]]]) -> None:
        self.a, self.b, self.knocked = a, b, knocked

    async def open(self) -> Pipe:
        """From b to a, as the one that leads does."""
        return Pipe(await self.b._host.new_stream(ID.from_base58(self.a.peer_id), [DCUTR]))


@pytest.fixture
async def pair(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> Pair:
    knocked: list[tuple[int, tuple[str, int]]] = []

    async def refused(port: int, place: tuple[str, int]) -> Any:
        await trio.lowlevel.checkpoint()
        knocked.append((port, place))
        raise ConnectionRefusedError

    monkeypatch.setattr(punch, "knock", refused)
    monkeypatch.setattr(punch, "REFUSED_PAUSES_S", (0.0,))
    await libp2p_world.join(1, relay=RelayLimits())
    a: Any = await libp2p_world.join(2, listen=[])
    b: Any = await libp2p_world.join(3, listen=[])
    for net, seen_at in ((a, MINE), (b, THEIRS)):
        net._host.outward_port = 4711
        net._ways.direct._puncher._seen_at = lambda seen_at=seen_at: [Multiaddr(seen_at)]
        await until(lambda net=net: net.reach().relays)
    await a.connect(b.addresses()[0])
    await until(lambda: any(link.peer == a.peer_id for link in b.links()))
    return Pair(a, b, knocked)


async def test_both_dial_where_the_other_one_is_seen(pair: Pair) -> None:
    assert not await pair.b._ways.direct._puncher.punch(pair.a._host.get_id())
    await until(lambda: len(pair.knocked) == 12)  # three tries of two knocks each
    assert set(pair.knocked) == {(4711, ("5.77.0.2", 4711)), (4711, ("5.77.0.3", 4711))}


@pytest.mark.parametrize(
    "said",
    [
        [HolePunch(type=HolePunch.SYNC)],
        [HolePunch(type=HolePunch.CONNECT, ObsAddrs=[bytes(5000)])],
        [connect(THEIRS), connect(THEIRS)],
    ],
    ids=["SYNC first", "too long", "CONNECT twice"],
)
async def test_who_says_something_else_makes_nobody_dial(pair: Pair, said: list[HolePunch]) -> None:
    pipe = await pair.open()
    for message in said:
        await pipe.say(message)
    with pytest.raises(IOException):
        for _ in range(2):
            await pipe.hear(HolePunch)
    assert not pair.knocked
    assert not pair.a._ways.direct._puncher._busy


async def test_bytes_that_are_no_message_are_answered_by_a_reset(pair: Pair) -> None:
    pipe = await pair.open()
    await pipe.write(b"\x05hello")
    with pytest.raises(IOException):
        await pipe.hear(HolePunch)


async def test_a_peer_is_served_a_few_times(pair: Pair) -> None:
    for _ in range(SERVED_BURST):
        pipe = await pair.open()
        await pipe.say(connect())
        assert (await pipe.hear(HolePunch)).type == HolePunch.CONNECT
        await pipe.reset()
    await until(lambda: not pair.a._ways.direct._puncher._busy)
    with pytest.raises((IOException, StreamFailure)):
        pipe = await pair.open()
        await pipe.say(connect())
        await pipe.hear(HolePunch)


async def test_on_a_direct_connection_there_is_nothing_to_punch(libp2p_world: Libp2pWorld) -> None:
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)
    with pytest.raises((IOException, StreamFailure)):
        pipe = Pipe(await b._host.new_stream(a._host.get_id(), [DCUTR]))
        await pipe.say(connect(THEIRS))
        await pipe.hear(HolePunch)


# -- who leads


@pytest.mark.parametrize(
    ("ways", "me_lesser", "leads"),
    [
        ([Direction.INBOUND], False, True),
        ([Direction.OUTBOUND], True, False),
        ([Direction.OUTBOUND, Direction.INBOUND], True, True),
        ([Direction.OUTBOUND, Direction.INBOUND], False, False),
    ],
)
def test_one_of_the_two_leads(ways: list[Direction], me_lesser: bool, leads: bool) -> None:
    ids = sorted((ID.from_base58(str(identity(number).peer_id)) for number in (1, 2)), key=ID.to_bytes)
    me, peer = ids if me_lesser else reversed(ids)
    host = SimpleNamespace(get_id=lambda: me, get_network=lambda: None, set_stream_handler=lambda *_: None)

    async def nowhere(_peer: ID) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    paths = DirectPaths(host, nowhere, list)
    assert paths._leads(peer, [SimpleNamespace(direction=way) for way in ways]) is leads


# -- the port


@pytest.mark.skipif(SHARED is None, reason="this system lets no two sockets share a port")
async def test_what_is_dialled_beyond_the_router_leaves_by_one_port(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(punch_port, "_leads_through_a_router", lambda _address: True)
    hubs: list[Any] = [await libp2p_world.join(number) for number in (1, 2)]
    a: Any = await libp2p_world.join(3)
    await a.connect(hubs[1].addresses()[0])
    for hub in hubs:
        await until(lambda hub=hub: hub._swarm.get_connections(a._host.get_id()))
        [connection] = hub._swarm.get_connections(a._host.get_id())
        assert connection.muxed_conn.get_remote_address() == ("127.0.0.1", a._host.outward_port)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await knock(a._host.outward_port, closed.getsockname())


@pytest.mark.skipif(SHARED is None, reason="this system lets no two sockets share a port")
async def test_nobody_else_gets_the_port(libp2p_world: Libp2pWorld) -> None:
    async with libp2p_world.opened(1, {}) as net:
        port = net._host.outward_port
        with socket.socket() as another, pytest.raises(OSError, match="in use"):
            another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            another.bind(("0.0.0.0", port))
    with socket.socket() as another:
        another.bind(("0.0.0.0", port))


async def test_a_port_that_an_older_connection_has_is_no_obstacle(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(punch_port, "_leads_through_a_router", lambda _address: True)
    hub: Any = await libp2p_world.join(1)
    async with libp2p_world.opened(2, {}) as a:
        older = await knock(a._host.outward_port, ("127.0.0.1", int(hub.addresses()[0].split("/")[4])))
        assert await a.connect(hub.addresses()[0]) == hub.peer_id
        await older.close()


async def test_who_refuses_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(punch_port, "_leads_through_a_router", lambda _address: True)
    tries: list[int] = []

    class Swarm:
        async def dial_addr(self, _address: Multiaddr, _peer: ID, *_source: Any) -> None:
            tries.append(1)
            refused = OpenConnectionError("no way")
            refused.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
            raise SwarmException("no way") from refused

        def get_connections(self, _peer: ID) -> list[Any]:
            return []

    swarm = Swarm()
    with punch_port.leave_by_one_port(SimpleNamespace(get_network=lambda: swarm)), pytest.raises(SwarmException):
        await swarm.dial_addr(Multiaddr(THEIRS), ID(b"x"))
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("address", "own", "yes"),
    [
        (THEIRS, {"192.168.1.2", "2a00::1"}, True),
        ("/dns4/hub.example/tcp/4711", {"192.168.1.2"}, True),
        (THEIRS, {"5.77.0.9"}, False),
        ("/ip4/192.168.1.3/tcp/4711", {"192.168.1.2"}, False),
        ("/ip4/127.0.0.1/tcp/4711", {"192.168.1.2"}, False),
        ("/ip6/2a00::2/tcp/4711", {"192.168.1.2"}, False),
    ],
)
def test_what_leads_through_a_router(address: str, own: set[str], yes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(punch_port, "own_ips", lambda: own)
    assert punch_port._leads_through_a_router(Multiaddr(address)) is yes
