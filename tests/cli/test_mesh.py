"""`meshgen mesh`: found, sign, join, show, amend, on homes whose nodes don't run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import Result

from meshgen.identity import load_or_create
from meshgen.ledger.ledger import open_ledger
from meshgen.peers.charter_home import joined
from meshgen.peers.mesh_key import mesh_key
from tests.cli.conftest import Running

Cli = Callable[..., Result]
HUB = "/dns/hub.example.org/tcp/4711/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


@pytest.fixture
def at(meshgen: Cli, tmp_path: Path) -> Cli:
    """``at("alice", "mesh", ...)``: as called with that home."""

    def call(name: str, *words: str, **options: Any) -> Result:
        return meshgen("--home", str(tmp_path / name), *words, **options)

    return call


def peer(tmp_path: Path, name: str) -> str:
    return load_or_create(tmp_path / name).peer_id


def shown(result: Result) -> Any:
    return json.loads(result.stdout)


def test_one_who_founds_a_mesh_is_its_first_member(at: Cli, tmp_path: Path) -> None:
    said = at("alice", "mesh", "create", "our-collective", "--bootstrap", HUB, "--about", "for all of us").output
    assert "our-collective, version 0" in said and "in force at this home" in said
    found = shown(at("alice", "mesh", "show", "--json"))
    assert (found["name"], found["version"], found["threshold"]) == ("our-collective", 0, 1)
    assert found["delegates"] == found["signed_by"] == [peer(tmp_path, "alice")]
    assert found["net"] == found["hash"][:32]
    assert (found["bootstrap"], found["about"]) == ([HUB], "for all of us")
    text = at("alice", "mesh", "show").output
    assert found["net"] in text and "1 valid of 1 needed" in text and HUB in text


def test_a_founder_is_told_how_to_work_for_others(at: Cli) -> None:
    assert "draws none for others" in (said := at("alice", "mesh", "create", "ours").output) and "meshgen init --profile" in said
    at("bob", "init", "--set", "node.roles=requester")
    assert "add worker to node.roles" in at("bob", "mesh", "create", "theirs", "--out", "theirs.yaml").output
    at("carol", "init", "--profile", "laptop")
    assert "draws none" not in at("carol", "mesh", "create", "hers", "--out", "hers.yaml").output


def test_a_home_that_joined_nothing_shows_its_name(at: Cli) -> None:
    assert "meshgen-public-v0, a plain name" in at("alice", "mesh", "show").output
    assert "joined no signed charter" in at("alice", "mesh", "amend", "x.yaml", code=1).stderr


def test_two_delegates_found_together(at: Cli, tmp_path: Path) -> None:
    bob = peer(tmp_path, "bob")
    said = at("alice", "mesh", "create", "ours", "--delegate", bob, "--threshold", "2").output
    assert "1 valid of 2 needed" in said and f"missing {bob}" in said and "meshgen mesh sign charter.yaml" in said
    assert joined(tmp_path / "alice") is None
    assert "1 of the 2 delegates needed have signed" in at("carol", "mesh", "join", "charter.yaml", code=1).stderr
    assert "is no delegate" in at("carol", "mesh", "sign", "charter.yaml", code=1).stderr
    assert "in force at this home" in at("bob", "mesh", "sign", "charter.yaml").output
    assert "is in force already" in at("bob", "mesh", "sign", "charter.yaml", code=1).stderr
    for name in ("alice", "carol"):
        assert "is a member of ours" in at(name, "mesh", "join", "charter.yaml").output
    homes = [joined(tmp_path / name) for name in ("alice", "bob", "carol")]
    assert homes[0] == homes[1] == homes[2] is not None


def test_a_mesh_that_lists_its_members_tells_newcomers_whom_to_ask(at: Cli, tmp_path: Path) -> None:
    said = at("alice", "mesh", "create", "our-club", "--listed").output
    assert "those alone whom 1 delegate admitted" in said
    found = shown(at("alice", "mesh", "show", "--json"))
    assert (found["members"], found["roll_threshold"], found["relay_gib_mkudos"]) == ("listed", 1, 0)
    told = at("bob", "mesh", "join", "charter.yaml").output
    assert told.count(f"meshgen mesh admit {peer(tmp_path, 'bob')}") == 1


def test_the_tariff_comes_from_keys_and_files(at: Cli, tmp_path: Path) -> None:
    (tmp_path / "cheap.yaml").write_text("step_mkudos: 50\nlora_mkudos: 1\n")
    at("alice", "mesh", "create", "ours", "--tariff", "cheap.yaml", "--tariff", "lora_mkudos=2", "--out", "a.yaml")
    tariff = shown(at("alice", "mesh", "show", "a.yaml", "--json"))["tariff"]
    assert (tariff["step_mkudos"], tariff["lora_mkudos"], tariff["surcharge_mkudos"]) == (50, 2, 3000)
    at("bob", "mesh", "create", "theirs", "--tariff", "a.yaml", "--out", "b.yaml")
    assert shown(at("bob", "mesh", "show", "--json"))["tariff"] == tariff


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["Ours"], "name: only a-z"),
        (["ours", "--delegate", "bob"], "--delegate: 'bob' is no peer id"),
        (["ours", "--threshold", "2"], "threshold: 2 of 1 delegates"),
        (["ours", "--bootstrap", "/ip4/192.0.2.7/tcp/1"], "--bootstrap: .* must end with /p2p/"),
        (["ours", "--tariff", "step=1"], "tariff.step: there is no such key; did you mean 'step_mkudos'"),
        (["ours", "--tariff", "step_mkudos=x"], "'x' is not a whole number"),
        (["ours", "--tariff", "nowhere.yaml"], "nowhere.yaml: can't be read"),
        (["ours", "--out", "no/folder.yaml"], "no/folder.yaml can't be written"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_what_is_wrong_with_a_founding_is_said(at: Cli, tmp_path: Path, words: list[str], says: str) -> None:
    import re

    code = 1 if "--out" in words else 2
    assert re.search(says, at("alice", "mesh", "create", *words, code=code).stderr)
    assert joined(tmp_path / "alice") is None and not (tmp_path / "charter.yaml").exists()


def test_no_charter_is_overwritten(at: Cli) -> None:
    at("alice", "mesh", "create", "ours")
    assert "exists already" in at("bob", "mesh", "create", "theirs", code=1).stderr


def test_a_change_is_signed_by_as_many_as_the_version_before_asks_for(at: Cli, tmp_path: Path) -> None:
    at("alice", "mesh", "create", "ours", "--delegate", peer(tmp_path, "bob"), "--threshold", "2")
    at("bob", "mesh", "sign", "charter.yaml")
    at("alice", "mesh", "join", "charter.yaml")
    at("carol", "mesh", "join", "charter.yaml")
    text = at("alice", "mesh", "show", "--yaml").stdout
    file = tmp_path / "next.yaml"
    file.write_text(text)
    assert "says what is in force already" in at("alice", "mesh", "amend", "next.yaml", code=1).stderr
    file.write_text("# cheaper\n" + text.replace("step_mkudos: 100", "step_mkudos: 50"))
    assert "is no delegate of ours" in at("carol", "mesh", "amend", "next.yaml", code=1).stderr
    assert "1 signature of another delegate still missing" in at("alice", "mesh", "amend", "next.yaml").output
    found = shown(at("bob", "mesh", "show", "next.yaml", "--json"))
    assert (found["version"], found["missing"], found["tariff"]["step_mkudos"]) == (1, 1, 50)
    assert "in force at this home" in at("bob", "mesh", "sign", "next.yaml").output
    assert "version 1" in at("bob", "mesh", "show").output and "version 0" in at("alice", "mesh", "show").output
    assert "in force at this home" in at("alice", "mesh", "sign", "next.yaml").output, "who had it not yet takes it from the file"
    assert joined(tmp_path / "alice") == joined(tmp_path / "bob")
    assert "ours, version 1" in at("carol", "mesh", "join", "next.yaml").output, "so does a member who signs nothing"
    assert "version 1 founds no mesh" in at("dave", "mesh", "join", "next.yaml", code=1).stderr


def test_who_tampers_with_a_signed_text_is_found_out(at: Cli, tmp_path: Path) -> None:
    at("alice", "mesh", "create", "ours")
    file = tmp_path / "charter.yaml"
    file.write_text(file.read_text().replace("surcharge_mkudos: 3000", "surcharge_mkudos: 9000"))
    assert "does not fit this text" in at("bob", "mesh", "join", "charter.yaml", code=1).stderr
    assert "does not fit this text" in at("bob", "mesh", "show", "charter.yaml", code=1).stderr
    assert joined(tmp_path / "bob") is None


def test_a_mesh_keeps_its_name(at: Cli, tmp_path: Path) -> None:
    at("alice", "mesh", "create", "ours")
    (tmp_path / "next.yaml").write_text("name: theirs\n")
    assert "a mesh keeps its name" in at("alice", "mesh", "amend", "next.yaml", code=1).stderr


def test_the_hash_can_be_asked_for(at: Cli) -> None:
    at("alice", "mesh", "create", "ours")
    found = shown(at("alice", "mesh", "show", "--json"))
    assert "founds the mesh" in at("bob", "mesh", "join", "charter.yaml", "ab" * 16, code=1).stderr
    at("bob", "mesh", "join", "charter.yaml", found["net"])
    at("carol", "mesh", "join", "charter.yaml", found["hash"].upper())
    assert "say which mesh" in at("dave", "mesh", "join", HUB, code=1).stderr
    assert "say which mesh" in at("dave", "mesh", "join", HUB, "abc", code=1).stderr


async def log_of(home: Path, net: bytes) -> None:
    async with open_ledger(home, load_or_create(home), net, now_ms=lambda: 1_789_000_000_000):
        pass


async def test_a_home_whose_log_belongs_elsewhere_is_not_switched(at: Cli, tmp_path: Path) -> None:
    at("alice", "mesh", "create", "ours")
    await log_of(tmp_path / "bob", bytes(16))
    said = at("bob", "mesh", "join", "charter.yaml", code=4).stderr
    assert "belongs to another mesh (" + "00" * 16 in said and "credit never crosses" in said
    assert joined(tmp_path / "bob") is None
    assert "this home belongs to another" in at("bob", "mesh", "create", "theirs", "--out", "b.yaml").output


def test_a_member_of_one_mesh_is_not_switched_to_another(at: Cli, tmp_path: Path) -> None:
    at("alice", "mesh", "create", "ours")
    at("bob", "mesh", "create", "theirs", "--out", "b.yaml")
    assert "belongs to the mesh theirs" in at("bob", "mesh", "join", "charter.yaml", code=4).stderr
    assert "is a member of theirs" in at("bob", "mesh", "join", "b.yaml").output, "joining again changes nothing"


def test_a_mesh_that_is_founded_in_another_ones_home_is_not_in_force_there(at: Cli, tmp_path: Path) -> None:
    first, second = (
        json.loads(at("bob", "mesh", "create", name, "--out", name, *more, "--json").stdout)
        for name, *more in (["ours"], ["theirs", "--private"])
    )
    assert (first["in_force"], second["in_force"]) == (True, False)
    assert mesh_key(tmp_path / "bob") is None, "the key is not the other mesh's either"


def test_doctor_looks_at_the_mesh(at: Cli, tmp_path: Path) -> None:
    at("alice", "mesh", "create", "ours")
    at("alice", "init", "--profile", "observer")
    assert "ok     mesh       ours (" in at("alice", "doctor").stdout
    (tmp_path / "alice" / "charter" / "0.yaml").write_text("name: [")
    assert "0.yaml, line 1: not valid YAML" in at("alice", "doctor", code=1).stdout


def test_a_home_whose_charter_is_not_its_logs_is_told_to_join_again(at: Cli, tmp_path: Path) -> None:
    def said() -> str:
        found = shown(at("alice", "doctor", "--json", code=1))["findings"]
        text = at("alice", "run", code=4).stderr.strip()
        assert [one["text"] for one in found if one["level"] == "fault"] == [text]
        return text

    at("alice", "mesh", "create", "ours")
    at("alice", "init", "--profile", "observer")
    charter = tmp_path / "alice" / "charter"
    trio.run(log_of, tmp_path / "alice", bytes(16))
    assert f"credit log belongs to the mesh {'00' * 16}, not to ours" in said() and f"move {charter} away and join" in said()
    (charter / "0.yaml").unlink()
    assert f"no charter of it is in {charter}, so join that mesh again" in said()


def test_a_running_nodes_home_is_left_alone(meshgen: Cli, at: Cli, running: Running) -> None:
    at("alice", "mesh", "create", "ours")
    assert "stop it first" in meshgen("mesh", "join", "charter.yaml", code=1).stderr
