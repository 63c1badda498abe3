"""Settings over the API: read with their meanings, written into the file, followed by the node."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from meshgen.gateway.app import make_app
from meshgen.settings import Source
from tests.gateway.fake_node import FakeNode

PATH = "/v1/settings"


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    node = FakeNode()
    node.settings_source = Source(tmp_path / "config.yaml", changes={"worker.slots": "2"})
    return node


@pytest.fixture
async def api(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer a-token"}
    transport = httpx.ASGITransport(make_app(node, "a-token"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4712", headers=headers) as client:
        yield client


async def test_every_key_with_its_meaning(api: httpx.AsyncClient) -> None:
    found = (await api.get(PATH)).json()
    assert found["settings"].keys() == found["keys"].keys() and found["decided"] == {"worker.slots": "command line"}
    steps = found["keys"]["worker.max_steps"]
    assert (steps["minimum"], steps["maximum"], steps["live"]) == (1, 1000, True) and steps["description"]


async def test_changes_are_written_and_followed(api: httpx.AsyncClient, node: FakeNode) -> None:
    changes = {"worker.max_steps": 50, "node.roles": ["worker"], "worker.slots": 3}
    found = (await api.patch(PATH, json={"changes": changes})).json()
    assert (found["live"], found["restart"], found["decided"]) == (["worker.max_steps"], ["node.roles"], ["worker.slots"])
    assert node.followed[0].worker.max_steps == 50 and node.settings_source is not None
    assert "max_steps: 50" in node.settings_source.file.read_text()


@pytest.mark.parametrize("changes", [{"worker.max_steps": 0}, {"api.host": "0.0.0.0"}, {"worker.no_such": 1}, {"worker": {}}, {}])
async def test_bad_changes_change_nothing(api: httpx.AsyncClient, node: FakeNode, changes: dict[str, object]) -> None:
    answer = await api.patch(PATH, json={"changes": changes})
    assert answer.status_code == 422 and "error" in answer.json()
    assert not node.followed and node.settings_source is not None and not node.settings_source.file.exists()


async def test_half_a_character_changes_nothing(api: httpx.AsyncClient, node: FakeNode) -> None:
    json = {"content-type": "application/json"}
    answer = await api.patch(PATH, content=rb'{"changes": {"node.alias": "\ud800"}}', headers=json)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_settings")
    assert node.settings_source is not None and list(node.settings_source.file.parent.glob("*.new")) == []


async def test_who_may_read_the_file_stays_as_it_was(api: httpx.AsyncClient, node: FakeNode) -> None:
    assert node.settings_source is not None
    file = node.settings_source.file
    file.write_text("node:\n  alias: alice\n")
    file.chmod(0o600)
    assert (await api.patch(PATH, json={"changes": {"node.alias": "bob"}})).status_code == 200
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and "bob" in file.read_text()


async def test_a_node_without_a_file_says_so(api: httpx.AsyncClient, node: FakeNode) -> None:
    node.settings_source = None
    assert (await api.get(PATH)).status_code == 409
