"""A worker that is late: what it has not brought goes to another as well, and each picture is paid to who brings it first."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import trio
import trio.testing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meshgen.net.port import Channel, NetError
from meshgen.peers.job import Part
from meshgen.peers.shares import LATE_S, Share, Shares
from meshgen.peers.trust import Experience
from meshgen.protocols.job_sides import WorkerSide
from tests.peers.outsiders import MODEL, FalseWorker, Play, false_worker
from tests.peers.test_false_workers import picture as drawn
from tests.peers.test_false_workers import send_paid_picture, send_picture
from tests.peers.test_wearing_down import declines
from tests.peers.virtual import VirtualMesh, net_mkudos, pictures_of, virtual_mesh

SIGN_S = 2.0


async def breathe(channel: Channel, side: WorkerSide, seconds: float) -> None:
    """Signs of life, and nothing else."""
    until = trio.current_time() + seconds
    while trio.current_time() < until:
        await channel.send(side.progress(0, 1))
        await trio.sleep(SIGN_S)


def brings_after(seconds: float, results: int) -> Play:
    """It brings so many, all as late as that, and breathes on."""

    async def play(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        await breathe(channel, side, seconds)
        for index in range(min(results, side.terms.count)):
            await send_paid_picture(me, channel, side, index)
        if side.terms.count <= results:
            await channel.send(side.done())
            await channel.receive()
        else:
            await breathe(channel, side, 1000)

    return play


async def asked(mesh: VirtualMesh, count: int, honest_s: float | None) -> tuple[float, Any, Any, Any]:
    """How long a job took next to an honest worker that takes so long for a picture, if there is one."""
    honest = await mesh.worker("honest", seconds=honest_s) if honest_s is not None else None
    asker = await mesh.requester()
    began = trio.current_time()
    job = await pictures_of(asker, model=MODEL.name, count=count)
    return trio.current_time() - began, honest, asker, job


async def test_signs_of_life_alone_cost_a_job_no_more_than_silence(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        async with false_worker(mesh, brings_after(1000, 0)) as late:
            took_s, honest, asker, job = await asked(mesh, count=4, honest_s=1)
            assert (job.state, {one.worker for one in job.results.values()}) == ("done", {honest.peer_id})
            assert late.awards == 1 and took_s < LATE_S + 10
            assert "is late; what it has not brought is offered again" in " ".join(job.notes)
            assert job.parts[0].why == "was late, and others were quicker"
            assert asker.requester._means.market.trust.of(late.peer_id) < 1
            await trio.sleep(2000)
            assert net_mkudos(asker, asker) == -job.mkudos == -net_mkudos(asker, honest)


async def test_who_is_late_and_quicker_all_the_same_is_paid_and_nobody_else(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        async with false_worker(mesh, brings_after(LATE_S + 6, 2)) as late:
            _, honest, asker, job = await asked(mesh, count=2, honest_s=60)
            assert (job.state, {one.worker for one in job.results.values()}) == ("done", {late.peer_id})
            assert [(part.state, part.why) for part in job.parts] == [("done", ""), ("lost", "was no longer needed")]
            await trio.sleep(2000)
            assert net_mkudos(asker, asker) == -job.mkudos == -2 * late.mkudos
            assert asker.ledger.balance(asker.identity.public_key).held == 0
            assert asker.requester._means.market.trust.experience(honest.peer_id) == Experience(), "it did nothing wrong"
            assert honest.worker.queued == 0


async def test_each_picture_is_paid_to_who_brings_it_first(autojump_clock: trio.testing.MockClock) -> None:
    """The late one brings the first, stays for the second, and the other has begun with the first in the meantime."""
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        async with false_worker(mesh, brings_after(LATE_S + 6, 1)) as late:
            _, honest, asker, job = await asked(mesh, count=2, honest_s=20)
            assert (job.state, job.error) == ("done", "")
            assert {index: one.worker for index, one in job.results.items()} == {0: late.peer_id, 1: honest.peer_id}
            await trio.sleep(2000)
            assert net_mkudos(asker, asker) == -job.mkudos
            assert asker.ledger.balance(late.who.public_key).net == late.mkudos
            assert asker.ledger.balance(asker.identity.public_key).held == 0


async def test_what_another_has_brought_is_not_paid_again(autojump_clock: trio.testing.MockClock) -> None:
    answers = []

    async def brings_what_is_there(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        await breathe(channel, side, LATE_S + 8)
        await send_picture(channel, side, 0, await drawn(side.terms.seeds[0]))
        await channel.send(side.bill(me.who))
        answers.append("billed")
        with suppress(NetError):
            answers.append(await channel.receive())

    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        async with false_worker(mesh, brings_what_is_there) as late:
            _, honest, asker, job = await asked(mesh, count=3, honest_s=5)
            assert (job.state, {one.worker for one in job.results.values()}) == ("done", {honest.peer_id})
            assert answers in (["billed"], ["billed", None]), "no voucher: the stream is closed or reset"
            assert job.parts[0].why == "was late, and others were quicker"
            await trio.sleep(2000)
            assert net_mkudos(asker, asker) == -job.mkudos == -net_mkudos(asker, honest)
            assert asker.ledger.balance(late.who.public_key).net == 0


async def test_who_is_late_and_alone_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        async with false_worker(mesh, brings_after(LATE_S + 25, 2)) as late:
            _, _, asker, job = await asked(mesh, count=2, honest_s=None)
            assert (job.state, {one.worker for one in job.results.values()}) == ("done", {late.peer_id})
            assert late.awards == 1
            assert any("1 is late" in note for note in job.notes), job.notes
            await trio.sleep(200)
            assert net_mkudos(asker, asker) == -job.mkudos


async def test_who_brings_all_of_it_before_it_is_offered_again(autojump_clock: trio.testing.MockClock) -> None:
    """Another had said no, so its offer waited a little: there is nothing to offer by then."""
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        play = brings_after(LATE_S + 2, 2)
        async with false_worker(mesh, play) as late, false_worker(mesh, declines, "decliner", mkudos=20) as decliner:
            _, _, _, job = await asked(mesh, count=2, honest_s=None)
            assert (job.state, {one.worker for one in job.results.values()}) == ("done", {late.peer_id})
            assert decliner.awards


async def test_but_not_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        async with false_worker(mesh, brings_after(10_000, 0)) as late:
            took_s, _, asker, job = await asked(mesh, count=2, honest_s=None)
            assert job.state == "failed" and late.awards == 1
            assert any("took longer than 60 s; its part is offered again" in note for note in job.notes), job.notes
            assert took_s < 100
            await trio.sleep(2000)
            assert net_mkudos(asker, asker) == 0


async def test_who_brought_all_of_its_own_settles_it_whatever_others_bring(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        workers = [await mesh.worker(f"w{number}", seconds=1) for number in range(5)]
        asker = await mesh.requester()
        assert asker.requester is not None
        parts = 0
        for _ in range(3):
            job = await pictures_of(asker, count=10)
            assert (job.state, job.notes, {part.state for part in job.parts}) == ("done", [], {"done"})
            parts += len(job.parts)
        trust = asker.requester._means.market.trust
        assert sum(trust.experience(worker.peer_id).kept for worker in workers) == parts


class Switch:
    cancel_called = False

    def cancel(self) -> None:
        self.cancel_called = True


class Work(RuleBasedStateMachine):
    """Whatever comes, in whatever order: nothing is done by nobody, offered twice, or paid twice."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 5
        self.shares = Shares(self.count)
        self.now = 0.0
        self.there: set[int] = set()
        self.running: list[Share] = []

    @precondition(lambda self: self.shares.missing)
    @rule(count=st.integers(1, 3))
    def award(self, count: int) -> None:
        indices = self.shares.give(min(count, len(self.shares.missing)))
        share = self.shares.begin(Part("w", "w", indices, 1), now_s=self.now, promised_s=1)
        share.scope = cast(trio.CancelScope, Switch())  # trio's own needs a running loop
        self.running.append(share)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for share in self.shares.find_late(self.now):
            assert share.late_s <= self.now
        assert self.shares.next_late_s() > self.now

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def bring(self, data: st.DataObject) -> None:
        share = data.draw(st.sampled_from(self.running))
        index = data.draw(st.sampled_from(share.part.indices))
        going = {id(one) for one in self.running if not one.scope.cancel_called}
        assert self.shares.bring(share, index) is (index not in self.there)
        self.there.add(index)
        for one in self.running:
            if id(one) in going and one.scope.cancel_called:
                assert one is not share and self.there.issuperset(one.part.indices)
                assert any(self.shares.brought_by(each) is not one for each in one.part.indices), "it is not settling"

    @precondition(lambda self: self.running)
    @rule(data=st.data(), settled=st.booleans())
    def end(self, data: st.DataObject, settled: bool) -> None:
        share = data.draw(st.sampled_from(self.running))
        self.running.remove(share)
        if not settled:
            self.there -= {index for index in share.part.indices if self.shares.brought_by(index) is share}
        self.shares.end(share, self.there)

    @invariant()
    def nothing_is_forgotten_or_offered_twice(self) -> None:
        missing = list(self.shares.missing)
        assert len(missing) == len(set(missing))
        in_time = [index for share in self.running if not share.is_late for index in share.part.indices]
        assert {*missing, *in_time, *self.there} == set(range(self.count))
        assert not set(missing) & {*in_time, *self.there}


TestWork = Work.TestCase
