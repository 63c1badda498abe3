"""Pictures as files: what is written is read back, what is damaged or too large is refused by name."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from meshgen.pictures import (
    MAX_SIDE,
    MAX_TEXT_BYTES,
    SIGNATURE,
    PictureError,
    check_png,
    contact_sheet,
    measure,
    parameters_text,
    text_of,
    with_text,
)


def png(width: int = 16, height: int = 8, colour: str = "#336699") -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def hand_made(width: int, height: int, pixels: bytes, colour_type: int = 2) -> bytes:
    """A PNG whose header and pixels need not agree."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


GOOD = png()
KEYWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=79)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=300)


class TestCheck:
    @given(st.integers(1, 96), st.integers(1, 96))
    def test_a_good_picture_passes(self, width: int, height: int) -> None:
        check_png(png(width, height), width, height)

    @pytest.mark.parametrize("size", [(8, 16), (16, 9), (0, 0)])
    def test_another_size_is_refused(self, size: tuple[int, int]) -> None:
        with pytest.raises(PictureError, match=f"16x8 pixels instead of {size[0]}x{size[1]}"):
            check_png(GOOD, *size)

    @given(st.integers(0, len(GOOD) - 1))
    def test_a_cut_picture_is_refused(self, length: int) -> None:
        with pytest.raises(PictureError):
            check_png(GOOD[:length], 16, 8)

    @given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
    def test_a_flipped_byte_is_found(self, at: int, change: int) -> None:
        damaged = bytearray(GOOD)
        damaged[at] ^= change
        with pytest.raises(PictureError):
            check_png(bytes(damaged), 16, 8)

    @given(st.binary(max_size=200), st.booleans())
    def test_garbage_is_refused(self, data: bytes, signed: bool) -> None:
        with pytest.raises(PictureError):
            check_png(SIGNATURE + data if signed else data, 16, 8)

    @given(st.binary(min_size=1, max_size=40))
    def test_nothing_may_ride_behind_the_end(self, stowaway: bytes) -> None:
        with pytest.raises(PictureError, match="behind its end"):
            check_png(GOOD + stowaway, 16, 8)

    def test_another_format_is_refused(self) -> None:
        file = BytesIO()
        Image.new("RGB", (16, 8)).save(file, "JPEG")
        with pytest.raises(PictureError, match="not a PNG"):
            check_png(file.getvalue(), 16, 8)

    def test_a_side_beyond_all_measure_is_refused_unread(self) -> None:
        bomb = hand_made(MAX_SIDE + 8, 8, b"")
        with pytest.raises(PictureError, match=f"more than {MAX_SIDE}"):
            check_png(bomb, MAX_SIDE + 8, 8)

    def test_pixels_beyond_the_header_are_refused_or_left_out(self) -> None:
        """A small picture whose stream unpacks to far more than it should never grows in memory."""
        bomb = hand_made(16, 8, bytes(64 * 1024 * 1024))
        assert len(bomb) < 100_000
        check_or_refuse(bomb, 16, 8)

    def test_a_header_that_promises_too_much_is_refused(self) -> None:
        with pytest.raises(PictureError):
            check_png(hand_made(MAX_SIDE, MAX_SIDE, b"\0" * 100), MAX_SIDE, MAX_SIDE)

    def test_too_few_pixels_are_refused(self) -> None:
        with pytest.raises(PictureError):
            check_png(hand_made(16, 8, b"\0" * 100), 16, 8)

    def test_a_strange_colour_type_is_refused(self) -> None:
        with pytest.raises(PictureError):
            check_png(hand_made(16, 8, bytes(8 * 49), colour_type=5), 16, 8)

    def test_a_text_chunk_that_unpacks_to_gigabytes_is_refused(self) -> None:
        packed = zlib.compress(bytes(80 * 1024 * 1024))
        bomb = GOOD[:33] + chunk(b"zTXt", b"parameters\0\0" + packed) + GOOD[33:]
        with pytest.raises(PictureError):
            check_png(bomb, 16, 8)


def check_or_refuse(data: bytes, width: int, height: int) -> None:
    try:
        check_png(data, width, height)
    except PictureError:
        return


class TestText:
    @given(st.dictionaries(KEYWORDS, TEXTS, max_size=4))
    def test_what_is_written_is_read(self, texts: dict[str, str]) -> None:
        written = with_text(GOOD, texts)
        assert text_of(written) == texts
        check_png(written, 16, 8)

    @given(KEYWORDS, TEXTS)
    def test_other_programs_read_it_too(self, keyword: str, text: str) -> None:
        with Image.open(BytesIO(with_text(GOOD, {keyword: text}))) as image:
            image.load()
            assert image.text[keyword] == text  # type: ignore[attr-defined]

    def test_pixels_stay(self) -> None:
        with Image.open(BytesIO(with_text(GOOD, {"a": "b"}))) as image:
            assert image.convert("RGB").getpixel((3, 3)) == (0x33, 0x66, 0x99)

    @pytest.mark.parametrize(
        "texts", [{"": "x"}, {"k" * 80: "x"}, {"k": "x" * MAX_TEXT_BYTES}, {"k": "ж" * (MAX_TEXT_BYTES // 2)}]
    )
    def test_what_does_not_fit_is_refused(self, texts: dict[str, str]) -> None:
        with pytest.raises(PictureError, match="does not fit"):
            with_text(GOOD, texts)

    @pytest.mark.parametrize("data", [b"", b"GIF89a", SIGNATURE, GOOD[:20]])
    def test_only_a_png_takes_text(self, data: bytes) -> None:
        with pytest.raises(PictureError, match="not a PNG"):
            with_text(data, {"a": "b"})

    @given(st.integers(0, 200))
    def test_a_cut_picture_has_its_text_or_says_so(self, length: int) -> None:
        written = with_text(GOOD, {"parameters": "x"})
        try:
            assert text_of(written[:length]).items() <= {"parameters": "x"}.items()
        except PictureError:
            return

    @given(st.binary(max_size=60))
    @example(b"k\0\0\0")
    def test_a_strange_text_chunk_is_read_or_refused(self, body: bytes) -> None:
        for kind in (b"tEXt", b"iTXt", b"zTXt"):
            try:
                text_of(GOOD[:33] + chunk(kind, body) + GOOD[33:])
            except PictureError:
                continue


class TestParameters:
    def test_it_reads_as_galleries_expect(self) -> None:
        text = parameters_text(
            prompt="a red circle", negative_prompt="blur", steps=20, scheduler="k_euler", guidance_scale=4.5, seed=7,
            width=64, height=32, model="mini, v2", model_digest=bytes(range(32)),
        )  # fmt: skip
        lines = text.split("\n")
        assert lines[:2] == ["a red circle", "Negative prompt: blur"]
        assert lines[2].startswith("Steps: 20, Sampler: Euler, CFG scale: 4.5, Seed: 7, Size: 64x32, Model hash: 0001020304")
        assert 'Model: "mini, v2"' in lines[2]

    def test_a_private_picture_keeps_its_prompt_out(self) -> None:
        text = parameters_text(
            prompt="", negative_prompt="", steps=1, scheduler="", guidance_scale=1, seed=0, width=8, height=8, model="m",
            model_digest=bytes(32),
        )  # fmt: skip
        assert "\n" not in text and text.startswith("Steps: 1, Sampler: default")

    @pytest.mark.parametrize(
        ("scheduler", "sampler"),
        [
            ("", "default"),
            ("k_euler_a", "Euler a"),
            ("k_dpmpp_2m_karras", "DPM++ 2M Karras"),
            ("DDIM", "DDIM"),
            ("OwnScheduler", "OwnScheduler"),
        ],
    )
    def test_samplers_have_the_names_that_galleries_know(self, scheduler: str, sampler: str) -> None:
        text = parameters_text(
            prompt="", negative_prompt="", steps=1, scheduler=scheduler, guidance_scale=1, seed=0, width=8, height=8, model="m",
            model_digest=bytes(32),
        )  # fmt: skip
        assert f"Sampler: {sampler}, " in text


class TestSheet:
    @pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (4, 2, 2), (5, 3, 2), (9, 3, 3)])
    def test_it_is_near_to_square(self, count: int, columns: int, rows: int) -> None:
        sheet = contact_sheet([png()] * count, [str(number) for number in range(count)], cell=64)
        with Image.open(BytesIO(sheet)) as image:
            assert image.size == (columns * 68 + 4, rows * (64 + 6 + 4) + 4)

    def test_each_picture_needs_its_caption(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            contact_sheet([GOOD, GOOD], ["one"])

    def test_long_captions_are_shortened(self) -> None:
        short, long = (contact_sheet([GOOD, GOOD], [caption, ""], cell=64) for caption in ("x", "x" * 1000))
        with Image.open(BytesIO(short)) as one, Image.open(BytesIO(long)) as other:
            right_cell = (72, 0, one.width, one.height)
            assert one.crop(right_cell).tobytes() == other.crop(right_cell).tobytes()
            assert one.tobytes() != other.tobytes()

    @pytest.mark.parametrize("size", [(1, 500), (500, 1), (3, 3), (300, 200)])
    def test_any_proportion_fits(self, size: tuple[int, int]) -> None:
        check_png(contact_sheet([png(*size)], ["x"], cell=32), 36, 32 + 3 + 2 + 2)


def encoded(kind: str) -> bytes:
    file = BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(file, kind)
    return file.getvalue()


class TestMeasure:
    """Of pictures that people send along. What is wrong is said in their words, not in a library's."""

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_what_is_cut_off_is_no_picture(self, kind: str) -> None:
        whole = encoded(kind)
        assert measure(whole)[:2] == (40, 30) and measure(whole + b"what follows")[:2] == (40, 30)
        for end in range(len(whole) - 1):  # the last byte of a JPEG is half of its end, of a PNG a checksum's
            with pytest.raises(PictureError, match=r"empty|no PNG, JPEG or WebP|damaged|cut off"):
                measure(whole[:end])

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", "it is empty"),
            (b"just a note", "it is no PNG, JPEG or WebP picture"),
            (b"GIF89a" + bytes(50), "it is no PNG, JPEG or WebP picture"),
            (SIGNATURE + bytes(100), "it is damaged: its header can't be read"),
            (hand_made(30_000, 30_000, b""), f"it has 30000x30000 pixels; a side has at most {MAX_SIDE}"),
        ],
    )
    def test_what_can_not_be_used_is_said_in_plain_words(self, data: bytes, why: str) -> None:
        with pytest.raises(PictureError) as caught:
            measure(data)
        assert str(caught.value) == why

    @given(st.binary(max_size=200), st.sampled_from([b"", SIGNATURE, b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"]))
    def test_no_bytes_make_it_stumble(self, data: bytes, start: bytes) -> None:
        try:
            measure(start + data)
        except PictureError as error:
            assert "Error" not in str(error)
