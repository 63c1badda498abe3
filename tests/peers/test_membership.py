"""A mesh whose charter lists its members: who is on the roll takes part, who is not gets the charter, the roll and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from meshgen.identity import Identity
from meshgen.ledger.accounts import Accounts
from meshgen.net.memory_net import MemoryNet
from meshgen.net.port import Channel, Net, NetError, PeerId, Unreachable, request
from meshgen.peers.charter_text import render_charter
from meshgen.peers.directory import PRESENCE_PROTOCOL
from meshgen.peers.membership import Membership
from meshgen.peers.request import ImageRequest, RequestError
from meshgen.peers.roll_home import keep_page, read_pages
from meshgen.peers.rolls import RollError
from meshgen.protocols.charter import Lineage
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import ADD, RETIRE, ROTATE, Content, Entry, Genesis, Key, make_entry
from meshgen.protocols.envelope import sign, unsign
from meshgen.protocols.offer import OFFER_PROTOCOL, Offer, Refusal
from meshgen.protocols.roll import PROTOCOL, Page, Roll, RollAnswer, RollQuestion
from tests.conformance.samples import NET, REQUESTER, SAMPLES, WORKER
from tests.peers.test_charters import Town
from tests.peers.virtual import identity, now_ms, pictures_of
from tests.protocols.charter_vectors import BOTH, child, signed

LISTED = replace(BOTH, members="listed")
FOUNDED = Lineage.founded(signed(LISTED, REQUESTER, WORKER))
STRICT = Lineage.founded(signed(replace(LISTED, roll_threshold=2), REQUESTER, WORKER))
SPREAD_S = 3.0


@asynccontextmanager
async def club(*names: str, lineage: Lineage = FOUNDED) -> AsyncIterator[Town]:
    """A delegate's hub called "hub", the other delegate as "second", and these, on nobody's page yet."""
    async with trio.open_nursery() as nursery:
        ours = Town(nursery)
        await ours.member("hub", REQUESTER, lineage)
        await ours.member("second", WORKER, lineage)
        for name in names:
            await ours.member(name, lineage=lineage)
        yield ours
        await ours.leave()
        nursery.cancel_scope.cancel()


def key(name: str) -> bytes:
    return identity(name).public_key


async def admit(town: Town, *names: str, by: str = "hub") -> None:
    await town.members[by].community.change(map(key, names), ())
    await trio.sleep(SPREAD_S)


async def expel(town: Town, *names: str, by: str = "hub") -> None:
    await town.members[by].community.change((), map(key, names))
    await trio.sleep(SPREAD_S)


def reasons(town: Town, name: str) -> list[str]:
    """Why that worker takes no work."""
    return [reason["code"] for reason in town.members[name].status()["worker"]["reasons"]]


def states(town: Town, *names: str) -> list[str]:
    return [town.members[name].status()["membership"] for name in names]


async def test_who_is_admitted_takes_part_within_seconds(autojump_clock: trio.testing.MockClock) -> None:
    async with club("worker", "asker") as ours:
        assert states(ours, "hub", "second", "worker", "asker") == ["member", "member", "stranger", "stranger"]
        asker = ours.members["asker"]
        assert asker.requester is not None
        with pytest.raises(RequestError, match="send its peer id"):
            asker.requester.submit(ImageRequest(prompt="a prompt", steps=4))
        await admit(ours, "asker")
        assert states(ours, "worker", "asker") == ["stranger", "member"]
        assert (await pictures_of(asker)).state == "failed", "the worker is none yet"
        assert reasons(ours, "worker") == ["stranger"]
        await admit(ours, "worker", by="second")
        assert (await pictures_of(asker)).state == "done"
        assert reasons(ours, "worker") == []


async def test_who_is_expelled_takes_part_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with club("worker", "asker") as ours:
        await admit(ours, "worker", "asker")
        asker, worker = ours.members["asker"], ours.members["worker"]
        assert (await pictures_of(asker)).state == "done"
        await expel(ours, "asker", by="second")
        assert states(ours, "asker", "worker") == ["expelled", "member"]
        assert {row["peer_id"]: row["kept_out"] for row in worker.peers()}[asker.peer_id] == "stranger"
        assert {row["peer_id"]: row["kept_out"] for row in asker.peers()}[worker.peer_id] == "expelled"
        with pytest.raises(RequestError, match="was expelled from the mesh by a delegate"):
            await pictures_of(asker)
        assert asker.peer_id not in {signed.peer for signed in worker.directory.adverts()}
        assert not worker.bookkeeping.interest.keeps(key("asker"))
        await admit(ours, "asker", by="hub")
        assert states(ours, "asker") == ["expelled"], "an expulsion outweighs an admission"
        await admit(ours, "asker", by="second")
        assert states(ours, "asker") == ["member"], "who expelled took it back"
        await expel(ours, "worker", by="second")
        assert reasons(ours, "worker") == ["expelled"]


async def test_a_job_that_runs_when_its_requester_is_expelled_is_done_and_paid(autojump_clock: trio.testing.MockClock) -> None:
    async with club("worker", "asker") as ours:
        await admit(ours, "worker", "asker")
        asker = ours.members["asker"]
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="a prompt", steps=4, count=8))
        await trio.sleep(4)
        await expel(ours, "asker")
        await job.wait()
        assert (job.state, len(job.results)) == ("done", 8)


async def test_several_delegates_must_agree_where_the_charter_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with club("asker", lineage=STRICT) as ours:
        await admit(ours, "asker", by="hub")
        assert states(ours, "asker") == ["stranger"]
        await admit(ours, "asker", by="second")
        assert states(ours, "asker") == ["member"]
        await expel(ours, "asker", by="second")
        assert states(ours, "asker") == ["stranger"], "one admission is left"


async def test_delegates_may_change_the_roll_at_the_same_moment(autojump_clock: trio.testing.MockClock) -> None:
    async with club("ann", "ben") as ours:
        await ours.members["hub"].community.change([key("ann")], ())
        await ours.members["second"].community.change([key("ben")], ())
        await trio.sleep(SPREAD_S)
        assert states(ours, "ann", "ben") == ["member", "member"]
        rows = ours.members["ann"].community.view()["rows"]
        assert {row["peer_id"]: row["how"] for row in rows} == {
            REQUESTER.peer_id: "delegate",
            WORKER.peer_id: "delegate",
            identity("ann").peer_id: "admitted",
            identity("ben").peer_id: "admitted",
        }


async def test_others_than_delegates_can_change_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with club("ann", "ben") as ours:
        await admit(ours, "ann")
        ann, hub = ours.members["ann"], ours.members["hub"]
        with pytest.raises(RollError, match="no delegate"):
            await ann.community.change([key("ben")], ())
        page = sign(identity("ann"), Page(FOUNDED.net, 9, (key("ben"),), ()))
        with pytest.raises(Malformed, match="no delegate"):
            await hub.community.rolls.adopt(page)
        with pytest.raises(Malformed, match="another mesh"):
            await hub.community.rolls.adopt(sign(REQUESTER, Page(bytes(16), 9, (), ())))
        old = sign(REQUESTER, Page(FOUNDED.net, 1, (), ()))
        assert not await hub.community.rolls.adopt(old), "a page that was replaced does not come back"
        assert states(ours, "ann", "ben") == ["member", "stranger"]


async def test_a_bad_page_hides_no_other(autojump_clock: trio.testing.MockClock) -> None:
    async with club("ann") as ours:
        ann = ours.members["ann"]
        good = sign(WORKER, Page(FOUNDED.net, 5, (key("ann"),), ()))
        bad = [sign(identity("nosy"), Page(FOUNDED.net, 9, (), ())).wire, b"junk", good.wire[:-1] + b"\0"]

        async def serve(channel: Channel) -> None:
            await channel.receive()
            await channel.send(RollAnswer(FOUNDED.net, (*bad, good.wire)).encode(), last=True)

        async with ours.net.join(identity("nosy")) as net:
            net.serve(PROTOCOL, serve)
            await ann.community.rolls.ask(net.peer_id)
            assert ann.status()["membership"] == "member"


async def test_a_delegate_that_comes_from_a_backup_goes_on_from_its_newest_page(autojump_clock: trio.testing.MockClock) -> None:
    async with club("ann", "ben") as ours:
        await admit(ours, "ann")
        hub = ours.members["hub"]
        hub.community.rolls.pages.clear()  # as before
        await admit(ours, "ben")
        assert states(ours, "ann", "ben") == ["member", "member"]


async def test_an_open_mesh_may_begin_to_list_its_members(autojump_clock: trio.testing.MockClock) -> None:
    opened = Lineage.founded(signed(BOTH, REQUESTER, WORKER))
    async with club("worker", "asker", lineage=opened) as ours:
        await admit(ours, "worker")
        assert states(ours, "worker", "asker") == ["open", "open"]
        closing = signed(child(BOTH, members="listed"), REQUESTER, WORKER)
        await ours.members["hub"].adopt_charter(render_charter(closing))
        await trio.sleep(SPREAD_S)
        assert states(ours, "worker", "asker") == ["member", "stranger"]


# -- what a stranger gets


async def test_a_stranger_gets_the_charter_and_the_roll_alone(autojump_clock: trio.testing.MockClock) -> None:
    async with club("worker") as ours:
        await admit(ours, "worker")
        async with ours.net.join(identity("nosy")) as net:
            worker = PeerId(ours.members["worker"].peer_id)
            answer = RollAnswer.decode(await request(net, worker, PROTOCOL, RollQuestion(FOUNDED.net, ()).encode()))
            assert [unsign(wire, Page).author for wire in answer.pages] == [REQUESTER.public_key]
            for protocol in (PRESENCE_PROTOCOL, "/meshgen/credit/1", "/meshgen/bid/1"):
                with pytest.raises((NetError, trio.TooSlowError)):
                    with trio.fail_after(5):
                        await request(net, worker, protocol, b"")
            assert await _asked_for_work(net, worker, identity("nosy")) == "not_member"


async def _asked_for_work(net: Net, worker: PeerId, who: Identity) -> str:
    offer = replace(SAMPLES[Offer], net=FOUNDED.net, created_ms=now_ms(), expires_ms=now_ms() + 60_000)  # type: ignore[type-var]
    answer = unsign(await request(net, worker, OFFER_PROTOCOL, sign(who, offer).wire), Refusal)
    return answer.message.reason


async def test_what_strangers_gossip_goes_no_further_and_is_nobodys_fault(autojump_clock: trio.testing.MockClock) -> None:
    async with club("worker") as ours:
        await admit(ours, "worker")
        worker = ours.members["worker"]
        async with ours.net.join(identity("nosy")) as net:
            advert = worker.directory.own
            assert advert is not None
            forged = sign(identity("nosy"), replace(advert.message, seq=advert.message.seq + 1))
            await net.publish(worker.directory.topic, forged.wire)
            await trio.sleep(SPREAD_S)
            assert net.peer_id not in {signed.peer for signed in ours.members["hub"].directory.adverts()}


async def test_a_member_asks_strangers_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with club("worker") as ours:
        hub = ours.members["hub"]

        async def never(_: Channel) -> None:
            raise AssertionError("it was asked")

        async with ours.net.join(identity("nosy")) as net:
            net.serve(OFFER_PROTOCOL, never)
            with pytest.raises(Unreachable, match="no member"):
                await request(hub.net, net.peer_id, OFFER_PROTOCOL, b"")


# -- devices of one account


async def test_a_member_brings_the_devices_that_its_account_lets_in(autojump_clock: trio.testing.MockClock) -> None:
    async with club("ann", "phone") as ours:
        await admit(ours, "ann")
        ann = ours.members["ann"]
        await ann.ledger.append(Key(ADD, key("phone"), b"", 0, b"", 0))
        hub = ours.members["hub"]
        await hub.bookkeeping.archivist.pull(PeerId(ann.peer_id), key("ann"))
        await trio.sleep(SPREAD_S)
        assert hub.community.membership.includes(key("phone")), "its own log need not be known: who adds it answers for it"
        await expel(ours, "ann")
        assert not hub.community.membership.includes(key("phone")), "who is expelled brings nobody"


async def test_an_account_is_known_by_the_log_of_a_device(autojump_clock: trio.testing.MockClock) -> None:
    async with club("ann") as ours:
        ann, hub = ours.members["ann"], ours.members["hub"].community
        account = ann.ledger.account_of(key("ann"))
        assert not hub.knows(account), "a stranger's log is kept by nobody"
        await admit(ours, "ann")
        assert ann.community.knows(account)
        await ours.members["hub"].bookkeeping.archivist.pull(PeerId(ann.peer_id), key("ann"))
        assert hub.knows(account)


class Books:
    """A ledger of accounts alone."""

    def __init__(self, *entries: Entry) -> None:
        self.identity = identity("me")
        self.accounts = Accounts()
        for entry in entries:
            self.accounts.add(entry)

    def account_of(self, peer: bytes) -> bytes:
        return self.accounts.account_of(peer)


def chain(name: str, *contents: Content) -> list[Entry]:
    """The log of whoever goes by this name, who committed to the recovery key "name's next"."""
    found: list[Entry] = []
    for content in (Genesis(b"", sha256(key(f"{name}'s next")).digest(), ""), *contents):
        before = found[-1].id if found else b""
        found.append(make_entry(identity(name), NET, len(found) + 1, before, 1000, kind=content.KIND, data=content.data()))
    return found


def belonging(entries: list[Entry], admitted: set[bytes], *expelled: bytes) -> Membership:
    charters = SimpleNamespace(current=LISTED)
    rolls = SimpleNamespace(roll=Roll(frozenset(admitted), frozenset(expelled)), on_change=[], says=lambda _: [])
    return Membership(Books(*entries), charters, rolls, lambda: 0)  # type: ignore[arg-type]


def test_the_next_key_belongs_too_and_a_retired_one_no_more() -> None:
    added, retired = Key(ADD, key("phone"), b"", 0, b"", 0), Key(RETIRE, key("phone"), b"", 1, bytes(32), 0)
    rotated = Key(ROTATE, key("ann's next"), bytes(32), 0, b"", 0)
    members = belonging(chain("ann", added, retired, rotated), {key("ann")})
    assert members.includes(key("ann's next"))
    assert not members.includes(key("phone"))
    assert not members.includes(key("ben's next"))


def test_a_key_that_was_named_for_recovery_belongs_before_it_says_a_word() -> None:
    log = chain("ann")
    assert belonging(log, {key("ann")}).includes(key("ann's next"))
    assert not belonging(log, {key("ben")}).includes(key("ann's next"))
    assert not belonging(log, {key("ann")}, key("ann's next")).includes(key("ann's next"))


def test_an_account_on_the_roll_means_its_devices() -> None:
    log = chain("ann", Key(ADD, key("phone"), b"", 0, b"", 0))
    account = log[0].id
    assert belonging(log, {account}).keys() == {*LISTED.delegates, key("ann"), key("phone")}
    assert belonging(log, {key("ann")}, account).keys() == set(LISTED.delegates)
    assert belonging(log, {key("ann")}, key("phone")).keys() == {*LISTED.delegates, key("ann")}


def test_a_delegate_stays_whatever_the_roll_says() -> None:
    assert belonging([], set(), REQUESTER.public_key).includes(REQUESTER.public_key)


async def test_who_would_expel_a_delegate_is_told_that_the_charter_names_it(autojump_clock: trio.testing.MockClock) -> None:
    async with club("ann") as ours:
        community = ours.members["hub"].community
        for delegate in (WORKER, REQUESTER):
            with pytest.raises(RollError, match=f"{delegate.peer_id} is a delegate, .*mesh amend"):
                await community.change((), [key("ann"), delegate.public_key])
        assert not community.rolls.pages, "nor is anybody else expelled by half a change"


# -- at home


def test_pages_are_kept_whole_and_damaged_ones_left_out(tmp_path: Path) -> None:
    pages = [sign(who, Page(FOUNDED.net, 1, (key("ann"),), ())) for who in (REQUESTER, WORKER)]
    for page in pages:
        keep_page(tmp_path, page)
    assert read_pages(tmp_path) == {page.author: page for page in pages}
    file = tmp_path / "charter" / "roll" / f"{WORKER.peer_id}.page"
    file.write_bytes(file.read_bytes()[:-1])
    assert list(read_pages(tmp_path)) == [REQUESTER.public_key]
    assert read_pages(tmp_path / "nowhere") == {}


def test_a_page_has_its_limits() -> None:
    page = Page(FOUNDED.net, 1, (), ())
    with pytest.raises(Malformed, match="admitted"):
        page.changed([index.to_bytes(32) for index in range(1501)], ())
    full = page.changed([index.to_bytes(32) for index in range(1500)], [index.to_bytes(32) for index in range(5000, 5400)])
    assert len(full.encode()) <= Page.LIMITS.max_bytes
    assert Page.decode(full.encode()) == full


async def test_relays_are_for_members(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, list[Callable[[PeerId], bool]]] = {}
    monkeypatch.setattr(MemoryNet, "relay_among", lambda net, *said: told.update({net.peer_id: list(said)}))
    async with club("in", "out") as town:
        await admit(town, "in")
        hub, inside, outside = (PeerId(town.members[name].peer_id) for name in ("hub", "in", "out"))
        assert [ask(inside) for ask in told[hub]] == [True, True]
        assert [ask(outside) for ask in told[hub]] == [False, False]
        assert [ask(hub) for ask in told[outside]] == [False, False], "it would be refused"
        gate = town.members["in"].gate
        gate.lists = replace(gate.lists, only_allowed=True)
        assert [ask(hub) for ask in told[inside]] == [False, True], "a relay need not be one of the allowed"
