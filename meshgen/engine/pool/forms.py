"""What alchemy adds to the engine: forms over pictures that were given, and what comes after pictures that were drawn."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from meshgen.engine.port import AdapterInfo, Answer, EngineError, FormWork, ModelInfo, Picture

MAX_SOURCE_BYTES = 32 * 1024 * 1024


class Alchemist(Protocol):
    """What the pool needs of :mod:`meshgen.engine.alchemy`."""

    def forms(self) -> list[ModelInfo]: ...

    def posts(self) -> list[AdapterInfo]: ...

    def estimate_s(self, form: str, pixels: int) -> float: ...

    async def run(self, form: str, picture: bytes) -> tuple[bytes, str]:
        """(data, media type). Raises EngineError."""


async def answer_of(alchemist: Alchemist | None, work: FormWork) -> Answer:
    """Raises EngineError."""
    if alchemist is None or work.form not in {form.name for form in alchemist.forms()}:
        raise EngineError("unknown_model", f"no form {work.form!r} here")
    if not 0 < len(work.source) <= MAX_SOURCE_BYTES:
        raise EngineError("bad_input", f"a picture of {len(work.source)} bytes: 1 to {MAX_SOURCE_BYTES} are taken")
    started = time.perf_counter()
    data, media = await alchemist.run(work.form, work.source)
    return Answer(0, 0, data, media, time.perf_counter() - started)


def check_posts(alchemist: Alchemist | None, posts: Iterable[str]) -> None:
    """Raises EngineError if one is not to be had here."""
    there = {post.name for post in alchemist.posts()} if alchemist else set()
    for post in posts:
        if post not in there:
            raise EngineError("unsupported", f"no post-processor {post!r} here")


async def after(alchemist: Alchemist, posts: Sequence[str], picture: Picture) -> Picture:
    """The picture once all of them went over it, one after the other. Raises EngineError."""
    started, png = time.perf_counter(), picture.png
    for post in posts:
        png, _ = await alchemist.run(post, png)
    return replace(picture, png=png, seconds=picture.seconds + time.perf_counter() - started)
