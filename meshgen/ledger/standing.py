"""May this requester be served, and before whom? One peer's own policy, decided from what it can see itself.

Not a reputation. A requester's credit here is the most that can flow to it over three hops of "owes", less what it used up
(:mod:`meshgen.ledger.standings`); a plain balance would not do, because anybody can mint one with strangers of his own making.
Who has none is still served: last, within a rate and a bound on what he may hold open at once.

Between devices of one account nothing is decided by credit: they share it, they go first, and what lies between them is a plain
balance, for display.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Standing:
    """What one peer sees of a requester. Amounts in milli-kudos."""

    credit: int = 0
    """What reaches it from me and it has not used up."""
    claimed: int = 0
    """What I had to CLAIM by his vouchers, as he gave no RECEIPT."""
    open_holds: int = 0
    """Holds of his in my favour, neither settled nor expired."""
    forked: bool = False
    own: bool = False
    """It speaks for my own account."""
    retired: bool = False
    """Its account does not stand by this key any more."""
    over_budget: bool = False
    """It owes more than its account lets this key owe."""
    debt: int = 0
    """What it owes the mesh, all in all."""


@dataclass(frozen=True, slots=True)
class Policy:
    max_open_holds: int = 64
    """Of one requester at this worker at once."""
    max_claimed_mkudos: int = 100_000
    """Above it the requester has let the worker down too often."""
    max_debt_mkudos: int = 2**40
    """What a requester may owe the mesh."""


class Rank(NamedTuple):
    """Who goes first; the greater does."""

    tier: int
    bucket: int
    """0 is no standing; each step up is twice the credit."""


OWN, FRIEND, OTHERS = 2, 1, 0
OWNER = Rank(OWN, 0)
STRANGER = Rank(OTHERS, 0)


@dataclass(frozen=True, slots=True)
class Verdict:
    serve: bool
    why: str
    rank: Rank = STRANGER
    reason: str = "standing"
    """What a refusal says, if it is not served."""


def decide(standing: Standing, policy: Policy | None = None, *, friend: bool = False) -> Verdict:
    """``friend``: the owner named this peer or its account."""
    objection = _objection(standing, policy or Policy())
    if objection:
        return Verdict(False, objection)
    bucket = standing.credit.bit_length()
    if standing.own:
        return Verdict(True, "of this peer's own account: served first", OWNER)
    if friend:
        return Verdict(True, "a friend by the owner's word: served before others", Rank(FRIEND, bucket))
    if not bucket:
        return Verdict(True, "no standing here: served last", STRANGER)
    return Verdict(True, f"credit of {standing.credit} mkudos reaches it from here", Rank(OTHERS, bucket))


def _objection(standing: Standing, policy: Policy) -> str:
    if standing.forked:
        return "its chain has forked"
    if standing.retired:
        return "its account has retired this key"
    if standing.over_budget:
        return "its account lets this key owe no more than it does"
    if standing.own:
        return ""
    if standing.claimed > policy.max_claimed_mkudos:
        return f"it gave no receipt for work of {standing.claimed} mkudos here"
    if standing.open_holds >= policy.max_open_holds:
        return f"{standing.open_holds} of its holds are open here already"
    if standing.debt > policy.max_debt_mkudos:
        return f"it owes the mesh {standing.debt} mkudos, more than {policy.max_debt_mkudos}"
    return ""
