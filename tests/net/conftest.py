"""A world to meet in: the same verbs over both nets, so that one suite of tests holds both to the port's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from meshgen.identity import Identity
from meshgen.net.memory import MemoryMesh
from meshgen.net.port import Channel, Net, PeerId, TableRules

RULES = TableRules(
    "meshgen",
    validator=lambda _key, value: value.startswith(b"v"),
    selector=lambda _key, values: max(range(len(values)), key=values.__getitem__),
)


def identity(number: int) -> Identity:
    return Identity.from_seed(bytes([number]) * 32)


async def echo(channel: Channel) -> None:
    while (message := await channel.receive()) is not None:
        await channel.send(message)


async def until(condition: Any, seconds: float = 10) -> None:
    """Wait for what a network does in its own time."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what libp2p does has no event
            await trio.sleep(0.01)


class World:
    """Peers by number; each lives in a task of its own, so that one can be killed."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: dict[PeerId, trio.CancelScope] = {}
        self._gone: dict[PeerId, trio.Event] = {}
        self.nets: list[Any] = []

    async def join(self, number: int, **options: Any) -> Net:
        """A peer that is connected to the first one."""
        net: Net = await self._nursery.start(self._live, number, options)
        self.nets.append(net)
        if net is not self.nets[0]:
            await net.connect(self.nets[0].addresses()[0])
        return net

    async def _live(self, number: int, options: dict[str, Any], task_status: Any) -> None:
        with trio.CancelScope() as scope:
            async with self.opened(number, options) as net:
                self._scopes[net.peer_id] = scope
                self._gone[net.peer_id] = trio.Event()
                task_status.started(net)
                await trio.sleep_forever()
        self._gone[net.peer_id].set()

    def opened(self, number: int, options: dict[str, Any]) -> Any:
        raise NotImplementedError

    async def kill(self, net: Net) -> None:
        self._scopes[net.peer_id].cancel()
        await self._gone[net.peer_id].wait()


class MemoryWorld(World):
    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.mesh = MemoryMesh(seed=1, delay_s=(0, 0.002))

    def opened(self, number: int, options: dict[str, Any]) -> Any:
        return self.mesh.join(identity(number), table=RULES)


class Libp2pWorld(World):
    def opened(self, number: int, options: dict[str, Any]) -> Any:
        from meshgen.net.libp2p import open_libp2p

        return open_libp2p(identity(number), options.pop("listen", ["/ip4/127.0.0.1/tcp/0"]), table=RULES, **options)


@pytest.fixture(params=["memory", "libp2p"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield {"memory": MemoryWorld, "libp2p": Libp2pWorld}[request.param](nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def libp2p_world() -> AsyncIterator[Libp2pWorld]:
    async with trio.open_nursery() as nursery:
        yield Libp2pWorld(nursery)
        nursery.cancel_scope.cancel()
