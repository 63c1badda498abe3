"""Advisories: heard of those whom one follows, while they last, and of nobody else."""

from __future__ import annotations

from dataclasses import replace

import trio
import trio.testing

from meshgen.peers.peer import Peer
from meshgen.peers.reconciliation import RECONCILE_S
from meshgen.protocols.credit import Advisory
from meshgen.testing import VirtualMesh, identity, now_ms, pictures_of, virtual_mesh

WORKERS = ("w1", "w2")


async def village(mesh: VirtualMesh, *followed: str) -> tuple[Peer, Peer]:
    """An adviser and an asker who follows those."""
    adviser = await mesh.add("adviser", "hub archivist")
    for name in WORKERS:
        await mesh.worker(name)
    asker = await mesh.requester("asker", node__follow=[identity(name).peer_id for name in followed])
    return adviser, asker


def avoid(name: str) -> Advisory:
    return Advisory("clean", 0, 3, identity(name).public_key, "sends noise", 2, now_ms() + 10**7, b"")


async def workers_of(asker: Peer) -> set[str]:
    job = await pictures_of(asker, count=6)
    assert job.state == "done", job.error
    return {name for name in WORKERS for part in job.parts if part.worker == identity(name).peer_id}


async def test_workers_that_a_followed_peer_says_to_avoid_are_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        adviser, asker = await village(mesh, "adviser")
        assert await workers_of(asker) == set(WORKERS)
        await trio.sleep(2 * RECONCILE_S)
        word = avoid("w1")
        await adviser.ledger.append(word)
        await trio.sleep(2 * RECONCILE_S)
        assert await workers_of(asker) == {"w2"}
        await adviser.ledger.append(replace(word, op=1))
        await trio.sleep(2 * RECONCILE_S)
        assert await workers_of(asker) == set(WORKERS)


async def test_when_only_such_workers_are_left_the_person_is_told_why(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        adviser, asker = await village(mesh, "adviser")
        await trio.sleep(2 * RECONCILE_S)
        for name in WORKERS:
            await adviser.ledger.append(avoid(name))
        await trio.sleep(2 * RECONCILE_S)
        job = await pictures_of(asker)
        assert job.state == "failed"
        assert "advised against by those whom this node follows" in job.error


async def test_a_word_about_an_account_counts_for_its_devices_once_they_are_known(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        adviser, asker = await village(mesh, "adviser")
        assert await workers_of(asker) == set(WORKERS), "now it has their chains"
        await trio.sleep(2 * RECONCILE_S)
        account = asker.ledger.account_of(identity("w1").public_key)
        await adviser.ledger.append(replace(avoid("w1"), subject_type=0, subject=account))
        await trio.sleep(2 * RECONCILE_S)
        assert await workers_of(asker) == {"w2"}


async def test_what_strangers_advise_is_nothing_to_anybody(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        adviser, asker = await village(mesh)
        await trio.sleep(2 * RECONCILE_S)
        await adviser.ledger.append(avoid("w1"))
        await trio.sleep(2 * RECONCILE_S)
        assert await workers_of(asker) == set(WORKERS)
