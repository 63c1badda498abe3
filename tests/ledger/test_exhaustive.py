"""One job of two and three pictures in every state that loss, repeats, swaps and kills can bring it into; and the search itself:
whoever breaks a rule is found, with the way that leads there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from meshgen.ledger import fold
from meshgen.ledger.fold import Deal
from meshgen.protocols import job_sides
from meshgen.protocols.job import BillMessage
from meshgen.protocols.job_sides import Turn, WorkerSide
from tests.ledger.exhaustive import QUICK, OneJob, Scope
from tests.ledger.one_job import PAYER, Snapshot, Step, append
from tests.ledger.paying_side import R, Requester, RequesterShell
from tests.ledger.people import START_MS
from tests.ledger.search import Search, search
from tests.ledger.working_side import Worker, WorkerShell

LEAST_STATES = {QUICK[0]: 9_000, QUICK[1]: 25_000, QUICK[2]: 11_000, QUICK[3]: 7_000}


@pytest.mark.parametrize("scope", QUICK, ids=str)
def test_all_is_well_in_every_state(scope: Scope) -> None:
    found: Search[Any] = search(OneJob(scope))
    print(f"\n{scope}: {found}")
    assert not found.fault, str(found)
    assert found.states >= LEAST_STATES[scope], "the search has shrunk"
    whole = f"paid {500 * scope.pictures}"
    assert {whole, "paid 500", "released 0", "never begun"} <= found.outcomes.keys()
    assert ("contested 500" in found.outcomes) == scope.denies


def fault_of(
    scope: Scope, requester: type[RequesterShell] = RequesterShell, worker: type[WorkerShell] = WorkerShell
) -> Search[Any]:
    class Broken(OneJob):
        requester_shell = requester
        worker_shell = worker

    found: Search[Any] = search(Broken(scope))
    print(found)
    assert found.trace
    return found


def test_a_worker_that_waits_for_no_voucher_is_found() -> None:
    class Eager(WorkerSide):
        def bill(self, identity: Any) -> bytes:
            message = super().bill(identity)
            self.turn = Turn.DRAWING
            return message

    class Shell(WorkerShell):
        make_side = Eager

    found = fault_of(Scope(2), worker=Shell)
    assert "risks one picture" in found.fault
    assert found.trace[-2:] == ("worker sends picture 0", "worker sends picture 1")


def test_a_worker_that_keeps_no_voucher_on_disk_is_found() -> None:
    class Forgetful(WorkerShell):
        def may_draw(self, me: Worker) -> bool:
            return True

    found = fault_of(Scope(2), worker=Forgetful)
    assert "risks one picture" in found.fault
    assert found.trace[-1] == "worker is killed"


def test_a_requester_that_pays_before_it_keeps_what_is_due_is_found() -> None:
    class Hasty(RequesterShell):
        def _promise(self, me: Requester, expired: bool) -> Iterator[Step]:
            side = me.side
            assert side is not None
            if len(side.thaw().pictures) == self.deal.terms.count:
                yield from super()._promise(me, expired)
            else:
                yield Step("requester keeps nothing", replace(me, at=R.PAYING))

    found = fault_of(Scope(2), requester=Hasty)
    assert "never seen to deny" in found.fault
    assert "worker writes CLAIM of 500" in found.trace
    assert found.trace[-1] == "requester writes RELEASE"


def test_an_award_that_is_sent_before_its_hold_is_on_disk_is_found() -> None:
    class Rash(RequesterShell):
        def own(self, me: Requester, expired: bool, consent: bytes) -> Iterator[Step]:
            if me.at is R.HOLDING:
                side = Snapshot(self.make_side(self.deal.terms))
                yield Step("requester sends the award first", replace(me, at=R.AWARDING, side=side), (self.deal.award,))
            elif me.at is R.AWARDING:
                log = append(PAYER, me.log, self.deal.hold, START_MS)
                yield Step("requester writes HOLD after that", replace(me, at=R.RECEIVING, log=log))
            else:
                yield from super().own(me, expired, consent)

    found = fault_of(Scope(1), requester=Rash)
    assert "not on its author's disk" in found.fault
    assert found.trace == ("requester sends the award first", "worker hears the award")


def test_a_bill_that_counts_before_its_picture_is_whole_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    lax = {**job_sides.FROM_WORKER, Turn.SENDING: (*job_sides.FROM_WORKER[Turn.SENDING], BillMessage)}
    monkeypatch.setattr(job_sides, "FROM_WORKER", lax)
    found = fault_of(Scope(1, crashes=0, faults=1))
    assert "did not get whole" in found.fault
    assert any("loses message" in step for step in found.trace)


def test_a_fold_where_a_release_beats_a_claim_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Deal.claim.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Deal, "claim", property(lambda deal: None if deal.released else claim(deal)))
    found = fault_of(Scope(2, denies=True))
    assert "what a voucher promised" in found.fault
    assert "requester writes RELEASE" in found.trace


def test_a_merge_that_forgets_a_claim_before_its_hold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    join = Deal.join

    def forgetful(self: Deal, other: Deal) -> Deal:
        return join(self if self.terms else replace(self, claims=frozenset()), other)

    monkeypatch.setattr(fold.Deal, "join", forgetful)
    assert "whatever order" in fault_of(Scope(2)).fault
