"""A node of :mod:`tests.bench.scale`: a real peer on the real net, without the API; lines on its standard input tell what to do.

``offer``: ask for a picture; answers when the offer went out. ``heard``: answers [offer id, when] of all offers heard.
``lookup``: find the workers of a model in the table; answers seconds. ``known``: how many peers it knows. ``cpu``: processor
seconds so far.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import trio

from meshgen.engine.fake import FakeEngine
from meshgen.identity import load_or_create
from meshgen.ledger.ledger import open_ledger
from meshgen.net.libp2p import open_libp2p
from meshgen.peers.directory import model_key, table_rules
from meshgen.peers.peer import Peer, system_ms
from meshgen.peers.request import ImageRequest
from meshgen.protocols.credit import net_id
from meshgen.protocols.envelope import Signed
from meshgen.protocols.offer import Offer
from meshgen.settings import load_settings

NET = net_id(b"meshgen-scale")


def main() -> None:
    home = Path(sys.argv[1])
    home.mkdir(parents=True)
    trio.run(run, home, sys.argv[2], sys.argv[3:])


async def run(home: Path, roles: str, bootstrap: list[str]) -> None:
    identity = load_or_create(home)
    settings = load_settings(overrides={"node.roles": roles.split(","), "worker.engine": "fake"})
    engine = FakeEngine(seconds_per_picture=0) if "worker" in roles else None
    async with (
        open_ledger(home, identity, NET, now_ms=system_ms) as ledger,
        open_libp2p(identity, ["/ip4/127.0.0.1/tcp/0"], bootstrap, table=table_rules(system_ms)) as net,
    ):
        peer = Peer(settings, identity, net, ledger, engine)
        node = Node(peer)
        async with trio.open_nursery() as nursery:
            await nursery.start(peer.run)
            answer(net.addresses()[0])
            async for line in trio.wrap_file(sys.stdin):
                answer(await node.do(line.strip()))
            nursery.cancel_scope.cancel()


class Node:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._heard: list[tuple[str, float]] = []
        if peer.overseer is not None:
            peer.overseer.heard = partial(self._hear, peer.overseer.heard)  # type: ignore[method-assign]

    def _hear(self, then: Any, offer: Signed[Offer]) -> None:
        self._heard.append((offer.id.hex(), time.time()))
        then(offer)

    async def do(self, verb: str) -> Any:
        match verb:
            case "offer":
                return await self._offer()
            case "heard":
                return self._heard
            case "known":
                return sum(1 for _ in self._peer.directory.adverts())
            case "cpu":
                spent = psutil.Process().cpu_times()
                return [spent.user + spent.system, psutil.Process().memory_info().rss / 2**20]
            case "lookup":
                began = time.perf_counter()
                found = await self._peer.net.find_providers(model_key(NET, "fake"))
                return [time.perf_counter() - began, len(found)]
        raise ValueError(verb)

    async def _offer(self) -> list[object]:
        assert self._peer.requester is not None
        began = time.time()
        job = self._peer.requester.submit(ImageRequest(prompt="a fjord", steps=4))
        with trio.fail_after(60):
            await job.wait()
        return [began, job.state]


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
