"""A log that its owner brought back from a backup: only who keeps it can say where it ends."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from meshgen.home import PLACE_FILE, RESTORED_FILE
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.store import Disk
from meshgen.peers.peer import Peer
from meshgen.peers.recall import LOST_PATIENCE_S, PATIENCE_S
from meshgen.peers.request import ImageRequest, Whom
from meshgen.peers.trouble import own_trouble
from meshgen.protocols.credit import NO_HEAD, Transfer
from meshgen.settings import load_settings
from meshgen.testing import NET, VirtualMesh, identity, now_ms, simulate, virtual_mesh

GIFT = Transfer(identity("friend").public_key, 1, 0, b"")
ME = identity("me")


async def lived(times: int) -> tuple[Disk, Disk]:
    """(a disk after so many entries, a backup from before the last three)."""
    disk, backup = Disk(), Disk()
    async with open_ledger(disk, ME, NET, now_ms=now_ms) as ledger:
        for number in range(times):
            if number == times - 3:
                backup = disk.copy()
            await ledger.append(GIFT)
    return disk, backup


@asynccontextmanager
async def restored(mesh: VirtualMesh, backup: Disk, told: list[str], through: Peer) -> AsyncIterator[Peer]:
    async with (
        mesh.net.join(ME) as net,
        open_ledger(backup, ME, NET, now_ms=now_ms) as ledger,
        trio.open_nursery() as nursery,
    ):
        ledger.distrust()
        ledger.on_recalled = lambda: told.append("recalled")
        peer = Peer(load_settings(overrides={"node.alias": "me"}), ME, net, ledger, None, now_ms=now_ms)
        await nursery.start(peer.run)
        await net.connect(through.net.addresses()[0])
        yield peer
        nursery.cancel_scope.cancel()


async def test_who_knows_nothing_of_it_is_not_enough(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    disk, backup = await lived(6)
    told: list[str] = []
    async with virtual_mesh() as mesh:
        bystander = await mesh.requester("bystander")
        async with restored(mesh, backup, told, bystander) as me, trio.open_nursery() as nursery:
            held = me.ledger.head().seq
            nursery.start_soon(me.ledger.append, GIFT)
            await trio.sleep(PATIENCE_S * 4)
            assert me.ledger.head().seq == held == 4 and not told
            assert "came from a backup" in own_trouble(me.ledger) and "whole again" not in caplog.text
            hub = await mesh.add("hub", "hub archivist")
            async with open_ledger(disk, ME, NET, now_ms=now_ms) as whole:
                chain = whole.entries(ME.public_key, 1, 7)
            await hub.bookkeeping.archivist.take(ME.public_key, chain)
            await me.net.connect(hub.net.addresses()[0])
        assert me.ledger.head().seq == 8, "behind what the backup lacked"
        assert told == ["recalled"] and own_trouble(me.ledger) == "" and not me.ledger.is_restored
        assert not hub.ledger.forks() and "this home's credit log is whole again, with 7 entries" in caplog.text


async def test_one_that_was_not_brought_back_goes_on_where_nobody_knows(autojump_clock: trio.testing.MockClock) -> None:
    """As in a young mesh."""
    disk, _ = await lived(6)
    async with virtual_mesh() as mesh:
        bystander = await mesh.requester("bystander")
        async with mesh.net.join(ME) as net, open_ledger(disk, ME, NET, now_ms=now_ms) as ledger, trio.open_nursery() as nursery:
            peer = Peer(load_settings(), ME, net, ledger, None, now_ms=now_ms)
            await nursery.start(peer.run)
            await net.connect(bystander.net.addresses()[0])
            await ledger.append(GIFT)
            assert ledger.head().seq == 8
            nursery.cancel_scope.cancel()


async def test_a_log_that_no_backup_holds_comes_back_whole(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """The backup was made before the node's first run, or the log is lost: the key alone is there."""
    disk, _ = await lived(6)
    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub archivist")
        async with open_ledger(disk, ME, NET, now_ms=now_ms) as whole:
            await hub.bookkeeping.archivist.take(ME.public_key, whole.entries(ME.public_key, 1, 7))
        (tmp_path / RESTORED_FILE).write_text(f"{ME.peer_id} 0 2026-06-01\n")
        async with (
            mesh.net.join(ME) as net,
            open_ledger(tmp_path, ME, NET, now_ms=now_ms) as ledger,
            trio.open_nursery() as nursery,
        ):
            assert ledger.head() == NO_HEAD and ledger.is_restored
            peer = Peer(load_settings(), ME, net, ledger, None, now_ms=now_ms, home=tmp_path)
            await nursery.start(peer.run)
            assert peer.status()["credit"]["entries"] == 0
            await net.connect(hub.net.addresses()[0])
            assert (await ledger.append(GIFT)).seq == 8
            assert not (tmp_path / RESTORED_FILE).exists() and not hub.ledger.forks()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_last_partner_alone_knows_the_end(seed: int) -> None:
    """An old copy of the folder, and whoever holds the last entries is away while all others tell of earlier ones."""

    async def study(mesh: VirtualMesh) -> None:
        hub = await mesh.add("hub", "hub archivist")
        workers = {name: await mesh.worker(name, seconds=0.5) for name in ("near", "far")}
        asker = await mesh.requester()

        async def draw(name: str) -> str:
            assert asker.requester
            whom = Whom(only=frozenset({workers[name].peer_id}))
            job = asker.requester.submit(ImageRequest(prompt="a fjord", steps=4, whom=whom))
            await job.wait()
            return job.state

        assert await draw("near") == "done"
        old = mesh.backup("asker")
        assert await draw("near") == await draw("far") == "done"
        await trio.sleep(30)  # the hub has it all
        mesh.partition(["asker", "far"])
        await trio.sleep(30)
        assert await draw("far") == "done"
        mesh.partition(["far"])
        await mesh.kill("asker")
        asker = await mesh.restore("asker", old)
        await trio.sleep(LOST_PATIENCE_S / 2)
        assert asker.ledger.known(asker.identity.public_key).seq == hub.ledger.known(asker.identity.public_key).seq
        mesh.heal()
        await trio.sleep(LOST_PATIENCE_S)
        assert await draw("near") == "done"
        await trio.sleep(60)
        assert not any(node.ledger.forks() for node in (hub, asker, *workers.values())), seed

    simulate(study, seed, calm=False)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_archivist_that_is_behind_itself_is_not_enough_for_a_copy(seed: int) -> None:
    """Both come from old backups of the same hour, and the worker who knows better is away."""

    async def study(mesh: VirtualMesh) -> None:
        hub = await mesh.add("hub", "hub archivist")
        worker = await mesh.worker("far", seconds=0.5)
        asker = await mesh.requester()

        async def draw() -> str:
            assert asker.requester
            job = asker.requester.submit(ImageRequest(prompt="a fjord", steps=4))
            await job.wait()
            return job.state

        assert await draw() == "done"
        await trio.sleep(30)
        old_hub, old_asker = mesh.backup("hub"), mesh.backup("asker")
        assert await draw() == await draw() == "done"
        await mesh.kill("hub")
        await mesh.kill("asker")
        mesh.partition(["far"])
        hub = await mesh.restore("hub", old_hub)
        asker = await mesh.restore("asker", old_asker)
        held = asker.ledger.head().seq
        assert hub.ledger.known(asker.identity.public_key).seq <= held
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asker.ledger.append, GIFT)
            await trio.sleep(LOST_PATIENCE_S / 2)
            assert asker.ledger.head().seq == held and "is a copy" in own_trouble(asker.ledger)
            mesh.heal()
        await trio.sleep(60)
        assert own_trouble(asker.ledger) == ""
        assert await draw() == "done"
        await trio.sleep(60)
        assert not any(node.ledger.forks() for node in (hub, asker, worker)), seed

    simulate(study, seed, calm=False)


async def test_a_copied_folder_is_known_until_its_log_is_confirmed(tmp_path: Path) -> None:
    async def is_copied(home: Path, *, confirmed: bool = False) -> bool:
        async with open_ledger(home, ME, NET, now_ms=now_ms) as ledger:
            found = ledger.is_copied
            if confirmed:
                ledger.allow_appends()
            return found

    home, copy = tmp_path / "home", tmp_path / "copy"
    assert [await is_copied(home) for _ in range(2)] == [False, False]
    shutil.copytree(home, copy)  # with its times
    assert [await is_copied(copy) for _ in range(2)] == [True, True], "as long as nobody was asked"
    assert await is_copied(copy, confirmed=True)
    assert not await is_copied(copy) and not await is_copied(home)
    (home / PLACE_FILE).unlink()
    assert not await is_copied(home), "a home from before there was that file"
