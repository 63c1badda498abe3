"""Peers stay in: hubs die, networks part and heal, machines sleep, move and freeze, clocks are wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from meshgen.engine.fake import FakeEngine
from meshgen.net.port import PeerId
from meshgen.peers.acquaintances_links import LONGEST_S, TARGET
from meshgen.peers.job import Job
from meshgen.peers.peer import Peer
from meshgen.peers.pulse import BRISK, PATIENCE_S, QUIET_S
from meshgen.peers.request import ImageRequest
from meshgen.peers.staying import LOOK_S
from meshgen.testing import VirtualMesh, identity, pictures_of, virtual_mesh

SEED = 20_261_122
NOTICED_S = 10.0
"""A dead peer is noticed in this time."""


@asynccontextmanager
async def lively(seed: int = SEED) -> AsyncIterator[VirtualMesh]:
    """A mesh in which nodes look after their links."""
    async with virtual_mesh(seed, calm=False) as mesh:
        yield mesh


def peer(name: str) -> PeerId:
    return PeerId(identity(name).peer_id)


def linked(node: Peer) -> set[PeerId]:
    return {link.peer for link in node.net.links()}


async def within(seconds: float, condition: Callable[[], Any]) -> float:
    """Seconds until it is true."""
    start = trio.current_time()
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what a mesh does has no event
            await trio.sleep(0.1)
    return trio.current_time() - start


def asked(node: Peer, **fields: Any) -> Job:
    assert node.requester is not None
    return node.requester.submit(ImageRequest(prompt="a prompt", steps=4, **fields))


async def hubs_and_nodes(mesh: VirtualMesh, nodes: int = 6) -> list[Peer]:
    """Two hubs, and nodes that know nobody else when they come."""
    await mesh.add("hub1", "hub")
    await mesh.add("hub2", "hub")
    found = [await mesh.add(f"n{number}", "requester worker", FakeEngine(seconds_per_picture=1)) for number in range(nodes)]
    await trio.sleep(30)
    return found


async def test_a_small_mesh_is_linked_all_to_all(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        nodes = [await mesh.worker(f"n{number}") for number in range(TARGET + 1)]
        await within(30, lambda: all(len(linked(node)) == TARGET for node in nodes))


async def test_the_mesh_goes_on_when_every_hub_dies(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        nodes = await hubs_and_nodes(mesh)
        await mesh.kill("hub1")
        await mesh.kill("hub2")
        assert all(len(linked(node)) >= 4 for node in nodes)
        newcomer = await mesh.requester("newcomer")  # one peer's address is enough
        assert (await pictures_of(newcomer)).state == "done"
        for node in nodes:
            assert (await pictures_of(node)).state == "done"


async def test_a_node_comes_back_through_whomever_it_remembers(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        await hubs_and_nodes(mesh)
        for name in ("n0", "hub1", "hub2", "n1", "n2", "n3", "n4"):
            await mesh.kill(name)
        back = await mesh.restart("n0", doors=False)
        assert not linked(back)
        took_s = await within(30, lambda: linked(back) == {peer("n5")})
        assert took_s < 15
        assert (await pictures_of(back)).state == "done"


async def test_a_node_without_anybody_keeps_calling(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        await hubs_and_nodes(mesh, 2)
        for name in ("n0", "n1", "hub1", "hub2"):
            await mesh.kill(name)
        back = await mesh.restart("n0", doors=False)
        await trio.sleep(1200)
        assert not linked(back)
        await mesh.restart("n1", doors=False)
        await within(1.2 * LONGEST_S + 10, lambda: peer("n1") in linked(back))


async def test_halves_of_a_mesh_find_each_other_again(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        nodes = await hubs_and_nodes(mesh, 12)
        halves = [{f"n{number}" for number in range(start, 12, 2)} | {f"hub{start + 1}"} for start in (0, 1)]
        mesh.net.partition([{peer(name) for name in half} for half in halves], silent=True)
        await within(NOTICED_S, lambda: all(half_of(node, halves) for node in nodes))
        await trio.sleep(120)  # they have forgotten each other's adverts
        assert all(len(linked(node)) >= TARGET for node in nodes), "each half goes on"
        mesh.heal()
        took_s = await within(150, lambda: not all(half_of(node, halves) for node in nodes))
        print(f"healed after {took_s:.1f} s")
        await trio.sleep(40)
        for node in nodes:
            assert len(list(node.directory.adverts())) == 13, f"seed {mesh.seed}"


def half_of(node: Peer, halves: list[set[str]]) -> bool:
    """Is it linked to its own half alone?"""
    (own,) = [{peer(name) for name in half} for half in halves if node.net.peer_id in {peer(name) for name in half}]
    return linked(node) <= own


async def test_a_frozen_worker_is_noticed_and_its_job_goes_elsewhere(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        await mesh.worker("w1", seconds=40)
        await mesh.worker("w2", seconds=40)
        asker = await mesh.requester()
        await trio.sleep(10)
        job = asked(asker)
        await trio.sleep(5)
        first = job.parts[0].worker
        mesh.net.stall(first)
        took_s = await within(NOTICED_S, lambda: len(job.parts) == 2)
        print(f"replaced after {took_s:.1f} s")
        assert job.parts[1].worker != first
        assert first not in linked(asker)
        assert asker.directory.get(first) is None, "no more work is offered to it"
        await job.wait()
        assert job.state == "done"
        mesh.net.resume(first)
        await within(2 * LONGEST_S, lambda: first in linked(asker))
        await within(3, lambda: asker.directory.get(first) is not None)


async def test_whoever_freezes_is_noticed_in_time(autojump_clock: trio.testing.MockClock) -> None:
    worst_s = 0.0
    for seed in range(SEED, SEED + 10):
        async with lively(seed) as mesh:
            await mesh.worker("w")
            asker = await mesh.requester()
            await trio.sleep(10 + seed % 10 / 3)
            mesh.net.stall(peer("w"))
            worst_s = max(worst_s, await within(NOTICED_S, lambda asker=asker: not linked(asker)))  # type: ignore[misc]
    print(f"noticed after {worst_s:.1f} s at worst")
    assert worst_s <= QUIET_S + LOOK_S + PATIENCE_S + 0.2


async def test_whoever_stood_still_itself_blames_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Its questions were never answered in time: by its own clock."""
    async with lively() as mesh:
        await mesh.worker("w")
        asker = await mesh.requester()
        await trio.sleep(10)
        pulse, before = asker.staying.pulse, asker.staying.known.get(peer("w"))
        async with trio.open_nursery() as nursery:
            mesh.net.stall(peer("w"))
            pulse.look(asker.net.links(), nursery, at_once=True)
            await trio.sleep(1)
            mesh.set_clock("asker", 600)  # it slept
            await trio.sleep(PATIENCE_S - 1.5)
            mesh.net.resume(peer("w"))
        await trio.sleep(1)
        assert linked(asker) == {peer("w")}
        after = asker.staying.known.get(peer("w"))
        assert before is not None
        assert after is not None
        assert after.failed == before.failed


@pytest.mark.parametrize("who", ("asker", "w"))
async def test_a_job_ends_as_a_picture_though_a_peer_moves(who: str, autojump_clock: trio.testing.MockClock) -> None:
    """There is but one worker: whichever side moves, it must be found again."""
    async with lively() as mesh:
        await mesh.add("hub", "hub archivist")
        await mesh.worker("w", seconds=20)
        asker = await mesh.requester()
        await trio.sleep(30)
        job = asked(asker)
        await trio.sleep(5)
        assert job.state == "running"
        mesh.net.move(peer(who))
        took_s = await within(30, lambda: len(job.parts) == 2)
        print(f"{who} moved: begun anew after {took_s:.1f} s")
        await job.wait()
        assert (job.state, job.error) == ("done", ""), f"seed {mesh.seed}"


async def test_a_peer_that_moved_is_back_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        nodes = await hubs_and_nodes(mesh)
        mesh.net.move(peer("n0"))
        await trio.sleep(3 + LOOK_S)  # the next look at the machine's addresses
        took_s = await within(10, lambda: all(peer("n0") in linked(node) for node in nodes[1:4]))
        print(f"linked anew {took_s + 3 + LOOK_S:.1f} s after the change")
        address = nodes[0].net.addresses()[0]
        await within(3, lambda: all(advertised(node, "n0") == (address,) for node in nodes[1:]))


def advertised(node: Peer, name: str) -> tuple[str, ...]:
    advert = node.directory.get(peer(name))
    return advert.addresses if advert else ()


async def test_whoever_slept_is_back_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        nodes = await hubs_and_nodes(mesh)
        mesh.net.stall(peer("n0"))
        await trio.sleep(100)
        assert all(peer("n0") not in linked(node) and node.directory.get(peer("n0")) is None for node in nodes[1:])
        mesh.net.resume(peer("n0"))
        mesh.set_clock("n0", 10)  # the monotonic one stood still
        took_s = await within(10, lambda: len(linked(nodes[0])) >= 4)
        print(f"linked anew {took_s:.1f} s after it woke")
        await within(3, lambda: all(node.directory.get(peer("n0")) for node in nodes[1:]))


# -- clocks


@pytest.mark.parametrize("ahead_s", (300, -300))
async def test_whose_clock_is_wrong_is_told(
    ahead_s: float, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with lively() as mesh:
        await mesh.worker("w1")
        await mesh.worker("w2")
        asker = await mesh.requester()
        mesh.set_clock("asker", ahead_s)
        await trio.sleep(120)
        clock = asker.status()["clock"]
        assert clock["peers"] == 2
        assert abs(clock["skew_ms"] - ahead_s * 1000) < 100
        assert "5 minutes" in asker.status()["trouble"]
        assert "5 minutes" in caplog.text
        job = await pictures_of(asker)
        assert job.state == "failed"
        assert "this machine's clock is 5 minutes" in job.error
        mesh.set_clock("asker", 0)
        await trio.sleep(60)
        assert asker.status()["clock"]["skew_ms"] < 100
        assert asker.status()["trouble"] == ""
        assert (await pictures_of(asker)).state == "done"


async def test_a_clock_that_was_a_day_ahead_for_a_while_costs_no_day(autojump_clock: trio.testing.MockClock) -> None:
    """All holds look expired meanwhile. Their release would be an entry of tomorrow, and nothing could be written before that."""
    async with lively() as mesh:
        await mesh.worker("victim", seconds=30)
        asker = await mesh.requester()
        assert asker.requester is not None
        asker.requester.submit(ImageRequest(prompt="x", steps=4, count=2))
        await trio.sleep(5)
        await mesh.kill("victim")
        await mesh.worker("w1")
        await trio.sleep(30)
        assert asker.ledger.balance(asker.identity.public_key).held > 0
        mesh.set_clock("asker", 24 * 3600)
        await trio.sleep(120)
        mesh.set_clock("asker", 0)
        await trio.sleep(60)
        assert (await pictures_of(asker)).state == "done"
        await trio.sleep(600)
        assert asker.ledger.balance(asker.identity.public_key).held == 0


async def test_liars_about_the_time_move_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        for name in ("w1", "w2", "w3"):
            await mesh.worker(name)
        for name in ("liar1", "liar2", "liar3"):
            await mesh.add(name, "hub")
            mesh.set_clock(name, 3600 * 24 * 365)
        asker = await mesh.requester()
        await trio.sleep(60)
        clock = asker.status()["clock"]
        assert clock["peers"] == 6
        assert abs(clock["skew_ms"]) < 100
        assert asker.status()["trouble"] == ""
        assert (await pictures_of(asker)).state == "done"


# -- what it costs


async def test_signs_of_life_are_few(autojump_clock: trio.testing.MockClock) -> None:
    async with lively() as mesh:
        for number in range(5):
            await mesh.worker(f"w{number}")
        await trio.sleep(30)
        pings: list[object] = []
        mesh.net.trace = lambda event: pings.append(event) if event.name == "/meshgen/pulse/1" else None
        await trio.sleep(60)
        links = sum(len(node.net.links()) for node in mesh.nodes.values()) / 2
        exchanges = len(pings) / 2
        print(f"{exchanges / links:.1f} exchanges a minute and link")
        assert exchanges <= links * 60 / (0.75 * QUIET_S)


def pings_of(mesh: VirtualMesh, who: Peer) -> list[PeerId]:
    """Whom it asks whether they are there, from now on."""
    asked: list[PeerId] = []
    mesh.net.trace = lambda event: (
        asked.append(PeerId(event.to or ""))
        if (event.kind, event.name, event.peer) == ("message", "/meshgen/pulse/1", who.peer_id)
        else None
    )
    return asked


async def test_twice_as_many_links_cost_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub")
        others = [await mesh.add(f"o{number}", "observer") for number in range(2 * BRISK)]
        for other in others:
            await other.net.connect(hub.net.addresses()[0])
        asked = pings_of(mesh, hub)
        async with trio.open_nursery() as nursery:
            busy = PeerId(others[0].peer_id)
            hub.staying.pulse.deals_with = lambda peer: peer == busy
            for _ in range(60):
                hub.staying.pulse.look(hub.net.links(), nursery)
                await trio.sleep(1)
        assert len(hub.net.links()) == 2 * BRISK
        assert len(asked) <= 60 * (BRISK + 2) / (0.75 * QUIET_S)
        assert asked.count(busy) >= 60 / (QUIET_S + 1.5), "who is dealt with is asked as often as ever"


async def test_a_shelf_that_is_full_is_told_of_once_and_when_it_is_over(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "meshgen.peers.staying")
    full = True

    async def save(_: object) -> None:
        if full:
            raise OSError("no space left")

    shelf: Any = SimpleNamespace(load=tuple, save=save)
    async with lively() as mesh:
        staying = (await mesh.add("hub", "hub")).staying
        for full in (True, True, False, False):  # noqa: B007 - what the shelf asks
            await staying._save(shelf)
    assert [line.partition(":")[0] for line in caplog.messages] == ["acquaintances can't be kept", "acquaintances are kept again"]
