"""The ledger's face: appends, foreign chains, questions."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings

from meshgen.identity import Identity
from meshgen.ledger.errors import BadChain, Early, Gap, InvalidEntry, LedgerError
from meshgen.ledger.fold import Balance, State, balances, gather
from meshgen.ledger.ledger import HoldInfo, Ledger, open_ledger
from meshgen.ledger.store import LEDGER_FILE, Batch, Store
from meshgen.ledger.verify import verify_home
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    MAX_AHEAD_MS,
    MAX_RANGE_ENTRIES,
    Entry,
    Genesis,
    Head,
    Receipt,
    decode_entry,
    make_entry,
)
from tests.ledger.histories import World, worlds
from tests.ledger.people import (
    EXPIRES_MS,
    NET,
    OTHER_NET,
    RESULT,
    START_MS,
    Author,
    author,
    claim,
    consent,
    job,
    receipt,
)

ME = Identity.from_seed(bytes(32))
HEAD = Head(1, bytes(32))


def opened(home: Path | None = None, now_ms: int = START_MS, net: bytes = NET) -> Any:
    return open_ledger(home, ME, net, now_ms=lambda: now_ms, label="test")


def chain_of(ledger: Ledger, key: bytes = ME.public_key) -> list[Entry]:
    return [decode_entry(wire) for wire in ledger.entries(key, 1, 10_000)]


# -- the own chain


async def test_first_run_writes_genesis_and_a_later_one_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as ledger:
        (genesis,) = chain_of(ledger)
        assert isinstance(genesis.content, Genesis)
        assert genesis.content.label == "test"
        assert ledger.head() == genesis.head
        assert (tmp_path / "recovery" / "identity.key").stat().st_mode & 0o077 == 0
    async with opened(tmp_path) as ledger:
        assert ledger.head() == genesis.head
        await ledger.hold(job(1), author(1).key, 5, EXPIRES_MS, HEAD)
        assert ledger.head().seq == 2


async def test_a_label_that_is_not_ascii_is_made_so() -> None:
    async with open_ledger(None, ME, NET, now_ms=lambda: START_MS, label="Zoë's\n" + "x" * 99) as ledger:
        content = Genesis.from_entry(chain_of(ledger)[0])
        assert content.label.startswith("Zo?'s?xx")
        assert len(content.label) == 64


async def test_one_job_from_hold_to_receipt(tmp_path: Path) -> None:
    bob = author(2)
    async with opened(tmp_path) as ledger:
        hold = await ledger.hold(job(1), bob.key, 100, EXPIRES_MS, bob.head)
        assert ledger.balance(ME.public_key) == Balance(held=100)
        info = ledger.hold_info(hold.id)
        assert info == HoldInfo(hold.id, ME.public_key, bob.key, 100, EXPIRES_MS, job(1), 2, 0, State.OPEN, b"")
        assert ledger.open_holds() == [info]
        paid = await ledger.append(receipt(bob, hold, 60))
        assert Receipt.from_entry(paid).units == 1
        assert ledger.open_holds() == []
        assert ledger.balance(ME.public_key) == Balance(spent=60)
        assert ledger.balance(bob.key) == Balance(earned=60)
        assert ledger.balance(bob.key).net == 60
        settled = ledger.hold_info(hold.id)
        assert settled is not None
        assert (settled.value, settled.state, settled.receipt_id) == (60, State.PAID, paid.id)
        (line,) = ledger.explain(bob.key)
        assert (line.value, line.entries) == (60, (hold.id, paid.id))


async def test_bad_bills_are_refused_and_leave_the_chain_as_it_was() -> None:
    bob = author(2)
    async with opened() as ledger:
        hold = await ledger.hold(job(1), bob.key, 100, EXPIRES_MS, bob.head)
        other = await ledger.hold(job(2), bob.key, 100, EXPIRES_MS, bob.head)
        head = ledger.head()
        with pytest.raises(InvalidEntry, match="over a HOLD"):
            await ledger.append(receipt(bob, hold, 101))
        with pytest.raises(InvalidEntry, match="another job or payee"):
            await ledger.append(replace(receipt(bob, other, 10), hold_id=hold.id))
        with pytest.raises(InvalidEntry, match="no open HOLD"):
            await ledger.append(replace(receipt(bob, hold, 5), hold_id=job(9)))
        with pytest.raises(InvalidEntry, match="not signed by its payee"):
            await ledger.append(replace(receipt(bob, hold, 50), bill_sig=bytes(64)))
        assert ledger.head() == head
        await ledger.append(receipt(bob, hold, 50))
        with pytest.raises(InvalidEntry, match="no open HOLD"):
            await ledger.append(receipt(bob, hold, 60))


async def test_values_out_of_range_never_reach_the_chain() -> None:
    async with opened() as ledger:
        for amount, head in ((-1, HEAD), (2**40 + 1, HEAD), (5, Head(0, b""))):
            with pytest.raises(Malformed, match="hold"):
                await ledger.hold(job(1), author(1).key, amount, EXPIRES_MS, head)
        assert ledger.head().seq == 1


async def test_release_needs_time_or_consent() -> None:
    bob = author(2)
    async with opened() as ledger:
        hold = await ledger.hold(job(1), bob.key, 100, EXPIRES_MS, bob.head)
        with pytest.raises(InvalidEntry, match="needs the payee's consent"):
            await ledger.release(hold.id, 0)
        await ledger.release(hold.id, 2, consent(bob, hold).sig)
        assert ledger.hold_info(hold.id).state is State.RELEASED
        assert ledger.balance(ME.public_key) == Balance()


async def test_claim_for_a_requester_who_does_not_sign() -> None:
    alice = author(1)
    async with opened() as ledger:
        hold = alice.hold(Author(ME, entries=chain_of(ledger)), 100)
        await ledger.add(alice.key, alice.wires)
        promised = claim(alice, hold, 40)
        with pytest.raises(InvalidEntry, match="not signed by its payer"):
            await ledger.append(replace(promised, amount=41))
        await ledger.append(promised)
        assert ledger.hold_info(hold.id).state is State.CLAIMED
        assert ledger.balance(ME.public_key).earned == 40
        assert ledger.balance(alice.key) == Balance(spent=40, held=60)


async def test_a_clock_that_goes_back_does_not_date_entries_back() -> None:
    times = iter((START_MS + 1000, START_MS))
    async with open_ledger(None, ME, NET, now_ms=lambda: next(times)) as ledger:
        hold = await ledger.hold(job(1), author(1).key, 1, EXPIRES_MS, HEAD)
        assert hold.ts_ms == START_MS + 1000


async def test_a_clock_far_behind_the_chain_is_named() -> None:
    now_ms = START_MS + MAX_AHEAD_MS + 1000
    async with open_ledger(None, ME, NET, now_ms=lambda: now_ms) as ledger:
        now_ms = START_MS
        with pytest.raises(LedgerError, match="dated 601 s ahead"):
            await ledger.hold(job(1), author(1).key, 1, EXPIRES_MS, HEAD)
        now_ms += 1000
        await ledger.hold(job(1), author(1).key, 1, now_ms + 2 * MAX_AHEAD_MS, HEAD)


async def test_another_mesh_needs_another_home(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    with pytest.raises(LedgerError, match="belongs to the mesh"):
        async with opened(tmp_path, net=OTHER_NET):
            pass


# -- appends that come together


async def test_appends_at_once_share_their_commits_and_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = Store.write

    def counted(self: Store, batch: Batch, *, durable: bool) -> None:
        assert durable
        sizes.append(len(batch.entries))
        write(self, batch, durable=durable)

    monkeypatch.setattr(Store, "write", counted)
    done: list[Entry] = []

    async def append(number: int) -> None:
        entry = await ledger.hold(job(number), author(1).key, 1, EXPIRES_MS, HEAD)
        assert ledger.head().seq >= entry.seq
        done.append(entry)

    async with opened(tmp_path) as ledger:
        async with trio.open_nursery() as nursery:
            for number in range(32):
                nursery.start_soon(append, number)
        assert sum(sizes) == 33
        assert len(sizes) <= 5
        assert [entry.seq for entry in chain_of(ledger)] == list(range(1, 34))
        assert {entry.seq for entry in done} == set(range(2, 34))
    assert verify_home(tmp_path).ok


async def test_a_cancelled_append_is_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as ledger:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ledger.hold(job(1), author(1).key, 1, EXPIRES_MS, HEAD)
        await ledger.hold(job(2), author(1).key, 1, EXPIRES_MS, HEAD)
        assert [entry.seq for entry in chain_of(ledger)] == [1, 2, 3]
    assert verify_home(tmp_path).ok


async def test_a_full_disk_stops_the_ledger_and_harms_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    failures: list[str] = []

    async def append(number: int) -> None:
        try:
            await ledger.hold(job(number), author(1).key, 1, EXPIRES_MS, HEAD)
        except LedgerError as error:
            failures.append(str(error))

    async with opened(tmp_path) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", full)
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(append, number)
        await append(4)
        assert ledger.head().seq == 1
    assert len(failures) == 4
    assert all("disk is full" in failure for failure in failures)
    async with opened(tmp_path) as ledger:
        await ledger.hold(job(5), author(1).key, 1, EXPIRES_MS, HEAD)
        assert ledger.head().seq == 2


# -- others' chains


async def test_add_is_idempotent_and_takes_overlaps() -> None:
    alice = author(1)
    for number in range(4):
        alice.hold(author(2), 1, number)
    async with opened() as ledger:
        first = await ledger.add(alice.key, alice.wires[:3])
        assert (first.new, first.head) == (3, alice.entries[2].head)
        again = await ledger.add(alice.key, alice.wires[:3])
        assert (again.new, again.head) == (0, alice.entries[2].head)
        rest = await ledger.add(alice.key, alice.wires[1:])
        assert (rest.new, rest.head) == (2, alice.head)
        assert (await ledger.add(alice.key, [])).head == alice.head
        assert ledger.entries(alice.key, 2, 3) == alice.wires[1:3]
        assert dict(ledger.heads())[alice.key] == alice.head
        assert ledger.known(author(9).key) == (0, b"")


async def test_refusals_keep_what_was_good() -> None:
    alice, bob = author(1), author(2)
    for number in range(3):
        alice.hold(bob, 1, number)
    damaged = bytearray(alice.wires[2])
    damaged[-1] ^= 1
    async with opened() as ledger:
        with pytest.raises(BadChain, match=r"entry 3: .*signature") as bad:
            await ledger.add(alice.key, [*alice.wires[:2], bytes(damaged), alice.wires[3]])
        assert bad.value.seq == 3
        assert ledger.known(alice.key).seq == 2
        with pytest.raises(Gap) as gap:
            await ledger.add(alice.key, alice.wires[3:])
        assert gap.value.known_seq == 2
        with pytest.raises(Gap):
            await ledger.add(alice.key, [alice.wires[1], alice.wires[3]])
        with pytest.raises(BadChain, match="another author"):
            await ledger.add(alice.key, [bob.wires[0]])
        with pytest.raises(BadChain, match="entry 3: not"):
            await ledger.add(alice.key, [b"\xc1junk"])
        with pytest.raises(BadChain, match="more than 1024"):
            await ledger.add(alice.key, [b""] * (MAX_RANGE_ENTRIES + 1))
        assert ledger.known(alice.key).seq == 2
        assert (await ledger.add(alice.key, alice.wires)).head == alice.head


async def test_another_branch_without_proof_is_a_bad_chain() -> None:
    alice, bob = author(1), author(2)
    twin = alice.copy()
    alice.hold(bob, 1, number=1)
    twin.hold(bob, 1, number=2)
    twin.hold(bob, 1, number=3)
    async with opened() as ledger:
        await ledger.add(alice.key, alice.wires)
        with pytest.raises(BadChain, match="prev differs"):
            await ledger.add(alice.key, twin.wires[2:])
        assert ledger.forks() == []


async def test_other_meshes_entries_are_refused() -> None:
    stranger = author(1, OTHER_NET)
    async with opened() as ledger:
        with pytest.raises(BadChain, match="another mesh"):
            await ledger.add(stranger.key, stranger.wires)


async def test_an_entry_from_the_future_waits() -> None:
    alice, bob = author(1), author(2)
    alice.hold(bob, 1, expires_ms=START_MS + 2 * MAX_AHEAD_MS, ts_ms=START_MS + MAX_AHEAD_MS + 1)
    now = START_MS
    async with open_ledger(None, ME, NET, now_ms=lambda: now) as ledger:
        with pytest.raises(Early):
            await ledger.add(alice.key, alice.wires)
        assert ledger.known(alice.key).seq == 1
        now += 1
        assert (await ledger.add(alice.key, alice.wires)).new == 1


async def test_a_lying_receipt_in_a_foreign_chain_is_refused() -> None:
    alice, bob, carol = author(1), author(2), author(3)
    hold = alice.hold(bob, 100)
    alice.write(Receipt(job(0), hold.id, carol.key, 1, RESULT, 1, bytes(64)))
    async with opened() as ledger:
        with pytest.raises(BadChain, match="another job or payee"):
            await ledger.add(alice.key, alice.wires)
        assert ledger.balance(carol.key) == Balance()


async def test_many_tasks_may_bring_the_same_chain(tmp_path: Path) -> None:
    alice = author(1)
    for number in range(40):
        alice.hold(author(2), 1, number)

    async def bring(count: int) -> None:
        added = await ledger.add(alice.key, alice.wires[:count])
        assert added.head.seq >= count
        assert ledger.hold_info(alice.entries[count - 1].id)

    async with opened(tmp_path) as ledger:
        async with trio.open_nursery() as nursery:
            for count in range(2, 41):
                nursery.start_soon(bring, count)
        assert ledger.known(alice.key).seq == 40
    assert verify_home(tmp_path).ok


async def test_kinds_of_later_versions_are_carried_and_counted() -> None:
    alice = author(1)
    tip = make_entry(alice.identity, NET, 2, alice.head.id, START_MS, kind=5, data=(author(2).key, 5, 0, b""))
    async with opened() as ledger:
        await ledger.add(alice.key, [*alice.wires, tip.wire])
        assert ledger.known(alice.key) == tip.head
        assert ledger.unfolded(alice.key) == 1
        assert ledger.balance(author(2).key) == Balance()


# -- everything together


@given(worlds())
@settings(max_examples=25, deadline=None)
def test_the_ledger_agrees_with_the_fold(world: World) -> None:
    async def play() -> None:
        async with opened(now_ms=world.now_ms) as ledger:
            for person in world.people:
                await ledger.add(person.key, person.wires)
            expected = {key: balance for key, balance in balances(gather(world.entries)).items() if balance != Balance()}
            assert {key: balance for key, balance in ledger.balances().items() if balance != Balance()} == expected
            assert sum(balance.net for balance in ledger.balances().values()) == 0

    trio.run(play)


async def test_a_restart_folds_to_the_same(tmp_path: Path) -> None:
    alice, bob = author(1), author(2)
    async with opened(tmp_path) as ledger:
        hold = alice.hold(bob, 50)
        bob.write(claim(alice, hold, 20))
        await ledger.add(bob.key, bob.wires)
        await ledger.add(alice.key, alice.wires)
        await ledger.hold(job(1), bob.key, 7, EXPIRES_MS, bob.head)
        before = (ledger.balances(), dict(ledger.heads()), ledger.open_holds(), ledger.explain(bob.key))
    async with opened(tmp_path) as ledger:
        assert before == (ledger.balances(), dict(ledger.heads()), ledger.open_holds(), ledger.explain(bob.key))


async def test_a_log_that_is_lost_is_not_begun_again(tmp_path: Path) -> None:
    """A second GENESIS of one key is a fork, which nobody forgives."""
    one, other = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))
    async with open_ledger(tmp_path, one, NET, now_ms=lambda: START_MS) as ledger:
        head = ledger.head()
    (tmp_path / LEDGER_FILE).rename(tmp_path / "backup")
    with pytest.raises(LedgerError, match="from a backup, however old"):
        async with open_ledger(tmp_path, one, NET, now_ms=lambda: START_MS):
            pass
    (tmp_path / "backup").rename(tmp_path / LEDGER_FILE)
    async with open_ledger(tmp_path, one, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.head() == head
    (tmp_path / LEDGER_FILE).unlink()
    async with open_ledger(tmp_path, other, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.is_new, "another key begins a log of its own"
