"""Neighbours on a local network: the record that they announce, and machines of their own that meet."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import ServiceInfo

from meshgen.net.libp2p import mdns as libp2p_mdns
from meshgen.net.libp2p.mdns import make_record, outside, read_record
from meshgen.protocols.invite import neighbours_tag
from tests.net.conftest import identity
from tests.netns.world import NoNamespacesError, World, world

PEER = identity(1).peer_id
PATIENCE_S = 20.0


def at(host: str, peer: str = PEER) -> str:
    return f"{host}/tcp/4711/p2p/{peer}"


def test_a_record_says_where_the_peer_is() -> None:
    record = make_record([at("/ip4/192.0.2.7"), at("/ip6/2001:db8::7")])
    assert b"dnsaddr=/ip4/192.0.2.7" in record
    found = read_record(record)
    assert found is not None and str(found[0]) == PEER
    assert [str(way) for way in found[1]] == ["/ip4/192.0.2.7/tcp/4711", "/ip6/2001:db8::7/tcp/4711"]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\x00",
        b"\xff",
        b"\x07dnsaddr",
        b"\x08dnsaddr=",
        b"\x0ddnsaddr=/ip4/",
        b"\x0bdnsaddr=\xff\xff\xff",
        make_record(["/ip4/1.2.3.4/tcp/1"]),
    ],
)
def test_a_record_without_a_peer_is_none(record: bytes) -> None:
    assert read_record(record) is None


@given(st.binary(max_size=300))
def test_no_record_does_harm(record: bytes) -> None:
    read_record(record)


def test_one_record_is_one_peers() -> None:
    found = read_record(make_record([at("/ip4/192.0.2.7"), at("/ip4/192.0.2.8", identity(2).peer_id)]))
    assert found is not None and len(found[1]) == 1


def test_announced_is_what_neighbours_can_dial() -> None:
    here = at("/ip4/10.0.0.7")
    circuit = f"{at('/ip4/10.0.0.9')}/p2p-circuit/p2p/{PEER}"
    given = [at("/ip4/127.0.0.1"), at("/ip6/::1"), at("/ip4/0.0.0.0"), at("/dns/hub.example.org"), circuit, here]
    assert outside(given) == [here]
    assert len(outside([at(f"/ip4/10.0.0.{last}") for last in range(100)])) == libp2p_mdns.MAX_ADDRESSES


def test_a_tag_tells_meshes_and_keys_apart_and_fits_a_services_name() -> None:
    tags = [neighbours_tag(net, key) for net in (b"a" * 16, b"b" * 16) for key in (None, b"k" * 32)]
    assert len({*tags}) == 4 and all(len(f"p2p-{tag}") <= 15 for tag in tags)


@pytest.mark.parametrize("name", ["no-service", "._p2p-x._udp.local.", f"{'x' * 80}._p2p-x._udp.local.", "x._udp.local."])
async def test_a_name_that_is_none_leads_to_nobody(name: str) -> None:
    """Whoever is on the network chooses the names that are heard."""

    class Silent:
        def get_service_info(self, kind: str, name: str, _wait_ms: int) -> None:
            ServiceInfo(kind, name)  # where zeroconf raises

    assert await libp2p_mdns._asked(Silent(), name) is None


async def test_nothing_is_opened_on_loopback_alone(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock) -> None:
    monkeypatch.setattr(libp2p_mdns, "_open", lambda addresses: pytest.fail("it opened a socket"))
    with trio.move_on_after(3600):
        await libp2p_mdns.meet_neighbours("x", lambda: [at("/ip4/127.0.0.1")], pytest.fail)  # type: ignore[arg-type]


async def test_a_network_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock) -> None:
    tries = []

    def fails(addresses: object) -> None:
        tries.append(addresses)
        if len(tries) == 5:
            trio.from_thread.run_sync(scope.cancel)
        raise OSError(19, "No such device")

    monkeypatch.setattr(libp2p_mdns, "_open", fails)
    with trio.CancelScope() as scope:
        await libp2p_mdns.meet_neighbours("x", lambda: [at("/ip4/10.0.0.7")], pytest.fail)  # type: ignore[arg-type]
    assert len(tries) == 5


# -- on machines of their own


@dataclass
class Neighbour:
    process: subprocess.Popen[str]
    lines: queue.SimpleQueue[str]

    def meets(self, number: int) -> str:
        """The line that says so."""
        while True:
            line = self.lines.get(timeout=PATIENCE_S)
            if line.startswith(f"met {identity(number).peer_id} "):
                return line


@pytest.fixture(scope="module")
def lan() -> Iterator[World]:
    try:
        with world("one", "two", "three") as made:
            yield made
    except NoNamespacesError as error:
        pytest.skip(f"no network namespaces here: {error}")


@contextmanager
def neighbour(lan: World, name: str, tag: str, number: int) -> Iterator[Neighbour]:
    words = [*lan.enter(name), sys.executable, "-m", "tests.net.neighbour", tag, str(number)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    assert process.stdout is not None
    reading = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True)  # type: ignore[union-attr]
    reading.start()
    try:
        assert lines.get(timeout=PATIENCE_S) == "looks\n"
        yield Neighbour(process, lines)
    finally:
        process.kill()
        process.wait()
        reading.join()
        process.stdout.close()


def link(lan: World, name: str, state: str) -> None:
    subprocess.run([*lan.enter(name), "ip", "link", "set", "eth0", state], check=True)


@pytest.mark.e2e
def test_neighbours_of_one_mesh_meet_whenever_the_network_comes(lan: World) -> None:
    ours, theirs = neighbours_tag(b"a" * 16, None), neighbours_tag(b"b" * 16, None)
    link(lan, "two", "down")
    with neighbour(lan, "one", ours, 1) as one, neighbour(lan, "three", theirs, 3) as three:
        with neighbour(lan, "two", ours, 2) as two:
            link(lan, "two", "up")
            assert lan["one"].ip in two.meets(1)
            assert lan["two"].ip in one.meets(2)
        with neighbour(lan, "two", ours, 2):  # it was killed without a goodbye, and is back
            one.meets(2)
        assert three.lines.empty() and one.lines.empty(), "nobody dials another mesh's"
