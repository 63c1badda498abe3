"""`meshgen peers block` and its kin, which write the settings of a running node; `meshgen mesh admit` and `expel`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from meshgen.cli import peers_lists
from meshgen.settings import Source, blocking
from meshgen.settings.blocking import parse_block
from tests.cli.conftest import Running
from tests.gateway.fake_node import ALICE, BOB, FakeCredit

Cli = Callable[..., Result]
ACCOUNT = "ab" * 32


@pytest.fixture
def owned(running: Running, tmp_path: Path) -> Running:
    """A node whose settings are a file."""
    running.node.settings_source = Source(tmp_path / "config.yaml")
    return running


def lines(owned: Running, name: str = "block") -> tuple[str, ...]:
    """As the file has them, and the node was told."""
    assert owned.node.settings_source is not None
    found: tuple[str, ...] = getattr(owned.node.settings_source.load().node, name)
    assert getattr(owned.node.followed[-1].node, name) == found
    return found


def test_block_and_unblock(meshgen: Cli, owned: Running) -> None:
    text = meshgen("peers", "block", "bob", "--why", "sends noise").output
    assert "blocked bob" in text and "until `meshgen peers unblock`" in text
    assert lines(owned) == (f"{BOB.peer_id} (sends noise)",)
    meshgen("peers", "block", BOB.peer_id[-6:], "--for", "7d")
    (line,) = lines(owned)
    assert parse_block(line).until_ms and not parse_block(line).why, "the last word counts"
    before_ms = time.time_ns() // 1_000_000
    said = json.loads(meshgen("peers", "block", "bob", "--for", "1h", "--json").stdout)
    (line,) = lines(owned)
    assert parse_block(line).until_ms == said["until_ms"] >= before_ms + 3_600_000, "as it is kept, and no sooner"
    assert "bob" in meshgen("peers", "blocked").output
    assert "bob" in meshgen("peers", "unblock", f"bob#{BOB.peer_id[-6:]}").output
    assert lines(owned) == ()
    assert "nobody" in meshgen("peers", "blocked").output
    assert "not blocked" in meshgen("peers", "unblock", "bob", code=1).output


def test_an_account_is_blocked_by_its_id_and_found_by_its_beginning(meshgen: Cli, owned: Running) -> None:
    meshgen("peers", "block", ACCOUNT, "--why", "all its devices")
    found = json.loads(meshgen("peers", "blocked", "--json").stdout)["blocked"]
    assert found == [{"peer": ACCOUNT, "name": "account abababababab", "until_ms": None, "why": "all its devices"}]
    meshgen("peers", "unblock", ACCOUNT[:8])
    assert lines(owned) == ()


def test_whose_account_is_blocked_is_unblocked_by_it(meshgen: Cli, owned: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    balance = FakeCredit.balance
    monkeypatch.setattr(FakeCredit, "balance", lambda self, key: balance(self, key) | {"account": ACCOUNT})
    with pytest.MonkeyPatch.context() as before:
        before.setattr(FakeCredit, "balance", balance)
        meshgen("peers", "block", ACCOUNT)
    said = meshgen("peers", "unblock", "bob", code=1).stderr
    assert f"is blocked through its account {ACCOUNT[:12]}" in said and f"meshgen peers unblock {ACCOUNT}" in said
    for verb in ("block", "allow", "follow"):
        assert "this node's own account" in meshgen("peers", verb, ACCOUNT, code=1).stderr


@pytest.mark.parametrize("verb", ["block", "allow", "follow", "unblock"])
def test_who_is_nobody_to_be_listed_is_told_of_the_argument(meshgen: Cli, owned: Running, verb: str) -> None:
    assert meshgen("peers", verb, "", code=1).stderr.startswith("an empty name names nobody")
    if verb != "unblock":
        assert meshgen("peers", verb, ALICE.peer_id, code=1).stderr == "that is this node itself\n"
    assert "follow one of its devices" in meshgen("peers", "follow", ACCOUNT, code=1).stderr
    assert not owned.node.followed


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("bob", "--why", "(twice)"), 2),
        (("bob", "--why", "ü"), 2),
        (("bob", "--why", "x" * 121), 2),
        (("bob", "--for", "a week"), 2),
        (("nobody",), 1),
        ((ALICE.peer_id,), 1),
    ],
)
def test_what_can_not_be_blocked(meshgen: Cli, owned: Running, words: tuple[str, ...], code: int) -> None:
    meshgen("peers", "block", *words, code=code)
    assert not owned.node.followed


def test_the_command_line_and_the_settings_have_one_limit() -> None:
    assert peers_lists.MAX_WHY == blocking.MAX_WHY


def test_allow_and_follow(meshgen: Cli, owned: Running) -> None:
    meshgen("peers", "allow", "bob")
    meshgen("peers", "allow", "bob")
    assert lines(owned, "allow") == (BOB.peer_id,)
    meshgen("peers", "unallow", "bob")
    assert lines(owned, "allow") == ()
    assert "followed" in meshgen("peers", "follow", "bob").output
    assert lines(owned, "follow") == (BOB.peer_id,)
    assert BOB.peer_id in meshgen("peers", "followed").output
    meshgen("peers", "unfollow", BOB.peer_id[:20])
    assert lines(owned, "follow") == ()
    assert "not on that list" in meshgen("peers", "unfollow", "bob", code=1).output


def test_what_the_environment_says_goes_first_and_is_told(meshgen: Cli, owned: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHGEN_NODE__BLOCK", ACCOUNT)
    assert "set by the environment" in meshgen("peers", "block", "bob", code=1).output


def test_a_node_without_a_file_says_so(meshgen: Cli, running: Running) -> None:
    assert "without a config file" in meshgen("peers", "block", "bob", code=1).output


def test_advice(meshgen: Cli, running: Running) -> None:
    text = meshgen("peers", "advice", "bob").output
    assert "avoid" in text and "sends noise" in text and "yes" in text
    assert "nobody" in meshgen("peers", "advice", ALICE.peer_id).output


# -- the roll


def test_members_admit_and_expel(meshgen: Cli, running: Running) -> None:
    text = meshgen("mesh", "members").output
    assert "delegate" in text and "admitted" in text and BOB.peer_id in text
    assert "account efefefefefef" in text and "ef" * 32 in text, "who is expelled with all its devices"
    meshgen("mesh", "admit", "bob", ACCOUNT)
    meshgen("mesh", "admit", "--all-of", ALICE.peer_id)
    meshgen("mesh", "expel", "bob", stdin="y\n")
    meshgen("mesh", "expel", "bob", stdin="n\n", code=130)
    assert running.node.community.changes == [
        ([BOB.public_key, bytes.fromhex(ACCOUNT)], []),
        ([BOB.public_key], []),
        ([], [BOB.public_key]),
    ]
    meshgen("mesh", "admit", code=2)
    meshgen("mesh", "admit", "nobody", code=1)
    running.node.community.refusal = "this node is no delegate of ours: only they admit and expel"
    assert "no delegate" in meshgen("mesh", "admit", "bob", code=1).output
