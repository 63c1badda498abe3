"""A mesh of any size draws for a while: who earned and spent what, and the trace's digest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import trio

from meshgen.testing import VirtualMesh, pictures_of, simulate

REST_S = 120.0
"""After the last job, so that the hub has heard of everything."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m meshgen.testing", description=__doc__)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--requesters", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="of each requester, one after the other")
    parser.add_argument("--count", type=int, default=4, help="pictures in a job")
    parser.add_argument("--loss", type=float, default=0.02, help="the chance that one peer misses one gossip")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    simulate(partial(study, given), given.seed, delay_s=(0.01, 0.2), loss=given.loss)


async def study(given: argparse.Namespace, mesh: VirtualMesh) -> None:
    hub = await mesh.add("hub", "hub archivist")
    for number in range(given.workers):
        await mesh.worker(f"worker {number}", seconds=mesh.rng.uniform(1, 5))
    async with trio.open_nursery() as nursery:
        for number in range(given.requesters):
            nursery.start_soon(_ask, mesh, f"requester {number}", given.jobs, given.count)
    await trio.sleep(REST_S)
    print(f"{'peer':14}{'earned':>10}{'spent':>10}{'held':>10}  milli-kudos, as the hub sees it")
    for name, node in mesh.nodes.items():
        balance = hub.ledger.balance(node.identity.public_key)
        print(f"{name:14}{balance.earned:10}{balance.spent:10}{balance.held:10}")
    print(f"{trio.current_time():.0f} virtual seconds, seed {mesh.seed}, trace {mesh.digest()}")


async def _ask(mesh: VirtualMesh, name: str, jobs: int, count: int) -> None:
    node = await mesh.requester(name)
    for _ in range(jobs):
        await pictures_of(node, count=count)


if __name__ == "__main__":
    main()
