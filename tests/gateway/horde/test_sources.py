"""Pictures that go in by URL."""

from __future__ import annotations

import pytest

from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.sources import LARGE, Sources
from tests.gateway.horde.asked import encoded, picture
from tests.gateway.horde.test_fetching import PUBLIC, Web, moved, ok


def sources(*answers: bytes) -> Sources:
    web = Web(*answers, a_example=[PUBLIC], inner_example=["10.0.0.1"])
    return Sources(resolve=web.resolve, connect=web.connect)


async def test_a_picture_by_its_url() -> None:
    for url in ("http://a.example/x.webp", "HTTP://a.example"):
        assert await sources(ok(picture("WEBP"))).read(url) == picture("WEBP")
    assert await sources().read("") == b""


@pytest.mark.parametrize(
    ("answer", "rc"),
    [
        (ok(b"<html>"), "ImageValidationFailed"),
        (ok(picture()[:50]), "SourceImageUnreadable"),
        (moved("http://inner.example/"), "SourceImageUrlInvalid"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "SourceImageUrlInvalid"),
    ],
)
async def test_urls_without_a_picture(answer: bytes, rc: str) -> None:
    with pytest.raises(HordeError) as refused:
        await sources(answer).read("http://a.example/secret-path")
    assert (refused.value.status, refused.value.rc) == (400, rc) and "secret-path" not in str(refused.value)


async def test_large_pictures_are_decoded_beside_the_others() -> None:
    data = picture() + bytes(LARGE)
    assert await sources().read(encoded(data)) == data
    with pytest.raises(HordeError):
        await sources().read("!" * (LARGE + 1))
