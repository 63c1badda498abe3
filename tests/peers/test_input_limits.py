"""Pictures that go in are bounded: in open jobs, and in the time that they may take."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshgen.peers import requester
from meshgen.peers.request import ControlWish, FormRequest, ImageRequest, RequestError, TextRequest, input_bytes
from tests.peers.test_kinds_of_work import pair, picture


async def test_open_jobs_hold_so_many_bytes_and_no_more(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = picture()
    monkeypatch.setattr(requester, "MAX_OPEN_INPUT_BYTES", 2 * len(source) + 1)
    async with pair() as (_, _, asker, _):
        assert asker.requester is not None
        jobs = [asker.requester.submit(FormRequest("nsfw", source)) for _ in range(2)]
        with pytest.raises(RequestError, match="open jobs come to more than"):
            asker.requester.submit(FormRequest("nsfw", source))
        for job in jobs:
            await job.wait()
        await asker.requester.submit(FormRequest("nsfw", source)).wait()


def test_what_goes_in_is_counted() -> None:
    image = ImageRequest("x", source=b"12", mask=b"345", control=ControlWish("canny", b"6789"))
    assert [input_bytes(request) for request in (image, TextRequest("x"), FormRequest("nsfw", b"1"))] == [9, 0, 1]
