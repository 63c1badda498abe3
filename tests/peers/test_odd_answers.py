"""Answers of all kinds: what a worker may say, and what is no answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing

from meshgen.engine.fake import FakeEngine
from meshgen.engine.port import Answer, AnyWork, EngineEvent, Picture, Preview, TextPart, Work
from meshgen.peers.peer import Peer
from meshgen.peers.request import (
    ControlWish,
    FormRequest,
    ImageRequest,
    TextRequest,
)
from meshgen.testing import virtual_mesh
from tests.peers.kinds import MODELS, Recorder, done, picture


class Saying(Recorder):
    """Answers everything with the same bytes, each index its own event."""

    def __init__(self, *events: EngineEvent) -> None:
        super().__init__()
        self._said = events

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        async def said() -> AsyncIterator[EngineEvent]:
            for event in self._said:
                yield event

        yield said()


@asynccontextmanager
async def asking(*events: EngineEvent) -> AsyncIterator[Peer]:
    async with virtual_mesh() as mesh:
        await mesh.add("worker", "worker", Saying(*events))
        yield await mesh.requester("asker")


@pytest.mark.parametrize("said", [b"", b"{ not json"])
async def test_a_text_may_be_empty_or_begin_with_anything(said: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with asking(Answer(0, 5, said, "text/plain", 0.1)) as asker:
        job = await done(asker, TextRequest("Once upon", seed=5))
        assert (job.results[0].data, job.results[0].media) == (said, "text/plain")


async def test_an_engine_that_begins_again_breaks_no_job(autojump_clock: trio.testing.MockClock) -> None:
    again = [TextPart(0, "a"), TextPart(0, "b")] * 3
    async with asking(*again, Answer(0, 5, b"ab", "text/plain", 0.1)) as asker:
        assert (await done(asker, TextRequest("Once upon", tokens=2, seed=5))).results[0].data == b"ab"
    shown = [Preview(0, step, b"jpeg") for step in (2, 4, 2, 4)]
    drawn = [event async for event in FakeEngine(MODELS)._draw_all(_work())]
    async with asking(*shown, *drawn) as asker:
        assert (await done(asker, ImageRequest("x", steps=4, seed=5, preview_every=2))).results


def _work() -> Work:
    return Work("fake", "x", "", 64, 64, 4, 5.0, "", (5,))


async def test_maps_are_alike_and_no_lie(autojump_clock: trio.testing.MockClock) -> None:
    drawn = [event async for event in FakeEngine(MODELS)._draw_all(_work()) if isinstance(event, Picture)]
    both = [replace(drawn[0], index=index, seed=5 + index) for index in (0, 1)]
    async with asking(*both) as asker:
        await done(asker, ImageRequest("x", steps=4, seed=5, count=2, control=ControlWish("canny", picture(), return_map=True)))


async def test_a_form_says_what_it_is_about(autojump_clock: trio.testing.MockClock) -> None:
    async with asking(Answer(0, 0, b'{"caption": "a cat"}', "application/json", 0.1)) as asker:
        assert asker.requester is not None
        job = asker.requester.submit(FormRequest("nsfw", picture()))
        await job.wait()
        assert job.state == "failed" and "says nothing of nsfw" in job.notes[0]
