"""Who is there: presence, introductions, the table; what is stale is dropped."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count, cycle, pairwise
from typing import Any

import pytest
import trio
import trio.testing

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.peers.directory import (
    CHANGE_GAP_S,
    DRIFT_PARTS,
    LIFETIME_MS,
    PRESENCE_S,
    SHARE_S,
    SPREAD,
    TABLE_GAP_S,
    TABLE_LIFETIME_MS,
    TABLE_S,
    Directory,
    advert_key,
    model_key,
)
from meshgen.peers.request import ImageRequest
from meshgen.protocols.advert import MAX_LIFETIME_MS
from tests.peers.virtual import NET, pictures_of, virtual_mesh


async def test_newcomers_are_introduced_to_everybody(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        names = [(await mesh.worker(f"w{number}")).peer_id for number in range(5)]
        newcomer = await mesh.requester()
        assert {signed.peer for signed in newcomer.directory.adverts()} == set(names)


async def test_who_leaves_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("hub")
        gone = await mesh.worker("gone")
        asker = await mesh.requester()
        assert asker.directory.get(gone.net.peer_id) is not None
        await mesh.kill("gone")
        await trio.sleep(LIFETIME_MS / 1000 + PRESENCE_S)
        assert asker.directory.get(gone.net.peer_id) is None
        assert len(list(asker.directory.adverts())) == 1


async def test_the_table_knows_who_has_a_model(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        worker = await mesh.worker("w")
        asker = await mesh.requester()
        await trio.sleep(PRESENCE_S)
        assert await asker.net.find_providers(model_key(NET, "fake")) == [worker.net.peer_id]
        assert await asker.net.get_value(advert_key(worker.net.peer_id)) is not None
        assert await asker.net.find_providers(model_key(NET, "other")) == []


async def test_a_worker_known_to_the_table_alone_is_found(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        await mesh.worker("w")
        asker = await mesh.requester()
        await trio.sleep(PRESENCE_S)
        asker.directory._adverts.clear()
        asker.directory._is_valid = lambda sender, data: False  # type: ignore[method-assign]
        job = await pictures_of(asker, model="fake")
        assert (job.state, job.error) == ("done", "")


async def test_an_idle_mesh_says_little(autojump_clock: trio.testing.MockClock) -> None:
    """Presence is two messages a minute and peer, whatever the load was."""
    async with virtual_mesh() as mesh:
        heard = []
        mesh.net.trace = lambda event: heard.append(event) if event.kind == "gossip" else None
        await mesh.worker("w")
        asker = await mesh.requester()
        for _ in range(5):
            await pictures_of(asker, count=3)
        before = len(heard)
        await trio.sleep(600)
        assert len(heard) - before <= 2 * (600 / PRESENCE_S + 2)


async def test_those_who_began_together_do_not_tell_together_for_long(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        told: dict[str, list[float]] = {}
        for number in range(8):
            worker = await mesh.worker(f"w{number}")
            times = told.setdefault(worker.peer_id, [])
            publish = worker.net.publish

            async def noted(topic: str, data: bytes, times: list[float] = times, publish: Any = publish) -> None:
                times.append(trio.current_time())
                await publish(topic, data)

            worker.net.publish = noted  # type: ignore[method-assign]
        await trio.sleep(600)
        for times in told.values():
            idle = [after - before for before, after in pairwise(times) if before > 60]
            assert max(idle) - min(idle) > 2 and max(idle) < 1.2 * PRESENCE_S


async def test_who_stops_says_goodbye(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("hub")
        leaver = await mesh.worker("leaver")
        asker = await mesh.requester()
        await mesh.leave("leaver")
        await trio.sleep(3)
        assert asker.directory.get(leaver.net.peer_id) is None


async def test_a_job_sees_the_model_that_a_known_worker_adds(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        worker = await mesh.worker("w", worker__models="later")
        asker = await mesh.requester(requester__bid_wait_s=60)
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="x", steps=2, model="later"))
        await trio.sleep(5)
        assert isinstance(worker.engine, FakeEngine)
        worker.engine._models["later"] = fake_model("later")
        await job.wait()
        assert (job.state, job.error) == ("done", "")


async def test_what_all_say_of_themselves_grows_as_their_logarithm(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_mesh() as mesh:
        directory = (await mesh.requester()).directory

        def adverts_a_second(peers: int) -> float:
            others_s = max(PRESENCE_S, SHARE_S * peers / math.log2(1 + peers))
            for _ in range(20):
                monkeypatch.setattr(
                    directory._census,
                    "count",
                    lambda since_s: round((peers - 1) * min(1.0, (trio.current_time() - since_s) / others_s)),
                )
                directory._pause_s = directory._pause()
            return peers / directory._pause_s

        assert adverts_a_second(8) == 8 / PRESENCE_S
        for peers in (16, 128, 1000, 10_000, 1_000_000):
            assert adverts_a_second(peers) == pytest.approx(math.log2(peers) / SHARE_S, rel=0.1), peers


async def test_in_a_large_mesh_load_waits_and_a_model_does_not(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_mesh() as mesh:
        directory = (await mesh.worker("w")).directory
        monkeypatch.setattr(directory, "_pause", lambda: 300.0)
        await trio.sleep(2 * PRESENCE_S)

        async def told_after(event: Callable[[], None]) -> float:
            before, start = directory.own, trio.current_time()
            event()
            while directory.own is before:  # noqa: ASYNC110 - an advert that goes out has no event
                await trio.sleep(1)
            return trio.current_time() - start

        assert await told_after(directory.announce) <= CHANGE_GAP_S
        own = directory.own
        assert own is not None
        assert own.message.expires_ms == own.message.seq + MAX_LIFETIME_MS
        assert 300 / DRIFT_PARTS - 1 <= await told_after(directory.drifted) <= 300 / DRIFT_PARTS + 2
        assert await told_after(directory.changed) <= CHANGE_GAP_S + 2


async def test_the_table_is_not_told_again_of_each_new_link(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub")
        puts = 0

        async def counted() -> None:
            nonlocal puts
            puts += 1

        monkeypatch.setattr(hub.directory, "_to_table", counted)
        for number in range(16):
            other = await mesh.add(f"o{number}", "observer")
            await other.net.connect(hub.net.addresses()[0])
            await trio.sleep(TABLE_GAP_S)
        seconds = 16 * TABLE_GAP_S
        assert 3 <= puts <= 5 + seconds / TABLE_S


async def test_in_a_large_mesh_the_table_still_knows_who_is_idle(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        worker = await mesh.worker("w")
        monkeypatch.setattr(worker.directory, "_pause", lambda: 2000.0)
        puts: list[float] = []

        async def counted() -> None:
            puts.append(trio.current_time())

        monkeypatch.setattr(worker.directory, "_to_table", counted)
        await trio.sleep(2000)
        puts.append(trio.current_time())
        assert len(puts) > 2
        assert max(later - earlier for earlier, later in pairwise(puts)) < TABLE_LIFETIME_MS / 1000


async def test_in_a_large_mesh_an_idle_peer_is_introduced_all_the_same(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last advert is over long before the next."""
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("w")
        asker = await mesh.requester()
        monkeypatch.setattr(worker.directory, "_pause", lambda: 5000.0)
        await trio.sleep(4000)
        assert asker.directory.get(worker.net.peer_id) is None
        await asker.directory.meet(worker.net.peer_id)
        assert asker.directory.get(worker.net.peer_id) is not None


ROUNDS = 30


async def crowded(directory: Directory, monkeypatch: pytest.MonkeyPatch, names: Callable[[], str]) -> list[float]:
    """When a peer told of itself while a thousand others were made up every ten minutes; it goes on."""
    told: list[float] = []
    publish = directory._net.publish

    async def counted(topic: str, data: bytes) -> None:
        told.append(trio.current_time())
        await publish(topic, data)

    monkeypatch.setattr(directory._net, "publish", counted)
    for _ in range(ROUNDS):
        for _ in range(1000):
            directory._census.hear(names(), trio.current_time())
        await trio.sleep(MAX_LIFETIME_MS / 1000)
    return told


async def test_keys_that_are_kept_alive_silence_nobody(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        numbers = cycle(range(1000))
        told = await crowded((await mesh.worker("w")).directory, monkeypatch, lambda: f"made up {next(numbers)}")
        pause_s = 1.05 * (1 + SPREAD) * SHARE_S * 1000 / math.log2(1000)
        assert max(after - before for before, after in pairwise(told)) < pause_s


async def test_whom_a_crowd_of_fresh_keys_has_silenced_speaks_soon_after(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        numbers = count()
        told = await crowded((await mesh.worker("w")).directory, monkeypatch, lambda: f"made up {next(numbers)}")
        assert max(after - before for before, after in pairwise(told)) > 3600, "it is no crowd otherwise"
        await trio.sleep(3 * MAX_LIFETIME_MS / 1000)
        told.clear()
        await trio.sleep(10 * PRESENCE_S)
        assert len(told) > 8, "the crowd is gone"
