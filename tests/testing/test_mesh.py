"""The virtual mesh does to its nodes what it says."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing

from meshgen.ledger.errors import LedgerError
from meshgen.net.port import NetError
from meshgen.peers.peer import Peer
from meshgen.protocols.credit import Transfer
from meshgen.testing import VirtualMesh, identity, net_mkudos, pictures_of, simulate, virtual_mesh
from meshgen.testing.__main__ import main

TIP = Transfer(identity("somebody").public_key, 5, 0, b"")


async def gives_a_tip(node: Peer) -> None:
    """Whatever becomes of the node."""
    with suppress(LedgerError):
        await node.ledger.append(TIP)


async def settled(mesh: VirtualMesh) -> Peer:
    await mesh.add("hub", "hub archivist")
    asker = await mesh.requester()
    await trio.sleep(60)
    return asker


@pytest.mark.parametrize(("after", "kept"), ((False, 1), (True, 2)))
async def test_a_crash_at_a_write(after: bool, kept: int, autojump_clock: trio.testing.MockClock) -> None:
    """Before it, the entry is lost; after it, the entry is there."""
    async with virtual_mesh() as mesh:
        asker = await settled(mesh)
        mesh.crash("asker", after=after)
        with pytest.raises(BaseException, match="asker"):
            await asker.ledger.append(TIP)
        await mesh.died("asker")
        assert not mesh.running("asker")
        again = await mesh.restart("asker")
        assert mesh.running("asker")
        assert (again is asker, again.ledger.head().seq) == (False, kept)


async def test_who_was_killed_writes_and_says_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        asker = await settled(mesh)
        said = mesh.net.counters["message"]
        await mesh.kill("asker")
        with pytest.raises(BaseException, match="asker"):
            await asker.ledger.append(TIP)
        with pytest.raises(NetError):
            await asker.net.publish("a topic", b"")
        assert mesh.net.counters["message"] == said
        assert (await mesh.restart("asker")).ledger.head().seq == 1


async def test_a_backup_is_what_was_there_then(autojump_clock: trio.testing.MockClock) -> None:
    """The tail is taken back from the hub."""
    async with virtual_mesh() as mesh:
        asker = await settled(mesh)
        old = mesh.backup("asker")
        await gives_a_tip(asker)
        await trio.sleep(60)
        await mesh.leave("asker")
        again = await mesh.restore("asker", old)
        await trio.sleep(10)
        assert again.ledger.head() == asker.ledger.head()


async def test_islands_by_name(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        asker, worker = await settled(mesh), await mesh.worker("worker")
        mesh.partition(["hub", "asker"])
        with pytest.raises(NetError):
            await asker.net.connect(worker.net.addresses()[0])
        mesh.heal()
        await asker.net.connect(worker.net.addresses()[0])


def test_a_study() -> None:
    async def study(mesh: VirtualMesh) -> dict[str, int]:
        hub = await mesh.add("hub", "hub archivist")
        await mesh.worker("worker", seconds=2.0)
        job = await pictures_of(await mesh.requester(), count=2)
        assert job.state == "done"
        await trio.sleep(60)
        return {name: net_mkudos(hub, node) for name, node in mesh.nodes.items()}

    balances = simulate(study, seed=7, delay_s=(0.01, 0.2), loss=0.02)
    assert sum(balances.values()) == 0 < balances["worker"]


def test_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--workers", "2", "--requesters", "1", "--jobs", "1", "--count", "2"])
    printed = capsys.readouterr().out
    assert "worker 1" in printed
    assert "trace" in printed
