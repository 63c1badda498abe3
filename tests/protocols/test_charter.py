"""A charter's hash, its signatures and its versions; what is refused stands in the vectors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.protocols.charter import Charter, Lineage, SignedCharter, Tariff, charter_hash
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import net_id
from tests.conformance.samples import REQUESTER, WORKER
from tests.conformance.vectors import FOLDER
from tests.protocols.charter_vectors import BOTH, PRICES, STRANGER, child, prices, signed


def test_the_specs_check_vector_is_the_samples_hash() -> None:
    spec = (FOLDER / "charter" / "README.md").read_text()
    assert replace(BOTH, threshold=1).hash.hex() in spec


def test_the_specs_prices_are_the_tariffs() -> None:
    """Run ``python -m tests.protocols.charter_vectors`` after a change of the formulas, and look at what changed."""
    assert {file: file.read_text() for file in PRICES.glob("*.json")} == prices()


def test_a_plain_name_is_the_mesh_that_it_always_was() -> None:
    lineage = Lineage.plain("meshgen-public-v0")
    assert lineage.net == net_id(b"meshgen-public-v0")
    assert (lineage.current, lineage.hash) == (Charter("meshgen-public-v0"), b"")
    with pytest.raises(Malformed, match="nobody can amend"):
        lineage.amended(signed(BOTH, WORKER))


def test_signatures_are_no_part_of_the_hash() -> None:
    one, two, both = signed(BOTH, WORKER), signed(BOTH, REQUESTER), signed(BOTH, REQUESTER, WORKER)
    assert one.hash == two.hash == both.hash == BOTH.hash == charter_hash(BOTH.encode())
    assert one.with_signatures(two.signatures) == both == signed(BOTH, WORKER, REQUESTER)
    assert Lineage.founded(both).net == BOTH.hash[:16]


def test_signing_twice_is_signing_once() -> None:
    assert signed(BOTH, WORKER, WORKER) == signed(BOTH, WORKER)


@given(st.sampled_from(["name", "about", "threshold", "bootstrap", "treasury", "tariff"]))
def test_every_change_changes_the_hash(field: str) -> None:
    changes = {"name": "x", "about": "y", "threshold": 1, "bootstrap": (), "treasury": b"", "tariff": Tariff(step_mkudos=1)}
    assert replace(BOTH, **{field: changes[field]}).hash != BOTH.hash


def test_any_sufficient_set_of_signatures_is_as_good() -> None:
    three = replace(BOTH, delegates=tuple(sorted((*BOTH.delegates, STRANGER.public_key))))
    lines = [Lineage.founded(signed(three, *two)) for two in ((WORKER, STRANGER), (REQUESTER, STRANGER), (WORKER, REQUESTER))]
    assert len({line.net for line in lines}) == 1
    amendment = child(three, about="more")
    assert {line.amended(signed(amendment, WORKER, REQUESTER)).hash for line in lines} == {amendment.hash}


def test_of_two_children_the_first_stays() -> None:
    line = Lineage.founded(signed(BOTH, REQUESTER, WORKER)).amended(signed(child(BOTH, about="a"), REQUESTER, WORKER))
    with pytest.raises(Malformed, match="no child of version 1"):
        line.amended(signed(child(BOTH, about="b"), REQUESTER, WORKER))


def test_a_document_shows_who_has_signed() -> None:
    assert signed(BOTH, WORKER).signers(BOTH.delegates) == (WORKER.public_key,)
    assert SignedCharter.decode(signed(BOTH, WORKER).encode()).charter == BOTH
