"""A prompt becomes pictures on other peers, and the credit follows: the whole exchange on the in-memory mesh."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.peers.virtual import net_mkudos, pictures_of, virtual_mesh

SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
async def test_nine_pictures_by_two_workers(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh(seed) as mesh:
        first, second = await mesh.worker("w1"), await mesh.worker("w2")
        asker = await mesh.requester()
        job = await pictures_of(asker, count=9, seed=100)
        assert (job.state, job.error) == ("done", "")
        assert sorted(job.pictures) == list(range(9))
        assert [job.pictures[index].seed for index in range(9)] == list(range(100, 109))
        assert {picture.worker for picture in job.pictures.values()} == {first.peer_id, second.peer_id}
        await trio.sleep(5)
        spent = job.mkudos
        assert spent > 0
        assert net_mkudos(asker, asker) == -spent
        assert net_mkudos(first, first) + net_mkudos(second, second) == spent
