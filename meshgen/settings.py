"""What an owner decides about a node: every key with its meaning, default and bounds, and where its value came from.

A value is looked up in layers, later ones win: defaults < profile (``peers/X.yaml``) < config file < environment
(``MESHGEN_WORKER__SLOTS=2``) < command line. Unknown keys are errors, because a typo that is silently ignored costs an evening.

``python -m meshgen.settings`` prints ``config.example.yaml``.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

APP = "meshgen"
CONFIG_FILE = "config.yaml"
ENV_PREFIX = "MESHGEN_"
_PEER = r"/p2p/[1-9A-HJ-NP-Za-km-z]{46,64}"
_ADDRESS = re.compile(rf"/(ip4|ip6|dns|dns4|dns6)/([^/\s]+)/tcp/(\d{{1,5}})({_PEER})?")


class SettingsError(Exception):
    """Settings can't be used. The text names file, key, fault and cure, a line each; it can be shown to a person as it is."""


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a TCP multiaddr such as /ip4/192.0.2.7/tcp/4711")
    kind, host, port = match[1], match[2], int(match[3])
    if kind.startswith("ip"):
        ipaddress.IPv4Address(host) if kind == "ip4" else ipaddress.IPv6Address(host)
    if port > 65535:
        raise ValueError(f"{text!r}: a port is at most 65535")
    return text


def _with_peer(text: str) -> str:
    if "/p2p/" not in _address(text):
        raise ValueError(f"{text!r} must end with /p2p/ and the other node's peer id, as `meshgen status` shows it there")
    return text


def _split(value: object) -> object:
    """Lists may be given as ``a, b`` too, which is all that an environment variable can hold."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Role = Literal["requester", "worker", "hub", "archivist", "observer"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^\S.*$")]
ListOf = BeforeValidator(_split)
Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], ListOf]
PeerAddresses = Annotated[tuple[Annotated[str, AfterValidator(_with_peer)], ...], ListOf]
MilliKudos = Annotated[int, Field(ge=0, le=2**40)]


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NodeSettings(Group):
    """Who this node is"""

    alias: Annotated[str, StringConstraints(max_length=32, pattern=r"^[^\x00-\x1f\x7f]*$")] = Field(
        "", description="A name that others see beside the peer id; empty = none. Not unique and not proven"
    )
    roles: Annotated[tuple[Role, ...], ListOf] = Field(
        ("requester",),
        description="What it does: requester asks for pictures, worker draws them, hub lets others join and find each other, "
        "archivist keeps everybody's credit logs, observer only watches",
        min_length=1,
        max_length=5,
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is logged; never a prompt at any level"
    )


class MeshSettings(Group):
    """Which mesh it belongs to and how it is reached"""

    charter: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")] = Field(
        "meshgen-public-v0", description="Name of the mesh. Peers of different charters ignore each other; credit never crosses"
    )
    bootstrap: PeerAddresses = Field(
        (),
        description="Nodes to join through, as multiaddrs with peer id, e.g. /ip4/192.0.2.7/tcp/4711/p2p/12D3KooW...; "
        "empty = start a mesh of one's own",
        max_length=32,
    )
    listen: Addresses = Field(
        ("/ip4/0.0.0.0/tcp/4711",), description="Where to listen; port 0 = any free one", min_length=1, max_length=8
    )
    announce: Addresses = Field(
        (),
        description="Addresses to tell others instead of the detected ones, for a forwarded port or a public name",
        max_length=8,
    )
    mdns: bool = Field(
        False, description="Find nodes in the local network by multicast; it also shows this node to everybody there"
    )


class RequesterSettings(Group):
    """How it asks for pictures"""

    default_model: Annotated[str, StringConstraints(max_length=64)] = Field(
        "", description="Model of a request that names none; empty = the one that most workers offer"
    )
    max_mkudos: MilliKudos = Field(
        100_000, description="The most one picture may cost, in thousandths of a kudos, unless the request says otherwise"
    )
    bid_window_ms: int = Field(
        50, description="After the first bid, wait so many milliseconds for better ones; 0 takes the first", ge=0, le=60_000
    )
    bid_wait_s: float = Field(10.0, description="Seconds without any bid after which an offer is given up", gt=0, le=600)
    offer_lifetime_s: float = Field(60.0, description="Seconds for which workers may bid on an offer", ge=1, le=600)
    part_timeout_factor: float = Field(
        4.0, description="A worker that takes so many times its own estimate is replaced by the next one", ge=1, le=100
    )
    part_timeout_min_s: float = Field(20.0, description="...but no worker is given less than so many seconds", gt=0, le=3600)
    pictures_dir: str = Field("", description="Where `meshgen generate` saves pictures; empty = the folder it is called from")
    private: bool = Field(False, description="Leave the prompt out of every picture's metadata")


class WorkerSettings(Group):
    """What it draws for others; counts only with the role worker"""

    engine: Literal["auto", "diffusers", "fake"] = Field(
        "auto",
        description="diffusers computes, fake draws labelled test pictures; auto = diffusers if it is installed, else fake",
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field("auto", description="Where to compute; auto = the fastest there is")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field("auto", description="Number format; auto suits the device")
    models: Annotated[tuple[Name, ...], ListOf] = Field(
        ("all",),
        description="Models to serve, by name as in `meshgen models ls`; all = every one that is installed",
        min_length=1,
        max_length=64,
    )
    max_pixels: int = Field(1024 * 1024, description="Largest picture, width times height in pixels", ge=64 * 64, le=2**26)
    max_steps: int = Field(100, description="Most denoising steps of a picture", ge=1, le=1000)
    max_count: int = Field(8, description="Most pictures of one job", ge=1, le=64)
    max_queue: int = Field(16, description="Most pictures accepted and not yet drawn; more are refused as full", ge=1, le=4096)
    slots: int = Field(1, description="Jobs that run at the same time on the device", ge=1, le=64)
    price_permille: int = Field(1000, description="Price in thousandths of the mesh's tariff; 0 = free", ge=0, le=1_000_000)
    max_debt_mkudos: MilliKudos = Field(
        1_000_000, description="Up to so many thousandths of a kudos a stranger may owe before its jobs are refused"
    )
    threads: int = Field(0, description="CPU threads of the engine; 0 = let it choose", ge=0, le=1024)
    fake_seconds: float = Field(1.0, description="Seconds that the fake engine takes for a picture", ge=0, le=3600)


def _loopback(host: str) -> str:
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError(
            f"{host} can be reached from outside; the API is for this machine: use 127.0.0.1, and a tunnel from elsewhere"
        )
    return host


class ApiSettings(Group):
    """The local HTTP API that the command line and programs use"""

    host: Annotated[str, AfterValidator(_loopback)] = Field("127.0.0.1", description="A loopback address")
    port: int = Field(4712, description="TCP port; 0 = any free one", ge=0, le=65535)


class LimitSettings(Group):
    """What it keeps and allows at most"""

    open_jobs: int = Field(256, description="Own jobs at the same time; more are refused until one ends", ge=1, le=65536)
    kept_jobs: int = Field(
        256, description="Finished jobs kept in memory with their pictures, until the node stops", ge=0, le=65536
    )
    connections: int = Field(256, description="Connections to other peers", ge=4, le=10_000)


class Settings(Group):
    profile: str = Field("", description="A ready-made profile to build on: laptop, gpu-server, hub, observer; empty = none")
    node: NodeSettings = NodeSettings()
    mesh: MeshSettings = MeshSettings()
    requester: RequesterSettings = RequesterSettings()
    worker: WorkerSettings = WorkerSettings()
    api: ApiSettings = ApiSettings()
    limits: LimitSettings = LimitSettings()

    def has_role(self, role: Role) -> bool:
        return role in self.node.roles


# -- where things are


def home_dir() -> Path:
    """The folder of this node's key, logs, models and state: ``MESHGEN_HOME``, else the platform's data directory."""
    if given := os.environ.get("MESHGEN_HOME"):
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path  # only a first run without MESHGEN_HOME pays for it

    return user_data_path(APP, appauthor=False)


def profiles_dir() -> Path:
    """``peers/`` of the checkout if there is one, else the copy that ships in the wheel."""
    package = Path(__file__).parent
    checkout = package.parent / "peers"
    return checkout if (package.parent / "pyproject.toml").exists() and checkout.is_dir() else package / "_data" / "peers"


def profile_names() -> list[str]:
    return sorted(path.stem for path in profiles_dir().glob("*.yaml"))


# -- loading


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source of values, and how to call a key of it when it is wrong."""

    source: str
    values: Mapping[str, Any]

    def holds(self, keys: tuple[str, ...]) -> bool:
        values: Any = self.values
        for key in keys:
            if not isinstance(values, Mapping) or key not in values:
                return False
            values = values[key]
        return True


def load_settings(path: Path | None = None, profile: str | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from all layers. ``overrides`` is nested as the file is, or uses dotted keys (``{"worker.slots": 2}``).

    ``profile`` wins over the config file's own ``profile`` key. Raises SettingsError.
    """
    layers = [_file_layer(path)] if path else []
    layers += [_environment(os.environ), _Layer("command line", _nested(overrides or {}))]
    name = profile or next((layer.values["profile"] for layer in reversed(layers) if layer.values.get("profile")), "")
    if name:
        layers.insert(0, _profile_layer(name))
    values = _merged(layers) | {"profile": name}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(layers, fault) for fault in error.errors()[:5])) from None


def _profile_layer(name: object) -> _Layer:
    names = profile_names()
    if name not in names:
        raise SettingsError(f"there is no profile {name!r}{_nearest(str(name), names)}; there are: {', '.join(names)}")
    return _file_layer(profiles_dir() / f"{name}.yaml")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would silently keep the last, and half of a config would vanish."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands here a second time", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _file_layer(path: Path) -> _Layer:
    try:
        values = yaml.load(path.read_text("utf-8"), _Loader)  # a SafeLoader
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(values or {}, dict):
        raise SettingsError(f"{path}: holds {_yaml_type(values)} where sections such as `worker:` are expected")
    return _Layer(str(path), {str(key): value for key, value in (values or {}).items()})


def _environment(environ: Mapping[str, str]) -> _Layer:
    pairs = {
        key.removeprefix(ENV_PREFIX).lower().replace("__", ".", 1): value
        for key, value in environ.items()
        if key.startswith(ENV_PREFIX) and "__" in key
    }
    return _Layer("environment", _nested(pairs))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in flat.items():
        section, dot, name = key.partition(".")
        if dot:
            values.setdefault(section, {})[name] = value
        elif isinstance(value, Mapping):
            values.setdefault(section, {}).update(value)
        else:
            values[section] = value
    return values


def _merged(layers: list[_Layer]) -> dict[str, Any]:
    """Sections are merged key by key, lists replaced as a whole. A section whose keys are all commented out is empty, not wrong."""
    values: dict[str, Any] = {}
    for layer in layers:
        for section, given in layer.values.items():
            before = values.get(section)
            if isinstance(given, Mapping) and isinstance(before, Mapping):
                values[section] = {**before, **given}
            elif given is not None:
                values[section] = given
    return values


# -- explaining


def _explain(layers: list[_Layer], fault: Any) -> str:
    keys = tuple(str(part) for part in fault["loc"] if isinstance(part, str))
    source = next((layer.source for layer in reversed(layers) if layer.holds(keys)), "settings")
    name = f"{ENV_PREFIX}{'__'.join(keys).upper()}" if source == "environment" else ".".join(keys)
    if fault["type"] == "extra_forbidden":
        return f"{source}: {name}: there is no such key{_nearest(keys[-1], _known_keys(keys[:-1]))}"
    if fault["type"] == "model_type":
        return f"{source}: {name}: is a section; its keys belong below it, indented"
    message = str(fault.get("ctx", {}).get("error") or fault["msg"]).replace("Input should", "should")
    return f"{source}: {name}: {message} (it is {_shown(fault['input'])})"


def _known_keys(section: tuple[str, ...]) -> list[str]:
    if not section:
        return list(Settings.model_fields)
    group = Settings.model_fields[section[0]].annotation
    return list(group.model_fields) if isinstance(group, type) and issubclass(group, BaseModel) else []


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else (f"; there are: {', '.join(known)}" if known else "")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _yaml_type(value: object) -> str:
    return {list: "a list", str: "plain text"}.get(type(value), "a single value")


# -- the example


def example(profile: str = "", active: bool = True) -> str:
    """A whole config file with every key explained. ``active`` False comments the keys out, so that the profile speaks."""
    return "\n".join(_example_lines(profile, "" if active else "# ")) + "\n"


def _example_lines(profile: str, mark: str) -> Iterator[str]:
    yield "# Settings of a meshgen node: every key with its default. Unknown keys are refused."
    yield "# Later ones win: profile < this file < environment (MESHGEN_WORKER__SLOTS=2) < command line."
    yield ""
    yield f"# {Settings.model_fields['profile'].description}."
    yield f"profile: {_yaml(profile)}"
    for section, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, Group):
            yield from ("", f"# {group.__doc__}.", f"{section}:")
            for name, key in group.model_fields.items():
                yield from _wrapped(f"{key.description}.{_bounds(key)}")
                yield f"  {mark}{name}: {_yaml(key.default)}"


def _wrapped(text: str) -> Iterator[str]:
    import textwrap

    return iter(textwrap.wrap(text, 110, initial_indent="  # ", subsequent_indent="  # ", break_on_hyphens=False))


def _bounds(key: Any) -> str:
    if get_args(key.annotation) and not isinstance(get_args(key.annotation)[0], type) and isinstance(key.default, str):
        return f" One of: {', '.join(map(str, get_args(key.annotation)))}."
    found = {
        name: getattr(rule, name) for rule in key.metadata for name in ("ge", "gt", "le") if getattr(rule, name, None) is not None
    }
    if "le" not in found or isinstance(key.default, tuple):
        return ""
    low = f"more than {found['gt']}" if "gt" in found else f"{found.get('ge')}"
    return f" From {low} to {found['le']}."


def _yaml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str):
        return (
            value if re.fullmatch(r"[A-Za-z][\w.-]*", value) and value not in ("yes", "no", "on", "off", "null") else f'"{value}"'
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    print(example(), end="")
