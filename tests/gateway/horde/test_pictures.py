"""URLs of pictures: signed, for a while, and the WebP behind them."""

from __future__ import annotations

import uuid
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from meshgen.gateway.horde import pictures as pictures_module
from meshgen.gateway.horde.pictures import LIFETIME_S, Pictures, to_webp
from meshgen.pictures import with_text
from tests.gateway.fake_node import SECRET
from tests.gateway.horde.asked import picture

ID = str(uuid.UUID(int=7))
NOW = 1_800_000_000


class Clock:
    s = NOW

    def __call__(self) -> int:
        return self.s * 1000


def opens(pictures: Pictures, url: str, generation_id: str = ID) -> bool:
    query = parse_qs(urlsplit(url).query)
    return pictures.is_valid(generation_id, int(query["expires"][0]), query["signature"][0])


def test_a_url_opens_one_picture_for_a_while() -> None:
    clock = Clock()
    pictures = Pictures(clock)
    url = pictures.url("http://a.example:1/", ID)
    assert url.startswith(f"http://a.example:1/api/v2/pictures/{ID}.webp?expires=")
    assert opens(pictures, url) and not opens(pictures, url, str(uuid.UUID(int=8)))
    assert not opens(Pictures(clock), url), "another run has another secret"
    assert not opens(pictures, url.replace("expires=1", "expires=2"))
    clock.s += 2 * LIFETIME_S
    assert not opens(pictures, url)


def test_a_url_stays_the_same_for_a_while_and_is_good_for_as_long_as_said() -> None:
    clock = Clock()
    pictures = Pictures(clock)
    urls = []
    for _ in range(100):
        urls.append(pictures.url("http://a.example", ID))
        expires = int(parse_qs(urlsplit(urls[-1]).query)["expires"][0])
        assert LIFETIME_S <= expires - clock.s <= LIFETIME_S * 3 // 2 + 1
        clock.s += 60
    assert len(set(urls)) <= 100 * 60 // (LIFETIME_S // 2) + 1


async def test_webps_are_made_once_and_the_oldest_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def counted(png: bytes) -> bytes:
        made.append(png)
        return bytes(100)

    monkeypatch.setattr(pictures_module, "to_webp", counted)
    monkeypatch.setattr(pictures_module, "KEPT_BYTES", 250)
    pictures = Pictures(Clock())
    for name in ("a", "a", "b", "a", "c", "a", "b"):
        await pictures.webp(name, name.encode())
    assert made == [b"a", b"b", b"c", b"b"]


@pytest.mark.parametrize(("mode", "color"), [("RGB", "teal"), ("RGBA", (9, 8, 7, 0)), ("P", 3), ("L", 200)])
def test_a_webp_has_the_pixels_and_not_the_words(mode: str, color: object) -> None:
    png = with_text(picture(mode=mode, color=color), {"parameters": SECRET})  # type: ignore[arg-type]
    webp = to_webp(png)
    assert SECRET.encode() in png and SECRET.encode() not in webp
    with Image.open(BytesIO(png)) as before, Image.open(BytesIO(webp)) as after:
        assert (after.format, after.size, after.mode) == ("WEBP", before.size, "RGBA" if mode == "RGBA" else "RGB")
        pairs = zip(before.convert("RGB").getpixel((5, 5)), after.convert("RGB").getpixel((5, 5)), strict=True)
        assert mode == "RGBA" or all(abs(one - other) <= 6 for one, other in pairs)
