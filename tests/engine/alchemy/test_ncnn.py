"""Networks in ncnn's files: what an upscaler is made of is read, and what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.engine.alchemy.ncnn import read_ncnn
from meshgen.engine.port import EngineError
from tests.engine.alchemy.tiny_models import ncnn_upscaler


def saved(folder: Path, param: str, weights: bytes) -> tuple[Path, Path]:
    (folder / "tiny.param").write_text(param)
    (folder / "tiny.bin").write_bytes(weights)
    return folder / "tiny.param", folder / "tiny.bin"


def test_layers_come_with_their_weights_in_both_precisions(tmp_path: Path) -> None:
    single = read_ncnn(*saved(tmp_path, *ncnn_upscaler(4)))
    half = read_ncnn(*saved(tmp_path, *ncnn_upscaler(4, half=True)))
    assert [layer.op for layer in single] == ["input", "conv", "add", "conv", "concat", "enlarge", "conv"]
    for one, other in zip(single, half, strict=True):
        assert (one.op, one.inputs, one.output, one.slope, one.factors) == (
            other.op, other.inputs, other.output, other.slope, other.factors,
        )  # fmt: skip
        if one.weight is not None and other.weight is not None:
            assert one.weight.shape == other.weight.shape and np.allclose(one.weight, other.weight, atol=1e-3)
    assert single[2].inputs == ("a", "a") and single[2].factors == (3.0, 1.0) and single[1].slope == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("7767517", "7767518", "begin"),
        ("Interp grow", "Softmax grow", "Softmax"),
        ("Eltwise sum 2 1 a0 a1 b 0=1", "Eltwise sum 2 1 a0 a1 b 0=0", "Eltwise"),
        ("-23301=2,", "-23301=3,", "length"),
        ("0=4 1=3 4=1", "0=4 1=3 4=0", "size"),
        ("0=4 1=3 4=1 5=1 6=108", "0=4 1=3 4=1 5=1 6=99999", "cut off"),
        ("0=4 1=3 4=1 5=1 6=108", "0=4 1=3 4=1 5=1", "lacks '6'"),
        ("0=4 1=3 4=1 5=1 6=108", "0=4 1=3 4=1 5=1 6=-4", "cut off"),
        ("6=108", "6=many", "many"),
    ],
)
def test_what_is_damaged_is_named(tmp_path: Path, old: str, new: str, why: str) -> None:
    param, weights = ncnn_upscaler(4)
    assert old in param
    with pytest.raises(EngineError, match=why) as caught:
        read_ncnn(*saved(tmp_path, param.replace(old, new, 1), weights))
    assert caught.value.reason == "bad_model" and str(caught.value).startswith("tiny is no upscaler")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data[:-1], "cut off"),
        (lambda data: data + b"\0\0\0\0", "more weights"),
        (lambda data: b"\x01\0\0\0" + data[4:], "tag 0x1"),
        (lambda _: b"", "cut off"),
    ],
)
def test_weights_must_fit(tmp_path: Path, change: object, why: str) -> None:
    param, weights = ncnn_upscaler(4)
    with pytest.raises(EngineError, match=why):
        read_ncnn(*saved(tmp_path, param, change(weights)))  # type: ignore[operator]


def test_a_file_that_is_not_there_is_a_bad_model(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        read_ncnn(tmp_path / "no.param", tmp_path / "no.bin")
    assert caught.value.reason == "bad_model"


@given(st.integers(0, 600), st.characters(codec="ascii"))
def test_any_other_character_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, place: int, character: str) -> None:
    param, weights = ncnn_upscaler(4)
    place %= len(param)
    changed = param[:place] + character + param[place + 1 :]
    try:
        read_ncnn(*saved(tmp_path_factory.getbasetemp(), changed, weights))
    except EngineError as error:
        assert error.reason == "bad_model"
