"""`meshgen mesh invite`, `meshgen join` and `meshgen mesh key`, on homes whose nodes mostly don't run."""

from __future__ import annotations

import json
import re
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from meshgen.cli.config import settings_of
from meshgen.cli.qr import code_text
from meshgen.home import CONFIG_FILE
from meshgen.identity import load_or_create
from meshgen.net.port import PeerId
from meshgen.peers.acquaintances import Acquaintance
from meshgen.peers.acquaintances_file import PeersFile
from meshgen.peers.charter_home import doors, joined
from meshgen.peers.mesh_key import mesh_key
from meshgen.protocols.invite import Invite, read_line
from tests.cli.conftest import Running, process
from tests.cli.test_mesh import HUB, log_of

Cli = Callable[..., Result]
DOOR = "/ip4/192.0.2.7/tcp/4711/p2p/12D3KooWQe3GmcX3ewAMpwQWTidu19mRdT11B9F2SkHJob3Qm8pi"


@pytest.fixture
def at(meshgen: Cli, tmp_path: Path) -> Cli:
    """``at("alice", "mesh", ...)``: as called with that home."""

    def call(name: str, *words: str, **options: Any) -> Result:
        return meshgen("--home", str(tmp_path / name), *words, **options)

    return call


@pytest.fixture
def founded(at: Cli) -> Cli:
    """alice has founded a private mesh, and listens where nobody is."""
    at("alice", "mesh", "create", "ours", "--private")
    at("alice", "init")
    return at


def line_of(result: Result) -> str:
    return result.stdout.strip().splitlines()[-1]


# -- mesh invite


def test_an_invite_holds_the_mesh_its_key_and_where_to_ask(founded: Cli, tmp_path: Path) -> None:
    result = founded("alice", "mesh", "invite", "--address", "/ip4/192.0.2.7/tcp/4711")
    invite, home = read_line(line_of(result)), tmp_path / "alice"
    lineage = joined(home)
    assert lineage is not None and invite.charter == lineage.documents[0].hash and not invite.name
    assert invite.addresses == (f"/ip4/192.0.2.7/tcp/4711/p2p/{load_or_create(home).peer_id}",)
    assert invite.psk == mesh_key(home) and "holds the mesh's key" in result.stderr
    bare = founded("alice", "mesh", "invite", "--no-key", "--address", HUB)
    assert read_line(line_of(bare)) == Invite.to(invite.charter, "", [HUB]) and not bare.stderr


def test_a_meshs_plain_name_is_enough(at: Cli) -> None:
    at("alice", "init", "--bootstrap", HUB)
    found = json.loads(at("alice", "mesh", "invite", "--json").stdout)
    invite = read_line(found["line"])
    assert (invite.name, invite.charter, invite.psk, found["private"]) == ("meshgen-public-v0", b"", b"", False)
    assert HUB in invite.addresses and found["addresses"] == list(invite.addresses), "whom it joined through is asked too"


def test_the_code_is_drawn_on_terminals_and_into_files(founded: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    founded("alice", "mesh", "invite", "--address", HUB, "--png", "code.png", "--svg", "code.svg")
    assert (tmp_path / "code.png").read_bytes().startswith(b"\x89PNG") and b"<svg" in (tmp_path / "code.svg").read_bytes()
    assert stat.S_IMODE((tmp_path / "code.png").stat().st_mode) == 0o600
    assert "can't be written" in founded("alice", "mesh", "invite", "--address", HUB, "--png", "no/code.png", code=1).stderr
    monkeypatch.setattr("meshgen.cli.mesh.screen_size", lambda: (79, 29))
    line, *drawn = founded("alice", "mesh", "invite", "--address", DOOR).stdout.splitlines()
    assert read_line(line).psk and set("".join(drawn)) == set("█▀▄ ") and len(drawn) < 29
    *drawn, told = founded("alice", "mesh", "invite", "--address", DOOR, "--address", HUB).stdout.splitlines()[1:]
    assert len(drawn) < 29 and "holds 1 of the line's 2 addresses" in told
    invite = read_line(line)
    both = Invite.to(invite.charter, "", (*invite.addresses, HUB), invite.psk)
    assert code_text(both, 79, len(drawn) + 2).splitlines()[:-1] == drawn
    assert "--qr draws it anyway" in code_text(both, 79, len(drawn) + 1), "its first row would be off the screen"


def test_a_code_that_does_not_fit_is_drawn_when_asked_for(founded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshgen.cli.mesh.screen_size", lambda: (79, 24))
    line, told = founded("alice", "mesh", "invite", "--address", HUB).stdout.splitlines()
    assert read_line(line) and "needs a terminal of" in told and "--qr draws it anyway" in told
    for columns in (40, 0):
        monkeypatch.setattr("meshgen.cli.mesh.screen_size", lambda columns=columns: (columns, 24))
        drawn = founded("alice", "mesh", "invite", "--address", HUB, "--qr").stdout.splitlines()[1:]
        assert set("".join(drawn)) == set("█▀▄ ")


def test_an_empty_home_has_no_mesh_to_invite_to(at: Cli, tmp_path: Path) -> None:
    said = at("nobody", "mesh", "invite", code=1).stderr
    assert "no mesh to invite to" in said and "meshgen mesh create" in said and not (tmp_path / "nobody").exists()
    at("alice", "init")
    assert "it invites to meshgen-public-v0, a name that anybody may use" in at("alice", "mesh", "invite").stderr


async def test_a_node_that_stands_still_names_the_hubs_that_it_knew(at: Cli, tmp_path: Path) -> None:
    at("alice", "init")
    peer = PeerId(DOOR.rpartition("/")[2])
    known = [
        Acquaintance(PeerId(HUB.rpartition("/")[2]), (HUB,), ("worker",)),
        Acquaintance(peer, ("/ip4/8.8.8.8/tcp/4711",), ("hub",), merit=1.0),
    ]
    await PeersFile(tmp_path / "alice").save(known)
    addresses = read_line(line_of(at("alice", "mesh", "invite"))).addresses
    assert f"/ip4/8.8.8.8/tcp/4711/p2p/{peer}" in addresses and HUB not in addresses


def test_hosts_are_told_in_their_one_form(founded: Cli) -> None:
    words = ["--address", "/dns/Hub.Example.org/tcp/443", "--address", "/ip6/2001:DB8:0::7/tcp/1"]
    found = json.loads(founded("alice", "mesh", "invite", "--json", *words).stdout)["addresses"]
    assert [each.rpartition("/p2p/")[0] for each in found] == ["/dns/hub.example.org/tcp/443", "/ip6/2001:db8::7/tcp/1"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.0.2.7", "multiaddr"),
        ("/ip4/192.0.2.7", "leads to no peer"),
        ("/ip4/192.0.2.7/udp/1", "multiaddr"),
        ("/ip4/1.2.3.4/tcp/0", "no peer"),
    ],
)
def test_an_address_that_leads_nowhere_is_not_told(founded: Cli, address: str, words: str) -> None:
    assert words in founded("alice", "mesh", "invite", "--address", address, code=1).stderr


def status_of(running: Running, monkeypatch: pytest.MonkeyPatch, **told: Any) -> None:
    status = running.node.status()
    monkeypatch.setattr(running.node, "status", lambda: status | told)


ME = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


@pytest.mark.parametrize(
    ("reach", "first"),
    [
        ({"state": "public", "relays": 0, "observed": ["/ip4/8.8.4.4"]}, "/ip4/10.0.0.7/"),
        ({"state": "private", "relays": 1, "observed": ["/ip4/8.8.4.4"]}, "/ip4/8.8.8.8/"),
        (None, "/ip4/10.0.0.7/"),
    ],
)
def test_a_running_node_knows_best_where_it_is_reached(
    meshgen: Cli, running: Running, monkeypatch: pytest.MonkeyPatch, reach: Any, first: str
) -> None:
    hub = {"peer_id": "12D3KooWQe3GmcX3ewAMpwQWTidu19mRdT11B9F2SkHJob3Qm8pi", "roles": ["hub"], "connected": True}
    odd = [hub | {"addresses": [text]} for text in ("", "/", "hub", "/ip4", "/ip4/x/tcp/1", "/ip4/8.8.8.8/tcp/4711/p2p/x")]
    monkeypatch.setattr(running.node, "peers", lambda: [*odd, hub | {"addresses": ["/ip4/8.8.8.8/tcp/4711"]}])
    through = f"/ip4/8.8.8.8/tcp/4711/p2p/{hub['peer_id']}/p2p-circuit"
    addresses = [f"{way}/p2p/{ME}" for way in ("/ip4/127.0.0.1/tcp/1", through, "/ip4/10.0.0.7/tcp/4711")]
    load_or_create(running.home)
    status_of(running, monkeypatch, addresses=addresses, reach=reach, mesh={"charter": "theirs"})
    invite = read_line(line_of(meshgen("mesh", "invite")))
    assert invite.name == "theirs" and invite.addresses[0].startswith(first)
    assert not any("/127." in address or "p2p-circuit" in address for address in invite.addresses), "the relay is named itself"


# -- join


def test_a_plain_mesh_is_joined_offline_by_its_line(at: Cli, tmp_path: Path) -> None:
    line = Invite.to(b"", "theirs", [DOOR]).line
    said = at("bob", "join", "--offline", "--profile", "observer", "--alias", "bob", line).output.splitlines()
    home = tmp_path / "bob"
    settings = settings_of(home)
    assert (settings.mesh.charter, settings.profile, settings.node.alias) == ("theirs", "observer", "bob")
    assert doors(home, settings) == (DOOR,)
    assert (
        "is a member of theirs (mesh id " in said[0]
        and load_or_create(home).peer_id in said[0]
        and said[-1] == "next: meshgen run"
    )
    assert len(said) == 3
    again = json.loads(at("bob", "join", "--offline", "--json", line).stdout)
    assert (again["name"], again["addresses"], again["private"]) == ("theirs", [DOOR], False)


@pytest.mark.parametrize("how", ["argument", "stdin", "pieces"])
def test_a_line_comes_in_many_ways(at: Cli, tmp_path: Path, how: str) -> None:
    line = Invite.to(b"", "theirs", [DOOR]).line
    if how == "stdin":
        at("bob", "join", "--offline", stdin=f"Hello, here it is:\n> {line[:60]}\n> {line[60:]}\n")
    else:
        at("bob", "join", "--offline", *([line.lower()] if how == "argument" else [line[:60], line[60:]]))
    assert settings_of(tmp_path / "bob").mesh.charter == "theirs"


@pytest.mark.parametrize("typed", ["{}\n", "{}\n\n", "  {}", "\n"])
def test_at_a_terminal_a_line_may_come_broken(at: Cli, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr("meshgen.cli.join.at_terminal", lambda: True)
    line = Invite.to(b"", "theirs", [DOOR]).line
    result = at("bob", "join", "--offline", stdin=typed.format(f"{line[:50]}\n{line[50:]}"), code=int(typed == "\n"))
    assert ("member of theirs" in result.stdout) if typed != "\n" else ("no invite line was given" in result.stderr)
    assert "is no invite line" not in result.stderr


def test_at_a_terminal_a_wrong_line_ends_with_an_empty_one(at: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshgen.cli.join.at_terminal", lambda: True)
    line = Invite.to(b"", "theirs", [DOOR]).line
    assert "cut or mistyped" in at("bob", "join", stdin=f"{line[:50]}\n\n", code=1).stderr


def test_a_private_mesh_is_joined_with_its_charters_file(founded: Cli, tmp_path: Path) -> None:
    line = line_of(founded("alice", "mesh", "invite", "--address", DOOR))
    assert "give its file as well: --charter" in founded("bob", "join", "--offline", line, code=1).stderr
    assert not (tmp_path / "bob").exists()
    result = founded("bob", "join", "--charter", "charter.yaml", line)
    home = tmp_path / "bob"
    assert joined(home) == joined(tmp_path / "alice") and doors(home, settings_of(home))[0].startswith("/ip4/192.0.2.7/")
    key = mesh_key(home)
    assert key == mesh_key(tmp_path / "alice") is not None and stat.S_IMODE((home / "mesh.key").stat().st_mode) == 0o600
    assert key.hex() not in result.output + (home / CONFIG_FILE).read_text()
    founded("carol", "mesh", "create", "theirs", "--out", "theirs.yaml")
    assert "is the charter of another mesh" in founded("dave", "join", "--charter", "theirs.yaml", line, code=1).stderr


def test_a_home_of_one_mesh_is_not_switched_to_another(founded: Cli, tmp_path: Path) -> None:
    line = Invite.to(b"", "theirs", [DOOR]).line
    said = founded("alice", "join", "--offline", line, code=4).stderr
    assert "belongs to the mesh ours" in said and "meshgen --home FOLDER" in said
    assert settings_of(tmp_path / "alice").mesh.charter == "meshgen-public-v0"


async def test_a_home_with_a_log_of_another_mesh_is_not_switched(at: Cli, tmp_path: Path) -> None:
    at("bob", "init")
    before = (tmp_path / "bob" / CONFIG_FILE).read_text()
    await log_of(tmp_path / "bob", bytes(16))
    said = at("bob", "join", "--offline", Invite.to(b"", "theirs", [DOOR], b"k" * 32).line, code=4).stderr
    assert "belongs to another mesh" in said and "credit never crosses" in said
    assert (tmp_path / "bob" / CONFIG_FILE).read_text() == before and mesh_key(tmp_path / "bob") is None


def test_settings_that_are_there_are_changed_in_place(at: Cli, tmp_path: Path) -> None:
    at("bob", "init", "--bootstrap", HUB, "--alias", "bob")
    file = tmp_path / "bob" / CONFIG_FILE
    file.write_text("# mine\n" + file.read_text())
    line = Invite.to(b"", "theirs", [DOOR]).line
    assert "is there already" in at("bob", "join", "--offline", "--alias", "eve", line, code=1).stderr
    at("bob", "join", "--offline", line)
    at("bob", "join", "--offline", line)
    found = yaml.safe_load(file.read_text())
    assert (found["mesh"]["charter"], found["mesh"]["bootstrap"], found["node"]["alias"]) == ("theirs", [HUB, DOOR], "bob")
    assert file.read_text().startswith("# mine\n")


def test_a_name_in_the_settings_that_says_otherwise_is_named(founded: Cli, tmp_path: Path) -> None:
    line = line_of(founded("alice", "mesh", "invite", "--address", DOOR))
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / CONFIG_FILE).write_text("mesh:\n  charter: theirs\n")
    said = founded("bob", "join", "--charter", "charter.yaml", line, code=4).stderr
    assert "says mesh.charter: theirs, and this is an invite to ours" in said and joined(tmp_path / "bob") is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["MESHGEN:1ABC"], "cut or mistyped"),
        (["MESHGEN:2ABC"], "upgrade meshgen"),
        (["hello"], "is no invite line and no file"),
        ([""], "no invite line was given"),
        (["A" * 300], "is no invite line and no file"),
        (["."], "is no invite line and no file"),
        (["nowhere.yaml"], "no invite line and no file"),
        (["/ip4/192.0.2.7/tcp/4711"], "an address ends with the peer id"),
        ([Invite(name="theirs").line], "names nobody to ask"),
        (["--profile", "labtop", "--offline", Invite(name="theirs").line], "did you mean 'laptop'"),
    ],
    ids=lambda part: str(part)[:20],
)
def test_what_is_wrong_is_said_and_nothing_is_made(at: Cli, tmp_path: Path, words: list[str], says: str) -> None:
    result = at("bob", "join", *words, code=4 if "--profile" in words else 1)
    assert says in result.stderr and not (tmp_path / "bob").exists()


def test_a_running_nodes_home_is_left_alone(meshgen: Cli, running: Running) -> None:
    line = Invite.to(b"", "theirs", [DOOR]).line
    for words in (["join", "--offline", line], ["mesh", "key", "new"], ["mesh", "key", "rm"]):
        assert "stop it first" in meshgen(*words, code=1).stderr


@pytest.mark.e2e
def test_all_dead_each_is_named_with_its_reason(at: Cli, tmp_path: Path) -> None:
    peers = [load_or_create(tmp_path / name).peer_id for name in ("x", "y")]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = closed.getsockname()[1]
    ways = [f"/{host}/tcp/{gone}/p2p/{peer}" for host, peer in zip(("ip4/127.0.0.1", "dns/localhost"), peers, strict=True)]
    said = at("bob", "join", Invite.to(b"", "theirs", ways).line, code=1).stderr
    for way in ways:
        assert re.search(rf"{way}: \S+", said)
    assert "refused" in said and "does one of them run" in said and "--offline" in said and not (tmp_path / "bob").exists()


@pytest.mark.parametrize("words", [["--profile", "observer"], ["--json"], []])
def test_the_node_that_runs_then_shows_no_line(
    at: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """The line may hold a key, and a command line can be read by whoever is on the machine."""
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, command: became.append([program, *command]))
    monkeypatch.setattr("sys.orig_argv", [sys.executable, "-P", "-m", "meshgen", "--home", "bob", "join", "MESHGEN:1", "--run"])
    monkeypatch.setattr("sys.argv", ["meshgen/__main__.py", "--home", "bob", "join", "MESHGEN:1", "--run"])
    at("bob", "join", "--offline", "--run", *words, Invite.to(b"", "theirs", [DOOR], b"k" * 32).line)
    run = [sys.executable, "-P", "-m", "meshgen", "--home", str(tmp_path / "bob"), "run"]
    assert became == [[sys.executable, *run]] and mesh_key(tmp_path / "bob") == b"k" * 32


def test_a_node_that_can_not_start_leaves_what_join_said(at: Cli, tmp_path: Path) -> None:
    line = Invite.to(b"", "theirs", [DOOR]).line
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ("--home", str(tmp_path / "bob"), "join", "--offline", "--run", "--json", line)
        joining = process(*words, MESHGEN_API__PORT=port, MESHGEN_MESH__LISTEN="/ip4/127.0.0.1/tcp/0", MESHGEN_MESH__UPNP="no")
        said, log = joining.communicate(timeout=60)
    assert json.loads(said)["name"] == "theirs" and joining.returncode == 4 and port in log.splitlines()[-1]


# -- mesh key


def test_a_key_is_made_shown_taken_and_forgotten(at: Cli, tmp_path: Path) -> None:
    at("alice", "init")
    assert "its mesh is open" in at("alice", "mesh", "key", "show", code=1).stderr
    made = at("alice", "mesh", "key", "new").output
    key = mesh_key(tmp_path / "alice")
    assert key and key.hex() not in made
    assert "--replace" in at("alice", "mesh", "key", "new", code=1).stderr and mesh_key(tmp_path / "alice") == key
    shown = at("alice", "mesh", "key", "show").stdout
    assert shown == f"/key/swarm/psk/1.0.0/\n/base16/\n{key.hex()}\n"
    at("bob", "mesh", "key", "set", stdin=shown)
    (tmp_path / "swarm.key").write_text(
        shown.upper().replace("/KEY/SWARM/PSK/1.0.0/\n/BASE16/", "/key/swarm/psk/1.0.0/\n/base16/")
    )
    at("carol", "mesh", "key", "set", "swarm.key")
    assert mesh_key(tmp_path / "bob") == mesh_key(tmp_path / "carol") == key
    at("alice", "mesh", "key", "new", "--replace")
    assert mesh_key(tmp_path / "alice") not in (None, key)
    at("alice", "mesh", "key", "rm")
    at("alice", "mesh", "key", "rm")
    assert mesh_key(tmp_path / "alice") is None


@pytest.mark.parametrize(
    "text", ["", "abc", "/key/swarm/psk/1.0.0/\n/base16/\nabcd\n", "/key/swarm/psk/1.0.0/\n/base64/\n" + "A" * 44, "ab" * 32]
)
def test_what_is_no_key_is_refused_unseen(at: Cli, tmp_path: Path, text: str) -> None:
    said = at("bob", "mesh", "key", "set", code=1, stdin=text).stderr
    assert "holds no mesh's key" in said and (not text or text.rsplit(maxsplit=1)[-1] not in said)


def test_a_key_that_others_can_read_is_not_used(at: Cli, tmp_path: Path) -> None:
    at("alice", "mesh", "key", "new")
    (tmp_path / "alice" / "mesh.key").chmod(0o644)
    assert "chmod 600" in at("alice", "mesh", "key", "show", code=1).stderr
