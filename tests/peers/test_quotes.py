"""What a request would cost is said before anybody is asked, and no bill exceeds it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from meshgen.engine.fake import FakeEngine
from meshgen.peers.request import ControlWish, ImageRequest, RequestError
from meshgen.peers.supply import Level, Quote
from meshgen.peers.tariff import ImageWork, image_mkudos, scaled
from meshgen.protocols.charter import Charter, CharterLimits, Lineage
from tests.peers.kinds import Recorder, done, picture
from tests.peers.outsiders import false_worker
from tests.peers.virtual import NET, VirtualMesh, net_mkudos, pictures_of, virtual_mesh

SEEDS = range(6)
JOBS = 6
PRICES = (0, 400, 1000, 1000, 2500)
TARIFF = image_mkudos(ImageWork(64, 64, 4, "other"))


async def town(mesh: VirtualMesh, *prices: int, **asker: object) -> None:
    for number, price in enumerate(prices):
        await mesh.worker(f"worker{number}", worker__price_permille=price)
    await mesh.requester(**asker)


def quote(mesh: VirtualMesh, **fields: object) -> Quote:
    requester = mesh.nodes["asker"].requester
    assert requester is not None
    return requester.quote(ImageRequest(**{"prompt": "x", "steps": 4, **fields}))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_bill_exceeds_the_quote(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    rng = random.Random(seed)
    async with virtual_mesh(seed) as mesh:
        await town(mesh, *PRICES, requester__max_mkudos=rng.choice([3000, 20_000, 100_000]))
        asker, spent = mesh.nodes["asker"], 0
        for _ in range(JOBS):
            fields = {
                "steps": rng.randint(1, 40),
                "width": (side := rng.choice([0, 64, 128, 256])),
                "height": side,
                "count": rng.randint(1, 9),
                "max_mkudos": rng.choice([None, 0, 1, 4000, 9000, 10**6]),
                "shared": rng.choice([None, True, False]),
            }
            said = quote(mesh, **fields)
            job = await pictures_of(asker, **fields)
            assert job.mkudos <= said.total_mkudos, (seed, fields)
            assert all(part.mkudos <= said.max_mkudos for part in job.parts), (seed, fields)
            assert (job.state == "done") == bool(said.in_reach), (seed, fields, job.error)
            spent += job.mkudos
        assert -net_mkudos(asker, asker) == spent, seed
        held = asker.ledger.balance(asker.identity.public_key).held
        assert held == 0, seed


async def test_no_bill_exceeds_the_quote_when_workers_die_at_it(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await town(mesh, 0, 400, 1000)
        said = quote(mesh, count=12, max_mkudos=TARIFF)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_at, mesh, "worker0", 1.5)
            nursery.start_soon(kill_at, mesh, "worker1", 3.5)
            job = await pictures_of(mesh.nodes["asker"], count=12, max_mkudos=TARIFF)
        assert job.state == "done" and {part.state for part in job.parts} == {"done", "lost"}
        assert job.mkudos == -net_mkudos(mesh.nodes["asker"], mesh.nodes["asker"]) <= said.total_mkudos


async def kill_at(mesh: VirtualMesh, name: str, seconds: float) -> None:
    await trio.sleep(seconds)
    await mesh.kill(name)


async def test_a_quote_tells_tariff_limit_and_levels(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await town(mesh, 500, 1000, 1000)
        said = quote(mesh, count=3, max_mkudos=4000)
        assert (said.model, said.width, said.height, said.count, said.own) == ("fake", 64, 64, 3, False)
        assert (said.tariff_mkudos, said.max_mkudos, said.total_mkudos) == (TARIFF, 4000, 12_000)
        assert said.levels == (Level(1, 500, scaled(TARIFF, 500)), Level(2, 1000, TARIFF))
        assert said.in_reach == 1
        assert quote(mesh).max_mkudos == 250_000, "the settings' limit, where the request names none"


async def test_a_quote_asks_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await town(mesh, 1000)
        before, entries = mesh.digest(), mesh.nodes["asker"].ledger.head().seq
        quote(mesh, count=64)
        await trio.testing.wait_all_tasks_blocked()
        assert mesh.digest() == before
        assert mesh.nodes["asker"].ledger.head().seq == entries
        assert mesh.nodes["asker"].requester is not None and not mesh.nodes["asker"].requester.jobs


async def test_sharing_is_cheaper_by_the_tariff(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await town(mesh, 1000, requester__share=True)
        asker = mesh.nodes["asker"]
        assert quote(mesh).tariff_mkudos == TARIFF - 2000, "as the settings say"
        assert quote(mesh, shared=False).tariff_mkudos == TARIFF
        assert (await pictures_of(asker)).mkudos == TARIFF - 2000
        assert (await pictures_of(asker, shared=False)).mkudos == TARIFF


async def test_without_a_known_worker_there_is_no_quote(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.requester()
        with pytest.raises(RequestError, match="no worker is known yet that offers any model"):
            quote(mesh)
        await mesh.worker("worker")
        with pytest.raises(RequestError, match="'sdxl'"):
            quote(mesh, model="sdxl")
        with pytest.raises(RequestError, match="multiple of 8"):
            quote(mesh, width=63, height=64)
        assert quote(mesh, steps=101).levels == (), "nobody takes so many steps"


async def test_the_own_device_costs_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("asker", "requester worker", FakeEngine(seconds_per_picture=1.0))
        said = quote(mesh)
        assert (said.own, said.levels) == (True, ())
        assert (await pictures_of(mesh.nodes["asker"])).mkudos == 0


@pytest.mark.parametrize("asks", [TARIFF + 1, 2**38])
async def test_a_bid_above_the_limit_is_not_taken(asks: int, autojump_clock: trio.testing.MockClock) -> None:
    """Its advert speaks of the tariff."""
    async with virtual_mesh() as mesh, false_worker(mesh, None, mkudos=asks) as false:
        asker = await mesh.requester()
        await asker.net.connect(false.net.addresses()[0])
        await false.show_itself()
        await trio.sleep(3)
        said = quote(mesh, max_mkudos=TARIFF)
        assert said.in_reach == 1
        job = await pictures_of(asker, max_mkudos=TARIFF)
        assert (job.state, job.mkudos, false.awards) == ("failed", 0, 0)
        assert (await pictures_of(asker, max_mkudos=asks)).mkudos == 0 < false.awards, "it was the price"


@pytest.mark.parametrize(("max_hold", "pictures"), [(TARIFF * 2, 5), (TARIFF, 2)])
async def test_no_hold_is_larger_than_the_charter_allows(
    max_hold: int, pictures: int, autojump_clock: trio.testing.MockClock
) -> None:
    charter = Charter("meshgen-test", limits=CharterLimits(max_hold_mkudos=max_hold))
    async with virtual_mesh() as mesh:
        await town(mesh, 1000)
        asker = mesh.nodes["asker"]
        asker.charters.lineage = Lineage(NET, charter)
        job = await pictures_of(asker, count=pictures)
        assert job.state == "done"
        assert max(len(part.indices) for part in job.parts) <= max_hold // TARIFF
        assert quote(mesh).max_mkudos == max_hold


async def test_a_worker_takes_no_hold_larger_than_the_charter_allows(autojump_clock: trio.testing.MockClock) -> None:
    charter = Charter("meshgen-test", limits=CharterLimits(max_hold_mkudos=TARIFF))
    async with virtual_mesh() as mesh:
        await town(mesh, 1000)
        worker = mesh.nodes["worker0"]
        worker.charters.lineage = Lineage(NET, charter)
        worker._follow_charter()
        job = await pictures_of(mesh.nodes["asker"], count=2)
        assert job.state == "failed" and "bad_hold" in " ".join(job.notes)
        assert (await pictures_of(mesh.nodes["asker"])).state == "done"


@pytest.mark.parametrize(
    "given", [{"source": picture()}, {"control": ControlWish("canny", picture())}], ids=["source", "ControlNet"]
)
async def test_what_is_made_from_a_picture_is_not_shared(given: dict[str, Any], autojump_clock: object) -> None:
    """Neither by wish nor by a standing one: the offer does not say so, and it is not cheaper."""
    async with virtual_mesh() as mesh:
        await mesh.add("worker", "worker", Recorder())
        asker = await mesh.requester("asker", requester__share=True)
        assert asker.requester is not None
        plain = asker.requester.quote(ImageRequest("x", steps=2))
        quoted = asker.requester.quote(ImageRequest("x", steps=2, shared=True, **given))
        assert (plain.shared, quoted.shared) == (True, False) and quoted.tariff_mkudos >= plain.tariff_mkudos + 2000
        job = await done(asker, ImageRequest("x", steps=2, **given))
        assert job.request.shared is False and job.mkudos == quoted.tariff_mkudos
