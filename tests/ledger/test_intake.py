"""Foreign chains in bulk and in head mode: what is taken in on one signature counts for nothing until all are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from meshgen.identity import Identity
from meshgen.ledger.errors import BadChain, Early, Fork, Gap
from meshgen.ledger.fold import Balance
from meshgen.ledger.intake import Intake
from meshgen.ledger.judging import Examined
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.store import Disk
from meshgen.ledger.verify import verify_home
from meshgen.protocols.codec import encode
from meshgen.protocols.credit import MAX_AHEAD_MS, MAX_RANGE_ENTRIES, Entry
from tests.ledger.people import NET, START_MS, Author, author, claim, receipt

ME = Identity.from_seed(bytes(32))


def opened(home: Path | Disk | None = None) -> Any:
    return open_ledger(home, ME, NET, now_ms=lambda: START_MS)


def busy(jobs: int, payer: int = 1, payee: int = 2) -> Author:
    alice, bob = author(payer), author(payee)
    for number in range(jobs):
        alice.write(receipt(bob, alice.hold(bob, 10, number), 7))
    return alice


def forged(entry: Entry) -> bytes:
    return encode((entry.body, bytes(64)))


async def judge_all(ledger: Any) -> int:
    total = 0
    while judged := await ledger.judge_next():
        total += judged
    return total


@pytest.mark.parametrize("on_disk", [True, False])
async def test_a_long_range_is_judged_by_all_cores_as_by_one(tmp_path: Path, on_disk: bool) -> None:
    alice = busy(200)
    async with opened(tmp_path if on_disk else None) as ledger:
        assert (await ledger.add(alice.key, alice.wires)).new == 401
        assert ledger.balance(author(2).key) == Balance(earned=1400)
        assert len(ledger.explain(alice.key)) == 200
    if on_disk:
        assert verify_home(tmp_path).ok


@pytest.mark.parametrize("bad", [3, 70, 200])
async def test_the_first_bad_entry_of_a_long_range_is_named(tmp_path: Path, bad: int) -> None:
    alice = busy(120)
    wires = [*alice.wires[: bad - 1], forged(alice.entries[bad - 1]), *alice.wires[bad:]]
    async with opened(tmp_path) as ledger:
        with pytest.raises(BadChain, match="signature") as caught:
            await ledger.add(alice.key, wires)
        assert caught.value.seq == bad
        assert ledger.known(alice.key).seq == bad - 1


async def test_a_lying_note_in_a_long_range_is_found(tmp_path: Path) -> None:
    alice, bob = busy(50), author(2)
    hold = alice.hold(bob, 10, 99)
    alice.write(replace(receipt(bob, hold, 7), bill_sig=bytes(64)))
    async with opened(tmp_path) as ledger:
        with pytest.raises(BadChain, match="not signed by its payee"):
            await ledger.add(alice.key, alice.wires)
        assert ledger.known(alice.key).seq == 102


# -- head mode


@pytest.mark.parametrize("on_disk", [True, False])
async def test_head_mode_counts_nothing_until_it_is_judged(tmp_path: Path, on_disk: bool) -> None:
    alice, bob = busy(300), author(2)
    async with opened(tmp_path if on_disk else None) as ledger:
        added = await ledger.add(alice.key, alice.wires[:400], head_mode=True)
        assert (added.new, added.head) == (400, alice.entries[399].head)
        await ledger.add(alice.key, alice.wires[390:], head_mode=True)
        assert ledger.known(alice.key) == alice.head
        assert ledger.balance(bob.key) == Balance()
        assert ledger.entries(alice.key, 1, 10) == []
        assert alice.key not in dict(ledger.heads())
        assert await judge_all(ledger) == 601
        assert ledger.balance(bob.key) == Balance(earned=2100)
        assert ledger.entries(alice.key, 1, 10) == alice.wires[:10]
        assert dict(ledger.heads())[alice.key] == alice.head
        assert await ledger.judge_next() == 0


async def test_what_waits_is_judged_after_a_restart_and_is_no_fault_of_the_log(tmp_path: Path) -> None:
    alice, bob = busy(600), author(2)
    async with opened(tmp_path) as ledger:
        await ledger.add(alice.key, alice.wires[:1000], head_mode=True)
        await ledger.add(alice.key, alice.wires[1000:], head_mode=True)
        assert await ledger.judge_next() == MAX_RANGE_ENTRIES
    report = verify_home(tmp_path)
    assert report.ok
    assert report.heads[alice.key].seq == MAX_RANGE_ENTRIES
    async with opened(tmp_path) as ledger:
        assert ledger.known(alice.key) == alice.head
        assert dict(ledger.heads())[alice.key].seq == MAX_RANGE_ENTRIES
        assert await judge_all(ledger) == 1201 - MAX_RANGE_ENTRIES
        assert ledger.balance(bob.key).earned == 4200
    assert verify_home(tmp_path).heads[alice.key] == alice.head


async def test_the_background_task_judges_whatever_comes() -> None:
    alice, carol, bob = busy(20), busy(20, payer=3), author(2)
    async with opened() as ledger, trio.open_nursery() as nursery:
        nursery.start_soon(ledger.judge_pending)
        for person in (alice, carol):
            await ledger.add(person.key, person.wires, head_mode=True)
            await wait_all_tasks_blocked()
            assert dict(ledger.heads())[person.key] == person.head
        assert ledger.balance(bob.key).earned == 280
        nursery.cancel_scope.cancel()


async def test_a_chain_that_waits_is_judged_before_it_goes_on_in_full() -> None:
    alice, bob = busy(5), author(2)
    async with opened() as ledger:
        await ledger.add(alice.key, alice.wires[:5], head_mode=True)
        await ledger.add(alice.key, alice.wires[3:])
        assert dict(ledger.heads())[alice.key] == alice.head
        assert ledger.balance(bob.key).earned == 35


async def test_a_range_that_does_not_hold_together_is_refused_whole() -> None:
    alice, bob = busy(5), author(2)
    async with opened() as ledger:
        for wires, why in (
            ([*alice.wires[:4], forged(alice.entries[4])], "signature"),
            ([alice.wires[0], *alice.wires[2:]], "does not follow"),
            ([alice.wires[0], b"\x92\xc4\x01\x00\xc4\x00"], "not an entry"),
            ([alice.wires[0], bob.wires[0]], "another mesh or author"),
            ([alice.wires[0], b"junk"], "msgpack"),
        ):
            with pytest.raises(BadChain, match=why):
                await ledger.add(alice.key, wires, head_mode=True)
        with pytest.raises(Gap):
            await ledger.add(alice.key, alice.wires[3:], head_mode=True)
        assert ledger.known(alice.key).seq == 0
        alice.hold(bob, 1, ts_ms=START_MS + MAX_AHEAD_MS + 1, expires_ms=START_MS + 2 * MAX_AHEAD_MS)
        with pytest.raises(Early):
            await ledger.add(alice.key, alice.wires, head_mode=True)


@pytest.mark.parametrize("on_disk", [True, False])
async def test_a_signature_spoilt_on_the_way_is_cut_off_and_can_be_pulled_elsewhere(tmp_path: Path, on_disk: bool) -> None:
    """Hash links prove what the author wrote; who spoilt a signature in the middle may have been anybody."""
    alice, bob = busy(20), author(2)
    async with opened(tmp_path if on_disk else None) as ledger:
        spoilt = [*alice.wires[:9], forged(alice.entries[9]), *alice.wires[10:]]
        await ledger.add(alice.key, spoilt, head_mode=True)
        assert await judge_all(ledger) == 9
        assert ledger.known(alice.key) == alice.entries[8].head
        assert ledger.refused() == {}
        await ledger.add(alice.key, alice.wires[9:])
        assert ledger.balance(bob.key).earned == 140
    if on_disk:
        assert verify_home(tmp_path).ok


async def test_who_signed_what_may_not_stand_is_refused_from_there_on() -> None:
    alice, bob = busy(3), author(2)
    alice.write(receipt(bob, alice.entries[1], 7))  # of a hold that is closed
    alice.hold(bob, 5, 77)
    async with opened() as ledger:
        await ledger.add(alice.key, alice.wires, head_mode=True)
        assert await judge_all(ledger) == 7
        assert ledger.known(alice.key).seq == 7
        seq, why = ledger.refused()[alice.key]
        assert (seq, "no open HOLD" in why) == (8, True)
        for head_mode in (True, False):
            with pytest.raises(BadChain, match="entry 8"):
                await ledger.add(alice.key, alice.wires[7:], head_mode=head_mode)
        assert (await ledger.add(alice.key, alice.wires[:7])).new == 0


async def test_head_mode_meets_a_fork() -> None:
    alice, bob = busy(5), author(2)
    twin = alice.copy()
    alice.hold(bob, 1, 50)
    twin.hold(bob, 2, 51)
    async with opened() as ledger:
        await ledger.add(alice.key, alice.wires)
        with pytest.raises(Fork):
            await ledger.add(alice.key, twin.wires, head_mode=True)
        assert ledger.forked_at(alice.key) == 12


async def test_a_claim_that_was_judged_late_counts_like_any_other() -> None:
    alice, bob = author(1), author(2)
    hold = alice.hold(bob, 10)
    bob.write(claim(alice, hold, 4))
    async with opened() as ledger:
        for person in (bob, alice):
            await ledger.add(person.key, person.wires, head_mode=True)
        assert await judge_all(ledger) == 4
        assert ledger.balance(bob.key).earned == 4


async def test_head_mode_that_overtakes_the_same_chain_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While signatures are judged in threads, another source brings the same entries in head mode."""
    alice, examine = busy(100), Intake._examine
    async with opened(tmp_path) as ledger:

        async def overtaken(intake: Intake, author: bytes, wires: Sequence[bytes]) -> list[Examined]:
            monkeypatch.undo()
            found = await examine(intake, author, wires)
            await ledger.add(alice.key, alice.wires[:100], head_mode=True)
            return found

        monkeypatch.setattr(Intake, "_examine", overtaken)
        assert (await ledger.add(alice.key, alice.wires)).head == alice.head
        assert ledger.balance(author(2).key).earned == 700
    assert verify_home(tmp_path).ok
