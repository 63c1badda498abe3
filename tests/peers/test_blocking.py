"""Block and allow lists: whom a node has nothing to do with, on its owner's word, from the moment it is said."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from meshgen.identity import Identity
from meshgen.net.port import PeerId, Unreachable, request
from meshgen.peers.community import LOOK_S
from meshgen.peers.directory import PRESENCE_PROTOCOL
from meshgen.peers.gate import Gate, Lists
from meshgen.peers.peer import Peer
from meshgen.peers.reconciliation import RECONCILE_S
from meshgen.peers.request import ImageRequest, RequestError, Whom
from meshgen.protocols.credit import Advisory
from meshgen.settings import load_settings
from meshgen.settings.blocking import Block, parse_block
from meshgen.testing import VirtualMesh, identity, now_ms, pictures_of, virtual_mesh

SPREAD_S = 5.0


def says(node: Peer, **changes: Any) -> None:
    """Its owner changes the settings while it runs."""
    given = {key.replace("__", "."): value for key, value in changes.items()}
    base = {"node.alias": node.settings.node.alias, "node.roles": list(node.settings.node.roles)}
    node.follow_settings(load_settings(overrides=base | given))


def peer_of(name: str) -> str:
    return identity(name).peer_id


def linked(node: Peer, name: str) -> bool:
    return any(link.peer == peer_of(name) for link in node.net.links())


async def village(mesh: VirtualMesh) -> tuple[Peer, Peer, Peer]:
    await mesh.add("hub", "hub archivist")
    one, two = await mesh.worker("w1"), await mesh.worker("w2")
    asker = await mesh.requester("asker")
    await trio.sleep(SPREAD_S)
    return one, two, asker


async def test_a_blocked_worker_gets_no_offer_and_no_link(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        _, two, asker = await village(mesh)
        says(asker, node__block=[f"{peer_of('w1')} (sends noise)"])
        await trio.sleep(2 * LOOK_S)
        assert not linked(asker, "w1")
        job = await pictures_of(asker, count=4)
        assert job.state == "done"
        assert {part.worker for part in job.parts} == {two.peer_id}
        assert {row["peer_id"]: row["kept_out"] for row in asker.peers()}[peer_of("w1")] == "blocked"
        assert asker.models()["mesh"][0]["workers"] == 1
        with pytest.raises(Unreachable, match="blocked"):
            await request(asker.net, PeerId(peer_of("w1")), PRESENCE_PROTOCOL, b"")


async def test_who_asks_for_a_blocked_worker_alone_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        one, two, asker = await village(mesh)
        requester = asker.requester
        assert requester is not None and (await pictures_of(asker, count=4)).state == "done"
        await trio.sleep(2 * RECONCILE_S)
        account = asker.ledger.account_of(one.identity.public_key).hex()
        alone, either = (
            ImageRequest("fox", whom=Whom(only=frozenset(names))) for names in ([one.peer_id], [one.peer_id, two.peer_id])
        )
        for who in (one.peer_id, account):
            says(asker, node__block=[who])
            for ask in (requester.submit, requester.quote):
                with pytest.raises(
                    RequestError, match=f"w1#{one.peer_id[-6:]} is not asked: .* has blocked it .*peers unblock {who}`"
                ):
                    ask(alone)
        job = requester.submit(either)
        await job.wait()
        assert {part.worker for part in job.parts} == {two.peer_id}
        says(asker, node__block=[], node__only_allowed=True)
        with pytest.raises(RequestError, match=r"node\.allow"):
            requester.submit(alone)
        assert requester.submit(ImageRequest("fox", whom=Whom(only=frozenset(("12D3KooW" + "1" * 44,))))), "nobody's id yet"


async def test_a_blocked_requester_gets_nothing_done_and_may_come_back(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        one, two, asker = await village(mesh)
        for worker in (one, two):
            says(worker, node__block=[asker.peer_id])
        await trio.sleep(2 * LOOK_S)
        assert (await pictures_of(asker)).state == "failed"
        assert one.worker is not None
        assert one.worker.tally.bids == 0, "what it gossips is not looked at"
        for worker in (one, two):
            says(worker, node__block=[])
        await trio.sleep(60)
        assert (await pictures_of(asker)).state == "done"


async def test_a_block_ends_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("w1")
        asker = await mesh.requester("asker")
        says(asker, node__block=[str(Block(peer_of("w1"), now_ms() + 120_000))])
        await trio.sleep(2 * LOOK_S)
        assert (await pictures_of(asker)).state == "failed"
        await trio.sleep(240)
        assert (await pictures_of(asker)).state == "done"


async def test_a_job_that_runs_ends_with_the_block_and_what_came_is_paid(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("w1", seconds=20.0)
        asker = await mesh.requester("asker")
        await trio.sleep(SPREAD_S)
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="a prompt", steps=4, count=3))
        await trio.sleep(30)  # one of three is drawn
        says(worker, node__block=[asker.peer_id])
        await job.wait()
        assert job.state == "failed"
        assert len(job.results) == 1
        await trio.sleep(SPREAD_S)
        earned = worker.ledger.balance(worker.identity.public_key).earned
        assert earned >= job.mkudos > 0
        assert worker.worker is not None
        assert worker.worker.queued == 0


async def test_a_blocked_account_means_all_its_devices(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        _, two, asker = await village(mesh)
        assert (await pictures_of(asker, count=4)).state == "done"
        await trio.sleep(2 * RECONCILE_S)
        account = asker.ledger.account_of(identity("w1").public_key)
        assert account != identity("w1").public_key, "its log is known here"
        says(asker, node__block=[account.hex()])
        await trio.sleep(2 * LOOK_S)
        assert not linked(asker, "w1")
        job = await pictures_of(asker, count=4)
        assert {part.worker for part in job.parts} == {two.peer_id}
        says(asker, node__block=[account.hex()], node__allow=[peer_of("w1")])
        assert asker.gate.deals_with(identity("w1").public_key), "the word about the peer goes before the one about its account"


async def test_only_allowed_is_for_a_circle_of_friends(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        one, _, asker = await village(mesh)
        says(asker, node__only_allowed=True, node__allow=[one.peer_id])
        job = await pictures_of(asker, count=4)
        assert {part.worker for part in job.parts} == {one.peer_id}
        await trio.sleep(60)
        assert linked(asker, "hub"), "others go on carrying what is said between friends"
        says(one, node__only_allowed=True)
        assert (await pictures_of(asker)).state == "failed"


async def test_workers_refuse_those_whom_followed_peers_advise_against(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        adviser = await mesh.add("adviser", "hub archivist")
        worker, asker = await mesh.worker("w1"), await mesh.requester("asker")
        says(worker, node__follow=[adviser.peer_id])
        assert (await pictures_of(asker)).state == "done"
        word = Advisory("clean", 0, 3, asker.identity.public_key, "floods", 2, now_ms() + 10**8, b"")
        await adviser.ledger.append(word)
        await trio.sleep(3 * RECONCILE_S)
        job = await pictures_of(asker)
        assert job.state == "failed"
        assert "declines by the owner's rules" in job.error
        row = next(row for row in worker.peers() if row["peer_id"] == asker.peer_id)
        said = row["advice"][0]
        assert (row["avoided"], said["by"], said["why"], said["recommendation"]) == (True, adviser.peer_id, "floods", "avoid")
        says(worker, node__follow=[adviser.peer_id], node__allow=[asker.peer_id])
        assert (await pictures_of(asker)).state == "done", "the owner's word goes before others'"
        says(worker, node__follow=[])
        assert (await pictures_of(asker)).state == "done"


# -- the lists as people write them


@pytest.mark.parametrize(
    "line", ["{}", "{} until 2031-12-24", "{} until 2031-12-24T18:05Z", "{} (why not)", "{} until 2031-12-24 (x)"]
)
def test_lines_read_back(line: str) -> None:
    block = parse_block(line.format(peer_of("w1")))
    assert parse_block(str(block)) == block
    assert load_settings(overrides={"node.block": [line.format(peer_of("w1"))]}).node.block


@pytest.mark.parametrize(
    "line", ["", "bob", "{} until tomorrow", "{} until 2031-13-24", "{} ()", "{} (a) (b)", "{} (bell \a)", "{}until 2031-12-24"]
)
def test_other_lines_are_refused_in_words(line: str) -> None:
    with pytest.raises(Exception, match=r"block|no such day|plain letters"):
        load_settings(overrides={"node.block": [line.format(peer_of("w1"))]})


def test_nobody_keeps_its_own_node_out() -> None:
    class Books:
        identity: Identity = identity("me")

    gate = Gate(Books(), now_ms, Lists({peer_of("me"): Block(peer_of("me"))}, only_allowed=True))  # type: ignore[arg-type]
    assert gate.deals_with(identity("me").public_key)
