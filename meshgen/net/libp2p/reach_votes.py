"""What others say about where this node is, and what follows: pure.

A peer that sees this node at an address which is none of its own looks through a NAT, and only such a peer can tell whether that
NAT lets anybody in. A neighbour in the same network gets through however closed the house is.

Peers may lie. Keys cost nothing, so each household has one say, and more have to say yes than no; and who looks through a NAT
does without relays only when two of them got in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

ENOUGH_HOMES = 2
State = Literal["unknown", "public", "private"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One peer's try to dial this node."""

    reached: bool
    outside: bool
    """It sees this node at an address that is none of the node's own."""
    at_s: float
    home: str
    """Its household, see :func:`meshgen.net.libp2p.addresses.household`."""


def state_of(votes: Iterable[Vote]) -> State:
    """Votes from outside decide; only without any do those from inside."""
    known = list(votes)
    chosen = [vote for vote in known if vote.outside] or known
    if not chosen:
        return "unknown"
    homes = _by_home(chosen)
    return "public" if 2 * sum(homes.values()) > len(homes) else "private"


def is_sure(votes: Iterable[Vote]) -> bool:
    """Is "public" more than one household's word? From inside one will do: there is no NAT, which would need a relay."""
    homes = _by_home(vote for vote in votes if vote.outside)
    return not homes or sum(homes.values()) >= ENOUGH_HOMES


def _by_home(votes: Iterable[Vote]) -> dict[str, bool]:
    """Who got in: of a household all that tried."""
    homes: dict[str, bool] = {}
    for vote in votes:
        homes[vote.home] = homes.get(vote.home, True) and vote.reached
    return homes


def is_global(ip: str) -> bool:
    """Also False for what is no IP."""
    try:
        return ip_address(ip.partition("%")[0]).is_global
    except ValueError:
        return False


def is_loopback(ip: str) -> bool:
    return ip_address(ip.partition("%")[0]).is_loopback
