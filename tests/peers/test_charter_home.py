"""A home's charter: what it joined, what of it the settings take, and homes that belong elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from meshgen.ledger.ledger import open_ledger
from meshgen.peers.charter_file import MAX_TEXT_BYTES, CharterError
from meshgen.peers.charter_home import (
    doors,
    joined,
    keep,
    keep_through,
    lineage_of,
    mesh_of_log,
    read_charter,
    through,
    with_charter,
)
from meshgen.protocols.charter import Charter, CharterPolicies, Lineage
from meshgen.protocols.credit import net_id
from meshgen.settings import load_settings
from tests.conformance.samples import REQUESTER, WORKER
from tests.protocols.charter_vectors import BOTH, child, signed

FOUNDED = Lineage.founded(signed(BOTH, REQUESTER, WORKER))
AMENDED = FOUNDED.amended(signed(child(BOTH, about="more"), REQUESTER, WORKER))
ELSEWHERE = "/ip4/192.0.2.9/tcp/4711/p2p/" + REQUESTER.peer_id


def test_what_is_kept_is_joined(tmp_path: Path) -> None:
    assert joined(tmp_path) is None
    keep(tmp_path, FOUNDED)
    assert joined(tmp_path) == FOUNDED
    keep(tmp_path, AMENDED)
    assert joined(tmp_path) == AMENDED
    assert sorted(path.name for path in (tmp_path / "charter").iterdir()) == ["0.yaml", "1.yaml"]


def test_a_home_that_joined_nothing_goes_by_its_name(tmp_path: Path) -> None:
    settings = load_settings(overrides={"mesh.charter": "ours"})
    assert lineage_of(tmp_path, settings) == Lineage.plain("ours")
    assert lineage_of(tmp_path, settings).net == net_id(b"ours")


def test_the_joined_charter_goes_before_the_default_name_and_not_against_a_chosen_one(tmp_path: Path) -> None:
    keep(tmp_path, FOUNDED)
    assert lineage_of(tmp_path, load_settings()) == FOUNDED
    assert lineage_of(tmp_path, load_settings(overrides={"mesh.charter": "our-collective"})) == FOUNDED
    with pytest.raises(CharterError, match=r"has joined the mesh our-collective, but mesh\.charter says theirs"):
        lineage_of(tmp_path, load_settings(overrides={"mesh.charter": "theirs"}))


def test_damage_is_named(tmp_path: Path) -> None:
    keep(tmp_path, AMENDED)
    first, second = tmp_path / "charter" / "0.yaml", tmp_path / "charter" / "1.yaml"
    text = second.read_text()
    second.write_text(text.replace("about: more", "about: less"))
    with pytest.raises(CharterError, match="does not fit this text; move the folder away"):
        joined(tmp_path)
    second.write_text(text)
    first.write_bytes(b"\xff")
    with pytest.raises(CharterError, match="not UTF-8"):
        joined(tmp_path)
    first.write_text("#" * (MAX_TEXT_BYTES + 1))
    with pytest.raises(CharterError, match="longer than"):
        joined(tmp_path)
    with pytest.raises(CharterError, match="can't be read"):
        read_charter(tmp_path / "nowhere.yaml")


def test_a_crash_between_two_files_leaves_a_whole_line(tmp_path: Path) -> None:
    keep(tmp_path, AMENDED)
    (tmp_path / "charter" / "1.yaml").unlink()
    (tmp_path / "charter" / ".1.yaml.77").write_text("name: ha")
    assert joined(tmp_path) == FOUNDED


def test_addresses_to_join_through_are_kept_once(tmp_path: Path) -> None:
    keep(tmp_path, FOUNDED)
    assert through(tmp_path) == ()
    for _ in range(2):
        keep_through(tmp_path, ELSEWHERE)
    assert through(tmp_path) == (ELSEWHERE,)


# -- what settings take from it

STRICT = Charter("strict", bootstrap=BOTH.bootstrap, policies=CharterPolicies(max_pixels=4096, max_steps=9, price_permille=700))


def test_the_charter_speaks_where_the_owner_is_silent() -> None:
    settings = with_charter(load_settings(overrides={"worker.max_steps": 50}), STRICT, (ELSEWHERE, "rubbish"))
    assert (settings.worker.max_pixels, settings.worker.max_steps, settings.worker.price_permille) == (4096, 50, 700)
    assert settings.mesh.bootstrap == (*BOTH.bootstrap, ELSEWHERE)


def test_a_home_joins_through_its_charter_and_whoever_gave_it(tmp_path: Path) -> None:
    assert doors(tmp_path, load_settings()) == ()
    keep(tmp_path, FOUNDED)
    keep_through(tmp_path, ELSEWHERE)
    assert doors(tmp_path, load_settings()) == (*BOTH.bootstrap, ELSEWHERE)


def test_the_owners_own_doors_replace_the_charters() -> None:
    settings = with_charter(load_settings(overrides={"mesh.bootstrap": [ELSEWHERE]}), STRICT)
    assert settings.mesh.bootstrap == (ELSEWHERE,)


def test_a_profile_is_the_owners_word() -> None:
    assert with_charter(load_settings(profile="laptop"), STRICT).worker.max_pixels == 512 * 512


def test_the_next_charter_speaks_where_the_last_one_spoke() -> None:
    settings = with_charter(load_settings(), STRICT)
    again = with_charter(settings, Charter("strict", policies=CharterPolicies(max_steps=33)))
    assert (again.worker.max_steps, again.mesh.bootstrap) == (33, ())


# -- logs


async def test_a_log_tells_its_mesh(tmp_path: Path) -> None:
    assert mesh_of_log(tmp_path) == b""
    async with open_ledger(tmp_path, WORKER, FOUNDED.net, now_ms=lambda: 1_789_000_000_000 + round(trio.current_time())):
        pass
    assert mesh_of_log(tmp_path) == FOUNDED.net


def test_a_log_that_is_none_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("nonsense")
    with pytest.raises(CharterError):
        mesh_of_log(tmp_path)
