"""Honest figures: how long, how many before, and whether at all."""

from __future__ import annotations

import pytest

from meshgen.gateway.callers import OWNER
from meshgen.gateway.horde.desk import Asked, Desk
from meshgen.gateway.horde.waiting import PACE_S, Waiting
from meshgen.gateway.keys import KeyRing
from meshgen.peers.job import Job, Part
from meshgen.peers.request import ImageRequest
from tests.gateway.fake_node import BOB
from tests.gateway.horde.asked import AskingNode, bring

NOW = 1_800_000_000_000


class Clock:
    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(clock: Clock) -> Desk:
    return Desk(KeyRing(), now_ms=clock)


@pytest.fixture
def waiting(desk: Desk) -> Waiting:
    return Waiting(AskingNode(), desk)


def asked_for(desk: Desk, count: int = 1, model: str = "sd15") -> tuple[Asked, Job]:
    job = Job("j", ImageRequest("x", model=model, count=count), created_ms=NOW, model=model)
    return desk.take(OWNER, "image", [job]), job


def part(job: Job, *indices: int, ahead_s: float = 0, due_s: float = 0) -> Part:
    made = Part(BOB.peer_id, "bob", indices, 11_000, ahead_ms=round(ahead_s * 1000), due_ms=NOW + round(due_s * 1000))
    job.parts.append(made)
    return made


def test_without_a_worker_the_mesh_queue_decides(desk: Desk, waiting: Waiting) -> None:
    asked, _ = asked_for(desk, 2)
    first = waiting.figures(asked)
    assert (first["wait_time"], first["queue_position"]) == (2 + (4 + 2) / 2 * PACE_S, 3)
    desk.paces["sd15"] = 1.0
    assert waiting.figures(asked)["wait_time"] == 5


def test_with_a_worker_its_word_decides(desk: Desk, waiting: Waiting, clock: Clock) -> None:
    asked, job = asked_for(desk, 2)
    desk.paces["sd15"] = 2.0
    mine = part(job, 0, 1, ahead_s=10, due_s=14)
    figures = waiting.figures(asked)
    assert (figures["wait_time"], figures["queue_position"], figures["processing"]) == (14, 5, 2)
    clock.ms += 9000
    assert (waiting.figures(asked)["wait_time"], waiting.figures(asked)["queue_position"]) == (5, 1)
    mine.state = "running"
    assert waiting.figures(asked)["queue_position"] == 0
    clock.ms += 60_000
    assert waiting.figures(asked)["wait_time"] == 1, "late: never 0 while something is pending"


def test_the_longest_part_and_what_nobody_has_taken_count(desk: Desk, waiting: Waiting) -> None:
    asked, job = asked_for(desk, 3)
    desk.paces["sd15"] = 2.0
    part(job, 0, due_s=5)
    part(job, 1, due_s=20).state = "lost"
    figures = waiting.figures(asked)
    assert (figures["processing"], figures["waiting"], figures["restarted"]) == (1, 2, 1)
    assert figures["wait_time"] == 5 + 2 + (4 + 2) / 2 * 2
    bring(job, 0)
    assert (waiting.figures(asked)["finished"], waiting.figures(asked)["processing"]) == (1, 0)


def test_what_a_lost_part_brought_before_was_not_restarted(desk: Desk, waiting: Waiting) -> None:
    asked, job = asked_for(desk, 3)
    part(job, 0, 1, 2, due_s=20).state = "lost"
    bring(job, 1)
    assert waiting.figures(asked)["restarted"] == 2


def test_what_nobody_can_do_is_looked_at_again_after_a_while(desk: Desk, waiting: Waiting, clock: Clock) -> None:
    asked, job = asked_for(desk, model="unknown")
    node = waiting._node
    assert isinstance(node, AskingNode)
    assert (waiting.figures(asked)["is_possible"], waiting.figures(asked)["message"]) == (
        False,
        "no worker that is known offers the model 'unknown'",
    )
    node.requester.none.clear()
    clock.ms += 5000
    assert not waiting.figures(asked)["is_possible"]
    clock.ms += 15_000
    assert waiting.figures(asked)["is_possible"]
    node.requester.none.add("unknown")
    part(job, 0, due_s=90)
    clock.ms += 60_000
    assert waiting.figures(asked)["is_possible"], "who has a worker needs no other"
