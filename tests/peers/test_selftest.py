"""What a node shows of its work and of its place in the mesh, for `meshgen top` and `meshgen doctor`."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshgen.gateway.bodies import job_view
from meshgen.net.port import Unreachable
from meshgen.peers.directory import advert_key
from meshgen.peers.request import ImageRequest
from meshgen.protocols.advert import Advert
from meshgen.protocols.envelope import unsign
from meshgen.testing.mesh import VirtualMesh
from tests.peers.virtual import virtual_mesh


async def pair(mesh: VirtualMesh) -> None:
    await mesh.worker("w", seconds=10)
    await mesh.requester()


async def test_a_job_shows_how_far_it_is(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await pair(mesh)
        worker, asker = mesh.nodes["w"], mesh.nodes["asker"]
        assert asker.requester is not None and worker.status()["worker"]["current"] == []
        job = asker.requester.submit(ImageRequest(prompt="a lighthouse", count=2, steps=4))
        seen = [0.0]
        while not job.final:
            await trio.sleep(2)
            seen.append(job_view(job)["progress"])
            for now in worker.status()["worker"]["current"]:
                assert set(now) == {"model", "count", "done", "step", "steps", "drawing", "seconds"}
                assert 0 <= now["done"] <= now["count"] == 2 and 0 <= now["step"] <= now["steps"] == 4
        assert seen == sorted(seen) and seen[-1] == 1.0 and any(0 < share < 1 for share in seen)
        await trio.sleep(5)
        assert worker.status()["worker"]["current"] == []


async def test_a_node_finds_its_place(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await pair(mesh)
        worker, asker = mesh.nodes["w"], mesh.nodes["asker"]
        await trio.sleep(40)
        found = await worker.selftest()
        assert found["gossip"]["present"] == 1 and found["gossip"]["presence_s"] < 35
        assert found["gossip"]["offers"] == ["other"] and (await asker.selftest())["gossip"]["offers"] == []
        assert found["table"]["error"] == "" and worker.directory.own is not None
        value = await asker.net.get_value(advert_key(worker.net.peer_id))
        assert value and unsign(value, Advert).message.seq > worker.directory.own.message.seq, "put there just now"
        assert worker.peers()[0]["connected"] and not worker.peers()[0]["relayed"] and "rtt_ms" in worker.peers()[0]


async def test_a_door_is_linked_or_not(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub")
        here = f"/ip4/192.0.2.1/tcp/1/p2p/{hub.peer_id}"
        gone = "/ip4/192.0.2.1/tcp/2/p2p/12D3KooWQe3GmcX3ewAMpwQWTidu19mRdT11B9F2SkHJob3Qm8pi"
        asker = await mesh.requester(mesh__bootstrap=[here, gone])
        await trio.sleep(5)
        found = (await asker.selftest())["doors"]
        assert found == [{"address": here, "linked": True}, {"address": gone, "linked": False}]


async def test_what_the_table_says_is_told(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with virtual_mesh() as mesh:
        await pair(mesh)
        worker = mesh.nodes["w"]
        await trio.sleep(5)

        async def refuse(_key: str, _value: bytes) -> None:
            raise Unreachable("nobody answers")

        monkeypatch.setattr(worker.net, "put_value", refuse, raising=False)
        assert (await worker.selftest())["table"]["error"] == "nobody answers"

        async def hang(_key: str, _value: bytes) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(worker.net, "put_value", hang, raising=False)
        assert (await worker.selftest())["table"]["error"] == "no answer within 15 s"
