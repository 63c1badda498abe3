"""Every state that one job can get into, and what must hold in each: ``python -m tests.ledger.exhaustive``.

Between the two sides lies a channel that may break at any time. As far as ``faults`` go it also loses, repeats or swaps messages,
which no real one does, and a stale stream says the award again. Either side may be killed between any two steps, as often as
``crashes`` says, and starts again or never does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any, NamedTuple

from meshgen.ledger.books import Books
from meshgen.ledger.fold import NOTHING, Balance, Deal, State, balances, gather
from meshgen.ledger.rules import replay
from meshgen.protocols.credit import Entry
from meshgen.protocols.job_sides import Turn
from tests.ledger.one_job import PAYEE, PAYER, PRICE, Log, Step, make_deal
from tests.ledger.paying_side import R, Requester, RequesterShell
from tests.ledger.people import NET
from tests.ledger.search import Search, search
from tests.ledger.working_side import LyingShell, W, Worker, WorkerShell


@dataclass(frozen=True, slots=True)
class Scope:
    """How far the search goes."""

    pictures: int
    crashes: int = 1
    """Of each side."""
    faults: int = 0
    """Messages that the channel loses, repeats or swaps, and awards that a stale stream repeats."""
    denies: bool = False
    """The requester may leave out what it owes."""
    lies: bool = False
    """The worker may bill for what it does not send."""


class World(NamedTuple):
    """Everything there is. The sides are numbers: see :meth:`OneJob.requester`, :meth:`OneJob.worker`."""

    requester: int
    worker: int
    to_worker: tuple[bytes, ...]
    to_requester: tuple[bytes, ...]
    linked: bool
    expired: bool
    crashes: tuple[int, int]
    faults: int


class OneJob:
    """The model. Each side's steps are worked out once for each state of that side, so the signatures cost little."""

    requester_shell = RequesterShell
    worker_shell = WorkerShell

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.deal = make_deal(scope.pictures)
        self._requester = self.requester_shell(self.deal, scope.denies)
        self._worker = (LyingShell if scope.lies else self.worker_shell)(self.deal)
        self._locals: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._steps: dict[tuple[Any, ...], list[tuple[Step, int]]] = {}
        self._merged, self._is_order_free, self._is_valid = cache(_merged), cache(_is_order_free), cache(_is_valid)

    def initial(self) -> World:
        sides = self._number(self._requester.initial()), self._number(self._worker.initial())
        return World(*sides, (), (), False, False, (self.scope.crashes, self.scope.crashes), self.scope.faults)

    def requester(self, world: World) -> Requester:
        return self._locals[world.requester]  # type: ignore[no-any-return]

    def worker(self, world: World) -> Worker:
        return self._locals[world.worker]  # type: ignore[no-any-return]

    # -- what may happen

    def moves(self, world: World) -> Iterator[tuple[str, World]]:
        yield from self._requester_moves(world)
        yield from self._worker_moves(world)
        yield from self._channel_moves(world)
        if not world.expired:
            yield "the hold expires", world._replace(expired=True)

    def _requester_moves(self, world: World) -> Iterator[tuple[str, World]]:
        for step, number in self._step("own", world.requester, world.expired, self.worker(world).consent):
            yield step.label, self._after_requester(world, step, number)
        if world.to_requester:
            heard = world._replace(to_requester=world.to_requester[1:])
            for step, number in self._step("hear", world.requester, world.to_requester[0]):
                yield step.label, self._after_requester(heard, step, number)
        for step, number in self._step("gives_up", world.requester):
            yield step.label, self._after_requester(world, step, number)
        down = self.requester(world).at is R.DOWN
        if down:
            ((step, number),) = self._step("restart", world.requester)
            yield step.label, world._replace(requester=number)
        elif world.crashes[0]:
            ((step, number),) = self._step("crash", world.requester)
            left = (world.crashes[0] - 1, world.crashes[1])
            yield step.label, world._replace(requester=number, crashes=left, linked=False, to_requester=())

    def _after_requester(self, world: World, step: Step, number: int) -> World:
        world = world._replace(requester=number)
        if step.sends == (self.deal.award,):
            up = self.worker(world).at is not W.DOWN
            return world._replace(linked=up, to_worker=step.sends if up else (), to_requester=())
        if world.linked:
            world = world._replace(to_worker=world.to_worker + step.sends)
        return world._replace(linked=False, to_requester=()) if step.leaves else world

    def _worker_moves(self, world: World) -> Iterator[tuple[str, World]]:
        for step, number in self._step("own", world.worker, world.expired):
            yield step.label, self._after_worker(world, step, number)
        if world.to_worker:
            heard = world._replace(to_worker=world.to_worker[1:])
            for step, number in self._step("hear", world.worker, world.to_worker[0]):
                yield step.label, self._after_worker(heard, step, number)
        for step, number in self._step("gives_up", world.worker):
            yield step.label, self._after_worker(world, step, number)
        if not world.linked and not world.to_worker:
            for step, number in self._step("cut_off", world.worker):
                yield step.label, self._after_worker(world, step, number)
        if self.requester(world).at is not R.DOWN:
            for step, number in self._step("pull", world.worker, self.requester(world).log):
                yield step.label, world._replace(worker=number)
        if self.worker(world).at is W.DOWN:
            ((step, number),) = self._step("restart", world.worker)
            yield step.label, world._replace(worker=number)
        elif world.crashes[1]:
            ((step, number),) = self._step("crash", world.worker)
            left = (world.crashes[0], world.crashes[1] - 1)
            yield step.label, world._replace(worker=number, crashes=left, linked=False, to_worker=())

    def _after_worker(self, world: World, step: Step, number: int) -> World:
        world = world._replace(worker=number)
        if world.linked:
            world = world._replace(to_requester=world.to_requester + step.sends)
        return world._replace(linked=False, to_worker=()) if step.leaves else world

    def _channel_moves(self, world: World) -> Iterator[tuple[str, World]]:
        if world.linked:
            yield "the channel breaks", world._replace(linked=False, to_worker=(), to_requester=())
        if not world.faults:
            return
        less = world._replace(faults=world.faults - 1)
        for what, queue in _spoilt(world.to_worker):
            yield f"the channel {what} to the worker", less._replace(to_worker=queue)
        for what, queue in _spoilt(world.to_requester):
            yield f"the channel {what} to the requester", less._replace(to_requester=queue)
        side = self.requester(world).side
        unanswered = side is not None and dict(side.key)["turn"] is Turn.AWARDED
        for step, number in self._step("cut_off", world.worker) if unanswered and world.linked else ():
            again = less._replace(worker=number, to_worker=(self.deal.award,), to_requester=())
            yield f"the award is said again on a fresh stream; {step.label}", again

    def _step(self, verb: str, number: int, *arguments: Any) -> list[tuple[Step, int]]:
        """What a side does, worked out once."""
        key = (verb, number, *arguments)
        known = self._steps.get(key)
        if known is None:
            local = self._locals[number]
            shell = self._requester if isinstance(local, Requester) else self._worker
            taken = getattr(shell, verb)(local, *arguments)
            steps = [taken] if isinstance(taken, Step) else list(taken or ())
            known = self._steps[key] = [(step, self._number(step.local)) for step in steps]
        return known

    def _number(self, local: Requester | Worker) -> int:
        number = self._numbers.setdefault(local, len(self._locals))
        if number == len(self._locals):
            self._locals.append(local)
        return number

    # -- what must hold

    def fault(self, world: World, final: bool) -> str:
        requester, worker = self.requester(world), self.worker(world)
        deal = self._merged(requester.log, worker.log).get(self.deal.terms.hold_id)
        value = deal.value if deal else 0
        facts = {
            "both logs come to the same in whatever order they are merged": self._is_order_free(requester.log, worker.log),
            "a deal is worth its HOLD at most": value <= self.deal.hold.amount,
            "nobody knows of an entry that is not on its author's disk": worker.known == requester.log[: len(worker.known)],
            "the requester pays for nothing that it did not get whole": value <= requester.whole * PRICE,
            **({} if self.scope.lies else self._for_the_worker(worker, value)),
            **self._of_state(deal, requester),
            **(self._in_the_end(requester, worker, deal) if final else {}),
        }
        return next((f"not so: {fact}" for fact, holds in facts.items() if not holds), "")

    def _for_the_worker(self, worker: Worker, value: int) -> dict[str, bool]:
        """At any time; and once it has nothing more to do of its own accord, whether the requester ever comes back or not."""
        risk = {"the worker risks one picture at most": worker.sent * PRICE - max(value, worker.voucher) <= PRICE}
        if worker.at is not W.OVER or worker.due:
            return risk
        return risk | {
            "what a voucher promised is in the logs": value >= worker.voucher,
            "the worker lost one picture at most": worker.sent * PRICE - value <= PRICE,
        }

    def _of_state(self, deal: Deal | None, requester: Requester) -> dict[str, bool]:
        if deal is None or not deal.released:
            return {}
        denied = deal.claim is not None and not deal.released.consented
        facts = {"RELEASE against CLAIM shows as contested": (deal.state is State.CONTESTED) == denied}
        if not self.scope.denies:
            facts["a requester that keeps its word is never seen to deny it"] = not denied
        return facts

    def _in_the_end(self, requester: Requester, worker: Worker, deal: Deal | None) -> dict[str, bool]:
        return {
            "both sides come to rest": requester.at is R.OVER and worker.at in (W.OVER, W.BIDDING),
            "nothing stays due": not requester.due and not worker.due,
            "no credit stays held": deal is None or deal.held == 0,
            "both logs are valid": self._is_valid(PAYER.key, requester.log) and self._is_valid(PAYEE.key, worker.log),
        }

    def outcome(self, world: World) -> str:
        deal = self._merged(self.requester(world).log, self.worker(world).log).get(self.deal.terms.hold_id)
        return f"{deal.state} {deal.value}" if deal else "never begun"


def _spoilt(queue: tuple[bytes, ...]) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for at in range(len(queue)):
        yield f"loses message {at + 1}", queue[:at] + queue[at + 1 :]
        yield f"repeats message {at + 1}", queue[: at + 1] + queue[at:]
        if at:
            yield f"swaps messages {at} and {at + 1}", (*queue[: at - 1], queue[at], queue[at - 1], *queue[at + 1 :])


def _merged(one: Log, other: Log) -> dict[bytes, Deal]:
    return gather((*one, *other))


def _is_valid(author: bytes, log: Log) -> bool:
    return replay(NET, author, log).head == log[-1].head


def _is_order_free(one: Log, other: Log) -> bool:
    """In the fold all orders of the entries that say something of the job, the first of them twice; in the books, which take each
    once, all that keep each chain's own order.
    """
    deals = _merged(one, other)
    sums = _nonzero(balances(deals))
    folded = (gather((*order, *order[:1])) for order in permutations((*one[1:], *other[1:])))
    booked = (_booked(order) for order in _interleaved(one, other))
    return not sum(balance.net for balance in sums.values()) and all(
        again == expected for results, expected in ((folded, deals), (booked, sums)) for again in results
    )


def _interleaved(one: Log, other: Log) -> Iterator[Log]:
    if not one or not other:
        yield (*one, *other)
        return
    yield from ((one[0], *rest) for rest in _interleaved(one[1:], other))
    yield from ((other[0], *rest) for rest in _interleaved(one, other[1:]))


def _booked(order: Log) -> dict[bytes, Balance]:
    taken: list[Entry] = []

    def recall(payer: bytes, hold_id: bytes, hold_seq: int) -> Deal | None:
        return gather(entry for entry in taken if entry.author == payer).get(hold_id)

    books = Books(recall)
    for entry in order:
        books.add(entry)
        taken.append(entry)
    return _nonzero(books.balances)


def _nonzero(sums: dict[bytes, Balance]) -> dict[bytes, Balance]:
    return {author: balance for author, balance in sums.items() if balance != NOTHING}


QUICK = (
    Scope(pictures=2, crashes=1, faults=1, denies=True),
    Scope(pictures=2, crashes=1, faults=2),
    Scope(pictures=3, crashes=2, denies=True),
    Scope(pictures=2, crashes=1, denies=True, lies=True),
)
SCOPES = (
    Scope(pictures=1, crashes=3, faults=3, denies=True),
    Scope(pictures=2, crashes=2, faults=2),
    Scope(pictures=2, crashes=2, faults=2, denies=True),
    Scope(pictures=2, crashes=1, faults=3, denies=True),
    Scope(pictures=3, crashes=1, faults=2),
    Scope(pictures=3, crashes=2, faults=2, denies=True),
    Scope(pictures=4, crashes=3, faults=1, denies=True),
    Scope(pictures=3, crashes=2, faults=2, lies=True),
    Scope(pictures=3, crashes=2, faults=1, denies=True, lies=True),
)


def main() -> int:
    states, failed = 0, False
    for scope in SCOPES:
        start = time.perf_counter()
        found: Search[World] = search(OneJob(scope))
        print(f"{scope}\n  {found}\n  {time.perf_counter() - start:.1f} s", flush=True)
        states += found.states
        failed |= bool(found.fault)
    print(f"{states:,} states in all" + (", not all well" if failed else ", all well in each"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
