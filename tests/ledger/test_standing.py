"""Who is served, and before whom."""

from __future__ import annotations

import pytest

from meshgen.identity import Identity
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.standing import OWNER, STRANGER, Policy, Standing, decide
from meshgen.protocols.credit import Entry, Head, Hold
from tests.ledger.people import EXPIRES_MS, NET, START_MS, Author, author, claim, job, receipt, release

ME = Identity.from_seed(bytes(32))


def hold_for_me(payer: Author, head: Head, amount: int, number: int = 0) -> Entry:
    return payer.write(Hold(job(number), ME.public_key, amount, EXPIRES_MS, head.seq, head.id))


def test_strangers_are_served_last() -> None:
    verdict = decide(Standing())
    assert (verdict.serve, verdict.rank) == (True, STRANGER)
    assert "served last" in verdict.why


def test_each_step_up_is_twice_the_standing() -> None:
    ranks = [decide(Standing(credit=amount)).rank for amount in (1, 2, 3, 4, 1000, 2000)]
    assert [rank.bucket for rank in ranks] == [1, 2, 2, 3, 10, 11]
    assert min(ranks) > STRANGER


def test_the_own_account_goes_first_then_friends_then_others_by_credit() -> None:
    own, friend = decide(Standing(own=True)), decide(Standing(), friend=True)
    rich = decide(Standing(credit=2**40))
    assert own.rank > friend.rank > rich.rank > decide(Standing(credit=1)).rank > decide(Standing()).rank
    assert decide(Standing(own=True), friend=True).rank == own.rank == OWNER


def test_the_own_account_is_not_judged_by_credit() -> None:
    standing = Standing(own=True, claimed=11, open_holds=2, debt=10**9)
    assert decide(standing, Policy(max_open_holds=2, max_claimed_mkudos=10, max_debt_mkudos=5)).serve


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (Standing(forked=True, credit=5), "forked"),
        (Standing(forked=True, own=True), "forked"),
        (Standing(retired=True, own=True), "retired this key"),
        (Standing(over_budget=True, own=True, credit=5), "owe no more"),
        (Standing(open_holds=2), "2 of its holds are open"),
        (Standing(claimed=11), "no receipt for work of 11"),
        (Standing(debt=8), "owes the mesh 8 mkudos, more than 7"),
    ],
)
@pytest.mark.parametrize("friend", [True, False])
def test_who_is_not_served_is_told_why(standing: Standing, why: str, friend: bool) -> None:
    verdict = decide(standing, Policy(max_open_holds=2, max_claimed_mkudos=10, max_debt_mkudos=7), friend=friend)
    assert not verdict.serve
    assert why in verdict.why


async def test_standing_as_the_ledger_sees_it() -> None:
    alice, bob, me = author(1), author(2), Author(ME)
    async with open_ledger(None, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.standing(alice.key) == Standing()
        hold = hold_for_me(alice, ledger.head(), 100)
        hold_for_me(alice, ledger.head(), 50, number=1)
        alice.write(receipt(me, hold, 80))
        await ledger.add(alice.key, alice.wires)
        assert ledger.standing(alice.key) == Standing(open_holds=1, debt=80)

        mine = await ledger.hold(job(7), alice.key, 500, EXPIRES_MS, alice.head)
        await ledger.append(receipt(alice, mine, 200))
        assert ledger.standing(alice.key).credit == 120
        assert ledger.standing(bob.key) == Standing()


async def test_expired_holds_do_not_count_though_nobody_released_them_yet() -> None:
    """The requester's RELEASE reaches this worker with its next award only."""
    now_ms, alice = START_MS, author(1)
    async with open_ledger(None, ME, NET, now_ms=lambda: now_ms) as ledger:
        hold_for_me(alice, ledger.head(), 100)
        await ledger.add(alice.key, alice.wires)
        assert ledger.standing(alice.key).open_holds == 1
        now_ms = EXPIRES_MS
        assert ledger.standing(alice.key).open_holds == 0


async def test_a_denied_voucher_counts_against_its_signer() -> None:
    alice = author(1)
    async with open_ledger(None, ME, NET, now_ms=lambda: EXPIRES_MS) as ledger:
        hold = hold_for_me(alice, ledger.head(), 100)
        alice.write(release(hold), EXPIRES_MS)
        await ledger.add(alice.key, alice.wires)
        await ledger.append(claim(alice, hold, 40))
        assert ledger.standing(alice.key).claimed == 40
