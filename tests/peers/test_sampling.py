"""A few dozen workers answer an offer, however many hear it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import pytest
import trio

from meshgen.net.memory import Event
from meshgen.peers.request import ImageRequest
from meshgen.peers.sampling import ENOUGH, MAX_MODELS, Sampling
from meshgen.protocols.offer import BID_PROTOCOL, MAX_SAMPLE, drawn
from meshgen.testing.mesh import VirtualMesh, simulate

KEYS = [sha256(bytes([number >> 8, number & 255])).digest() for number in range(4096)]


@dataclass
class Came:
    heard: int
    sample: int
    was_covered: bool = True


@pytest.mark.parametrize("sample", [0, 1, 4, 7])
def test_the_draw_takes_its_share(sample: int) -> None:
    for offer in KEYS[:3]:
        share = sum(drawn(offer, key, sample) for key in KEYS) * 2**sample / len(KEYS)
        assert 0.5 < share < 1.6


def test_who_is_drawn_changes_with_the_offer_and_shrinks_with_the_sample() -> None:
    chosen = [{key for key in KEYS if drawn(offer, key, 3)} for offer in KEYS[:2]]
    assert chosen[0] != chosen[1]
    assert {key for key in KEYS if drawn(KEYS[0], key, 5)} < chosen[0]


def test_the_first_offer_goes_by_the_directory() -> None:
    assert [Sampling().choose("m", 1, known) for known in (0, 5, ENOUGH, 2 * ENOUGH, 64 * ENOUGH)] == [0, 0, 0, 1, 6]
    assert Sampling().choose("m", 64, 64 * ENOUGH) == 3, "many pictures need many workers"
    assert Sampling().choose("m", 1, 10**12) == MAX_SAMPLE


def test_the_next_one_by_how_many_answered() -> None:
    sampling = Sampling()
    sampling.made("m", Came(heard=4000, sample=2))
    assert sampling.choose("m", 1, 5) == 9
    assert sampling.choose("other", 1, 5) == 0
    sampling.made("m", Came(heard=3, sample=9))
    assert sampling.choose("m", 1, 5) == 6
    sampling.made("m", Came(heard=0, sample=9, was_covered=False))
    assert sampling.choose("m", 1, 5) == 7
    sampling.made("m", Came(heard=0, sample=1, was_covered=False))
    assert sampling.choose("m", 1, 5) == 0


def test_it_forgets_models() -> None:
    sampling = Sampling()
    for number in range(MAX_MODELS + 1):
        sampling.made(str(number), Came(heard=4000, sample=0))
    assert sampling.choose("0", 1, 0) == 0 and sampling.choose("1", 1, 0) > 0


def test_in_a_crowd_few_answer_and_the_job_is_done() -> None:
    crowd, jobs = 100, 4
    answers = [0] * jobs

    async def study(mesh: VirtualMesh) -> None:
        asker = await mesh.requester(doors=False)
        for number in range(crowd):
            worker = await mesh.worker(f"worker-{number}", seconds=0.1, doors=False)
            if number < 3 and worker.directory.own:
                asker.directory.learn(worker.directory.own)  # it knows of few; the others it learns of as they answer
        for job in range(jobs):

            def note(event: Event, job: int = job) -> None:
                answers[job] += event.name == BID_PROTOCOL

            mesh.trace.listeners.append(note)
            assert asker.requester
            made = asker.requester.submit(ImageRequest(prompt="a fjord", steps=4))
            await made.wait()
            assert made.state == "done"
            await trio.sleep(3)
            mesh.trace.listeners.remove(note)

    simulate(study, seed=5)
    assert answers[0] >= crowd - 3, "nobody can know how many there are"
    assert all(0 < count < 3 * ENOUGH for count in answers[1:])
