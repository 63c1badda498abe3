"""Whom a worker serves first, end to end: by what each did for it, over friends of friends; nobody starves, nobody floods it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.ledger.standing import STRANGER
from meshgen.peers.peer import Peer
from meshgen.protocols.credit import ADD, Bill, Genesis, Hold, Key, Receipt, Vouch, job_id
from meshgen.protocols.offer import Bid, Refusal
from tests.peers.outsiders import outsider
from tests.peers.virtual import NET, VirtualMesh, identity, now_ms, pictures_of, virtual_mesh

DRAWING_S = 20.0
MINUTE_MS = 60_000


async def owes(debtor: Peer, creditor: Peer, mkudos: int) -> None:
    """As if ``creditor`` had worked for ``debtor``: a HOLD and a RECEIPT that bears the creditor's signature."""
    who, payer = creditor.identity, debtor.identity.public_key
    hold = Hold(job_id(os.urandom(32), bytes(32)), who.public_key, mkudos, now_ms() + MINUTE_MS, 1, creditor.ledger.head().id)
    entry = await debtor.ledger.append(hold)
    bill = Bill(NET, hold.job, entry.id, payer, who.public_key, mkudos, bytes(32)).sign(who)
    await debtor.ledger.append(Receipt(hold.job, entry.id, who.public_key, mkudos, bytes(32), 1, bill.sig))


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(300):
        while not condition():  # noqa: ASYNC110 (what others hold has no event here)
            await trio.sleep(1)


async def told(worker: Peer, *others: Peer) -> None:
    """Wait until the worker holds these chains to their ends."""
    await until(lambda: all(worker.ledger.known(other.identity.public_key) == other.ledger.head() for other in others))


async def busy_worker(mesh: VirtualMesh, **settings: object) -> Peer:
    """It keeps everybody's log, so that it need not wait for any."""
    await mesh.add("hub", "hub")
    return await mesh.add("worker", "worker archivist", FakeEngine(seconds_per_picture=DRAWING_S), **settings)


async def order_of(worker: Peer, *jobs: tuple[str, Callable[[], Awaitable[object]]], blocker: Peer) -> list[str]:
    """Jobs that come one after the other while the worker draws for ``blocker``: in which order they are done."""
    done: list[str] = []

    async def run(name: str, work: Callable[[], Awaitable[object]]) -> None:
        await work()
        done.append(name)

    assert worker.worker is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asks(blocker))
        for waiting, (name, work) in enumerate(jobs, 1):
            await until(lambda waiting=waiting: worker.worker.queued == waiting)
            nursery.start_soon(run, name, work)
    return done


def asks(node: Peer) -> Callable[[], Awaitable[object]]:
    async def ask() -> None:
        job = await pictures_of(node, model="fake")
        assert job.state == "done", job.error

    return ask


async def test_who_worked_for_me_is_served_before_strangers(autojump_clock: trio.testing.MockClock) -> None:
    """By real jobs: the worker had pictures of another model drawn by the helper."""
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        engine = FakeEngine(seconds_per_picture=DRAWING_S)
        worker = await mesh.add("worker", "worker requester archivist", engine)
        helper = await mesh.add("helper", "worker requester", FakeEngine([fake_model("rare")], seconds_per_picture=1))
        assert (await pictures_of(worker, model="rare", count=2)).state == "done"
        first, second = await mesh.requester("first"), await mesh.requester("second")
        jobs = (("second", asks(second)), ("helper", asks(helper)))
        assert await order_of(worker, *jobs, blocker=first) == ["helper", "second"]


async def test_a_friend_of_a_friend_is_served_before_strangers(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await busy_worker(mesh)
        friend, his_friend, first, second = [await mesh.requester(name) for name in ("friend", "his_friend", "first", "second")]
        await owes(worker, friend, 10_000)
        await owes(friend, his_friend, 5_000)
        await told(worker, friend)
        assert worker.ledger.standing(his_friend.identity.public_key).credit == 5_000
        jobs = (("second", asks(second)), ("his_friend", asks(his_friend)))
        assert await order_of(worker, *jobs, blocker=first) == ["his_friend", "second"]
        await told(worker, his_friend)
        assert worker.ledger.standing(his_friend.identity.public_key).credit < 5_000
        friend_credit = worker.ledger.standing(friend.identity.public_key).credit
        assert friend_credit < 10_000, "the path was charged"


async def test_friends_by_name_and_the_own_account_come_first(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await busy_worker(mesh, worker__friends=[identity("friend").peer_id])
        first, known, friend = [await mesh.requester(name) for name in ("first", "known", "friend")]
        await owes(worker, known, 50_000)
        jobs = (("known", asks(known)), ("friend", asks(friend)))
        assert await order_of(worker, *jobs, blocker=first) == ["friend", "known"]


async def test_a_vouch_lifts_a_newcomer_over_strangers(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await busy_worker(mesh)
        first, second, newcomer = [await mesh.requester(name) for name in ("first", "second", "newcomer")]
        account = newcomer.ledger.account_of(newcomer.identity.public_key)
        await told(worker, newcomer)
        await worker.ledger.append(Vouch(account, 3_000, now_ms() + 60 * MINUTE_MS, 0))
        jobs = (("second", asks(second)), ("newcomer", asks(newcomer)))
        assert await order_of(worker, *jobs, blocker=first) == ["newcomer", "second"]


async def test_the_owners_own_jobs_wait_in_the_same_queue_and_go_first(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        worker = await mesh.add("worker", "worker requester", FakeEngine(seconds_per_picture=DRAWING_S))
        first, second = await mesh.requester("first"), await mesh.requester("second")
        jobs = (("second", asks(second)), ("owner", asks(worker)))
        assert await order_of(worker, *jobs, blocker=first) == ["owner", "second"]


async def test_a_device_of_the_own_account_is_not_judged_by_credit(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await busy_worker(mesh, worker__max_debt_mkudos=1)
        async with outsider(mesh, "tablet") as tablet:
            account = worker.ledger.account_of(worker.identity.public_key)
            tablet.chain.clear()
            tablet.append(Genesis(account, bytes(32), "tablet"))
            await worker.ledger.add(tablet.who.public_key, [entry.wire for entry in tablet.chain])
            await worker.ledger.append(Key(ADD, tablet.who.public_key, b"", 0, b"", 0))
            verdict = worker.worker._admission.verdict(tablet.who.public_key)
            assert (verdict.serve, "own account" in verdict.why) == (True, True)
            deal = await tablet.deal(worker, count=1)
            assert await tablet.send_award(worker, deal.award) == "accepted"


async def test_strangers_are_not_starved(autojump_clock: trio.testing.MockClock) -> None:
    """A friend of the owner has always two jobs in the queue, and a stranger still gets its picture."""
    async with virtual_mesh() as mesh:
        worker = await busy_worker(mesh, worker__friends=[identity("friend").peer_id])
        friend, stranger = await mesh.requester("friend"), await mesh.requester("stranger")
        drawn = 0

        async def keep_busy() -> None:
            nonlocal drawn
            while True:
                await pictures_of(friend)
                drawn += 1

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(keep_busy)
            await until(lambda: worker.worker.queued == 3)
            before = drawn
            assert (await pictures_of(stranger, timeout_s=600)).state == "done"
            assert 3 <= drawn - before <= 10, "one was drawn, two waited before it, seven passed it"
            nursery.cancel_scope.cancel()


async def test_a_flood_of_a_stranger_is_told_to_come_back_later(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker", seconds=0.1, worker__stranger_pictures_per_minute=12)
        async with outsider(mesh) as me:
            early = [await me.deal(worker, count=1) for _ in range(14)]
            assert [await me.send_award(worker, deal.award) for deal in early] == ["accepted"] * 12 + ["full"] * 2
            answer = (await me.ask(worker, me.offer())).message
            assert isinstance(answer, Refusal)
            assert answer.reason == "full"
            await trio.sleep(11)
            answer = (await me.ask(worker, me.offer(count=3))).message
            assert isinstance(answer, Bid)
            assert answer.count == 2, "what these seconds brought"
        asker = await mesh.requester()
        started = trio.current_time()
        job = await pictures_of(asker, count=16)
        assert job.state == "done", "who comes back gets everything"
        assert trio.current_time() - started > 4 * 60 / 12


async def test_credit_knows_no_such_limit(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker", seconds=0.1, worker__stranger_pictures_per_minute=1)
        asker = await mesh.requester()
        await owes(worker, asker, 100_000)
        started = trio.current_time()
        assert (await pictures_of(asker, count=8)).state == "done"
        assert trio.current_time() - started < 30


async def test_strangers_do_not_keep_out_who_goes_before_them(autojump_clock: trio.testing.MockClock) -> None:
    """What waits behind a requester takes none of its room in the queue; it is no way to accept without end either."""
    async with virtual_mesh() as mesh:
        worker = await busy_worker(mesh, worker__max_queue=2)
        known, *strangers = [await mesh.requester(name) for name in ("known", "first", "second", "third")]
        await owes(worker, known, 100_000)
        async with trio.open_nursery() as nursery:
            for stranger in strangers[:2]:
                nursery.start_soon(pictures_of, stranger)
            await until(lambda: worker.worker.queued == 2)
            room = worker.worker._admission.room
            verdicts = {node: worker.worker._admission.verdict(node.identity.public_key) for node in (known, strangers[2])}
            assert [room(node.identity.public_key, verdict) for node, verdict in verdicts.items()] == [1, 0]
            assert (await pictures_of(known)).state == "done"


@pytest.mark.parametrize("sybils", [3, 6])
async def test_sybils_get_the_attack_edge_and_are_strangers_again(sybils: int, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await busy_worker(mesh, worker__max_queue=32)
        attacker, first, honest = [await mesh.requester(name) for name in ("attacker", "first", "honest")]
        price = (await pictures_of(first)).mkudos
        await owes(worker, attacker, 2 * price)
        made_up = [await mesh.requester(f"sybil {number}") for number in range(sybils)]
        for sybil in made_up:
            await owes(attacker, sybil, 10**9)
        await told(worker, attacker)
        jobs = [("honest", asks(honest)), *((f"sybil {number}", asks(sybil)) for number, sybil in enumerate(made_up))]
        order = await order_of(worker, *jobs, blocker=first)
        assert order.index("honest") == 2, order
        ranks = [worker.worker._admission.verdict(node.identity.public_key).rank for node in (*made_up, attacker)]
        assert ranks == [STRANGER] * (sybils + 1)


async def test_credit_is_used_up_over_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await busy_worker(mesh)
        asker = await mesh.requester()
        await owes(worker, asker, 100_000)
        job = await pictures_of(asker)
        await until(lambda: worker.worker.queued == 0)
        assert worker.ledger.standing(asker.identity.public_key).credit == 100_000 - job.mkudos
        await mesh.leave("worker")
        worker = await mesh.restart("worker")
        assert worker.ledger.standing(asker.identity.public_key).credit == 100_000 - job.mkudos
