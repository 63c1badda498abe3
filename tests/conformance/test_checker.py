"""The second reader, ``protocols/checker`` (JavaScript, written from the specs alone), agrees with the package on every vector.

And it can disagree: with every vector on the wrong side it names every one, and on bytes that nobody has looked at before it
says what the package says.
"""

from __future__ import annotations

import importlib
import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from meshgen.protocols.codec import Malformed
from tests.conformance.chain_walks import walks
from tests.conformance.vectors import FOLDER, describe, describe_value, stored

NODE = shutil.which("node")
CHECKER = FOLDER / "checker" / "check.mjs"
SEED = 20_261_122
DAMAGED = 1_500
WALKS, STEPS = 15, 30

pytestmark = pytest.mark.skipif(NODE is None, reason="the checker runs in Node.js (20 or later), and there is no `node` here")


def check(root: Path) -> tuple[int, str, dict[str, str]]:
    """(exit status, the table, file -> what disagrees) for the protocols under ``root``."""
    done = subprocess.run([str(NODE), str(CHECKER), str(root)], capture_output=True, text=True, timeout=120, check=False)
    told = dict(line.split(": ", 1) for line in done.stderr.splitlines())
    assert all(name.endswith(".json") for name in told), done.stderr
    return done.returncode, done.stdout, told


def write(root: Path, place: str, content: dict[str, Any]) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def places(pattern: str) -> dict[str, dict[str, Any]]:
    """Place below protocols/ -> content, of all files of one sort."""
    return {str(path.relative_to(FOLDER)): json.loads(path.read_text()) for path in sorted(FOLDER.glob(pattern))}


def other_side(place: str) -> str:
    return place.replace("/valid/", "/ /").replace("/invalid/", "/valid/").replace("/ /", "/invalid/")


def test_it_agrees_on_every_file() -> None:
    status, table, told = check(FOLDER)
    assert (status, told) == (0, {})
    cells = re.findall(r"(\d+) of (\d+)", table)
    files = [*places("*/*/*valid/*.json"), *places("*/folds/*.json"), *places("*/accounts/*.json"), *places("*/prices/*.json")]
    assert sum(int(passed) for passed, _ in cells) == sum(int(of) for _, of in cells) == len(files)


def test_it_names_every_file_on_the_wrong_side(tmp_path: Path) -> None:
    swapped = {other_side(place): content for place, content in places("*/*/*valid/*.json").items()}
    for place, content in swapped.items():
        write(tmp_path, place, content if "expect" in content else content | {"expect": {}})
    status, table, told = check(tmp_path)
    assert (status, set(told)) == (1, set(swapped))
    assert not re.search(r"[1-9]\d* of", table)


def test_it_names_every_fold_that_is_off_by_one_and_every_account_of_another(tmp_path: Path) -> None:
    folds = {place: fold for place, fold in places("credit/folds/*.json").items() if fold["expect"]}
    accounts = places("credit/accounts/*.json")
    for fold in folds.values():
        fold["expect"][min(fold["expect"])]["spent"] += 1
    for told in accounts.values():
        told["expect"][max(told["expect"])] = "00" * 32
    (tmp_path / "credit" / "vectors").mkdir(parents=True)
    for place, content in {**folds, **accounts}.items():
        write(tmp_path, place, content)
    status, _, told_wrong = check(tmp_path)
    assert (status, set(told_wrong)) == (1, {*folds, *accounts})


def damaged(data: bytes, rng: random.Random) -> bytes:
    """With a few bytes changed, left out or put in; biased to where lengths and types stand."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.choice([rng.randrange(len(changed) + 1), rng.randrange(min(len(changed), 40) + 1)])
        new = [b"", rng.randbytes(1), bytes([rng.choice((0, 0x80, 0xFF))]), rng.randbytes(2)]
        changed[at : at + rng.randint(0, 2)] = rng.choice(new)
    return bytes(changed)


def decoders(protocol: str) -> dict[str, Any]:
    return importlib.import_module(f"meshgen.protocols.{protocol}").VECTOR_DECODERS  # type: ignore[no-any-return]


def judged(vector: dict[str, Any], data: bytes) -> dict[str, Any]:
    """The vector, with other bytes and what the package says of them."""
    protocol, kind = vector["protocol"], vector["kind"]
    head = {"name": "damaged", "protocol": protocol, "kind": kind, "hex": data.hex()}
    try:
        meaning = decoders(protocol)[kind](data)
    except Malformed as error:
        return head | {"error": str(error)}
    told = {"value": describe_value(meaning)} if protocol == "codec" else describe(meaning)
    return head | {"expect": {key: told[key] for key in vector["expect"]}}


def test_it_says_of_damaged_bytes_what_the_package_says(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    good = [json.loads(path.read_text()) for path in stored() if path.parts[-2] == "valid"]
    accepted = 0
    for number in range(DAMAGED):
        vector = rng.choice(good)
        told = judged(vector, damaged(bytes.fromhex(vector["hex"]), rng))
        side = "valid" if "expect" in told else "invalid"
        accepted += side == "valid"
        write(tmp_path, f"{told['protocol']}/vectors/{side}/{number}.json", told)
    status, _, told_wrong = check(tmp_path)
    assert (status, told_wrong) == (0, {}), f"seed {SEED}"
    assert 0 < accepted < DAMAGED


def test_it_judges_random_chains_as_the_package_does(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    (tmp_path / "credit" / "vectors").mkdir(parents=True)
    judged_so = {"valid": 0, "invalid": 0}
    for number, chain in enumerate(chain for _ in range(WALKS) for chain in walks(rng, STEPS)):
        side = "valid" if "expect" in chain else "invalid"
        judged_so[side] += 1
        write(tmp_path, f"credit/chains/{side}/{number}.json", chain)
    status, _, told = check(tmp_path)
    assert (status, told) == (0, {}), f"seed {SEED}"
    assert judged_so["valid"] == WALKS
    assert judged_so["invalid"] > 5 * WALKS
