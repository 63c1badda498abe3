"""Whether others can dial a node: who is asked, what their answers mean, what a router may do about it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from meshgen.net.libp2p import dial as libp2p_dial
from meshgen.net.libp2p import reach_probe as libp2p_reach_probe
from meshgen.net.libp2p import reach_upnp as libp2p_reach_upnp
from meshgen.net.libp2p.dial import parse_address
from meshgen.net.libp2p.reach_probe import AUTONAT, tcp_address
from meshgen.net.libp2p.reach_upnp import RouterError, Upnp, wants_door
from meshgen.net.libp2p.reach_votes import Vote, is_global, is_sure, state_of
from meshgen.net.libp2p.relay_wire import Pipe
from tests.net.conftest import Libp2pWorld, identity

# -- votes


INSIDE, LIAR = "192.168.0.2", "5.77.0.66"
NO, HUB = (False, True, "5.77.0.1"), (True, True, "5.77.0.1")


@pytest.mark.parametrize(
    ("votes", "state", "sure"),
    [
        ([], "unknown", True),
        ([(True, False, INSIDE)], "public", True),
        ([(False, False, INSIDE)], "private", True),
        ([(True, False, INSIDE), (True, False, "192.168.0.3"), NO], "private", False),
        ([(False, False, INSIDE), HUB], "public", False),
        ([HUB, (True, True, "5.77.0.2")], "public", True),
        ([HUB, (True, True, "5.77.0.2"), (False, True, "5.77.0.3")], "public", True),
        ([NO, (True, True, LIAR)], "private", False),
        ([NO, *[(True, True, LIAR)] * 5], "private", False),
        ([HUB, (False, True, "5.77.0.1")], "private", False),
        ([HUB, NO, (False, True, "5.77.0.2")], "private", False),
    ],
)
def test_who_looks_from_outside_decides(votes: list[tuple[bool, bool, str]], state: str, sure: bool) -> None:
    said = [Vote(reached, outside, 0.0, home) for reached, outside, home in votes]
    assert (state_of(said), is_sure(said)) == (state, sure)


class Connection:
    """From a household."""

    is_closed = False

    def __init__(self, home: str) -> None:
        self.muxed_conn = self
        self.get_remote_address = lambda: (home, 4711)


async def test_where_a_node_is_seen_most_households_say(libp2p_world: Libp2pWorld) -> None:
    """Others are told to dial there."""
    a: Any = await libp2p_world.join(1)

    mine, third = tcp_address("5.77.0.9", 4711), tcp_address("5.77.0.66", 4711)
    homes = [(LIAR, third)] * 5 + [("5.77.0.1", mine), ("5.77.0.2", mine)]
    a._ways.reachability._seen = {Connection(home): seen for home, seen in homes}
    assert a._ways.reachability.seen_at == [mine, third]


async def test_one_households_word_leaves_a_node_its_relays(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    a: Any = await libp2p_world.join(1)
    monkeypatch.setattr(a._ways.reachability, "_own", frozenset())  # behind a NAT: seen where it is not
    votes = a._ways.reachability._votes
    for number, needed in ((1, True), (2, True), (3, False)):
        home = "5.77.0.9" if number < 3 else "5.77.0.3"
        votes[ID.from_base58(identity(number + 10).peer_id)] = Vote(True, True, 0.0, home)
        assert a.reach().state == "public"
        assert a._ways.reachability.needs_relays() is needed


@pytest.mark.parametrize(
    ("ip", "yes"), [("5.77.0.1", True), ("192.168.1.2", False), ("100.64.0.1", False), ("fe80::1%eth0", False)]
)
def test_a_carriers_nat_is_no_address_of_the_world(ip: str, yes: bool) -> None:
    assert is_global(ip) is yes
    assert not is_global("router.example")


# -- asking


def ports(net: Any) -> list[Multiaddr]:
    return [tcp_address("127.0.0.1", int(each.value_for_protocol("tcp"))) for each in net._host.get_transport_addrs()]


async def test_a_peer_dials_back_on_a_connection_of_its_own(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_reach_probe, "AGAIN_S", 0.0)
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)
    prober = b._ways.reachability._prober
    listening = ports(b)
    found = await prober.ask(a._host.get_id(), listening)
    assert (found.reached, found.address) == (True, listening[0])
    for listener in list(b._swarm.listeners.values()):
        await listener.close()
    assert (await prober.ask(a._host.get_id(), listening)).reached is False  # though they are connected


async def test_somebody_else_at_the_address_is_not_the_asker(libp2p_world: Libp2pWorld) -> None:
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)
    assert (await b._ways.reachability._prober.ask(a._host.get_id(), ports(a))).reached is False


async def test_only_where_the_asker_comes_from_is_dialled(libp2p_world: Libp2pWorld) -> None:
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)
    elsewhere = [tcp_address("127.0.0.2", 1), Multiaddr("/dns4/localhost/tcp/1"), Multiaddr("/ip4/127.0.0.1/udp/1")]
    assert (await b._ways.reachability._prober.ask(a._host.get_id(), elsewhere)).reached is None


async def test_a_verdict_about_another_address_is_none(libp2p_world: Libp2pWorld) -> None:
    """It would be told to everybody as one of this node's, and they would dial a third."""
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)

    async def lie(stream: Any) -> None:
        pipe = Pipe(stream)
        await pipe.hear(Message)
        answer = Message(type=Message.DIAL_RESPONSE)
        answer.dialResponse.status, answer.dialResponse.addr = Message.OK, tcp_address("192.0.2.1", 22).to_bytes()
        await pipe.say(answer)
        await pipe.end()

    a._host.set_stream_handler(AUTONAT, lie)
    assert (await b._ways.reachability._prober.ask(a._host.get_id(), ports(b))).reached is None


async def test_who_went_away_meanwhile_is_not_asked(libp2p_world: Libp2pWorld) -> None:
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)
    connection = b._swarm.get_connections()[0]
    b._ways.reachability.remove_conn(connection)
    await b._ways.reachability._ask(a._host.get_id(), connection)
    assert b.reach().state == "unknown"


@pytest.mark.parametrize("claims", ["another peer", "another question"])
async def test_bad_questions_get_no_dial(libp2p_world: Libp2pWorld, claims: str) -> None:
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)
    question = Message(type=Message.DIAL)
    question.dial.peer.id = (
        ID.from_base58(identity(9).peer_id).to_bytes() if claims == "another peer" else b._host.get_id().to_bytes()
    )
    question.dial.peer.addrs.extend(each.to_bytes() for each in ports(b))
    if claims == "another question":
        question.type = Message.DIAL_RESPONSE
    pipe = Pipe(await b._host.new_stream(a._host.get_id(), [AUTONAT]))
    await pipe.say(question)
    assert (await pipe.hear(Message)).dialResponse.status == Message.E_BAD_REQUEST


async def test_peers_on_this_machine_are_not_asked(libp2p_world: Libp2pWorld) -> None:
    a, b = await libp2p_world.join(1), await libp2p_world.join(2)
    assert a.reach().state == b.reach().state == "unknown"
    assert not b.reach().observed


# -- addresses


PEER, RELAY = identity(1).peer_id, identity(2).peer_id


def test_an_address_through_a_relay_names_both() -> None:
    peer, target = parse_address(f"/ip4/192.0.2.7/tcp/4711/p2p/{RELAY}/p2p-circuit/p2p/{PEER}")
    assert str(peer) == PEER
    assert str(target) == f"/ip4/192.0.2.7/tcp/4711/p2p/{RELAY}/p2p-circuit"


@pytest.mark.parametrize(
    "address",
    [
        f"/p2p/{RELAY}/p2p-circuit/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/4711/p2p-circuit/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/4711/p2p/{RELAY}/p2p-circuit",
        f"/ip4/192.0.2.7/udp/4711/p2p/{RELAY}/p2p-circuit/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/4711/p2p/{RELAY}/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/4711/p2p/{RELAY}/p2p-circuit/p2p/{RELAY}/p2p-circuit/p2p/{PEER}",
    ],
)
def test_other_ways_through_relays_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="one looks like"):
        parse_address(address)


@pytest.mark.parametrize(
    ("addresses", "dialled"),
    [
        (["/ip4/127.0.0.1/tcp/1"], 1),
        (["/ip4/192.0.2.77/tcp/1", "/ip4/127.0.0.1/tcp/1"], 1),
        (["/ip4/192.0.2.1/tcp/1", "/ip4/127.0.0.1/tcp/1"], 2),
        (["/dns4/hub.example/tcp/1", f"/ip4/127.0.0.1/tcp/1/p2p/{RELAY}/p2p-circuit"], 2),
        ([f"/ip4/5.77.0.1/tcp/1/p2p/{RELAY}/p2p-circuit", "/ip6/::1/tcp/1"], 2),
    ],
)
def test_the_loopback_of_another_machine_is_not_dialled(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], dialled: int
) -> None:
    monkeypatch.setattr(libp2p_dial, "own_ips", lambda: frozenset({"127.0.0.1", "192.0.2.1"}))
    assert len(libp2p_dial._from_here(list(map(Multiaddr, addresses)))) == dialled


# -- a router's door


ALL_PORTS = tuple(range(65536))


class FakeRouter:
    """``taken``: outer ports that others have."""

    def __init__(self, ip: str = "5.77.0.1", taken: tuple[int, ...] = (), leases: bool = True) -> None:
        self.ip, self.taken, self.leases = ip, taken, leases
        self.open: dict[int, tuple[int, int]] = {}
        self.closed: list[int] = []

    def outside(self) -> str:
        return self.ip

    def forward(self, outside_port: int, inside_port: int, lease_s: int) -> None:
        if outside_port in self.taken or (lease_s and not self.leases):
            raise RouterError("ConflictInMappingEntry")
        self.open[outside_port] = (inside_port, lease_s)

    def close(self, outside_port: int) -> None:
        self.closed.append(outside_port)


class FaintRouter(FakeRouter):
    """It does not know its address each second time that it is asked."""

    def outside(self) -> str:
        self.asked += 1
        return self.ip if self.asked % 2 else ""

    asked = 0


async def opened_by(*routers: FakeRouter | None, times: int = 1) -> list[Any]:
    """What was told, up to so many times."""
    finders = [lambda found=router: found for router in routers]
    send, receive = trio.open_memory_channel[Any](99)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Upnp(send.send_nowait, finders).run, 4711)
            told = [await receive.receive() for _ in range(times)]
            nursery.cancel_scope.cancel()
    return told


async def test_a_router_forwards_the_port_and_is_asked_to_stop_at_the_end() -> None:
    router = FakeRouter()
    assert await opened_by(router) == [tcp_address("5.77.0.1", 4711)]
    assert router.open[4711][0] == 4711
    assert router.closed == [4711]


async def test_the_lease_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_reach_upnp, "RENEW_S", 0.01)
    assert await opened_by(FakeRouter(), times=3) == [tcp_address("5.77.0.1", 4711)] * 3


async def test_a_port_that_is_taken_gives_way_to_another() -> None:
    router = FakeRouter(taken=(4711,), leases=False)
    [address] = await opened_by(router)
    assert int(address.value_for_protocol("tcp")) in router.open
    assert router.closed == list(router.open)


@pytest.mark.parametrize(
    "router", [None, FakeRouter(ip="192.168.0.1"), FakeRouter(ip="")], ids=["none", "behind another NAT", "down"]
)
async def test_without_a_router_that_leads_out_nothing_happens(router: FakeRouter | None) -> None:
    assert await opened_by(router) == [None]
    assert router is None or not router.open


@pytest.mark.parametrize("refusing", [None, FakeRouter(ip=""), FakeRouter(taken=ALL_PORTS)], ids=["none", "down", "full"])
async def test_where_one_protocol_leads_nowhere_the_next_is_spoken(refusing: FakeRouter | None) -> None:
    speaks = FakeRouter()
    assert await opened_by(refusing, speaks) == [tcp_address("5.77.0.1", 4711)]
    assert speaks.closed == [4711] and (refusing is None or not refusing.closed)


async def test_a_router_that_faints_forwards_the_same_port_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_reach_upnp, "RENEW_S", 0.01)
    monkeypatch.setattr(libp2p_reach_upnp, "AGAIN_S", 0.01)
    router = FaintRouter(taken=(4711,), leases=False)
    told = await opened_by(router, times=6)
    assert told[1::2] == [None] * 3 and len(set(told[::2])) == 1
    assert set(router.closed) == set(router.open), "nothing is left open"


async def test_what_was_never_opened_is_not_closed() -> None:
    """It may be another machine's."""
    router = FakeRouter(taken=ALL_PORTS)
    assert await opened_by(router) == [None]
    assert not router.closed


def test_a_door_is_wanted_in_homes_alone() -> None:
    assert wants_door({"127.0.0.1", "192.168.1.2", "2001:db8::1"})
    assert not wants_door({"127.0.0.1"})
    assert not wants_door({"127.0.0.1", "5.77.0.1", "10.0.0.1"})
