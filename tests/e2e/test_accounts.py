"""Two devices of one account in a real mesh: the second joins, the first one's key is rotated, then the second one's is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshgen.cli.account_view import account_view
from meshgen.cli.local_mesh import LocalNode, wait_for
from meshgen.identity import KEY_FILE, load_or_create
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import Town


def meshgen(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "meshgen.cli", "--home", str(home), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def asked(home: Path, *words: str) -> dict[str, Any]:
    return dict(json.loads(meshgen(home, *words, "--json").stdout))


def devices(home: Path) -> dict[str, str]:
    """peer id -> what it is, as this home sees it."""
    rows = account_view(home)["devices"]
    return {row["peer"]: "retired" if row["retired"] else "closed" if row["closed"] else "device" for row in rows}


@pytest.fixture
def laptop(town: Town) -> Iterator[LocalNode]:
    node = town.launch("laptop", "requester")
    town.await_ready("laptop")
    yield node
    for name in ("laptop", "phone"):
        if name in town.mesh.nodes:
            town.node(name).stop()
            del town.mesh.nodes[name]


def start_again(town: Town, name: str) -> None:
    town.launch(name, "requester")
    town.await_ready(name)


def test_the_life_of_an_account(town: Town, laptop: LocalNode, tmp_path: Path) -> None:
    phone_home = town.mesh.root / "phone"
    phone = load_or_create(phone_home).peer_id
    added = asked(laptop.home, "account", "add-device", phone, "--budget", "50", "--yes")
    meshgen(phone_home, "account", "join", added["account"], "--device", added["peer"])
    start_again(town, "phone")
    both = {laptop.peer_id: "device", phone: "device"}
    for home in (laptop.home, phone_home):
        wait_for(lambda home=home: devices(home) == both, f"{home.name} to see both devices", 60)  # type: ignore[misc]

    old = laptop.peer_id
    laptop.stop()
    new = asked(laptop.home, "account", "rotate", "--yes")["peer"]
    start_again(town, "laptop")
    assert devices(laptop.home) == {old: "closed", new: "device", phone: "device"}

    town.node("phone").stop()
    (phone_home / "recovery").rename(tmp_path / "usb")
    (phone_home / KEY_FILE).unlink()
    found = asked(phone_home, "account", "recover", "--from", str(tmp_path / "usb"), "--yes")
    assert (found["old"], found["account"]) == (phone, added["account"])
    start_again(town, "phone")
    seen = devices(phone_home)
    assert (seen[phone], seen[found["peer"]]) == ("retired", "device")
    picture = tmp_path / "picture.png"
    meshgen(phone_home, "generate", "a fjord", "--steps", "3", "--out", str(picture))
    checked = asked(phone_home, "receipt", "verify", str(picture))
    assert [check["ok"] for check in checked["checks"]] == [True] * 7
    for home in (laptop.home, phone_home, town.node("hub").home):
        report = verify_home(home)
        assert report.ok, report.faults
