"""A home that has a credit log, and not (yet) the key of it: no verb begins it anew, and each says what is to be done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from click.testing import Result

from meshgen.cli.succession import now_ms
from meshgen.home import BEGUN_FILE, RESTORING_DIR
from meshgen.identity import KEY_FILE, load_or_create
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.owner import home_key
from meshgen.protocols.credit import net_id
from meshgen.protocols.invite import Invite

Cli = Callable[..., Result]
LINE = Invite.to(b"", "ours", ("/ip4/192.0.2.7/tcp/4711/p2p/12D3KooWQe3GmcX3ewAMpwQWTidu19mRdT11B9F2SkHJob3Qm8pi",), b"").line
BEGINNING = [["run"], ["init"], ["join", LINE, "--offline"], ["mesh", "create", "theirs"]]
"""What makes a key where there is none."""


@pytest.fixture
def begun(home: Path) -> str:
    """The peer id of a home that has a log."""

    async def begin() -> None:
        async with open_ledger(home, home_key(home), net_id(b"ours"), now_ms=now_ms):
            pass

    trio.run(begin)
    return home_key(home).peer_id


def refusals(meshgen: Cli) -> set[str]:
    """One, if all say the same; doctor too."""
    said = {meshgen(*words, code=4).stderr.strip() for words in BEGINNING}
    found = json.loads(meshgen("doctor", "--json", code=1).stdout)["findings"]
    return said | {one["text"] for one in found if one["name"] == "key"}


@pytest.mark.parametrize("noted", [True, False])
def test_a_key_that_is_missing(meshgen: Cli, home: Path, begun: str, noted: bool) -> None:
    (home / KEY_FILE).unlink()
    if not noted:  # as in homes of before it was
        (home / BEGUN_FILE).unlink()
    (said,) = refusals(meshgen)
    assert f"belongs to {begun}, whose key, {home / KEY_FILE}, is missing: put the right one back" in said
    assert not (home / KEY_FILE).exists()
    assert meshgen("backup", "b", "--no-encrypt", code=4).stderr.strip() == said


def test_a_key_that_is_anothers(meshgen: Cli, home: Path, begun: str, tmp_path: Path) -> None:
    other = load_or_create(tmp_path / "other")
    (tmp_path / "other" / KEY_FILE).replace(home / KEY_FILE)
    (said,) = refusals(meshgen)
    assert f"belongs to {begun}, and {home / KEY_FILE} is the key of another, {other.peer_id}" in said


def test_a_restore_that_was_cut_off(meshgen: Cli, home: Path) -> None:
    (home / RESTORING_DIR).mkdir(parents=True)
    (home / RESTORING_DIR / KEY_FILE).write_bytes(bytes(32))
    assert refusals(meshgen) == {f"a restore of {home} was cut off: run the same `meshgen restore` again"}
    assert "start it with `meshgen run`" in meshgen("status", code=3).stderr, "which says why not; none is to be made"
    assert not (home / KEY_FILE).exists()
