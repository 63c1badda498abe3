"""Gifts to relays, by the charter's rate and this node's own count of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing

from meshgen.net.port import PeerId
from meshgen.peers.peer import Peer
from meshgen.peers.relay_dues import GIB, MIN_DUE_MKUDOS, PAY_S, RelayDues
from meshgen.protocols.credit import Transfer
from meshgen.testing import identity, pictures_of, virtual_mesh

RATE = 2000
HUB, OTHER = (PeerId(identity(name).peer_id) for name in ("hub", "other"))


class Carried:
    """A net whose relays have carried so much."""

    def __init__(self) -> None:
        self.bytes: dict[PeerId, int] = {}

    def dialled_through(self) -> dict[PeerId, int]:
        return self.bytes


@asynccontextmanager
async def earner() -> AsyncIterator[Peer]:
    """A node that has earned something for three pictures."""
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub archivist")
        worker = await mesh.worker("w1")
        assert (await pictures_of(await mesh.requester("asker"), count=3)).state == "done"
        await trio.sleep(60)
        yield worker


def dues(node: Peer, net: Carried, rate: int = RATE) -> RelayDues:
    return RelayDues(net, node.ledger, lambda: rate, node.gate.deals_with)  # type: ignore[arg-type]


def gifts(node: Peer) -> list[Transfer]:
    return [Transfer.from_entry(entry) for entry in node.ledger.transfers(node.identity.public_key)]


async def test_what_was_carried_is_paid_once_enough_is_due(autojump_clock: trio.testing.MockClock) -> None:
    async with earner() as node:
        net = Carried()
        owed = dues(node, net)
        net.bytes = {HUB: GIB * MIN_DUE_MKUDOS // RATE - 1}
        assert await owed.pay() == 0, "less than that waits"
        net.bytes = {HUB: GIB}
        assert await owed.pay() == RATE
        assert await owed.pay() == 0, "and is paid once"
        net.bytes = {HUB: 2 * GIB, OTHER: GIB // 4}
        assert await owed.pay() == RATE
        assert [(gift.payee, gift.amount) for gift in gifts(node)] == 2 * [(identity("hub").public_key, RATE)]


async def test_never_more_than_there_is(autojump_clock: trio.testing.MockClock) -> None:
    async with earner() as node:
        free = node.ledger.balance(node.identity.public_key).net
        net = Carried()
        net.bytes = {HUB: 10**6 * GIB, OTHER: 10**5 * GIB}
        owed = dues(node, net)
        assert free > MIN_DUE_MKUDOS
        assert await owed.pay() == free, "most is due to the hub"
        assert await owed.pay() == 0
        assert [gift.payee for gift in gifts(node)] == [identity("hub").public_key]
        assert node.ledger.balance(node.identity.public_key).net == 0


async def test_nothing_where_the_charter_says_nothing_nor_to_oneself_nor_to_who_is_blocked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with earner() as node:
        net = Carried()
        net.bytes = {HUB: GIB, PeerId(node.peer_id): GIB}
        assert await dues(node, net, rate=0).pay() == 0
        nobody = RelayDues(net, node.ledger, lambda: RATE, lambda _: False)  # type: ignore[arg-type]
        assert await nobody.pay() == 0
        assert not gifts(node)
        assert await dues(node, net).pay() == RATE, "to the hub alone"


async def test_a_running_node_pays_by_itself(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with earner() as node:
        current = replace(node.charters.current, relay_gib_mkudos=RATE)
        monkeypatch.setattr(type(node.charters), "current", property(lambda _: current))
        monkeypatch.setattr(type(node.net), "dialled_through", lambda _: {HUB: GIB}, raising=False)
        await trio.sleep(2 * PAY_S)
        assert [gift.amount for gift in gifts(node)] == [RATE]
