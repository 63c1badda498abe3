"""The file that a backup is: sealed, streamed, and refused wherever a byte of it is another."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshgen.cli.strongbox import CHUNK, FORMAT, MAGIC, MAX_COST, MIN_COST, TAG, Line, Sealing, StrongboxError, Unsealing

WORDS = "correct horse"


def sealed(content: bytes, passphrase: str | None = WORDS, pieces: int = 3) -> bytes:
    file = io.BytesIO()
    box = Sealing(file, passphrase, MIN_COST)
    step = max(1, len(content) // pieces)
    for start in range(0, len(content), step):
        box.write(content[start : start + step])
    box.finish()
    return file.getvalue()


def opened(data: bytes, passphrase: str | None = WORDS) -> bytes:
    file = io.BytesIO(data)
    return Unsealing(file, Line.read(file), passphrase).read()


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17])
def test_what_goes_in_comes_out(size: int) -> None:
    content = random.Random(size).randbytes(size)
    data = sealed(content)
    assert opened(data) == content
    assert not size > 100 or content[:50] not in data
    assert opened(sealed(content, None), None) == content


@settings(max_examples=15)
@given(st.lists(st.integers(0, CHUNK), max_size=20))
def test_it_is_read_in_any_pieces(sizes: list[int]) -> None:
    content = b"0123456789" * 250_000
    file = io.BytesIO(DATA)
    box, found = Unsealing(file, Line.read(file), WORDS), b""
    for size in sizes:
        piece = box.read(size)
        found += piece
        assert len(piece) == size or found == content
    assert found + box.read() == content


DATA = sealed(b"0123456789" * 250_000)


def test_two_are_never_alike() -> None:
    assert sealed(b"x") != sealed(b"x")


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(StrongboxError, match="the passphrase is another one"):
        opened(sealed(b"secret"), "Correct horse")


def test_every_byte_counts() -> None:
    """Of the line and of the first chunk each; of the rest, some."""
    data = sealed(b"x" * 100)
    for at in range(len(data)):
        wrong = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(StrongboxError):
            opened(wrong)


@pytest.mark.parametrize("cut", [1, TAG, CHUNK, 2 * CHUNK, 2 * (CHUNK + TAG), len(DATA) - 200])
def test_no_end_can_be_cut_off(cut: int) -> None:
    with pytest.raises(StrongboxError):
        opened(DATA[:-cut])


def test_chunks_can_not_change_places() -> None:
    start = DATA.index(b"\n") + 1
    one, two, rest = (
        DATA[start : start + CHUNK + TAG],
        DATA[start + CHUNK + TAG : start + 2 * (CHUNK + TAG)],
        start + 2 * (CHUNK + TAG),
    )
    with pytest.raises(StrongboxError):
        opened(DATA[:start] + two + one + DATA[rest:])
    with pytest.raises(StrongboxError):
        opened(DATA[:start] + one + DATA[rest:])
    with pytest.raises(StrongboxError):
        opened(DATA + two)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "no backup"),
        (b"PK\x03\x04", "no backup"),
        (b"x" * 5000, "no backup"),
        (MAGIC + b" %d {}" % FORMAT, "no backup"),
        (MAGIC + b" 2 {}\n", "newer meshgen"),
        (MAGIC + b" 1 []x\n", "damaged"),
        (MAGIC + b" 1 0\n", "damaged"),
        (MAGIC + b" 1 []\n", "damaged"),
        (MAGIC + b' 1 {"a": 1}\n', "damaged"),
        (MAGIC + b' 1 {"scrypt": %d, "salt": "%s", "nonce": "%s"}\n' % (MAX_COST + 1, b"00" * 16, b"00" * 7), "damaged"),
        (MAGIC + b' 1 {"scrypt": 1e99, "salt": "%s", "nonce": "%s"}\n' % (b"00" * 16, b"00" * 7), "damaged"),
        (MAGIC + b' 1 {"scrypt": 14, "salt": "00", "nonce": "%s"}\n' % (b"00" * 7), "damaged"),
        (MAGIC + b' 1 {"scrypt": 14, "salt": 5, "nonce": null}\n', "damaged"),
    ],
)
def test_a_line_that_says_something_else(line: bytes, says: str) -> None:
    """A cost that would take all memory among them."""
    with pytest.raises(StrongboxError, match=says):
        opened(line)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, MAGIC + b" 1 " + noise + b"\n", DATA[:120] + noise):
        with pytest.raises(StrongboxError):
            opened(data)
