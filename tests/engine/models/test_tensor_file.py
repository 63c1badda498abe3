"""Heads of weight files: what they say, and what is told of those that are cut, faked or dangerous."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.engine.models.tensor_file import TensorFileError, read_tensor_file
from tests.engine.folders import safetensors, tensor_file


def test_names_shapes_and_notes(tmp_path: Path) -> None:
    file = read_tensor_file(tensor_file(tmp_path / "x.safetensors", {"a": (2, 3), "b.c": (4,)}, {"modelspec.title": "X"}))
    assert file.shapes == {"a": (2, 3), "b.c": (4,)} and file.notes == {"modelspec.title": "X"} and file.types == {"U8"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not a safetensors file"),
        (b"garbage" * 100, "not a safetensors file"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a safetensors file"),
        (b"\xff" * 64, "not a safetensors file"),
        (safetensors(b"12345678")[:-1], "download may be incomplete"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
    ],
)
def test_bad_files_are_refused_with_their_reason(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(TensorFileError, match=text):
        read_tensor_file(tmp_path / "x.safetensors")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TensorFileError, match="does not exist"):
        read_tensor_file(tmp_path / "nothing.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "blobs" / "0a1b")
    with pytest.raises(TensorFileError, match=r"links to .*0a1b, which is not there"):
        read_tensor_file(tmp_path / "link.safetensors")
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(TensorFileError, match=r"should end in \.safetensors"):
        read_tensor_file(tmp_path / "x.zip", allow_pickle=True)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for name in ("x.safetensors", "x.pt"):
        file = tmp_path_factory.mktemp("any") / name
        file.write_bytes(content)
        with pytest.raises(TensorFileError):
            read_tensor_file(file, allow_pickle=True)


class Fake:
    """Pickles as torch's tensors do."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __reduce__(self) -> Any:
        return _rebuild_tensor_v2, (None, 0, self.shape, (), False, OrderedDict())


def _rebuild_tensor_v2(*_: Any) -> None: ...


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def saved(path: Path, content: Any) -> Path:
    """As torch.save writes it."""
    stream = io.BytesIO()
    pickle.dump(content, stream, protocol=2)
    here = f"c{__name__}\n_rebuild_tensor_v2\n".encode()
    body = stream.getvalue().replace(here, b"ctorch._utils\n_rebuild_tensor_v2\n")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
    return path


def test_a_pickle_is_walked_through_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = saved(tmp_path / "x.pt", {"state_dict": {"a.weight": Fake(3, 4)}, "extra": Bomb(mark), "epoch": 7})
    with pytest.raises(TensorFileError, match="can run code when opened"):
        read_tensor_file(path)
    assert read_tensor_file(path, allow_pickle=True).shapes == {"a.weight": (3, 4)}
    assert not mark.exists()


@pytest.mark.parametrize("body", [b"", b"\x80\x02.", b"\x80\x02}q\x00(X\x01\x00\x00\x00a", b"cos\nsystem\n(S'true'\ntR."])
def test_unsound_pickles(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "x.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
    try:
        assert read_tensor_file(path, allow_pickle=True).shapes == {}
    except TensorFileError as error:
        assert str(path) in str(error)
