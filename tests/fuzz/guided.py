"""One process of atheris on one target, or on all by turns: ``python -m tests.fuzz.guided TARGET [libFuzzer's flags]``.

libFuzzer owns the process and ends it: 0 when nothing was found, else the bytes lie where ``-artifact_prefix`` says.
"""

from __future__ import annotations

import random
import sys

import atheris

with atheris.instrument_imports(include=["meshgen"]):
    from tests.fuzz.target import Target
    from tests.fuzz.targets import targets

from tests.fuzz.mutation import MAX_BYTES, mutate

ALL = "all"


def main() -> None:
    name, flags = sys.argv[1], sys.argv[2:]
    chosen = [target for target in targets().values() if name in (ALL, target.name) and not (name == ALL and target.slow)]

    def one(data: bytes) -> None:
        """The first byte says which target, where there are several."""
        if len(chosen) == 1:
            chosen[0].survives(data)
        elif data:
            chosen[data[0] % len(chosen)].survives(data[1:])

    atheris.Setup([sys.argv[0], f"-max_len={MAX_BYTES}", *flags], one, custom_mutator=lambda *given: _mutate(chosen, *given))
    atheris.Fuzz()


def _mutate(chosen: list[Target], data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's own changes, which know what was compared, half of the time; else ours, which know msgpack."""
    rng = random.Random(seed)
    if rng.random() < 0.4:
        return bytes(atheris.Mutate(data, max_size))
    if len(chosen) == 1:
        return mutate(data or chosen[0].seed(rng), rng)[:max_size]
    if not data or rng.random() < 0.2:
        at = rng.randrange(len(chosen))
        return (bytes([at]) + mutate(chosen[at].seed(rng), rng))[:max_size]
    return (data[:1] + mutate(data[1:], rng))[:max_size]


if __name__ == "__main__":
    main()
