"""Which tests one process does together, and what begins first: nothing long is left for the end, when all others are done."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

MESH, PAGE = "a mesh for tests/e2e", "tests/e2e/page/"
OF_MESH = frozenset(
    f"tests/e2e/test_{name}.py"
    for name in ("accounts", "cli_words", "company", "drain", "kill", "no_leak", "node", "restore", "staying")
)
LONGEST = (
    MESH,
    PAGE,
    "tests/e2e/test_crash_points.py",
    "tests/simulation/test_story.py",
    "tests/netns/",
    "tests/e2e/test_kinds_of_work.py",
    "tests/e2e/horde/",
    "tests/e2e/test_described.py",
    "tests/chaos/",
    "tests/attackers/",
    "tests/engine/diffusion/test_same_seed.py",
    "tests/interop/",
    "tests/e2e/",
    "tests/soak/test_soak.py",
    "tests/simulation/",
    "tests/engine/alchemy/",
    "tests/engine/text/",
    "tests/engine/",
    "tests/net/",
)
"""Files, and whole folders; the one that takes longest is the first."""


def unit(path: str) -> str:
    """A file, or files that share what is slow to start."""
    return MESH if path in OF_MESH else PAGE if path.startswith(PAGE) else path


def place(item: pytest.Item) -> int:
    whole = unit(item.nodeid.partition("::")[0])
    return next((at for at, begins in enumerate(LONGEST) if whole.startswith(begins)), len(LONGEST))


class Units(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid.partition("::")[0])
