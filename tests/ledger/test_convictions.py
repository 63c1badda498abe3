"""Who forked, at several peers: whatever each met first, all come to hold and to count the same."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from meshgen.identity import Identity
from meshgen.ledger.errors import BadChain, Fork, LedgerError
from meshgen.ledger.fold import State, balances, gather
from meshgen.ledger.forks import ForkEvidence, fork_between
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.ledger.verify import verify_home
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import FORK, Hold, Proof
from tests.ledger.people import EXPIRES_MS, NET, START_MS, Author, author, claim, job, receipt

ME = Identity.from_seed(bytes(32))


def opened(home: Path | None = None) -> Any:
    return open_ledger(home, ME, NET, now_ms=lambda: START_MS)


def two_stories() -> tuple[Author, Author, Author, Author]:
    """Mallory pays Bob on one branch and Carol on the other. (mallory, her twin, bob, carol)"""
    mallory, bob, carol = author(1), author(2), author(3)
    mallory.write(receipt(bob, mallory.hold(bob, 100), 10))
    twin = mallory.copy()
    mallory.write(receipt(bob, mallory.hold(bob, 100, 1), 20))
    twin.write(receipt(carol, twin.hold(carol, 100, 2), 30))
    twin.hold(carol, 100, 3)
    return mallory, twin, bob, carol


async def meet(ledger: Ledger, *chains: Author) -> None:
    for chain in chains:
        try:
            await ledger.add(chain.key, chain.wires)
        except Fork:
            await ledger.add_branch(chain.key, [entry.wire for entry in chain.entries if entry.seq >= 4])


@pytest.mark.parametrize("on_disk", [True, False])
async def test_both_branches_owe_whichever_was_met_first(tmp_path: Path, on_disk: bool) -> None:
    mallory, twin, bob, carol = two_stories()
    digests, figures = set[bytes](), list[Any]()
    for number, order in enumerate(permutations((mallory, twin))):
        home = tmp_path / str(number) if on_disk else None
        async with opened(home) as ledger:
            await meet(ledger, *order)
            assert ledger.forked_at(mallory.key) == 4
            assert (ledger.balance(bob.key).earned, ledger.balance(carol.key).earned) == (30, 30)
            assert (ledger.balance(mallory.key).spent, ledger.balance(mallory.key).held) == (60, 100)
            assert len(ledger.branch(mallory.key)) == 5
            figures.append({key: sums for key, sums in ledger.balances().items() if key != ME.public_key})
            digests.add(ledger.proofs_print())
        if on_disk:
            assert verify_home(tmp_path / str(number)).ok
            async with opened(home) as ledger:
                assert {key: sums for key, sums in ledger.balances().items() if key != ME.public_key} == figures[-1]
                assert ledger.proofs_print() in digests
    assert figures[0] == figures[1]
    assert len(digests) == 1


async def test_digests_are_one_where_the_same_is_held() -> None:
    mallory, twin, bob, _ = two_stories()
    digests = []
    for order in permutations((mallory, twin, bob)):
        async with opened() as ledger:
            await meet(ledger, *order)
            digests.append(ledger.digest())
    async with opened() as ledger:
        await meet(ledger, mallory, twin)
        assert ledger.digest() != digests[0]
    assert len(set(digests)) == 1


async def test_a_branch_comes_in_pages() -> None:
    mallory, twin, _, _ = two_stories()
    async with opened() as ledger:
        await meet(ledger, mallory, twin)
        whole, paged, after = ledger.branch(mallory.key), list[bytes](), (0, b"")
        by_wire = {entry.wire: entry for entry in (*mallory.entries, *twin.entries)}
        while page := ledger.branch(mallory.key, after, 2):
            paged += page
            after = by_wire[page[-1]].seq, by_wire[page[-1]].id
        assert paged == whole
        assert sorted(whole) == sorted({entry.wire for entry in (*mallory.entries, *twin.entries) if entry.seq >= 4})


async def test_what_a_forker_was_promised_afterwards_is_void(tmp_path: Path) -> None:
    """Alice holds for Mallory at her entries 3 and 5; the fork at 4 voids the second, paid or not, whenever it is proved."""
    mallory, twin, _, _ = two_stories()
    alice = author(7)
    old = alice.write(Hold(job(1), mallory.key, 50, EXPIRES_MS, 3, mallory.entries[2].id))
    new = alice.write(Hold(job(2), mallory.key, 50, EXPIRES_MS, 5, mallory.entries[4].id))
    for hold in (old, new):
        alice.write(receipt(mallory, hold, 40))
    claimed = alice.write(Hold(job(3), mallory.key, 50, EXPIRES_MS, 5, mallory.entries[4].id))
    mallory.write(claim(alice, claimed, 9))
    everything = (alice, mallory, twin)
    entries = {entry.id: entry for person in everything for entry in person.entries}
    for order in permutations(everything):
        async with opened() as ledger:
            await meet(ledger, *order)
            assert ledger.balance(mallory.key).earned == 40
            expected = balances(gather(entries.values(), ledger.forks()))
            assert {key: sums for key, sums in ledger.balances().items() if key in expected} == expected
            states = {line.entries[0]: line.state for line in ledger.explain(alice.key)}
            assert (states[old.id], states[new.id]) == (State.PAID, State.VOID)
    async with opened(tmp_path) as ledger:
        await meet(ledger, alice, mallory)
    async with opened(tmp_path) as ledger:  # from the stored fold, which knows nothing of the fork
        await meet(ledger, twin)
        assert ledger.balance(mallory.key).earned == 40
    assert verify_home(tmp_path).balances[mallory.key].earned == 40


async def test_a_fork_that_lies_further_back_says_more() -> None:
    mallory, twin, _, _ = two_stories()
    older = author(1).copy()
    older.hold(author(4), 5, 40)
    late = fork_between(mallory.entries[3], twin.entries[3])
    early = fork_between(mallory.entries[1], older.entries[1])
    assert late and early
    async with opened() as ledger:
        assert await ledger.convict(late)
        assert not await ledger.convict(late)
        assert await ledger.convict(early)
        assert not await ledger.convict(late)
        assert ledger.forks() == [early]
        assert ledger.forked_at(mallory.key) == 2
        assert (await ledger.add(mallory.key, mallory.wires[:1])).new == 1, "what lies before the fork stands"
        with pytest.raises(Fork):
            await ledger.add(mallory.key, mallory.wires)
        await ledger.add_branch(mallory.key, mallory.wires[1:])
        assert ledger.balance(author(2).key).earned == 30


async def test_a_proof_in_anybodys_log_convicts() -> None:
    mallory, twin, _, _ = two_stories()
    evidence, witness = fork_between(mallory.entries[3], twin.entries[3]), author(5)
    assert evidence
    said = evidence.as_content()
    assert isinstance(said, Proof) and said.type == FORK
    witness.write(said)
    async with opened() as ledger:
        await ledger.add(witness.key, witness.wires)
        assert ledger.forked_at(mallory.key) == 4
        assert ledger.standing(mallory.key).forked


async def test_branches_take_no_strangers_and_nothing_unsigned() -> None:
    mallory, twin, bob, _ = two_stories()
    async with opened() as ledger:
        with pytest.raises(LedgerError, match="not known to have forked"):
            await ledger.add_branch(mallory.key, twin.wires[3:])
        await meet(ledger, mallory, twin)
        for wires, why in (
            ([twin.wires[0]], "after its fork"),
            ([bob.wires[0]], "of that author"),
            ([b"junk"], "msgpack"),
            ([twin.entries[3].wire[:-1] + b"\x00"], "signature"),
        ):
            with pytest.raises(BadChain, match=why):
                await ledger.add_branch(mallory.key, wires)
        assert await ledger.add_branch(mallory.key, twin.wires[3:]) == 0


async def test_evidence_that_proves_nothing_convicts_nobody() -> None:
    mallory, _, _, _ = two_stories()
    one, other = mallory.entries[2], mallory.entries[3]
    async with opened() as ledger:
        with pytest.raises(Malformed):
            await ledger.convict(ForkEvidence(mallory.key, 3, (one.id, other.id), (one.wire, other.wire)))
        assert ledger.forks() == []


@pytest.mark.parametrize("held", [2, 3])
async def test_what_a_branch_closes_again_does_not_depend_on_when_the_chain_below_came(tmp_path: Path, held: int) -> None:
    """The HOLD was closed below the fork; who does not hold that entry yet must not take it for open."""
    mallory, bob = author(1), author(2)
    hold = mallory.hold(bob, 100)
    again = receipt(bob, hold, 90)
    mallory.write(receipt(bob, hold, 10))
    twin = mallory.copy()
    fork = fork_between(mallory.hold(bob, 1, 5), twin.write(again))
    assert fork is not None
    async with opened(tmp_path) as ledger:
        await ledger.add(mallory.key, mallory.wires[:held])
        await ledger.convict(fork)
        await ledger.add(mallory.key, mallory.wires[held:3])
        assert ledger.balance(bob.key).earned == 10


async def test_a_closing_on_a_branch_counts_once_the_chain_below_is_whole(tmp_path: Path) -> None:
    mallory, bob = author(1), author(2)
    hold = mallory.hold(bob, 100)
    mallory.hold(bob, 1, 4)
    twin = mallory.copy()
    fork = fork_between(mallory.hold(bob, 1, 5), twin.write(receipt(bob, hold, 90)))
    assert fork is not None
    async with opened(tmp_path) as ledger:
        await ledger.add(mallory.key, mallory.wires[:2])
        await ledger.convict(fork)
        assert ledger.balance(bob.key).earned == 0
        await ledger.add(mallory.key, mallory.wires[2:3])
        assert ledger.balance(bob.key).earned == 90
    assert verify_home(tmp_path).ok
