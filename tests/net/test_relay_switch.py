"""Who gets how many circuits at a relay, and which of them end."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import trio
import trio.testing
from libp2p.peer.id import ID

from meshgen.net.libp2p.relay_switch import CIRCUITS_PER_PAIR, IDLE_S, SHARE, RelayLimits, Switch
from tests.net.conftest import identity


def peer(number: int) -> ID:
    return ID.from_base58(identity(number).peer_id)


TARGET = peer(200)
PER_PEER = 8 * CIRCUITS_PER_PAIR


def filled(stack: ExitStack, switch: Switch, homes: dict[int, str]) -> int:
    """How many circuits to TARGET these keys get who ask for all that they can get, in turns, and keep it."""
    before, asking = len(switch), dict(homes)
    while asking:
        for number, home in list(asking.items()):
            if switch.has_room(peer(number), TARGET, home):
                stack.enter_context(switch.opened(peer(number), TARGET, home))
            else:
                del asking[number]
    return len(switch) - before


async def test_keys_of_one_household_leave_room_for_others() -> None:
    switch = Switch(RelayLimits(circuits_per_peer=PER_PEER))
    with ExitStack() as stack:
        assert filled(stack, switch, dict.fromkeys(range(16), "192.0.2.1")) == PER_PEER // SHARE
        assert switch.has_room(peer(100), TARGET, "192.0.2.2")
        assert switch.has_room(peer(101), TARGET, ""), "this machine is no household"


async def test_no_household_has_all_of_a_relay() -> None:
    switch = Switch(RelayLimits(circuits=4 * CIRCUITS_PER_PAIR))
    with ExitStack() as stack:
        for number in range(CIRCUITS_PER_PAIR):
            assert switch.has_room(peer(1), peer(number + 10), "192.0.2.1")
            stack.enter_context(switch.opened(peer(1), peer(number + 10), "192.0.2.1"))
        assert not switch.has_room(peer(2), peer(3), "192.0.2.1")
        assert switch.has_room(peer(2), peer(3), "192.0.2.2")


async def test_past_the_half_each_newcomer_gets_one() -> None:
    switch = Switch(RelayLimits(circuits_per_peer=PER_PEER))
    homes = {number: f"192.0.2.{number % 8}" for number in range(16)}
    with ExitStack() as stack:
        assert filled(stack, switch, homes) == PER_PEER // 2
        assert not switch.has_room(peer(0), TARGET, "192.0.2.0"), "it has some"
        assert filled(stack, switch, {50: "198.51.100.1"}) == 1
    assert len(switch) == 0


async def test_a_peer_has_so_many_circuits_whichever_end_it_is() -> None:
    switch = Switch(RelayLimits(circuits_per_peer=2))
    with switch.opened(peer(1), peer(2), ""), switch.opened(peer(3), peer(1), ""):
        assert not switch.has_room(peer(1), peer(4), "")
        assert not switch.has_room(peer(4), peer(1), "")
        assert switch.has_room(peer(2), peer(3), "")
    assert switch.has_room(peer(1), peer(4), "")


async def test_what_is_silent_ends(autojump_clock: trio.testing.MockClock) -> None:
    switch = Switch(RelayLimits())
    with switch.opened(peer(1), TARGET, "") as silent, switch.opened(peer(2), TARGET, "") as alive:
        await trio.sleep(IDLE_S - 1)
        alive.heard_s = trio.current_time()
        await trio.sleep(1)
        switch.sweep(lambda _: True)
        assert silent.scope.cancel_called
        assert not alive.scope.cancel_called
        await trio.lowlevel.checkpoint_if_cancelled()
        pytest.fail("it is cancelled")
    assert len(switch) == 0


async def test_circuits_of_those_who_are_served_no_longer_end() -> None:
    switch = Switch(RelayLimits())
    with switch.opened(peer(1), TARGET, "") as theirs, switch.opened(peer(2), TARGET, "") as others:
        switch.sweep(lambda each: each != peer(1))
        assert theirs.scope.cancel_called
        assert not others.scope.cancel_called
