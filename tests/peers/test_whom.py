"""Requests for some workers alone, or for all but some."""

from __future__ import annotations

import pytest
import trio.testing

from meshgen.peers.request import Whom
from tests.peers.virtual import pictures_of, virtual_mesh


@pytest.mark.parametrize("seed", (1, 2, 3))
async def test_only_those_that_are_named_work(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh(seed) as mesh:
        wanted, other, asker = await mesh.worker("wanted", seconds=2), await mesh.worker("other"), await mesh.requester()
        for whom in (Whom(only=frozenset((wanted.peer_id,))), Whom(never=frozenset((other.peer_id,)))):
            job = await pictures_of(asker, count=6, whom=whom)
            assert job.state == "done" and {part.worker for part in job.parts} == {wanted.peer_id}


async def test_nobody_else_is_taken_when_they_are_away(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        other, asker = await mesh.worker("other"), await mesh.requester()
        job = await pictures_of(asker, whom=Whom(only=frozenset((asker.peer_id,))))
        assert job.state == "failed" and "not among those that may be asked" in job.error and not job.parts
        assert asker.requester is not None
        assert not asker.requester.quote(job.request).levels, "nor is anybody else's price told"
        assert other.ledger.head().seq == 1
