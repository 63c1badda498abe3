"""A node as a process: it ends cleanly, says what is wrong in a line, survives junk, and finds its mesh again."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshgen.cli.local_mesh import LocalNode, wait_for
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import WORKERS, Town, is_drawing

QUIET = re.compile(r"Traceback|\bERROR\b|\bCRITICAL\b|Exception in|never retrieved|was never awaited")


def run(home: Path, *words: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """``meshgen run`` where it is expected to end by itself."""
    command = [sys.executable, "-m", "meshgen.cli", "run", "--home", str(home), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def sets(**settings: object) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


LOCAL = sets(mesh__listen="/ip4/127.0.0.1/tcp/0", api__port=0)


@pytest.fixture
def extra(town: Town) -> Iterator[LocalNode]:
    """A third worker, for a test to end."""
    node = town.launch_worker("extra")
    town.await_ready("extra")
    yield node
    node.stop()
    del town.mesh.nodes["extra"]


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_a_signal_ends_a_node(town: Town, extra: LocalNode, number: signal.Signals) -> None:
    before = len(extra.log)
    extra.process.send_signal(number)
    assert extra.process.wait(10) == 0
    assert not (extra.home / "run" / "api.json").exists()
    assert not (extra.home / "api.token").exists()
    assert f"{number.name}: stopping" in extra.log[before:]
    assert not QUIET.search(extra.log), extra.log
    assert verify_home(extra.home).ok


def test_a_signal_ends_a_node_amid_a_job(town: Town) -> None:
    """The worker leaves its job and claims what was signed; the requester turns to the other one."""
    leaver = town.node("second")
    leaver_id = leaver.peer_id
    try:
        job_id = town.submit(count=8)
        town.await_job(job_id, until=lambda job: is_drawing(job, leaver_id))
        leaver.process.send_signal(signal.SIGTERM)
        assert leaver.process.wait(10) == 0
        job = town.await_job(job_id)
    finally:
        town.launch_worker("second")
    assert (job["state"], len(job["results"])) == ("done", 8)
    assert not QUIET.search(leaver.log), leaver.log
    assert verify_home(leaver.home).ok
    town.await_ready("second")
    town.await_workers()


def test_the_requester_ends_amid_a_job(town: Town) -> None:
    """What arrived is settled before it goes; what was not drawn costs nothing."""
    requester = town.node("requester")
    spent = requester.api.get("/v1/credit/balance")["balance_mkudos"]
    try:
        job_id = town.submit(count=12)
        town.await_job(job_id, until=lambda job: job["state"] == "running")
        requester.process.send_signal(signal.SIGTERM)
        assert requester.process.wait(10) == 0
    finally:
        town.launch_requester()
    assert not QUIET.search(requester.log), requester.log
    town.await_ready("requester")
    report = verify_home(requester.home)
    assert report.ok
    assert report.balance.net <= spent
    town.await_workers()


# -- two of a kind


def test_a_second_node_on_one_home_is_refused(town: Town) -> None:
    done = run(town.node("requester").home, *LOCAL, *sets(mesh__charter=town.mesh.charter))
    assert done.returncode == 4
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    assert "another" in done.stderr
    assert town.requester.get("/v1/status"), "the first one goes on"
    assert town.node("requester").api.info.alive()


@pytest.mark.parametrize("which", ("net", "api"))
def test_a_taken_port_is_said_in_a_line(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = {"mesh__listen": f"/ip4/127.0.0.1/tcp/{port}", "api__port": 0}
        if which == "api":
            given = {"mesh__listen": "/ip4/127.0.0.1/tcp/0", "api__port": port}
        done = run(tmp_path / "home", *sets(**given))
    assert done.returncode == 4
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "run" / "api.json").exists()


@pytest.mark.parametrize("fault", ("port", "home", "log"))
def test_a_log_of_json_has_why_a_node_did_not_start(town: Town, tmp_path: Path, fault: str) -> None:
    home = town.node("requester").home if fault == "home" else tmp_path
    given = {"node__log_format": "json", "mesh__charter": town.mesh.charter}
    if fault == "log":
        (home / "meshgen.log").mkdir()
        given["node__log_file"] = "meshgen.log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1] if fault == "port" else 0)
        done = run(home, *sets(**given, mesh__listen="/ip4/127.0.0.1/tcp/0", api__port=port))
    assert done.returncode == 4
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert (
        lines[-1]["level"] == "critical"
        and {"port": port, "home": "another", "log": "meshgen.log"}[fault] in lines[-1]["message"]
    )


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "identity.key").write_bytes(os.urandom(32))
    (tmp_path / "identity.key").chmod(0o644)
    done = run(tmp_path, *LOCAL)
    assert done.returncode == 4
    assert "chmod 600" in done.stderr


# -- junk


def junk(seed: int) -> list[bytes]:
    rng = random.Random(seed)
    return [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x13/multistream/1.0.0\n" + bytes(1000),
        b"\x13/multistream/1.0.0\n\x07/noise\n" + bytes(65_535),
        b"\xff" * 10_000,
        b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n{",
        b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        *(rng.randbytes(rng.randrange(1, 5000)) for _ in range(20)),
    ]


def test_junk_at_the_ports_harms_nobody(town: Town) -> None:
    node = town.node("requester")
    net_port = int(re.findall(r"/tcp/(\d+)", node.address())[0])
    api_port = int(node.api.info.url.rpartition(":")[2])
    before = len(node.log)
    for port in (net_port, api_port):
        for data in junk(7):
            throw(port, data)
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]  # and say nothing
        for each in waiting:
            each.close()
    assert town.await_job(town.submit())["state"] == "done"
    assert not QUIET.search(node.log[before:]), node.log[before:]


def throw(port: int, data: bytes) -> None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.settimeout(0.05)
            connection.sendall(data)
            connection.recv(4096)
    except OSError:
        pass  # hung up on, or kept waiting: both are right


# -- the mesh without its hub


def test_without_the_hub_the_mesh_works_and_finds_it_again(town: Town) -> None:
    hub = town.node("hub")
    hub_id = hub.peer_id
    hub.kill()
    try:
        assert town.await_job(town.submit(count=2))["state"] == "done", "peers that know each other need no hub"
    finally:
        town.start_hub()
    assert town.node("hub").peer_id == hub_id
    for name in (*WORKERS, "requester"):
        wait_for(lambda name=name: linked(town.node(name), hub_id), f"{name} to rejoin", 40)  # type: ignore[misc]
    wait_for(lambda: len(town.node("hub").api.get("/v1/peers")["peers"]) >= 3, "the hub to know its mesh", 40)
    assert town.await_job(town.submit(count=2))["state"] == "done"


def linked(node: LocalNode, peer: str) -> bool:
    return any(row["peer_id"] == peer and row["connected"] for row in node.api.get("/v1/peers")["peers"])
