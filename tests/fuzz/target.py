"""One thing that decodes what others send, and where its first bytes come from."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

from meshgen.protocols.codec import Limits, Malformed, decode
from tests.conformance.vectors import FOLDER, stored

_MANY = Limits(max_bytes=96 * 1024, max_items=64, max_depth=1)


@dataclass(frozen=True)
class Target:
    """``run`` either returns or raises one of ``documented``; anything else is a find."""

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    documented: tuple[type[Exception], ...] = (Malformed,)
    slow: bool = False
    """Whole files take a hundred times longer than messages: a tenth of the blind runs, and guided ones only by name."""

    def seed(self, rng: random.Random) -> bytes:
        """A good one, where there is one, three times out of four."""
        return rng.choice(self._good if self._good and rng.random() < 0.75 else self.seeds or (b"",))

    @cached_property
    def _good(self) -> tuple[bytes, ...]:
        return tuple(seed for seed in self.seeds if self.survives(seed))

    def survives(self, data: bytes) -> bool:
        """True if ``data`` was accepted. Raises what should never have come out."""
        try:
            self.run(data)
        except self.documented:
            return False
        return True


@cache
def _vectors() -> tuple[dict[str, str], ...]:
    return tuple(json.loads(path.read_text()) for path in stored())


def vectors(protocol: str, kind: str, *, good: bool = False) -> tuple[bytes, ...]:
    """The stored vectors of one kind; ``good`` leaves out those that must be refused."""
    told = [vector for vector in _vectors() if (vector["protocol"], vector["kind"]) == (protocol, kind)]
    return tuple(bytes.fromhex(vector["hex"]) for vector in told if not good or "expect" in vector)


def logs(pattern: str) -> list[list[bytes]]:
    """The wires of each stored chain or fold of the credit log."""
    told = [json.loads(path.read_text()) for path in sorted((FOLDER / "credit").glob(pattern))]
    return [[bytes.fromhex(wire) for wire in vector["entries"]] for vector in told]


def parts(data: bytes) -> list[bytes]:
    """Several messages in one input: an array of bytes. Raises Malformed."""
    value = decode(data, _MANY)
    if type(value) is not tuple or not all(type(part) is bytes for part in value):
        raise Malformed("not an array of messages")
    return [part for part in value if isinstance(part, bytes)]
