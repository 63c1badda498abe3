"""A peer whose engine is a bridge: a worker while somebody asks it for jobs."""

from __future__ import annotations

import trio
import trio.testing

from meshgen.engine.bridge.bridge import Bridge, HandIn
from meshgen.engine.bridge.crew import LIVE_S
from meshgen.engine.bridge.popper import Popper
from meshgen.engine.fake import FakeEngine
from meshgen.engine.several import Several
from meshgen.peers.request import ImageRequest
from tests.peers.virtual import pictures_of, virtual_mesh

MODEL = "Deliberate"
PAINTER = Popper("rig", "image", (MODEL,), "reGen:10:https://x", max_pixels=2**20, threads=2)


async def test_it_is_a_worker_once_somebody_asks_it_for_jobs(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        bridge = Bridge()
        rig = await mesh.add("rig", "worker", bridge)
        other = await mesh.add("other", "requester")
        await trio.sleep(5)

        def seen() -> tuple[tuple[str, ...], str, list[str]]:
            (advert,) = [signed.message for signed in other.directory.adverts() if signed.peer == rig.peer_id]
            return advert.roles, advert.device_kind, [model.name for model in advert.models]

        assert seen() == ((), "", []) and rig.status()["worker"] is None
        assert rig.overseer is not None and not rig.overseer.state()["takes_work"]
        bridge.pop(PAINTER)
        await trio.sleep(5)
        assert seen() == (("worker",), "bridge", [MODEL])
        assert rig.overseer.state()["takes_work"] and rig.status()["worker"]["models"] == [MODEL]
        await trio.sleep(LIVE_S + 10)
        assert seen() == ((), "", [])


async def test_what_its_worker_never_brings_is_done_by_another(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        bridge = Bridge()
        await mesh.add("rig", "worker", Several(FakeEngine([]), bridge))
        bridge.pop(PAINTER)
        requester = await mesh.add("asks", "requester")
        await trio.sleep(5)
        taken: list[str] = []

        async def asks() -> None:
            while True:
                pieces = bridge.pop(PAINTER).pieces
                for piece in pieces:
                    taken.append(piece.id)
                    await bridge.submit(piece.id, HandIn("faulted"))
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(asks)
            job = await pictures_of(requester, model=MODEL, width=64, height=64)
            nursery.cancel_scope.cancel()
        assert job.state == "failed" and len(taken) >= 2
        assert "secret" not in " ".join(job.notes) and any("crashed" in note for note in job.notes)


async def test_who_asks_before_the_own_worker_is_there_is_served_once_it_is(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        bridge = Bridge()
        alone = await mesh.add("alone", "requester worker", Several(FakeEngine([]), bridge))
        assert alone.requester is not None
        job = alone.requester.submit(ImageRequest(prompt="x", model=MODEL, width=64, height=64, patience_s=600))
        await trio.sleep(5)
        assert job.state == "offering" and not bridge.pop(PAINTER).pieces
        await trio.sleep(5)
        assert bridge.pop(PAINTER).pieces and job.parts[0].worker == alone.peer_id
