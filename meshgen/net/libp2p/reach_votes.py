"""What others say about where this node is, and what follows: pure.

A peer that sees this node at an address which is none of its own looks through a NAT, and only such a peer can tell whether that
NAT lets anybody in. A neighbour in the same network gets through however closed the house is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

State = Literal["unknown", "public", "private"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One peer's try to dial this node."""

    reached: bool
    outside: bool
    """It sees this node at an address that is none of the node's own."""
    at_s: float


def state_of(votes: Iterable[Vote]) -> State:
    """Votes from outside decide; only without any do those from inside."""
    known = list(votes)
    chosen = [vote for vote in known if vote.outside] or known
    if not chosen:
        return "unknown"
    return "public" if 2 * sum(vote.reached for vote in chosen) >= len(chosen) else "private"


def is_global(ip: str) -> bool:
    """Also False for what is no IP."""
    try:
        return ip_address(ip.partition("%")[0]).is_global
    except ValueError:
        return False


def is_loopback(ip: str) -> bool:
    return ip_address(ip.partition("%")[0]).is_loopback
