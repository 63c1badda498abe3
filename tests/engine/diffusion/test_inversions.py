"""Files of textual inversions."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from meshgen.engine.diffusion.inversions import MAX_VECTORS, read_vectors
from meshgen.engine.port import EngineError
from tests.engine.tiny_pipelines import save_tiny_inversion

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    "content",
    [
        {"string_to_param": {"*": torch.ones(3, 8)}, "name": "it"},
        {"<it>": torch.ones(3, 8)},
        {"emb_params": torch.ones(3, 8), "other": 1},
    ],
)
def test_torchs_own_files_are_read_without_running_them(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "it.pt")
    vectors = read_vectors(tmp_path / "it.pt", "it")
    assert len(vectors.of_width(8, 0)) == 3 and vectors.of_width(9, 0) == []


def test_one_vector_without_a_row_is_one_vector(tmp_path: Path) -> None:
    torch.save({"<it>": torch.ones(8)}, tmp_path / "it.bin")
    assert len(read_vectors(tmp_path / "it.bin", "it").of_width(8, 0)) == 1


def test_sdxls_encoders_get_their_own(tmp_path: Path) -> None:
    vectors = read_vectors(save_tiny_inversion(tmp_path / "it.safetensors", {"clip_l": 8, "clip_g": 12}), "it")
    assert [len(vectors.of_width(*which)) for which in ((8, 0), (12, 1), (8, 1), (12, 0))] == [2, 2, 0, 0]


class Evil:
    def __reduce__(self) -> Any:
        return (Path("/nowhere").write_text, ("run",))


def bad_files() -> dict[str, bytes]:
    return {
        "noise.safetensors": b"\0" * 40,
        "noise.pt": b"\0" * 40,
        "evil.pt": pickle.dumps({"<it>": Evil()}),
        "missing.safetensors": b"",
    }


@pytest.mark.parametrize("name", bad_files())
def test_what_can_t_be_read_is_said(name: str, tmp_path: Path) -> None:
    if content := bad_files()[name]:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineError, match="the textual inversion it can't be read here"):
        read_vectors(tmp_path / name, "it")


@pytest.mark.parametrize("content", [{}, {"a": 1}, {"a": torch.ones(MAX_VECTORS + 1, 8)}, {"a": torch.ones(2, 2, 2)}, [1]])
def test_what_holds_no_vectors_is_said(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "it.pt")
    with pytest.raises(EngineError, match="holds no vectors"):
        read_vectors(tmp_path / "it.pt", "it")
