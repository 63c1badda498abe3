"""Pictures that go into jobs: what is decoded, refused, turned, fitted, masked and pasted back."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("scipy")

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meshgen.engine.diffusion import conditioning
from meshgen.engine.diffusion.conditioning import Canvas, canvas_of, fit, open_picture
from meshgen.engine.port import EngineError
from tests.engine.pictures import encoded, scene, square_mask, work

SIDE = 32


def canvas(**changes: Any) -> Canvas:
    made = canvas_of(work(**changes))
    assert made is not None
    return made


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("JPEG", "CMYK"), ("WEBP", "RGB")])
def test_formats_and_colours_that_are_taken(kind: str, mode: str) -> None:
    image = open_picture(encoded(scene(64).convert(mode), kind), "it")
    assert image.mode == "RGB" and image.size == (64, 64)


def test_sixteen_bits_are_taken_as_eight() -> None:
    deep = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    found = np.asarray(open_picture(encoded(deep), "it"))[..., 0].ravel()
    assert np.abs(found.astype(int) - np.arange(256)).max() <= 1


def test_a_camera_that_was_held_upright_gives_an_upright_picture() -> None:
    wide = Image.new("RGB", (40, 20), "white")
    wide.paste((255, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned = open_picture(encoded(wide, "JPEG", exif=exif), "it")
    assert turned.size == (20, 40)
    assert turned.getpixel((10, 5))[1] < 60 < turned.getpixel((10, 35))[1]


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"?", "can't be read as a picture"),
        (b"GIF89a" + bytes(40), "can't be read as a picture; PNG, JPEG and WebP are taken"),
        (encoded(scene())[:120], "can't be read"),
        (bomb(8000, 8000), "has 8000x8000 pixels; at most 50,000,000 are taken"),
        (bomb(100_000, 100_000), "too many pixels"),
        (bomb(64, 64), "can't be read"),
    ],
)
def test_other_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        canvas_of(work(source=data))
    assert caught.value.reason == "bad_input" and str(caught.value).startswith("the source picture")


@given(st.binary(max_size=300), st.integers(0, 400))
def test_damage_is_an_error_of_its_own(noise: bytes, at: int) -> None:
    whole = encoded(scene(16))
    try:
        open_picture(whole[:at] + noise + whole[at + len(noise) :], "it")
    except EngineError as error:
        assert error.reason == "bad_input"


def test_fitting_covers_and_keeps_proportions() -> None:
    image = Image.new("RGB", (100, 50), "blue")
    image.paste((255, 0, 0), (40, 15, 60, 35))
    fitted = np.asarray(fit(image, (SIDE, SIDE))).astype(int)
    red = fitted[..., 0] > 128
    assert fitted.shape == (SIDE, SIDE, 3)
    assert abs(int(red.any(0).sum()) - int(red.any(1).sum())) <= 1, "a square stays one"


def test_without_pictures_there_is_no_canvas() -> None:
    assert canvas_of(work()) is None
    assert canvas(source=encoded(scene(50))).mask is None


def test_white_and_transparent_are_painted_anew() -> None:
    clear = scene(SIDE).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, SIDE, 4))
    by_mask = canvas(source=encoded(scene(SIDE)), mask=encoded(square_mask(SIDE)))
    by_clearness, by_both = canvas(source=encoded(clear)), canvas(source=encoded(clear), mask=encoded(square_mask(SIDE)))
    assert by_mask.mask is not None and by_clearness.mask is not None and by_both.mask is not None
    assert by_mask.mask.sum() == 16 * 16 and by_mask.mask[16, 16]
    assert by_clearness.mask[:4].all() and not by_clearness.mask[4:].any()
    assert (by_both.mask == by_mask.mask | by_clearness.mask).all()


def test_what_is_transparent_begins_with_the_colours_beside_it() -> None:
    border = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    border.paste((200, 40, 40, 255), (8, 8, 24, 24))
    picture = np.asarray(canvas(source=encoded(border)).picture)
    assert (picture == (200, 40, 40)).all()
    assert canvas(source=encoded(Image.new("RGBA", (8, 8)))).mask is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": encoded(square_mask())}, "a mask without a source"),
        ({"source": encoded(scene()), "mask": encoded(Image.new("L", (9, 9)))}, "the mask is black everywhere"),
        ({"source": encoded(scene()), "mask": b"no picture"}, "the mask can't be read"),
    ],
)
def test_masks_that_say_nothing_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        canvas_of(work(**changes))


def test_cells_hold_all_that_the_mask_touches() -> None:
    mask = np.zeros((16, 32), dtype=bool)
    mask[5, 9] = mask[15, 31] = True
    cells = np.asarray(Canvas(Image.new("RGB", (32, 16)), mask).cells(8)) > 0
    expected = np.zeros((16, 32), dtype=bool)
    expected[:8, 8:16] = expected[8:, 24:] = True
    assert (cells == expected).all()


@pytest.mark.parametrize("side", [32, 512])
def test_outside_the_mask_the_source_comes_back_exactly(side: int) -> None:
    before = canvas(source=encoded(scene(side)), mask=encoded(square_mask(side)), width=side, height=side)
    assert before.mask is not None
    after = np.asarray(before.paste_back(Image.new("RGB", (side, side), "lime")))
    assert (after[~before.mask] == np.asarray(before.picture)[~before.mask]).all()
    assert (after[side // 2, side // 2] == (0, 255, 0)).all()


def test_all_white_gives_the_new_picture() -> None:
    whole = canvas(source=encoded(scene()), mask=encoded(Image.new("L", (8, 8), 255)))
    drawn = Image.new("RGB", (SIDE, SIDE), "lime")
    assert np.asarray(whole.paste_back(drawn)).tolist() == np.asarray(drawn).tolist()


def test_limits_stand_in_one_place() -> None:
    assert (Image.MAX_IMAGE_PIXELS or 0) > conditioning.MAX_PIXELS, "Pillow's own limit is the second one"
