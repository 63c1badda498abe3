"""Pictures that come in: what can be read is upright and RGB or RGBA; what can't is bad input, and bombs are refused unread."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from meshgen.engine.alchemy.picture import flat, open_picture, to_png
from meshgen.engine.port import EngineError
from meshgen.pictures import MAX_SIDE, text_of
from tests.engine.alchemy.drawn import landscape, png

SMALL = landscape(24)


def refused(data: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        open_picture(data)
    assert caught.value.reason == "bad_input"
    return str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "I;16", "1"])
def test_what_people_send_is_read(kind: str, mode: str) -> None:
    picture = SMALL.convert("L").convert("I;16") if mode == "I;16" else SMALL.convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(90)
    try:
        data = png(picture, kind)
    except OSError:
        pytest.skip(f"{kind} knows no {mode}")
    opened = open_picture(data)
    assert opened.size == SMALL.size and opened.mode == ("RGBA" if mode in ("RGBA", "LA") and kind != "JPEG" else "RGB")


def test_grey_of_sixteen_bits_keeps_its_shades() -> None:
    grey = Image.new("I;16", (2, 2), 128 * 257)
    assert open_picture(png(grey)).getpixel((0, 0)) == (128, 128, 128)


def test_a_turned_photo_is_put_upright() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # the orientation: a quarter turn
    turned = Image.new("RGB", (40, 20))
    turned.save(out := BytesIO(), "JPEG", exif=tags)
    assert open_picture(out.getvalue()).size == (20, 40)


def test_transparency_becomes_white_and_text_is_left_behind() -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert flat(clear).getpixel((0, 0)) == (255, 255, 255)
    words = PngInfo()
    words.add_text("parameters", "a secret prompt")
    SMALL.save(out := BytesIO(), "PNG", pnginfo=words)
    assert text_of(out.getvalue()) and not text_of(to_png(open_picture(out.getvalue())))


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(100), b"<svg/>"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert "PNG" in refused(data) or "damaged" in refused(data)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for width, height in ((60_000, 60_000), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
        assert str(MAX_SIDE) in refused(bomb)


@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.integers(0), st.integers(0, 255), st.booleans())
def test_damage_is_bad_input_or_still_a_picture(kind: str, place: int, value: int, cut: bool) -> None:
    data = bytearray(png(SMALL, kind))
    place %= len(data)
    if cut:
        del data[place:]
    else:
        data[place] = value
    try:
        assert open_picture(bytes(data)).mode in ("RGB", "RGBA")
    except EngineError as error:
        assert error.reason == "bad_input"
