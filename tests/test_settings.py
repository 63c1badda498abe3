"""Settings: layers, bounds, explanations, the example file and the profiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meshgen.home import home_dir
from meshgen.settings import Settings, SettingsError, load_settings, profile_names, profiles_dir
from meshgen.settings.example import example

ROOT = Path(__file__).resolve().parent.parent
PEER = "/p2p/12D3KooWQe3GmcX3ewAMpwQWTidu19mRdT11B9F2SkHJob3Qm8pi"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("MESHGEN_")]:
        monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


# -- what ships


def test_the_example_file_is_up_to_date() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "meshgen.settings"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert (ROOT / "config.example.yaml").read_text() == printed, "run: python -m meshgen.settings > config.example.yaml"


def test_the_example_file_says_the_defaults() -> None:
    assert load_settings(ROOT / "config.example.yaml") == Settings()


def test_every_key_is_explained_and_has_a_default() -> None:
    for section, group in Settings():
        if section != "profile":
            assert all(key.description and not key.is_required() for key in type(group).model_fields.values()), section


def test_the_profiles_load() -> None:
    assert profile_names() == ["gpu-server", "hub", "laptop", "observer"]
    roles = {name: load_settings(profile=name).node.roles for name in profile_names()}
    assert roles["laptop"] == roles["gpu-server"] == ("requester", "worker")
    assert roles["hub"] == ("hub", "archivist") and roles["observer"] == ("observer",)


def test_a_key_named_in_a_profiles_section_is_described_there_as_profile_choices() -> None:
    named = Settings.model_fields["profile"].description or ""
    assert all(name in named for name in profile_names())


@pytest.mark.parametrize("profile", ["laptop", "gpu-server", "hub", "observer"])
def test_a_config_with_all_keys_commented_out_is_its_profile(tmp_path: Path, profile: str) -> None:
    settings = load_settings(profile=profile)
    assert load_settings(written(tmp_path, example(settings, ()))) == settings


def test_an_example_with_odd_values_reads_back(tmp_path: Path) -> None:
    odd = {
        "node.alias": "no: [#'\"\\ e",
        "worker.models": ["yes", "a b", "1"],
        "mesh.bootstrap": ["/dns/hub.example/tcp/1" + PEER],
    }
    settings = load_settings(None, "laptop", odd)
    assert load_settings(written(tmp_path, example(settings, odd))) == settings
    assert load_settings(written(tmp_path, example(settings))) == settings


# -- layers


def test_later_layers_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "profile: laptop\nworker:\n  max_steps: 40\n  slots: 3\n")
    assert load_settings(None).worker.max_count == 8
    settings = load_settings(path)
    assert (settings.profile, settings.worker.max_count, settings.worker.max_steps) == ("laptop", 2, 40)
    assert load_settings(path, "gpu-server").worker.max_count == 16
    monkeypatch.setenv("MESHGEN_WORKER__SLOTS", "5")
    assert load_settings(path).worker.slots == 5
    assert load_settings(path, overrides={"worker.slots": 7}).worker.slots == 7
    assert load_settings(path, overrides={"worker": {"slots": 8}}).worker.slots == 8


def test_the_environment_speaks_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHGEN_NODE__ROLES", "worker, hub")
    monkeypatch.setenv("MESHGEN_REQUESTER__PRIVATE", "true")
    monkeypatch.setenv("MESHGEN_MESH__BOOTSTRAP", "")
    monkeypatch.setenv("MESHGEN_NODE__ALIAS", "1234")
    monkeypatch.setenv("MESHGEN_HOME", "/nowhere")
    settings = load_settings()
    assert settings.node.roles == ("worker", "hub") and settings.has_role("hub") and not settings.has_role("requester")
    assert (settings.requester.private, settings.mesh.bootstrap, settings.node.alias) == (True, (), "1234")


def test_an_empty_file_and_empty_sections_change_nothing(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "")) == Settings()
    assert load_settings(written(tmp_path, "worker:\n  # slots: 3\nnode:\n")) == Settings()


def test_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESHGEN_HOME", str(tmp_path))
    assert home_dir() == tmp_path
    monkeypatch.setenv("MESHGEN_HOME", "~/m")
    assert home_dir() == Path.home() / "m"
    monkeypatch.delenv("MESHGEN_HOME")
    assert home_dir().name == "meshgen"


def test_profiles_are_the_checkouts_own() -> None:
    assert profiles_dir() == ROOT / "peers"


# -- what is wrong, in words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("worker:\n  slot: 2", "worker.slot: there is no such key; did you mean 'slots'?"),
        ("workers:\n  slots: 2", "workers: there is no such key; did you mean 'worker'?"),
        ("zzz: 1", "zzz: there is no such key; there are: profile, node,"),
        ("worker:\n  slots: 0", "worker.slots: should be greater than or equal to 1 (it is 0)"),
        ("worker:\n  slots: many", "worker.slots: should be a valid integer"),
        ("worker:\n  slots: 1.5", "worker.slots: should be a valid integer"),
        ("worker:\n  fake_seconds: .inf", "worker.fake_seconds: should be"),
        ("worker:\n  fake_seconds: .nan", "worker.fake_seconds: should be"),
        ("worker:\n  engine: comfy", "worker.engine: should be 'auto', 'diffusers' or 'fake' (it is 'comfy')"),
        ("worker:\n  friends: [bob]", "'bob' is neither a peer id, as `meshgen peers` shows it, nor an account id"),
        (
            "worker:\n  stranger_pictures_per_minute: -1",
            "worker.stranger_pictures_per_minute: should be greater than or equal to 0",
        ),
        ("worker: 3", "worker: is a section; its keys belong below it"),
        ("worker:\n  models: []", "worker.models: "),
        ("node:\n  roles: [cook]", "node.roles: should be 'requester'"),
        ("node:\n  alias: " + 33 * "x", "node.alias: "),
        ("node:\n  alias: 'a\\nb'\n  log_level: loud", "node.log_level: should be"),
        ("mesh:\n  charter: Public Mesh", "mesh.charter: should be of small letters, digits, . and -"),
        ("node:\n  log_file: /nonexist/x.log", "node.log_file: should be a file name ending in .log, without folders (it is"),
        ("node:\n  log_file: meshgen.txt", "node.log_file: should be a file name ending in .log"),
        ('node:\n  log_file: "a.log\\n"', "node.log_file: should be a file name"),
        ("mesh:\n  listen: [/ip4/1.2.3.444/tcp/1]", "mesh.listen: "),
        ("mesh:\n  listen: [/ip4/1.2.3.4/udp/1/quic-v1]", "is not a TCP multiaddr"),
        ("mesh:\n  listen: [/ip4/1.2.3.4/tcp/65536]", "a port is at most 65535"),
        ("mesh:\n  listen: []", "mesh.listen: "),
        (f"mesh:\n  listen: [/ip4/1.2.3.4/tcp/1{PEER}/p2p-circuit{PEER}]", "is not a TCP multiaddr"),
        (f"mesh:\n  bootstrap: [/ip4/1.2.3.4/tcp/1/p2p-circuit{PEER}]", "is no way through a relay"),
        (f"mesh:\n  bootstrap: [/ip4/1.2.3.4/tcp/70000{PEER}/p2p-circuit{PEER}]", "a port is at most 65535"),
        ("mesh:\n  relay: sometimes", "mesh.relay: "),
        ("mesh:\n  bootstrap: [/ip4/1.2.3.4/tcp/1]", "must end with /p2p/ and the other node's peer id"),
        ("api:\n  host: studio.local", "names by which this machine is reached go into api.names"),
        ("api:\n  names: [http://x]", "api.names"),
        ("api:\n  host: here", "api.host: "),
        ("api:\n  port: 65536", "api.port: should be less than or equal to 65535"),
        ("profile: labtop", "there is no profile 'labtop'; did you mean 'laptop'?"),
        ("profile: ../hub", "there is no profile '../hub'"),
        ("worker:\n  slots: 1\nworker:\n  slots: 2", "line 3: not valid YAML: the key 'worker' stands here a second time"),
        ("? [worker]\n: 1", "line 1: not valid YAML: a key is a word"),
        ("worker:\n  slots: 2001-13-45", "holds a value that YAML can't read (month must be in 1..12)"),
        ("worker:\n  slots: !!timestamp x", "holds a value that YAML can't read"),
        ("worker: " + "[" * 3000, "holds a value that YAML can't read"),
        ("worker: [", "not valid YAML"),
        ("- a\n- b", "holds a list where sections such as `worker:` are expected"),
        ("hello", "holds a single value where sections"),
        ("1: 2", "1: there is no such key"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_faults_name_file_key_and_cure(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value) or "profile" in says


def test_the_source_of_a_fault_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "worker:\n  slots: 2\n")
    with pytest.raises(SettingsError, match=r"^command line: worker.slots: should be less"):
        load_settings(path, overrides={"worker.slots": 99})
    monkeypatch.setenv("MESHGEN_WORKER__SLOTS", "0")
    with pytest.raises(SettingsError, match=r"^environment: MESHGEN_WORKER__SLOTS: should be greater"):
        load_settings(path)
    monkeypatch.setenv("MESHGEN_WORKER__SLOT", "1")
    with pytest.raises(SettingsError, match="MESHGEN_WORKER__SLOT: there is no such key; did you mean 'slots'"):
        load_settings(overrides={"worker.slots": 1})


def test_several_faults_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "worker:\n  slots: 0\n  slot: 1\napi:\n  port: -1\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert len(str(caught.value).splitlines()) == 3


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        load_settings(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load_settings(tmp_path / "binary.yaml")


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().worker.slots = 3  # type: ignore[misc]


@pytest.mark.parametrize("alias", ["Jürgen", "аdmin", "a\tb"])
def test_an_alias_is_plain(alias: str) -> None:
    with pytest.raises(SettingsError, match="ASCII"):
        load_settings(overrides={"node.alias": alias})


@pytest.mark.parametrize("friends", [["12D3KooWGzh9gqYzvQfqrLFVbAyQqKtpLkXTGxPFNSoH8vAZxSGK"], ["ab" * 32], []])
def test_friends_are_peers_or_accounts(friends: list[str]) -> None:
    assert list(load_settings(overrides={"worker.friends": friends}).worker.friends) == friends


def test_lists_in_the_environment_may_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHGEN_WORKER__HOURS", '["22:00-07:00", "sat 10:00-18:00"]')
    given = {"worker.refuse_patterns": '["a{2,3}", "[bc]d"]', "node.roles": "worker, hub"}
    settings = load_settings(overrides=given)
    assert settings.worker.hours == ("22:00-07:00", "sat 10:00-18:00")
    assert settings.worker.refuse_patterns == ("a{2,3}", "[bc]d") and settings.node.roles == ("worker", "hub")
    assert load_settings(overrides={"worker.refuse_patterns": '["x]{2,3}'}).worker.refuse_patterns == ('["x]{2,3}',)


@pytest.mark.parametrize("given", ['["(abc"]', "[1", "(abc"])
def test_patterns_that_are_none_are_refused_however_they_are_given(given: str) -> None:
    with pytest.raises(SettingsError, match=r"refuse_patterns.*no regular expression"):
        load_settings(overrides={"worker.refuse_patterns": given})


@pytest.mark.parametrize(("given", "meant"), [("on", "on"), ("off", "off"), ("auto", "auto"), ('"on"', "on")])
def test_a_relay_is_switched_as_people_write_it(tmp_path: Path, given: str, meant: str) -> None:
    assert load_settings(written(tmp_path, f"mesh:\n  relay: {given}")).mesh.relay == meant


def test_a_mesh_can_be_joined_through_a_relay(tmp_path: Path) -> None:
    address = f"/ip4/192.0.2.7/tcp/4711{PEER}/p2p-circuit{PEER}"
    assert load_settings(written(tmp_path, f"mesh:\n  bootstrap: [{address}]")).mesh.bootstrap == (address,)
