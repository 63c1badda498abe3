"""Whole meshes in memory: real nodes with real roles and ledgers on the in-memory net, fake engines, virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import trio
import trio.testing

from meshgen.engine.fake import FakeEngine
from meshgen.engine.port import Engine
from meshgen.identity import Identity
from meshgen.ledger.ledger import open_ledger
from meshgen.net.memory import MemoryMesh
from meshgen.peers.directory import table_rules
from meshgen.peers.peer import MEET_S, Peer
from meshgen.peers.request import ImageRequest, Job
from meshgen.protocols.credit import net_id
from meshgen.settings import load_settings

EPOCH_MS = 1_789_000_000_000
NET = net_id(b"meshgen-test")


def now_ms() -> int:
    """Wall time as the virtual clock has it."""
    return EPOCH_MS + round(trio.current_time() * 1000)


def identity(name: str) -> Identity:
    return Identity.from_seed(sha256(name.encode()).digest())


class VirtualMesh:
    """Nodes by name. ``kill`` is abrupt; what a killed node's disk held is lost with it."""

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self.net = MemoryMesh(seed)
        self.seed = seed
        self.nodes: dict[str, Peer] = {}
        self._nursery = nursery
        self._scopes: dict[str, trio.CancelScope] = {}

    async def add(self, name: str, roles: str, engine: Engine | None = None, **overrides: Any) -> Peer:
        """A node with these roles ("worker archivist"); ``overrides`` are settings such as worker__max_queue=2."""
        given = {key.replace("__", "."): value for key, value in overrides.items()}
        settings = load_settings(overrides={"node.alias": name, "node.roles": roles.split(), **given})
        await self._nursery.start(self._host, name, settings, engine)
        return self.nodes[name]

    async def worker(self, name: str, seconds: float = 1.0, **overrides: Any) -> Peer:
        return await self.add(name, "worker", FakeEngine(seconds_per_picture=seconds), **overrides)

    async def requester(self, name: str = "asker", **overrides: Any) -> Peer:
        return await self.add(name, "requester", **overrides)

    async def kill(self, name: str) -> None:
        self.net.kill(self.nodes[name].net.peer_id)
        self._scopes.pop(name).cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def leave(self, name: str) -> None:
        """A node that stops as its owner asks it to."""
        self._scopes.pop(name).cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def _host(
        self, name: str, settings: Any, engine: Engine | None, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        who = identity(name)
        with trio.CancelScope() as self._scopes[name]:
            async with (
                self.net.join(who, table=table_rules(now_ms)) as net,
                open_ledger(None, who, NET, now_ms=now_ms, label=name) as ledger,
                trio.open_nursery() as nursery,
            ):
                node = Peer(settings, who, net, ledger, engine, now_ms=now_ms, rng=random.Random(f"{self.seed}/{name}"))
                others = list(self.nodes.values())
                self.nodes[name] = node
                await nursery.start(node.run)
                if others:  # everybody joins through the first
                    await net.connect(others[0].net.addresses()[0])
                    await trio.sleep(MEET_S * 2)
                task_status.started()
                await trio.sleep_forever()


@asynccontextmanager
async def virtual_mesh(seed: int = 1) -> AsyncIterator[VirtualMesh]:
    async with trio.open_nursery() as nursery:
        mesh = VirtualMesh(nursery, seed)
        yield mesh
        nursery.cancel_scope.cancel()


async def pictures_of(node: Peer, prompt: str = "a prompt", **fields: Any) -> Job:
    """Submit and wait."""
    assert node.requester is not None
    job = node.requester.submit(ImageRequest(prompt=prompt, **{"steps": 4, **fields}))
    await job.wait()
    return job


def net_mkudos(observer: Peer, of: Peer) -> int:
    """The balance of one node as another sees it."""
    return observer.ledger.balance(of.identity.public_key).net
