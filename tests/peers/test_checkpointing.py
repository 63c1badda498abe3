"""Sums that others witness, and what may then be dropped."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshgen.peers import checkpointing
from meshgen.peers.peer import Peer
from meshgen.peers.reconciliation import RECONCILE_S
from meshgen.protocols.credit import Checkpoint
from meshgen.testing import VirtualMesh, pictures_of, virtual_mesh


async def village(mesh: VirtualMesh, archivists: int = 2) -> tuple[Peer, Peer]:
    """A worker and its requester, after a job, and so many archivists that hold their logs."""
    for number in range(archivists):
        await mesh.add(f"archive {number}", "hub archivist")
    worker, asker = await mesh.worker("worker"), await mesh.requester("asker")
    assert (await pictures_of(asker)).state == "done"
    await trio.sleep(2 * RECONCILE_S)
    return worker, asker


async def test_sums_are_witnessed_by_those_who_find_the_same(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        _, asker = await village(mesh)
        entry = await asker.bookkeeping.checkpointing.make()
        assert entry is not None
        content = Checkpoint.from_entry(entry)
        assert content.upto_seq == entry.seq - 1 and content.spent == asker.ledger.balance(entry.author).spent > 0
        assert {cosig.witness for cosig in content.cosigs} >= {
            mesh.nodes[name].identity.public_key for name in ("archive 0", "archive 1")
        }


async def test_without_witnesses_nothing_is_said(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        _, asker = await village(mesh, archivists=1)
        mesh.partition(("asker",), ("worker", "archive 0"))
        head = asker.ledger.head()
        assert await asker.bookkeeping.checkpointing.make() is None
        assert asker.ledger.head() == head


async def test_what_an_old_checkpoint_covers_is_dropped_by_all_but_archivists(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await village(mesh)
        key = asker.identity.public_key
        assert await asker.bookkeeping.checkpointing.make()
        for name in ("archive 0", "archive 1"):  # the worker knows its witnesses
            node = mesh.nodes[name]
            await worker.bookkeeping.archivist.pull(node.net.peer_id, node.identity.public_key)
        await trio.sleep(2 * RECONCILE_S)
        before = worker.ledger.balance(key)
        await worker.bookkeeping.checkpointing.prune()
        assert worker.ledger.entries(key, 2, 2), "it is young"
        monkeypatch.setattr(checkpointing, "PRUNE_AGE_MS", 0)
        for node in (worker, asker, mesh.nodes["archive 0"]):
            await node.bookkeeping.checkpointing.prune()
        assert not worker.ledger.entries(key, 2, 2)
        assert worker.ledger.balance(key) == before
        assert asker.ledger.entries(key, 2, 2) and mesh.nodes["archive 0"].ledger.entries(key, 2, 2)
