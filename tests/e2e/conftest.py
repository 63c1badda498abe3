"""A mesh of real processes for all tests of this folder: a hub, two workers with the fake engine, a requester.

Whoever stops or kills a node starts it again before the test ends.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meshgen.cli.client import Api
from meshgen.cli.local_mesh import LocalMesh, LocalNode, local_mesh, wait_for

HERE = Path(__file__).parent
CHARTER = "meshgen-e2e-v0"
WORKERS = ("first", "second")
PICTURE_S = 0.25
PATIENCE_S = 2
OVER = ("done", "failed", "cancelled")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Town:
    """The mesh by name. All log as much as they can."""

    mesh: LocalMesh
    hub_port: int = field(default_factory=free_port)

    def node(self, name: str) -> LocalNode:
        return self.mesh.nodes[name]

    @property
    def requester(self) -> Api:
        return self.node("requester").api

    def start_hub(self) -> LocalNode:
        address = f"/ip4/127.0.0.1/tcp/{self.hub_port}"
        return self.mesh.start("hub", "hub", "archivist", mesh__listen=address, node__log_level="debug")

    def launch(self, name: str, *roles: str, **settings: Any) -> LocalNode:
        """Start or restart a node, which joins through the hub."""
        return self.mesh.launch(name, *roles, through=self.node("hub"), node__log_level="debug", **settings)

    def launch_worker(self, name: str) -> LocalNode:
        return self.launch(name, "worker", worker__engine="fake", worker__fake_seconds=PICTURE_S)

    def launch_requester(self) -> LocalNode:
        return self.launch("requester", "requester", requester__bid_wait_s=PATIENCE_S)

    def await_ready(self, *names: str) -> None:
        self.mesh.await_ready(*(self.node(name) for name in names))

    def await_workers(self) -> None:
        """Until the requester knows both as they are now; adverts of one that left stay for a while."""
        wait_for(lambda: workers_seen(self.requester) >= set(WORKERS), "the requester to know both workers", 30)

    def submit(self, prompt: str = "a fjord", **body: Any) -> str:
        return str(self.requester.post("/v1/jobs", {"prompt": prompt, "steps": 4, **body})["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.requester.get(f"/v1/jobs/{job_id}"))

    def await_event(self, job_id: str, kind: str, **data: Any) -> None:
        """Until the job tells such an event: ``data`` are what it must hold, each a text and what it begins with."""
        for event in self.requester.events(job_id, ""):
            if event.kind == kind and all(str(event.data.get(key)).startswith(value) for key, value in data.items()):
                return
        raise AssertionError(f"job {job_id} ended without {kind} {data}: {self.job(job_id)}")

    def await_job(self, job_id: str, until: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
        """The job as it is over, or as ``until`` first holds of it."""
        reached = until or (lambda job: job["state"] in OVER)
        wait_for(lambda: reached(self.job(job_id)), f"job {job_id}", 60)
        return self.job(job_id)


def workers_seen(api: Api) -> set[str]:
    return {peer["alias"] for peer in api.get("/v1/peers")["peers"] if peer["models"] and peer["connected"]}


def is_drawing(job: dict[str, Any], worker: str) -> bool:
    return any((part["worker"], part["state"]) == (worker, "running") for part in job["parts"])


@pytest.fixture(scope="package")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with local_mesh(tmp_path_factory.mktemp("town"), CHARTER) as mesh:
        town = Town(mesh)
        town.start_hub()
        for name in WORKERS:
            town.launch_worker(name)
        town.launch_requester()
        town.await_ready(*WORKERS, "requester")
        town.await_workers()
        yield town
