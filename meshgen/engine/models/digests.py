"""What names weights: digests of files, kept until size or time of change differ, because hashing gigabytes takes its time.

A model or adapter in one file has that file's SHA-256 as its digest, the same that websites show for it. One in a folder has the
SHA-256 over one line ``path NUL size NUL sha256-in-hex LF`` for each file that is loaded, sorted by path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

FileHash = tuple[int, int, str]
"""Size, time of change in ns, SHA-256 in hex."""
Tell = Callable[[int, int], None]
"""Takes bytes done and bytes in all."""
_CHUNK = 1 << 20


def hash_files(root: Path, files: Iterable[str], known: Mapping[str, FileHash], tell: Tell | None = None) -> dict[str, FileHash]:
    """``files`` are relative to ``root``; what ``known`` still holds for is not read again. Raises OSError."""
    fresh: dict[str, FileHash | None] = {file: _still(root / file, known.get(file)) for file in files}
    total = sum((root / file).stat().st_size for file, hashed in fresh.items() if hashed is None)
    done = 0

    def read(size: int) -> None:
        nonlocal done
        done += size
        if tell:
            tell(done, total)

    return {file: hashed or _hash(root / file, read) for file, hashed in fresh.items()}


def digest_of(files: Mapping[str, FileHash], one_file: bool) -> bytes:
    """32 bytes. ``one_file``: the model is a file rather than a folder."""
    if one_file:
        ((_, _, content),) = files.values()
        return bytes.fromhex(content)
    lines = (f"{file}\0{size}\0{content}\n" for file, (size, _, content) in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).digest()


def _still(file: Path, known: FileHash | None) -> FileHash | None:
    stat = file.stat()
    return known if known and known[:2] == (stat.st_size, stat.st_mtime_ns) else None


def _hash(file: Path, read: Callable[[int], None]) -> FileHash:
    stat = file.stat()
    content = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            content.update(chunk)
            read(len(chunk))
    return stat.st_size, stat.st_mtime_ns, content.hexdigest()
