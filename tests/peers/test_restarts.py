"""Nodes that are killed in the middle of a job and come back: what was vouched is paid, once, whoever was killed."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshgen.ledger.fold import Balance
from meshgen.peers.job import Job
from meshgen.peers.peer import Peer
from meshgen.peers.request import ImageRequest
from meshgen.protocols.credit import Claim, Receipt
from meshgen.testing import VirtualMesh, virtual_mesh

PICTURE_S = 2.0
HOLD_S = 300.0
"""Longer than any hold of these jobs lives."""


async def begun(mesh: VirtualMesh) -> tuple[Peer, Peer, Job]:
    """A worker that drew one picture of four, its requester, and the job."""
    await mesh.add("hub", "hub archivist")  # who restarts asks others for its own chain
    worker, asker = await mesh.worker("w", seconds=PICTURE_S), await mesh.requester()
    assert asker.requester is not None
    job = asker.requester.submit(ImageRequest(prompt="x", steps=4, count=4))
    await trio.sleep(1.5 * PICTURE_S)
    assert worker.ledger.dues()
    return worker, asker, job


def own(node: Peer) -> Balance:
    return node.ledger.balance(node.identity.public_key)


def states(node: Peer) -> list[str]:
    return [line.state for line in node.ledger.explain(node.identity.public_key)]


async def test_what_a_job_has_come_to_is_kept_on_both_sides(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker, job = await begun(mesh)
        (claim,), (receipt,) = worker.ledger.dues(), asker.ledger.dues()
        assert isinstance(claim, Claim)
        assert isinstance(receipt, Receipt)
        assert claim.hold_id == receipt.hold_id
        assert claim.amount == receipt.amount == job.parts[0].mkudos
        await job.wait()
        await trio.sleep(10)
        assert (worker.ledger.dues(), asker.ledger.dues()) == ([], [])
        assert own(worker).earned == own(asker).spent == job.mkudos == 4 * claim.amount


async def test_a_requester_that_comes_back_signs_for_what_it_vouched(autojump_clock: trio.testing.MockClock) -> None:
    """It would have taken back the hold, and have denied its own voucher by that."""
    async with virtual_mesh() as mesh:
        worker, asker, job = await begun(mesh)
        price = job.parts[0].mkudos
        await mesh.kill("asker")
        asker = await mesh.restart("asker")
        assert own(asker).spent == price
        await trio.sleep(HOLD_S)
        assert own(worker).earned == price
        assert (own(asker).held, own(asker).contested, states(asker)) == (0, 0, ["paid"])


async def test_a_worker_that_comes_back_waits_for_the_receipt(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        _worker, asker, job = await begun(mesh)
        price = job.parts[0].mkudos
        await mesh.kill("w")
        worker = await mesh.restart("w")
        await trio.sleep(HOLD_S)
        assert job.state == "done", "it is given the rest of the job, too"
        assert own(worker).earned == own(asker).spent == 4 * price
        assert (worker.ledger.dues(), states(worker)) == ([], ["paid", "paid"])
        assert worker.ledger.head().seq == 1, "there was nothing to claim"


@pytest.mark.parametrize("again", (False, True))
async def test_a_worker_that_comes_back_claims_when_the_hold_is_over(again: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Its requester never does; ``again``: the worker is killed once more while it waits."""
    async with virtual_mesh() as mesh:
        _worker, _asker, job = await begun(mesh)
        price = job.parts[0].mkudos
        mesh.crash("asker")  # before it can sign
        await mesh.kill("w")
        await mesh.died("asker")
        worker = await mesh.restart("w")
        if again:
            await trio.sleep(30)
            await mesh.kill("w")
            worker = await mesh.restart("w")
        assert own(worker).earned == 0, "it gives the requester the time that the hold lives"
        await trio.sleep(HOLD_S)
        assert own(worker).earned == price
        assert (worker.ledger.dues(), states(worker)) == ([], ["claimed"])


async def test_a_worker_that_left_in_good_order_still_claims(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        _worker, _asker, job = await begun(mesh)
        mesh.crash("asker")
        await mesh.leave("w")
        await mesh.died("asker")
        worker = await mesh.restart("w")
        await trio.sleep(HOLD_S)
        assert own(worker).earned == job.parts[0].mkudos
