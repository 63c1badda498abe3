"""Who has to go where a node is full."""

from __future__ import annotations

import pytest

from meshgen.net.libp2p.crowd import Guest, network, whom_to_let_go

QUIET = Guest("198.51.100.1", 0.0, 3600.0)


def flood(count: int, home: str = "192.0.2.66") -> list[Guest]:
    """From one place, each younger than the one before; ``{}`` in ``home`` is its number."""
    return [Guest(home.format(number), 0.0, 2.0 - number / 1000) for number in range(count)]


@pytest.mark.parametrize(
    "flooders", [flood(20), flood(20, "192.0.2.{}"), flood(20, "2001:db8:0:{}::/64")], ids=["a household", "a network", "IPv6"]
)
def test_the_newest_of_a_flood_goes(flooders: list[Guest]) -> None:
    guests = [QUIET, *flooders, Guest("203.0.113.1", 0.0, 1.0)]
    assert whom_to_let_go(guests) == len(flooders)


def test_of_one_household_who_was_met_before_stays() -> None:
    guests = [Guest("192.0.2.66", 0.5, 1.0), *flood(3)]
    assert whom_to_let_go(guests) == 3


def test_neighbours_of_one_network_are_no_household() -> None:
    campus = [Guest(f"198.51.100.{number}", 0.0, 100.0) for number in range(10)]
    assert whom_to_let_go([*campus, *flood(3)]) == 12


def test_where_nobody_crowds_the_least_known_goes() -> None:
    assert whom_to_let_go([QUIET, Guest("203.0.113.1", 0.4, 20.0), Guest("203.0.113.200", 0.1, 50.0), Guest("", 0.2, 30.0)]) == 0
    assert whom_to_let_go([QUIET, Guest("203.0.113.1", 0.0, 20.0), Guest("", 0.0, 30.0)]) == 1


def test_who_came_alone_just_now_is_not_judged() -> None:
    assert whom_to_let_go([Guest("203.0.113.1", 0.0, 1.0), Guest("", 0.0, 2.0), Guest("", 0.0, 3.0)]) is None
    assert whom_to_let_go([]) is None


@pytest.mark.parametrize(("home", "wide"), [("192.0.2.66", "192.0.2.0/24"), ("2001:db8:1:2::/64", "2001:db8:1::/48"), ("", "")])
def test_networks(home: str, wide: str) -> None:
    assert network(home) == wide
