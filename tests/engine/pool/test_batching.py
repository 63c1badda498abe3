"""Which jobs go together, who is next in line, and how orders count what came of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from meshgen.engine.pool.batching import MAX_BATCH, Line, key, most_pictures
from meshgen.engine.pool.orders import Batch, Order
from meshgen.engine.port import Control, EngineError, Inversion, Lora, Picture, Progress, TextWork, Work

JPEG, PNG, CLEAR_PNG = b"\xff\xd8\xff", b"\x89PNG" + bytes(21) + b"\x02", b"\x89PNG" + bytes(21) + b"\x06"
WORK = Work("model", "one", "no", 64, 64, 10, 5.0, "k_euler", (1,))
LORA = Lora("style", b"1" * 32, 0.5)
CONTROL = Control("canny", b"2" * 32, JPEG)


def order(number: int, work: Work | TextWork = WORK, alone: bool = False) -> Order:
    made = Order(number, work, {})
    made.alone = alone
    return made


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "another"},
        {"negative_prompt": ""},
        {"seeds": (5, 6)},
        {"preview_every": 3},
        {"mask": b""},
    ],
)
def test_prompts_seeds_and_previews_may_differ(changes: dict[str, Any]) -> None:
    assert key(WORK) == key(replace(WORK, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "another"},
        {"width": 128},
        {"steps": 11},
        {"guidance_scale": 5.5},
        {"scheduler": ""},
        {"source": JPEG},
        {"source": JPEG, "mask": JPEG},
        {"clip_skip": 2},
        {"tiling": True},
        {"hires_fix": True},
        {"loras": (LORA,)},
        {"loras": (replace(LORA, weight=0.6),)},
        {"inversions": (Inversion("word", b"3" * 32),)},
        {"control": CONTROL},
        {"control": replace(CONTROL, weight=0.5)},
    ],
)
def test_what_the_denoiser_does_may_not(changes: dict[str, Any]) -> None:
    assert key(WORK) != key(replace(WORK, **changes)) is not None


def test_pictures_may_differ_unless_one_may_be_transparent() -> None:
    assert key(replace(WORK, source=JPEG)) == key(replace(WORK, source=PNG)) != key(replace(WORK, source=PNG, strength=0.5))
    assert key(replace(WORK, control=CONTROL)) == key(replace(WORK, control=replace(CONTROL, image=PNG)))
    for source in (CLEAR_PNG, PNG + b"..tRNS", b"RIFF....WEBP"):
        assert key(replace(WORK, source=source)) is None
        assert key(replace(WORK, source=source, mask=PNG)) is not None
    assert key(TextWork("model", "once", 10, (1,))) is None


def test_a_party_is_the_first_and_who_fits_behind_it() -> None:
    line = Line()
    orders = [
        order(1),
        order(2, replace(WORK, steps=5)),
        order(3, replace(WORK, seeds=(1, 2, 3))),
        order(4),
        order(5, alone=True),
    ]
    for one in orders:
        line.join(one)
    assert line.take(3) == [orders[0], orders[3]]
    line.join_first(orders[0])
    assert line.take(8) == [orders[0], orders[2]]
    assert [line.take(8) for _ in range(2)] == [[orders[1]], [orders[4]]] and not len(line)


def test_a_party_is_shared_between_idle_devices() -> None:
    line, orders = Line(), [order(number) for number in range(5)]
    for one in orders:
        line.join(one)
    assert [len(line.take(8, idle)) for idle in (2, 1)] == [3, 2]


def test_a_job_larger_than_a_batch_goes_by_itself() -> None:
    line = Line()
    large = order(1, replace(WORK, seeds=tuple(range(20))))
    for one in (large, order(2)):
        line.join(one)
    assert line.take(8) == [large]


def test_batches_are_as_large_as_the_device_can() -> None:
    assert most_pictures(WORK, 64 * 64 * 5) == 5
    assert most_pictures(WORK, 10**9) == MAX_BATCH and most_pictures(WORK, 10**9, 3) == 3
    assert most_pictures(WORK, 0) == most_pictures(TextWork("model", "once", 10, (1,)), 10**9) == 1


async def test_an_order_that_is_drawn_again_answers_nothing_twice() -> None:
    one = order(1, replace(WORK, seeds=(7, 8)))
    picture = {"is": "picture", "index": 0, "seed": 7, "png": b"png", "seconds": 1.0}
    progress = {"is": "progress", "indexes": [0, 1], "step": 9}
    batch = Batch([one], 1.0)
    for frame in (progress, picture, picture, progress):
        assert not one.done
        one.hear(frame)
    assert one.nearly and batch.nearly and not batch.abandoned
    one.end(EngineError("crashed", "later"))
    one.end()
    events = []
    with pytest.raises(EngineError, match="later"):
        async for event in one.events():
            events.append(event)
    assert events == [Progress(0, 9, 10), Progress(1, 9, 10), Picture(0, 7, b"png", 1.0), Progress(1, 9, 10)]


async def test_nobody_hears_of_an_order_that_is_gone() -> None:
    one = order(1)
    one.gone = True
    one.hear({"is": "progress", "indexes": [0], "step": 1})
    one.end()
    with trio.fail_after(1):
        assert [event async for event in one.events()] == []
