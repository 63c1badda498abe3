"""Frames survive any cutting of the stream; what is no frame is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.engine.pool.frames import MAX_FRAME_BYTES, FrameError, Unpacker, pack

VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=40)
FRAMES = st.lists(st.dictionaries(st.text(max_size=8), VALUES | st.lists(VALUES, max_size=3), max_size=4), max_size=5)


@given(FRAMES, st.lists(st.integers(1, 30), min_size=1, max_size=50))
def test_frames_arrive_whole_however_they_are_cut(frames: list[dict[str, object]], cuts: list[int]) -> None:
    stream, unpacker, found, at = b"".join(pack(frame) for frame in frames), Unpacker(), [], 0
    while at < len(stream):
        size = cuts[at % len(cuts)]
        found += list(unpacker.feed(stream[at : at + size]))
        at += size
    assert found == frames


@pytest.mark.parametrize(
    "data",
    [
        (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\xc1",  # a byte that msgpack never uses
        b"\0\0\0\1\x01",  # a number
        b"\0\0\0\2\x91\x01",  # a list
        b"\0\0\0\1\x81",  # a map that ends too early
        b"\0\0\0\2\x80\x80",  # something behind the map
        b"\0\0\0\0",
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        list(Unpacker().feed(data))


@given(st.binary(max_size=100))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    try:
        assert all(isinstance(frame, dict) for frame in Unpacker().feed(data))
    except FrameError:
        return
