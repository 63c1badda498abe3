"""The law's vectors against the code, both ways; and one folder for each protocol, one protocol for each folder."""

from __future__ import annotations

import importlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.protocols.advert import FAMILIES, ROLES
from meshgen.protocols.codec import Malformed
from meshgen.protocols.job import FAILURES
from meshgen.protocols.offer import REASONS
from meshgen.protocols.record import Record
from tests.conformance.make_vectors import all_vectors
from tests.conformance.samples import SAMPLES
from tests.conformance.tables import rows
from tests.conformance.vectors import FOLDER, describe, describe_value, stored

MODULES = FOLDER.parent / "meshgen" / "protocols"
HELPERS = {
    "record": "how messages declare their fields; their bytes are the codec's",
    "multiaddr": "addresses as bytes: in protocols/invite",
    "job_terms": "what the messages of market and job have to agree on: in protocols/job",
    "job_sides": "the order of the job's messages: in protocols/job",
    "job_turns": "whose turn it is: in protocols/job",
}
"""Modules with no bytes of their own, hence no folder."""


def protocols() -> list[str]:
    packages = [path.parent.name for path in MODULES.glob("*/__init__.py")]
    return sorted(packages + [path.stem for path in MODULES.glob("*.py") if path.stem not in {"__init__", *HELPERS}])


def decoders(protocol: str) -> dict[str, Any]:
    return importlib.import_module(f"meshgen.protocols.{protocol}").VECTOR_DECODERS  # type: ignore[no-any-return]


@cache
def valid(protocol: str) -> list[tuple[str, bytes]]:
    """(kind, bytes) of every good vector of a protocol."""
    vectors = [json.loads(path.read_text()) for path in stored() if (path.parts[-4], path.parts[-2]) == (protocol, "valid")]
    return [(vector["kind"], bytes.fromhex(vector["hex"])) for vector in vectors]


def test_folders_and_modules_stand_one_to_one() -> None:
    assert sorted(path.parent.name for path in FOLDER.glob("*/vectors")) == protocols()
    for helper in HELPERS:
        assert (MODULES / f"{helper}.py").exists()


@pytest.mark.parametrize("protocol", protocols())
def test_each_protocol_has_its_law_and_vectors_of_each_kind(protocol: str) -> None:
    assert len((FOLDER / protocol / "README.md").read_text()) > 500
    kinds = {(path.parent.name, json.loads(path.read_text())["kind"]) for path in stored() if path.parts[-4] == protocol}
    assert kinds == {(validity, kind) for validity in ("valid", "invalid") for kind in decoders(protocol)}


@pytest.mark.parametrize("path", stored(), ids=lambda path: f"{path.parts[-4]}/{path.parts[-2]}/{path.stem}")
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text())
    protocol, validity = path.parts[-4], path.parts[-2]
    assert (vector["name"], vector["protocol"]) == (path.stem, protocol)
    decode = decoders(protocol)[vector["kind"]]
    data = bytes.fromhex(vector["hex"])
    if validity == "invalid":
        with pytest.raises(Malformed) as caught:
            decode(data)
        assert vector["error"] in str(caught.value)
        return
    told = {"value": describe_value(decode(data))} if protocol == "codec" else describe(decode(data))
    assert {key: told[key] for key in vector["expect"]} == vector["expect"]


def test_stored_vectors_are_those_that_the_tool_makes() -> None:
    """Run ``python -m tests.conformance.make_vectors`` after a change of the law, and look at what changed."""
    made = {vector.path: vector.to_json() for vector in all_vectors()}
    assert len(made) == len(list(all_vectors())), "two vectors have one name"
    ours = {path.parts[-4] for path in made}
    assert {path: path.read_text() for path in stored() if path.parts[-4] in ours} == made


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.TAG)
def test_the_specs_tables_are_what_the_code_does(kind: type[Record]) -> None:
    """Fields, their order, types and limits; the meaning is told in the spec alone."""
    spec = (FOLDER / kind.__module__.split(".")[-1] / "README.md").read_text()
    section = spec.split(f"`{kind.TAG}`", 1)[1].split("\n#", 1)[0]
    told = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in section.splitlines() if line.startswith("| ")]
    told = told[: told.index(("reason", "limit"))] if ("reason", "limit") in told else told
    assert [row for row in told if row != ("field", "type")] == rows(kind)


@pytest.mark.parametrize(("protocol", "words"), [("offer", REASONS), ("job", FAILURES), ("advert", FAMILIES), ("advert", ROLES)])
def test_the_specs_tell_every_word(protocol: str, words: tuple[str, ...]) -> None:
    spec = (FOLDER / protocol / "README.md").read_text()
    assert [word for word in words if f"`{word}`" not in spec and f"| {word} |" not in spec] == []


@pytest.mark.parametrize("protocol", protocols())
@given(data=st.data())
def test_damaged_vectors_are_malformed_or_mean_something_else(protocol: str, data: st.DataObject) -> None:
    """Whatever becomes of good bytes on their way: a decoder answers, or says Malformed, and does nothing else."""
    kind, good = data.draw(st.sampled_from(valid(protocol)))
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    decode = decoders(protocol)[kind]
    try:
        meaning = decode(bytes(damaged))
    except Malformed:
        return
    assert damaged == good or meaning != decode(good)
