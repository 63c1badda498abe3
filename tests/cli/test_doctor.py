"""meshgen doctor on broken set-ups: each is broken in one way, and that is what it names, with a cure."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import Result

from meshgen.cli.checks import gpu as gpu_check
from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.checks.peers import dht, gossip, hubs, peers
from meshgen.cli.checks.stranger import Visit, ahead_of
from meshgen.cli.local_mesh import LocalNode, local_mesh
from meshgen.home import CONFIG_FILE, RESTORED_FILE, SHARED_KEYS_FILE
from meshgen.home import KEY_FILE as API_KEY_FILE
from meshgen.identity import KEY_FILE, load_or_create
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.store import LEDGER_FILE
from meshgen.peers.mesh_key import keep_key
from meshgen.peers.rules import NONE_SERVED
from meshgen.protocols.advert import MAX_LIFETIME_MS
from meshgen.protocols.credit import net_id
from tests.cli.conftest import Running

Cli = Callable[..., Result]
MESH = "meshgen-doctor-v0"
NOBODY = 65534
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to play another user")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A real node, for all tests of this file."""
    with local_mesh(tmp_path_factory.mktemp("doctor"), MESH) as mesh:
        yield mesh.start("hub", "hub")


@pytest.fixture
def sound(meshgen: Cli, home: Path, hub: LocalNode) -> Callable[..., None]:
    """A home that is well, but for what a test writes into its settings."""
    meshgen("init", "--profile", "observer")
    address = hub.address()

    def write(**sections: dict[str, Any]) -> None:
        mesh = {"charter": MESH, "bootstrap": [address], "mdns": False, "listen": ["/ip4/127.0.0.1/tcp/0"]}
        settings = {"profile": "observer", "api": {"port": 0}, "mesh": mesh | sections.pop("mesh", {}), **sections}
        (home / CONFIG_FILE).write_text(json.dumps(settings))  # which is YAML

    write()
    return write


def faults(meshgen: Cli, code: int = 1) -> dict[str, dict[str, str]]:
    found = json.loads(meshgen("doctor", "--json", code=code).stdout)["findings"]
    assert all(finding["cure"] or re.search("run: |restore|remove it", finding["text"]) for finding in _bad(found))
    return {finding["name"]: finding for finding in _bad(found)}


def _bad(found: list[dict[str, str]]) -> list[dict[str, str]]:
    return [finding for finding in found if finding["level"] == "fault"]


def test_a_sound_home_has_no_fault(meshgen: Cli, sound: Callable[..., None]) -> None:
    said = meshgen("doctor").stdout
    assert "answers as a node of this mesh" in said and "within 1 s of the clock at its hub" in said
    assert "no fault found" in said


def test_where_there_is_no_home_one_thing_is_to_do(meshgen: Cli) -> None:
    found = faults(meshgen)
    assert list(found) == ["home"] and "meshgen join LINE" in found["home"]["cure"]


def test_a_node_for_its_own_machine_alone_is_told_so(meshgen: Cli, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    status = running.node.status() | {"addresses": ["/ip4/127.0.0.1/tcp/1/p2p/x"]}
    monkeypatch.setattr(running.node, "status", lambda: status | {"reach": {"state": "unknown", "relays": 0, "observed": []}})
    for listen, said in (("127.0.0.1", "mesh.listen is for this machine alone"), ("0.0.0.0", "this machine has no network now")):
        (running.home / CONFIG_FILE).write_text(f"mesh: {{listen: [/ip4/{listen}/tcp/1]}}")
        found = json.loads(meshgen("doctor", "--json", code=1).stdout)["findings"]
        assert said in next(finding for finding in found if finding["name"] == "nat")["text"]
    assert "from this machine alone" in meshgen("status").output


def test_settings_are_mended_where_they_are_wrong(
    meshgen: Cli, sound: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHGEN_MESH__UPNP", "maybe")
    found = faults(meshgen)["config"]
    assert "MESHGEN_MESH__UPNP: should be" in found["text"] and found["cure"].startswith("mend the variable;")
    sound(worker={"slots": 0})
    assert faults(meshgen)["config"]["cure"].startswith("mend the file and the variable;")


def test_a_port_that_is_taken(meshgen: Cli, sound: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sound(mesh={"listen": [f"/ip4/127.0.0.1/tcp/{port}"]})
        found = faults(meshgen)
    assert list(found) == ["port"] and f"mesh.listen: 127.0.0.1 port {port}: address already in use" in found["port"]["text"]


def test_an_address_of_another_machine(meshgen: Cli, sound: Callable[..., None]) -> None:
    sound(mesh={"listen": ["/ip4/203.0.113.9/tcp/4711"]})
    found = faults(meshgen)
    assert list(found) == ["port"] and found["port"]["text"] == "mesh.listen: this machine has no address 203.0.113.9"
    assert "mesh.listen to one of its own" in meshgen("run", code=4).stderr
    sound(api={"host": "203.0.113.9", "port": 4712})
    found = faults(meshgen)
    assert list(found) == ["port"] and found["port"]["text"] == "api.host: this machine has no address 203.0.113.9"
    assert "api.host to one of its own" in meshgen("run", code=4).stderr


@pytest.mark.parametrize(("off_s", "way"), [(600.0, "10 min ahead of"), (-7200.0, "2.0 h behind")])
def test_a_wrong_clock(
    meshgen: Cli, sound: Callable[..., None], home: Path, monkeypatch: pytest.MonkeyPatch, off_s: float, way: str
) -> None:
    real = time.time
    for path in home.iterdir():
        os.utime(path, (real() - 10_000, real() - 10_000))
    monkeypatch.setattr("time.time", lambda: real() + off_s)
    found = faults(meshgen)
    assert list(found) == ["clock"] and f"{way} the clock at its hub" in found["clock"]["text"]


def test_an_advert_that_may_be_minutes_old_makes_no_clock_wrong() -> None:
    """Of a mesh of ten; of 64, where adverts are said anew every 107 s; of hundreds, where they live as long as they may."""
    for life_s, oldest_s in ((90, 30), (320, 106), (MAX_LIFETIME_MS // 1000, 600)):
        shown = [ahead_of(0, life_s * 1000, age_s * 1000) for age_s in (0, oldest_s // 2, oldest_s)]
        assert shown == [0, 0, 0], life_s
        ahead_s, behind_s = ahead_of(0, life_s * 1000, 7_200_000), ahead_of(0, life_s * 1000, -7_200_000)
        assert 7200 - oldest_s <= ahead_s <= 7200 and -7220 <= behind_s <= -7200 + 5


def test_a_wrong_clock_by_the_running_nodes_peers(meshgen: Cli, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    meshgen("init", "--profile", "observer")
    status = running.node.status() | {"clock": {"skew_ms": -95_000, "peers": 4}}
    monkeypatch.setattr(running.node, "status", lambda: status)
    assert "95 s behind its 4 peers' (median)" in faults(meshgen)["clock"]["text"]


def test_a_dead_hub(meshgen: Cli, sound: Callable[..., None], hub: LocalNode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    sound(mesh={"bootstrap": [f"/ip4/127.0.0.1/tcp/{port}/p2p/{hub.peer_id}"]})
    found = faults(meshgen)
    assert list(found) == ["hub"] and f"port {port} does not answer: connection refused" in found["hub"]["text"]


def test_another_key_at_the_hubs_address(meshgen: Cli, sound: Callable[..., None], hub: LocalNode, home: Path) -> None:
    other = json.loads(meshgen("doctor", "--json").stdout)["findings"]
    own = next(finding["text"] for finding in other if finding["name"] == "key")
    sound(mesh={"bootstrap": [hub.address().replace(hub.peer_id, own[:-1] + ("A" if own[-1] != "A" else "B"))]})
    found = faults(meshgen)
    assert list(found) == ["hub"] and "answers, but not as the node" in found["hub"]["text"]


def test_a_port_that_speaks_something_else(meshgen: Cli, sound: Callable[..., None], hub: LocalNode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        sound(mesh={"bootstrap": [f"/ip4/127.0.0.1/tcp/{web.getsockname()[1]}/p2p/{hub.peer_id}"]})
        patience = pytest.MonkeyPatch()
        patience.setattr("meshgen.cli.checks.stranger.VISIT_S", 2.0)
        with patience.context():
            found = faults(meshgen)
        patience.undo()
    assert list(found) == ["hub"] and "answers, but not as the node" in found["hub"]["text"]


def test_a_hub_of_another_mesh(meshgen: Cli, sound: Callable[..., None]) -> None:
    sound(mesh={"charter": "somebody-elses"})
    found = faults(meshgen)
    assert list(found) == ["hub"] and "is a node of another mesh" in found["hub"]["text"]


def test_a_key_that_is_not_the_hubs_meshs(meshgen: Cli, sound: Callable[..., None], home: Path) -> None:
    keep_key(home, bytes(32))
    found = faults(meshgen)
    assert list(found) == ["hub"] and "answers, but not as the node" in found["hub"]["text"]
    (home / "mesh.key").write_text("/key/swarm/psk/1.0.0/\n/base16/\nnonsense")
    assert "holds no mesh's key" in faults(meshgen)["mesh"]["text"]


def test_no_room_on_the_disk(meshgen: Cli, sound: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=3 * 2**20))
    found = faults(meshgen)
    assert list(found) == ["disk"] and found["disk"]["text"] == "0.0 GiB free"


@as_root
def test_a_full_file_system(meshgen: Cli, sound: Callable[..., None], home: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,nr_inodes=9,mode=700", "none", str(full)], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        for name in (KEY_FILE, CONFIG_FILE):
            shutil.copy(home / name, full / name)
        for number in range(9):
            try:
                (full / f"filler-{number}").touch()
            except OSError:
                break
        found = json.loads(meshgen("--home", str(full), "doctor", "--json", code=1).stdout)["findings"]
        assert [finding["name"] for finding in _bad(found)] == ["disk"]
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_a_damaged_key(meshgen: Cli, sound: Callable[..., None], home: Path) -> None:
    (home / KEY_FILE).write_bytes(b"\0" * 31)
    found = faults(meshgen)
    assert list(found) == ["key"] and "holds 31 bytes instead of 32" in found["key"]["text"]


def test_keys_to_the_api(meshgen: Cli, sound: Callable[..., None], home: Path) -> None:
    for name, empty in ((API_KEY_FILE, "holds no key"), (SHARED_KEYS_FILE, "is damaged")):
        (home / name).touch(0o600)
        found = faults(meshgen)
        assert list(found) == ["api"] and f"{name} {empty}" in found["api"]["text"]
        (home / name).unlink()
    meshgen("key")
    meshgen("doctor")
    (home / API_KEY_FILE).chmod(0o644)
    found = faults(meshgen)
    assert list(found) == ["api"] and "api.key can be read by others (mode 0644); run: chmod 600" in found["api"]["text"]


def test_a_damaged_log(meshgen: Cli, sound: Callable[..., None], home: Path, hub: LocalNode) -> None:
    whole = (hub.home / LEDGER_FILE).read_bytes()
    (home / LEDGER_FILE).write_bytes(whole[:100] + os.urandom(8092))
    found = faults(meshgen)
    assert "log" in found and "can't be used" in found["log"]["text"] and "backup" in found["log"]["cure"]
    assert set(found) <= {"log", "mesh"}


def test_what_a_start_finds_in_the_log_is_found(meshgen: Cli, sound: Callable[..., None], home: Path) -> None:
    me, net = load_or_create(home), net_id(MESH.encode())

    def start() -> str:
        async def run() -> None:
            async with open_ledger(home, me, net, now_ms=lambda: time.time_ns() // 1_000_000):
                pass

        try:
            trio.run(run)
        except LedgerError as error:
            return str(error)
        return ""

    assert not start()
    meshgen("doctor")
    with closing(sqlite3.connect(home / LEDGER_FILE)) as log, log:
        log.execute("UPDATE entry SET body = CAST(body || x'00' AS BLOB)")
    found = faults(meshgen)
    assert list(found) == ["log"] and "own chain is damaged at entry 1" in found["log"]["text"]
    assert found["log"]["text"] == start()
    for lose in (Path.unlink, Path.touch):
        lose(home / LEDGER_FILE)
        found = faults(meshgen)
        assert list(found) == ["log"] and "is gone, or empty" in found["log"]["text"]
    assert found["log"]["text"] == start() == faults(meshgen)["log"]["text"]  # a start leaves tables in it, and no log
    (home / RESTORED_FILE).write_text(me.peer_id)  # brought back without a log: others are asked for it
    meshgen("doctor")


def test_a_worker_without_torch(meshgen: Cli, sound: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshgen.cli.checks.work.missing", lambda: ["torch"])
    sound(node={"roles": ["worker"]})
    found = faults(meshgen)
    assert list(found) == ["engine"] and found["engine"]["text"].startswith("torch not installed")


def test_rules_that_leave_a_worker_nothing_to_serve(meshgen: Cli, sound: Callable[..., None]) -> None:
    worker = {"engine": "fake", "models": ["nonexist"]}
    sound(node={"roles": ["worker"]}, worker=worker)
    found = faults(meshgen)
    assert list(found) == ["models"] and found["models"]["text"].startswith(f"{NONE_SERVED}; 'nonexist' is not installed")
    assert "worker.models" in found["models"]["cure"]
    sound(node={"roles": ["worker"]}, worker=worker | {"models": ["fake"]})
    meshgen("doctor")
    sound(worker=worker)
    meshgen("doctor")


@as_root
def test_a_home_of_somebody_else(meshgen: Cli, sound: Callable[..., None], home: Path) -> None:
    os.chown(home / CONFIG_FILE, NOBODY, NOBODY)
    found = faults(meshgen)
    assert list(found) == ["owner"] and f"{CONFIG_FILE} is another account's" in found["owner"]["text"]
    for path in (home, *home.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    found = faults(meshgen)
    assert list(found) == ["owner"] and "this is not your home: it belongs to nobody" in found["owner"]["text"]


@as_root
def test_a_home_that_may_not_be_read(
    meshgen: Cli, sound: Callable[..., None], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To root nothing is closed, so the doctor's own questions are answered for another user."""
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path) != home)
    found = faults(meshgen)
    assert "can't be read and written: it belongs to root" in found["home"]["text"]


@pytest.mark.parametrize(
    ("roles", "relays", "level"), [(["worker"], 0, "fault"), (["requester"], 0, "note"), (["worker"], 1, "ok")]
)
def test_behind_nat(
    meshgen: Cli, running: Running, home: Path, monkeypatch: pytest.MonkeyPatch, roles: list[str], relays: int, level: str
) -> None:
    home.mkdir(exist_ok=True)
    (home / CONFIG_FILE).write_text(json.dumps({"node": {"roles": roles}, "worker": {"engine": "fake"}}))
    status = running.node.status() | {"reach": {"state": "private", "relays": relays, "observed": []}}
    monkeypatch.setattr(running.node, "status", lambda: status)
    found = json.loads(meshgen("doctor", "--json", code=1).stdout)["findings"]  # there is no key either
    nat = next(finding for finding in found if finding["name"] == "nat")
    assert nat["level"] == level and "behind NAT" in nat["text"]
    assert ("mesh.announce" in nat["cure"]) == (not relays)


# -- the graphics card, without one


def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: str, torch: dict[str, Any], card: bool = True) -> Finding:
    """The finding where nvidia-smi is this shell script, and torch says this."""
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n{tool}\n")
    script.chmod(0o755)
    node = tmp_path / "nvidia0"
    if card:
        node.touch()
    monkeypatch.setattr(gpu_check, "NVIDIA", node)
    monkeypatch.setattr(gpu_check, "AMD", tmp_path / "kfd")
    monkeypatch.setattr(gpu_check, "draws_itself", lambda _: True)
    monkeypatch.setattr(gpu_check, "_seen_by_torch", lambda: torch)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return next(gpu_check.device(Patient(tmp_path)))


CPU = {"kind": "cpu", "name": "", "free": 0, "total": 0, "version": "2.6", "built": ""}
CARD = {"kind": "cuda", "name": "RTX", "free": 9000, "total": 12288, "version": "2.6", "built": "cuda"}


@pytest.mark.parametrize(
    ("tool", "torch", "card", "level", "says"),
    [
        ("echo 'couldn''t communicate with the NVIDIA driver'; exit 9", CPU, True, "fault", "its driver does not answer"),
        ("echo RTX", CPU, True, "fault", "built for processors alone"),
        ("echo RTX", CPU | {"built": "cuda"}, True, "fault", "look after the driver"),
        ("echo RTX", CARD, True, "ok", "cuda RTX, 9000 of 12288 MiB free"),
        ("echo RTX", CARD | {"free": 100}, True, "note", "100 of 12288 MiB free"),
        ("exit 1", CPU, False, "note", "no graphics card"),
        ("echo RTX", {"error": "libcudnn.so: cannot open"}, True, "fault", "torch can't be used: libcudnn"),
    ],
)
def test_graphics_cards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: str, torch: dict[str, Any], card: bool, level: str, says: str
) -> None:
    found = gpu(monkeypatch, tmp_path, tool, torch, card)
    assert found.level == level and says in f"{found.text} {found.cure}"


# -- a running node's place in the mesh


class Told(Patient):
    """A patient that runs, as a test tells it."""

    def __init__(self, home: Path, status: dict[str, Any], selftest: dict[str, Any], visits: dict[str, Visit]) -> None:
        super().__init__(home)
        self.__dict__ |= {"status": status, "selftest": selftest, "visits": visits}


def told(tmp_path: Path, gossip_: dict[str, Any] | None = None, found: bool | None = True, error: str = "", **more: Any) -> Told:
    heard = {"presence_s": 3.0, "present": 2, "refused": 0, "offers": ["sdxl"]} | (gossip_ or {})
    status = {"connected": 2, "peers_known": 2, "uptime_s": 600} | more
    table = {"doors": [], "gossip": heard, "table": {"error": error, "ms": 12}}
    return Told(tmp_path, status, table, {"/ip4/192.0.2.1/tcp/1/p2p/x": Visit("speaks", found=found)})


def test_nobody_there(tmp_path: Path) -> None:
    """The check that is pointed to is one that found something."""
    cures = {}
    for how in ("closed", "speaks"):
        patient = told(tmp_path, connected=0)
        patient.__dict__["doors"] = ("/ip4/192.0.2.1/tcp/1/p2p/x",)
        patient.__dict__["visits"] = {patient.doors[0]: Visit(how)}
        cures[how] = next(iter(peers(patient))).cure
    assert cures["closed"] == "see hub above" and "ask its owner whether `meshgen peers blocked`" in cures["speaks"]
    patient.__dict__["blocked"] = ("n1 ..x7f2qA",)
    (found,) = peers(patient)
    assert found.text.endswith("; blocked here: n1 ..x7f2qA") and "`meshgen peers unblock`" in found.cure


def test_gossip(tmp_path: Path) -> None:
    assert [one.level for one in gossip(told(tmp_path))] == ["ok"]
    deaf = next(iter(gossip(told(tmp_path, {"presence_s": None, "refused": 9}))))
    assert deaf.level == "fault" and "9 of other meshes or clocks were refused" in deaf.text
    assert next(iter(gossip(told(tmp_path, {"presence_s": 200.0})))).text.startswith("nothing for 200 s heard of the 2 peers")
    assert next(iter(gossip(told(tmp_path, {"presence_s": None}, uptime_s=5)))).level == "note"
    idle = list(gossip(told(tmp_path, {"offers": []}, worker={"models": []})))
    assert idle[-1].level == "fault" and "listens for no offers" in idle[-1].text
    assert not list(gossip(told(tmp_path, connected=0)))


def test_the_table(tmp_path: Path) -> None:
    levels = {found: next(iter(dht(told(tmp_path, found=found)))).level for found in (True, False, None)}
    assert levels == {True: "ok", False: "fault", None: "note"}
    assert "can't be put there: no answer" in next(iter(dht(told(tmp_path, error="no answer")))).text


def test_a_hub_that_answers_no_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = told(tmp_path)
    patient.__dict__["doors"] = ("/ip4/192.0.2.1/tcp/1/p2p/x",)
    patient.__dict__["visits"] = {patient.doors[0]: Visit("reserved", "it went away")}
    found = next(iter(hubs(patient)))
    assert (found.level, found.name) == ("note", "hub") and "tells strangers nothing" in found.text
    patient.__dict__["selftest"] = {"doors": [{"address": patient.doors[0], "linked": True}]}
    assert next(iter(hubs(patient))).text == "192.0.2.1 port 1: connected"


def test_a_running_node_is_asked_for_its_settings(meshgen: Cli, hub: LocalNode) -> None:
    """It got them on its command line; its home has no file that says so."""
    found = json.loads(meshgen("--home", str(hub.home), "doctor", "--json").stdout)["findings"]
    said = {finding["name"]: finding["text"] for finding in found}
    assert said["config"] == "roles: hub; as the running node has it" and said["mesh"].startswith(f"{MESH} (")
