"""The house's floors: every import points down, and what is pure stays pure. Read off the source, nothing is imported for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "meshgen"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50

FLOORS = {
    "cli": 6,
    "gateway": 5,
    "__main__": 7,
    "node": 4,
    "migrations": 3,
    "testing": 4,
    "peers": 3,
    "ledger": 2,
    "protocols": 1,
    "net": 1,
    "engine": 1,
    "settings": 0,
    "identity": 0,
    "home": 0,
    "pictures": 0,
    "metrics": 0,
    "logs": 0,
    "supervision": 0,
}
ALLOWED_UP = {("node", "gateway"): "the composition root opens everything, the gateway too; the gateway knows nothing of it"}

PURE = ("protocols/", "ledger/")
SHELLS = {
    "ledger/database.py": "the log's file: its tables, its lock",
    "ledger/store.py": "the log's file: its rows",
    "ledger/log.py": "what is written when, by one process",
    "ledger/intake.py": "foreign entries, judged by all cores",
    "ledger/verifiers.py": "the processes that verify signatures",
    "ledger/verifier.py": "one such process",
    "ledger/pruning.py": "waits for the log's lock",
    "ledger/beginning.py": "a home's first entry, and the note that there is one",
    "ledger/owner.py": "a home's key, beside its log",
    "ledger/ledger.py": "the ledger's face: its lock, its store",
    "ledger/verify.py": "reads a log's file from outside",
}
IMPURE = {"trio", "asyncio", "socket", "sqlite3", "os", "time", "random", "secrets", "pathlib", "threading", "libp2p", "logging"}
HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "torchvision"}
LONG_IMPORTS = {*HEAVY, "libp2p"}


@dataclass(frozen=True)
class Module:
    path: str  # below meshgen/, e.g. "net/port.py"
    name: str  # e.g. "meshgen.net.port"
    tree: ast.Module
    lines: int

    @property
    def part(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    def imports(self) -> Iterator[str]:
        """Every module named in an import, inside functions too, except for types only."""
        hidden = {id(node) for block in ast.walk(self.tree) if _is_type_checking(block) for node in ast.walk(block)}
        for node in ast.walk(self.tree):
            if id(node) in hidden:
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path} imports relatively: say meshgen.{self.part}..."
                yield node.module or ""
                yield from (f"{node.module}.{alias.name}" for alias in node.names if f"{node.module}.{alias.name}" in modules())


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def modules() -> dict[str, Module]:
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        path, text = file.relative_to(SOURCE).as_posix(), file.read_text()
        name = ".".join(("meshgen", *path.removesuffix(".py").removesuffix("/__init__").split("/"))).removesuffix(".__init__")
        found[name] = Module(path, name, ast.parse(text, path), len(text.splitlines()))
    return found


def top(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def reached_from(*roots: str) -> set[str]:
    """Every module of meshgen that these may import, directly or not, at once or later; parents of packages included."""
    waiting, seen = [root for root in roots if root in modules()], set[str]()
    while waiting:
        name = waiting.pop()
        if name in modules() and name not in seen:
            seen.add(name)
            waiting += [".".join(target.split(".")[:depth]) for target in modules()[name].imports() for depth in range(2, 6)]
    return seen


def test_imports_point_down() -> None:
    wrong = []
    for module in modules().values():
        for target in module.imports():
            if top(target) != "meshgen" or target == "meshgen" or module.path == "__init__.py":
                continue
            here, there = module.part, target.split(".")[1]
            if here == there or there.startswith("__") or (here, there) in ALLOWED_UP:
                continue
            assert there in FLOORS, f"{module.path} imports {target}, which stands on no floor: name one for it here"
            if FLOORS[here] <= FLOORS[there] != 0:
                wrong.append(f"{module.path} (floor {FLOORS[here]}) imports {target} (floor {FLOORS[there]})")
    assert not wrong, "\n".join(wrong)


def test_protocols_and_ledger_are_pure() -> None:
    wrong = [
        f"{module.path} imports {target}"
        for module in modules().values()
        if module.path.startswith(PURE) and module.path not in SHELLS
        for target in module.imports()
        if top(target) in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


def test_shells_are_known() -> None:
    assert set(SHELLS) <= {module.path for module in modules().values()}, "a shell is gone: take it off the list"


def test_libp2p_stays_in_its_files() -> None:
    wrong = [
        f"{module.path} imports {target}"
        for module in modules().values()
        if not (module.path.startswith("net/libp2p"))
        for target in module.imports()
        if top(target) in ("libp2p", "multiaddr")
    ]
    assert not wrong, "\n".join(wrong)


def test_torch_stays_in_the_engines_child() -> None:
    users = {name for name, module in modules().items() if any(top(target) in HEAVY for target in module.imports())}
    childs_own = ("diffusion/", "alchemy/", "text/", "bundled/")
    outside = sorted(
        name for name in users if not modules()[name].path.startswith(tuple(f"engine/{part}" for part in childs_own))
    )
    assert not outside, f"only the engine's child may use torch and its kin: {outside}"
    reached = sorted(users & reached_from("meshgen.node", "meshgen.cli", "meshgen.cli.run"))
    assert not reached, f"the node must not be able to import torch, these could bring it in: {reached}"


def test_files_and_functions_stay_short() -> None:
    wrong = [f"{module.path}: {module.lines} lines" for module in modules().values() if module.lines > MAX_FILE_LINES]
    for module in modules().values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    wrong.append(f"{module.path}:{node.lineno} {node.name}: {length} lines")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "code", ["import meshgen.cli", "import runpy, sys; sys.argv = ['meshgen', '--help']; runpy.run_module('meshgen.cli')"]
)
def test_the_command_line_imports_nothing_slow(code: str) -> None:
    if "meshgen.cli.__main__" not in modules():
        pytest.skip("there is no command line yet")
    script = f"""
import sys
try:
    {code}
except SystemExit:
    pass
print([name for name in {sorted(LONG_IMPORTS | {"trio", "fastapi", "hypercorn"})!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
