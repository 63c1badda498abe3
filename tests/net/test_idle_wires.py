"""Kept streams are looked through while others come and go."""

from __future__ import annotations

from typing import Any, cast

import trio

from meshgen.net.libp2p.channel import IDLE_S, IdleWires
from meshgen.net.libp2p.wire import Wire
from meshgen.net.port import PeerId

ONE, OTHER, PROTOCOL = PeerId("one"), PeerId("other"), "/meshgen/test/1"


class IdleWire:
    peer_ended = True

    def __init__(self, closing: Any = None, *, relayed: bool = False) -> None:
        self._closing = closing
        self.closed = False
        self.relayed = relayed

    def is_live(self) -> bool:
        return not self.closed

    async def reset(self) -> None:
        await self.close()

    async def close(self) -> None:
        self.closed = True
        if self._closing is not None:
            await self._closing()


async def test_a_sweep_and_somebody_who_takes_meet(autojump_clock: object) -> None:
    idle = IdleWires(8)

    async def take_the_other() -> None:
        assert await idle.take(OTHER, PROTOCOL) is None, "it is too old"

    wires = {ONE: IdleWire(take_the_other), OTHER: IdleWire()}
    for peer, wire in wires.items():
        await idle.keep(peer, PROTOCOL, cast(Wire, wire))
    await trio.sleep(IDLE_S + 1)
    await idle.sweep()
    assert len(idle) == 0 and all(wire.closed for wire in wires.values())


async def test_a_hang_up_and_somebody_who_takes_meet(autojump_clock: object) -> None:
    idle = IdleWires(8)

    async def take_the_other() -> None:
        assert await idle.take(ONE, "/meshgen/other/1") is None, "it goes with the first"

    wires = {PROTOCOL: IdleWire(take_the_other), "/meshgen/other/1": IdleWire()}
    for protocol, wire in wires.items():
        await idle.keep(ONE, protocol, cast(Wire, wire))
    await idle.drop(ONE)
    assert len(idle) == 0 and all(wire.closed for wire in wires.values())


async def test_what_a_relay_carries_is_left_and_the_rest_is_kept(autojump_clock: object) -> None:
    idle = IdleWires(8)
    relayed, direct, of_another = IdleWire(relayed=True), IdleWire(), IdleWire(relayed=True)
    for peer, wire in ((ONE, relayed), (ONE, direct), (OTHER, of_another)):
        await idle.keep(peer, PROTOCOL, cast(Wire, wire))
    await idle.leave_relay(ONE)
    assert (relayed.closed, direct.closed, of_another.closed, len(idle)) == (True, False, False, 2)
    assert cast(IdleWire, await idle.take(ONE, PROTOCOL)) is direct
    assert await idle.take(ONE, PROTOCOL) is None
