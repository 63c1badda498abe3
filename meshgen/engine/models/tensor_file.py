"""What a file of weights holds: names and shapes of its tensors and its notes, read from its head without torch.

Safetensors files begin with a JSON header. Pickled files (.ckpt, .pt, .pth, .bin) would run code if they were opened as pickles
are; here their pickle is only walked through: whatever it asks for is answered by something inert.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_HEADER_BYTES = 100 * 1024 * 1024
"""The most that the safetensors format allows for a header."""
MAX_PICKLE_BYTES = 64 * 1024 * 1024
MAX_NOTES = 500
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
LFS = b"version https://git-lfs"

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


class TensorFileError(ValueError):
    """The file can't be loaded; the text says what is wrong with it and how to mend it."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """``shapes`` by tensor name; ``types`` are the safetensors names of the numbers' formats that occur."""

    path: Path
    shapes: Shapes
    notes: Mapping[str, str] = field(default_factory=dict)
    types: frozenset[str] = frozenset()


def read_tensor_file(path: Path, allow_pickle: bool = False) -> TensorFile:
    """Raises TensorFileError."""
    check_there(path)
    with path.open("rb") as opened:
        head = opened.read(len(LFS))
    if head == LFS:
        raise TensorFileError(f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` where it came from")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix not in PICKLES:
        raise TensorFileError(f"{path} is no file of weights that is known here: it should end in .safetensors")
    if not allow_pickle:
        raise TensorFileError(f"{path} is a pickle, which can run code when opened: get it as .safetensors, or allow pickle")
    return _read_pickle(path)


def check_there(path: Path) -> None:
    """Raises TensorFileError if there is no such file; a link that leads nowhere is named."""
    if path.is_file():
        return
    if path.is_symlink():
        raise TensorFileError(f"{path} links to {path.readlink()}, which is not there: the download may be incomplete")
    raise TensorFileError(f"{path} is not a file" if path.exists() else f"{path} does not exist")


def _read_safetensors(path: Path) -> TensorFile:
    with path.open("rb") as opened:
        head = opened.read(8)
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        header = opened.read(size) if 2 <= size <= MAX_HEADER_BYTES else b""
    try:
        rows = json.loads(header)
        notes = rows.pop("__metadata__", None) or {}
        end = max(row["data_offsets"][1] for row in rows.values())
        shapes = {name: tuple(int(side) for side in row.get("shape", ())) for name, row in rows.items()}
        types = frozenset(str(row.get("dtype")) for row in rows.values())
        texts = {str(key): str(value) for key, value in list(notes.items())[:MAX_NOTES]}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise TensorFileError(f"{path} is not a safetensors file") from None
    if path.stat().st_size != 8 + size + end:
        raise TensorFileError(
            f"{path} is {path.stat().st_size} bytes instead of {8 + size + end}: the download may be incomplete"
        )
    return TensorFile(path, shapes, texts, types)


def _read_pickle(path: Path) -> TensorFile:
    """A file of ``torch.save``; those from before its zip format (2020) are refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            if archive.getinfo(name).file_size > MAX_PICKLE_BYTES:
                raise TensorFileError(f"{path} has a pickle of more than {MAX_PICKLE_BYTES} bytes: this holds no model")
            with archive.open(name) as opened:
                tree = _Walker(opened).load()
        return TensorFile(path, dict(_named(tree)))
    except zipfile.BadZipFile:
        raise TensorFileError(f"{path} is not a file that torch saved, or the download is incomplete") from None
    except (pickle.UnpicklingError, StopIteration, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise TensorFileError(f"{path} is not a file that torch saved") from None
    except (RecursionError, MemoryError, OverflowError, struct.error):
        raise TensorFileError(f"{path} is not a sound pickle") from None


class _Inert(dict[Any, Any]):
    """Stands for whatever a pickle asks for: it can be called, filled and given a state, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.update(state)

    def append(self, _: object) -> None: ...

    def extend(self, _: object) -> None: ...

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


class _Tensor:
    def __init__(self, shape: object) -> None:
        sides = shape if isinstance(shape, tuple) else ()
        self.shape = tuple(side for side in sides if isinstance(side, int))


def _rebuild(_storage: object = None, _offset: object = 0, shape: object = (), *_: object) -> _Tensor:
    return _Tensor(shape)


def _parameter(tensor: object = None, *_: object) -> object:
    return tensor


class _Walker(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return _rebuild
        return _parameter if (module, name) == ("torch._utils", "_rebuild_parameter") else _Inert

    def persistent_load(self, _: Any) -> None:
        return None


def _named(tree: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Shape]]:
    """Tensors of nested dicts, with dots between their names; ``state_dict`` is no part of a name."""
    if isinstance(tree, _Tensor):
        yield prefix or "tensor", tree.shape
    elif isinstance(tree, dict) and depth < 4:
        for key, value in tree.items():
            name = prefix if key == "state_dict" else f"{prefix}.{key}" if prefix else str(key)
            yield from _named(value, name, depth + 1)
