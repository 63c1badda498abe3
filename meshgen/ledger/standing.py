"""May this requester be served, and before whom? One peer's own policy, decided from what it can see itself.

Not a reputation. Standing here is the direct edge alone: what this peer owes the requester for work that it did. A plain
balance is not used, because anybody can mint one with strangers of his own making. Who has no standing is still served: last,
and within a bound on what he may hold open at once. (To come: paths over at most three hops, charged as they are used.)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """What one peer sees of a requester. Amounts in milli-kudos."""

    i_owe: int = 0
    """Work that the requester did for me and I have not given back; 0 if the requester owes me more."""
    claimed: int = 0
    """What I had to CLAIM by his vouchers, as he gave no RECEIPT."""
    open_holds: int = 0
    """Holds of his in my favour, neither settled nor expired."""
    forked: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    max_open_holds: int = 64
    """Of one requester at this worker at once."""
    max_claimed_mkudos: int = 100_000
    """Above it the requester has let the worker down too often."""


@dataclass(frozen=True, slots=True)
class Verdict:
    serve: bool
    why: str
    priority: int
    """0 is last; each step up is twice the standing."""


def decide(standing: Standing, policy: Policy | None = None) -> Verdict:
    policy = policy or Policy()
    if standing.forked:
        return Verdict(False, "its chain has forked", 0)
    if standing.claimed > policy.max_claimed_mkudos:
        return Verdict(False, f"it gave no receipt for work of {standing.claimed} mkudos here", 0)
    if standing.open_holds >= policy.max_open_holds:
        return Verdict(False, f"{standing.open_holds} of its holds are open here already", 0)
    if standing.i_owe <= 0:
        return Verdict(True, "no standing here: served last", 0)
    return Verdict(True, f"{standing.i_owe} mkudos are owed to it", standing.i_owe.bit_length())
