"""Every route by the API's own description, with whatever its schemas allow: no fault of the node's, no odd answer."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from meshgen.cli.local_mesh import LocalNode, local_mesh, wait_for
from meshgen.home import KEY_FILE
from tests.e2e.horde.workers import Knowing, Kobold, drawn
from tests.gateway.fake_node import BOB

pytest.importorskip("schemathesis")

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
)
UNTRIED = "^/v1/(stop|account/.*|settings)$"
"""What would end the node, or make it another one."""
CONFIG = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]  # 503 says what the mesh can't do now

[phases.coverage]
unexpected-methods = ["put"]

[[operations]]  # always one answer
include-tag = ["AI Horde: roles", "AI Horde: lists"]
phases.fuzzing.enabled = false
phases.coverage.unexpected-methods = []
"""
KNOWN = """
[dictionaries.{name}]
values = ["{value}"]

[[operations]]
include-path-regex = '{paths}'
parameters = {{ "path.{parameter}" = {{ dictionary = "{name}", probability = 0.8 }} }}
"""
REFUSED = ("style", "proxied_account", "webhook", "control_type")
"""Fields that a node has no use for, or that want another one: with them nothing would get any further."""
EXAMPLES = 4
TIMEOUT_S = 300
WAIT_S = 30
PICTURE = base64.b64encode(drawn(1, 64, 64)).decode()
WRITTEN = "koboldcpp/tiny-1b"
SMALL = {"width": 64, "height": 64, "steps": 1}


@dataclass(frozen=True)
class Known:
    """Something that is there, and the routes that are to be asked for it. ``value``: what their parameter has to be."""

    parameter: str
    paths: str
    value: str


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    with local_mesh(tmp_path / "mesh") as mesh:
        settings: dict[str, Any] = {"worker__engine": "fake", "worker__fake_seconds": 0, "worker__max_pixels": 2**18}
        settings |= {"requester__bid_wait_s": 0.02, "limits__open_jobs": 1000}
        yield mesh.start("node", "requester", "worker", **settings)


def test_whatever_is_asked_the_answer_is_described(node: LocalNode, tmp_path: Path) -> None:
    with httpx.Client(base_url=node.api.info.url, headers={"apikey": key_of(node)}) as client:
        said = run(tmp_path, node, [*jobs(node, client), *people(client)])
    assert said.returncode == 0, said.stdout[-8000:] + said.stderr
    assert "prompt" not in node.log, "what was asked for is in no log line"


def jobs(node: LocalNode, client: httpx.Client) -> Iterator[Known]:
    """One that is done of each kind."""
    job = node.api.post("/v1/jobs", SMALL | {"prompt": "x"})["id"]
    wait_for(lambda: node.api.get(f"/v1/jobs/{job}")["state"] == "done", "a picture", WAIT_S)
    yield Known("job_id", "^/v1/jobs/", job)
    url, key = node.api.info.url, key_of(node)
    yield done(client, "generate", {"prompt": "x", "params": SMALL})
    with Kobold(url, key, "writer", models=[WRITTEN], max_length=512).at_work():
        yield done(client, "generate/text", {"prompt": "x", "models": [WRITTEN]})
    with Knowing(url, key, "alchemist", forms=["caption"]).at_work():
        yield done(client, "interrogate", {"source_image": PICTURE, "forms": [{"name": "caption"}]})


def done(client: httpx.Client, path: str, body: dict[str, Any]) -> Known:
    asked = client.post(f"/api/v2/{path}/async", json=body).json()["id"]
    wait_for(lambda: over(client.get(f"/api/v2/{path}/status/{asked}").json()), f"{path} to be done", WAIT_S)
    return Known("id", f"^/api/v2/{path}/(check|status|rate)/", asked)


def over(status: dict[str, Any]) -> bool:
    return status.get("done") is True or status.get("state") == "done"


def people(client: httpx.Client) -> Iterator[Known]:
    worker = client.get("/api/v2/workers").json()[0]
    yield Known("worker_id", "^/api/v2/workers/", worker["id"])
    yield Known("worker_name", "^/api/v2/workers/", worker["name"])
    yield Known("user_id", "^/api/v2/users/", client.get("/api/v2/find_user").json()["id"])
    yield Known("sharedkey_id", "^/api/v2/sharedkeys/", client.put("/api/v2/sharedkeys", json={}).json()["id"])


def described(node: LocalNode) -> dict[str, Any]:
    """The API's description, with values that mean something where only few do."""
    found: dict[str, Any] = node.api.get("/openapi.json")
    good = dict.fromkeys(("source_image", "source_mask", "source", "mask"), PICTURE) | {"peer": BOB.peer_id}
    for schema in found["components"]["schemas"].values():
        fields = schema.get("properties", {})
        for name in set(REFUSED) & set(fields):
            del fields[name]
        fields |= {name: {"enum": [value]} for name, value in good.items() if name in fields}
        if "prompt" in fields:
            fields["prompt"]["minLength"] = 1
    return found


def key_of(node: LocalNode) -> str:
    return (node.home / KEY_FILE).read_text().strip()


def run(folder: Path, node: LocalNode, known: Iterable[Known]) -> subprocess.CompletedProcess[str]:
    config = folder / "schemathesis.toml"
    schema = folder / "openapi.json"
    schema.write_text(json.dumps(described(node)))
    config.write_text(CONFIG + "".join(KNOWN.format(name=f"known-{at}", **asdict(one)) for at, one in enumerate(known)))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color"]
    command += ["run", str(schema), "--url", node.api.info.url, "--exclude-path-regex", UNTRIED]
    command += ["-H", f"Authorization: Bearer {Path(node.api.info.token_file).read_text().strip()}"]
    command += ["-H", f"apikey: {key_of(node)}", "--checks", ",".join(CHECKS)]
    command += ["--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "7"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=TIMEOUT_S, check=False)
