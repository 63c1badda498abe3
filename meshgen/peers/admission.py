"""Whom this worker lets in: the owner's rules and the requester's standing, the room in the queue, the strangers' allowance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from meshgen.identity import peer_id
from meshgen.ledger.ledger import Ledger
from meshgen.ledger.standing import OTHERS, STRANGER, Policy, Verdict, decide
from meshgen.peers.allowance import Allowance
from meshgen.peers.queue import Queue
from meshgen.peers.tariff import DEFAULT
from meshgen.protocols.charter import Charter, Tariff
from meshgen.settings import Settings


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """The owner's rules. Amounts in mkudos; ``friends`` are peer ids and account ids (hex) that are served before others."""

    max_queue: int = 16
    """Pictures that may wait; twice as many if some of them come before others."""
    price_permille: int = 1000
    max_debt_mkudos: int = 2**40
    """What a requester may owe the mesh."""
    tariff: Tariff = DEFAULT
    max_hold_mkudos: int = 2**40
    friends: frozenset[str] = frozenset()
    stranger_pictures_per_minute: int = 60
    """Of one requester without standing; 0 = no limit."""


def worker_policy(settings: Settings, charter: Charter) -> WorkerPolicy:
    """What settings and charter say, taken together."""
    given = settings.worker
    return WorkerPolicy(
        max_queue=given.max_queue,
        price_permille=given.price_permille,
        max_debt_mkudos=given.max_debt_mkudos,
        tariff=charter.tariff,
        max_hold_mkudos=charter.limits.max_hold_mkudos,
        friends=frozenset(given.friends),
        stranger_pictures_per_minute=given.stranger_pictures_per_minute,
    )


class Admission:
    """``policy`` may be replaced at any time."""

    def __init__(self, ledger: Ledger, queue: Queue, policy: WorkerPolicy) -> None:
        self._ledger = ledger
        self._queue = queue
        self._allowance = Allowance()
        self.avoids: Callable[[bytes], bool] = lambda _: False
        """Do those whom this node follows say to avoid a requester?"""
        self.policy = policy

    def verdict(self, requester: bytes) -> Verdict:
        """Who forked, or denied what it signed, or owes too much, is not served; all others are, in an order."""
        policy = Policy(max_debt_mkudos=self.policy.max_debt_mkudos)
        verdict = decide(self._ledger.standing(requester), policy, friend=self._is_friend(requester))
        if verdict.serve and verdict.rank.tier == OTHERS and self.avoids(requester):
            return Verdict(False, "those whom this node follows say to avoid it", reason="policy")
        return verdict

    def room(self, requester: bytes, verdict: Verdict) -> int:
        """Pictures that it could have accepted now: what would be before it counts, and twice that in all."""
        limit = self.policy.max_queue
        before, _ = self._queue.ahead(verdict.rank)
        room = min(limit - before, 2 * limit - self._queue.pictures)
        if verdict.rank == STRANGER:
            room = min(room, self._allowance.left(requester, self.policy.stranger_pictures_per_minute, trio.current_time()))
        return max(0, room)

    def admit(self, requester: bytes, verdict: Verdict, pictures: int) -> None:
        """It was let in with so many."""
        if verdict.rank == STRANGER:
            self._allowance.take(requester, pictures, self.policy.stranger_pictures_per_minute, trio.current_time())

    def _is_friend(self, requester: bytes) -> bool:
        friends = self.policy.friends
        return bool(friends) and (peer_id(requester) in friends or self._ledger.account_of(requester).hex() in friends)
