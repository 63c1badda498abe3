"""Every setting with its meaning, default and bounds."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from meshgen.settings.addressing import peer_address, tcp_address
from meshgen.settings.blocking import block_line
from meshgen.settings.like import like
from meshgen.settings.patterns import check_pattern, check_word
from meshgen.settings.windows import parse_window

_FRIEND = re.compile(r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}|[0-9a-f]{64}")


def _split(value: object) -> object:
    """Lists may be given as ``a, b`` too, or as JSON, where nothing but text can be given: in the environment, by ``--set``."""
    value = _from_json(value)
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _one(value: object) -> object:
    """A pattern may hold commas: such a text is one, unless it is a list in JSON."""
    value = _from_json(value)
    return tuple(filter(None, (value,))) if isinstance(value, str) else value


def _from_json(value: object) -> object:
    if not isinstance(value, str) or not value.lstrip().startswith('["'):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _window(text: str) -> str:
    parse_window(text)
    return text


Role = Literal["requester", "worker", "hub", "archivist", "observer"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^\S.*$")]
Decline = Literal["nsfw", "img2img", "inpainting", "controlnet", "lora", "inversion", "post-processing", "text", "alchemy"]
ListOf = BeforeValidator(_split)
Addresses = Annotated[tuple[Annotated[str, AfterValidator(tcp_address)], ...], ListOf]
PeerAddresses = Annotated[tuple[Annotated[str, AfterValidator(peer_address)], ...], ListOf]
MilliKudos = Annotated[int, Field(ge=0, le=2**40)]


def _switch(value: object) -> object:
    """YAML reads on and off as true and false."""
    return ("on" if value else "off") if isinstance(value, bool) else value


def _plain(text: str) -> str:
    """Others see the alias next to a peer id: look-alike letters of other alphabets have no place there."""
    if not text.isascii() or not (text.isprintable() or not text):
        raise ValueError("use plain letters, digits and signs only (ASCII)")
    return text


def _friend(text: str) -> str:
    if not _FRIEND.fullmatch(text):
        raise ValueError(f"{text!r} is neither a peer id, as `meshgen peers` shows it, nor an account id of 64 hex digits")
    return text


def _peer_id(text: str) -> str:
    if not _FRIEND.fullmatch(text) or not text.startswith("12D3"):
        raise ValueError(f"{text!r} is not a peer id, as `meshgen peers` shows it")
    return text


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NodeSettings(Group):
    """Who this node is"""

    alias: Annotated[str, StringConstraints(max_length=32), AfterValidator(_plain)] = Field(
        default="", description="A name that others see beside the peer id; empty = none. Not unique and not proven"
    )
    roles: Annotated[tuple[Role, ...], ListOf] = Field(
        default=("requester",),
        description="What it does: requester asks for pictures, worker draws them, hub lets others join and find each other, "
        "archivist keeps everybody's credit logs, observer only watches",
        min_length=1,
        max_length=5,
    )
    follow: Annotated[tuple[Annotated[str, AfterValidator(_peer_id)], ...], ListOf] = Field(
        default=(),
        description="Peer ids whose advisories this node heeds: it asks no worker, and works for nobody, whom more of them say "
        "to avoid than to trust; node.allow makes exceptions",
        max_length=256,
    )
    block: Annotated[tuple[Annotated[str, AfterValidator(block_line)], ...], ListOf] = Field(
        default=(),
        description="Peer ids or account ids that this node has nothing to do with: no link, no work either way. Behind each may "
        "stand until when, and why: 12D3KooW... until 2031-12-24 (sends noise). `meshgen peers block` writes them",
        max_length=1024,
    )
    allow: Annotated[tuple[Annotated[str, AfterValidator(_friend)], ...], ListOf] = Field(
        default=(),
        description="Peer ids or account ids whom no advice counts against, nor a block of a peer's account",
        max_length=1024,
    )
    only_allowed: bool = Field(default=False, description="Deal with those in `allow` and the own account alone")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much is logged; never a prompt at any level"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines for people, or one JSON object each: time, level, logger, message"
    )
    log_file: Annotated[
        str, like(r"([A-Za-z0-9][A-Za-z0-9_-]{0,59}\.log)?", "should be a file name ending in .log, without folders")
    ] = Field(
        default="",
        description="A file in the home to log to besides, e.g. meshgen.log, of at most 30 MB with its two forerunners; "
        "empty = none. Under systemd the journal has it all",
    )
    drain_s: float = Field(
        default=0.0,
        description="When it is stopped, a worker takes no new jobs and has so many seconds to end those that it accepted",
        ge=0.0,
        le=3600.0,
    )


class MeshSettings(Group):
    """Which mesh it belongs to and how it is reached"""

    charter: Annotated[str, like(r"[a-z0-9][a-z0-9.-]{0,63}", "should be of small letters, digits, . and -, 64 at most")] = Field(
        default="meshgen-public-v0",
        description="Name of the mesh. Peers of different charters ignore each other; credit never crosses. A home that has "
        "joined a signed charter with `meshgen mesh join` belongs to that mesh, and needs no name here",
    )
    bootstrap: PeerAddresses = Field(
        default=(),
        description="Nodes to join through, as multiaddrs with peer id, e.g. /ip4/192.0.2.7/tcp/4711/p2p/12D3KooW...; "
        "empty = those of the joined charter, else a mesh of one's own",
        max_length=32,
    )
    listen: Addresses = Field(
        default=("/ip4/0.0.0.0/tcp/4711",), description="Where to listen; port 0 = any free one", min_length=1, max_length=8
    )
    announce: Addresses = Field(
        default=(),
        description="Addresses to tell others instead of the detected ones, for a forwarded port or a public name",
        max_length=8,
    )
    mdns: bool = Field(
        default=False,
        description="Find nodes of this mesh in the local network by multicast. Others there see this node's addresses and peer "
        "id, and neither its alias nor its mesh's name. On in the profiles laptop and gpu-server; nothing is sent as long as it "
        "listens on this machine alone",
    )
    relay: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = Field(
        default="auto",
        description="Carry others' connections (encrypted end to end) to nodes that nobody can dial; auto = while it can be "
        "dialled itself. limits.relay_* bound it",
    )
    upnp: bool = Field(
        default=True, description="Behind a home router, ask it to forward the port; others then reach this node directly"
    )


class RequesterSettings(Group):
    """How it asks for pictures"""

    default_model: Annotated[str, StringConstraints(max_length=64)] = Field(
        default="", description="Model of a request that names none; empty = the one that most workers offer"
    )
    max_mkudos: MilliKudos = Field(
        default=250_000, description="The most one picture may cost, in thousandths of a kudos, unless the request says otherwise"
    )
    bid_wait_s: float = Field(default=10.0, description="Seconds without any bid after which an offer is given up", gt=0, le=600)
    offer_lifetime_s: float = Field(default=60.0, description="Seconds for which workers may bid on an offer", ge=1, le=600)
    part_timeout_factor: float = Field(
        default=4.0, description="A worker that takes so many times its own estimate is replaced by the next one", ge=1, le=100
    )
    part_timeout_min_s: float = Field(
        default=60.0,
        description="...but every worker is given so many seconds more, for loading its model; a silent one only ten",
        gt=0,
        le=3600,
    )
    pictures_dir: str = Field(
        default="", description="Where `meshgen generate` saves pictures; empty = the folder it is called from"
    )
    private: bool = Field(default=False, description="Leave the prompt out of every picture's metadata")
    share: bool = Field(
        default=False,
        description="Let others have the pictures too, unless a request says otherwise; by the tariff each costs less",
    )


class WorkerSettings(Group):
    """What it draws for others; counts only with the role worker"""

    engine: Literal["auto", "diffusers", "fake"] = Field(
        default="auto",
        description="diffusers computes, fake draws labelled test pictures; auto = diffusers",
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(
        default="auto", description="Where to compute; auto = the fastest there is"
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Number format; auto suits the device"
    )
    models: Annotated[tuple[Name, ...], ListOf] = Field(
        default=("all",),
        description="Models to serve, by name as in `meshgen models ls`; or ALL, ALL SDXL (SD1, SD3, FLUX, TEXT), TOP n and "
        "BOTTOM n by what the mesh asked for lately",
        min_length=1,
        max_length=64,
    )
    models_to_skip: Annotated[tuple[Name, ...], ListOf] = Field(
        default=(), description="Models not to serve, whatever `models` says, in the same words", max_length=256
    )
    forms: Annotated[tuple[Name, ...], ListOf] = Field(
        default=("all",),
        description="Forms of alchemy to serve by name (caption, nsfw, interrogation, ...); post-process = all that enlarge or "
        "change a picture",
        min_length=1,
        max_length=64,
    )
    max_pixels: int = Field(
        default=1024 * 1024, description="Largest picture, width times height in pixels", ge=64 * 64, le=2**26
    )
    max_steps: int = Field(default=100, description="Most denoising steps of a picture", ge=1, le=1000)
    max_count: int = Field(default=8, description="Most pictures of one job", ge=1, le=64)
    max_batch: int = Field(
        default=8, description="Most pictures that the engine draws at once, of one job or of several that fit", ge=1, le=64
    )
    max_tokens: int = Field(default=512, description="Most tokens of a text", ge=1, le=4096)
    vram_free_mib: int = Field(
        default=512, description="Memory of the device that is left to other programs, in MiB", ge=0, le=2**20
    )
    compiled: bool = Field(
        default=False,
        description="Have torch compile the denoiser: faster once it is warm, but minutes are lost at each new size of picture",
    )
    quantized: Literal["", "int8", "int4"] = Field(
        default="", description="Shrink the denoiser's weights by torchao, which must be installed; empty = as they are"
    )
    max_queue: int = Field(
        default=16,
        description="Most pictures accepted and not yet drawn, of those that go before a requester; it is refused as full then. "
        "Twice as many in all",
        ge=1,
        le=4096,
    )
    slots: int = Field(default=1, description="Jobs that run at the same time on the device", ge=1, le=64)
    bridge: bool = Field(
        default=True,
        description="Workers made for AI Horde may fetch jobs here and hand in results: their horde_url is this API's, their key "
        "the one that `meshgen key` shows",
    )
    price_permille: int = Field(
        default=1000, description="Price in thousandths of the mesh's tariff; 0 = free", ge=0, le=1_000_000
    )
    max_debt_mkudos: MilliKudos = Field(
        default=2**40, description="Up to so many thousandths of a kudos a peer may owe the mesh before its jobs are refused"
    )
    friends: Annotated[tuple[Annotated[str, AfterValidator(_friend)], ...], ListOf] = Field(
        default=(),
        description="Peer ids, or account ids as `meshgen credit explain` shows them, whose jobs go before others'; "
        "the own account's go first without being named",
        max_length=256,
    )
    only_friends: bool = Field(default=False, description="Work for friends and the own account alone")
    declines: Annotated[tuple[Decline, ...], ListOf] = Field(
        default=(),
        description="Work that it does not take: nsfw (by the words of the prompt), img2img, inpainting, controlnet, lora, "
        "inversion, post-processing, text, alchemy",
        max_length=9,
    )
    refuse_words: Annotated[tuple[Annotated[Name, AfterValidator(check_word)], ...], ListOf] = Field(
        default=(), description="Words or phrases; a job whose prompt holds one, in whole words, is refused", max_length=1024
    )
    refuse_patterns: Annotated[tuple[Annotated[str, AfterValidator(check_pattern)], ...], BeforeValidator(_one)] = Field(
        default=(),
        description="Regular expressions; a job is refused whose prompt fits one, or takes more than a moment to be compared",
        max_length=64,
    )
    hours: Annotated[tuple[Annotated[Name, AfterValidator(_window)], ...], ListOf] = Field(
        default=(),
        description="When it takes work, in this machine's local time, e.g. [22:00-07:00, sat sun 10:00-18:00]; empty = always",
        max_length=32,
    )
    max_temperature_c: int = Field(
        default=0, description="It takes no work while the device is hotter, in degrees Celsius; 0 = no limit", ge=0, le=150
    )
    max_power_w: int = Field(default=0, description="...or while the device draws more, in watts; 0 = no limit", ge=0, le=100_000)
    stranger_pictures_per_minute: int = Field(
        default=60,
        description="Pictures a minute for a requester to whom no credit leads from here; beyond that it is told to come back "
        "later. 0 = no limit",
        ge=0,
        le=1_000_000,
    )
    threads: int = Field(default=0, description="CPU threads of the engine; 0 = let it choose", ge=0, le=1024)
    fake_seconds: float = Field(default=1.0, description="Seconds that the fake engine takes for a picture", ge=0, le=3600)


def _host(host: str) -> str:
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is no IP address; names by which this machine is reached go into api.names") from None
    return host


HostName = Annotated[str, StringConstraints(max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]


class ApiSettings(Group):
    """The HTTP API: the command line, AI Horde's clients and the page use it"""

    host: Annotated[str, AfterValidator(_host)] = Field(
        default="127.0.0.1",
        description="An address of this machine. 127.0.0.1 = for this machine alone; 0.0.0.0 or :: = a household's others too, "
        "with the keys that `meshgen key new` makes. Plain HTTP: never open it to the internet without a proxy that adds TLS",
    )
    port: int = Field(default=4712, description="TCP port; 0 = any free one", ge=0, le=65535)
    names: Annotated[tuple[HostName, ...], ListOf] = Field(
        default=(),
        description="Names, without port, by which browsers and programs reach it besides localhost and IP addresses, e.g. "
        "[studio.local]; any other is refused, as a web page may have pointed it here",
        max_length=32,
    )
    anonymous: bool = Field(
        default=False,
        description="Let other machines spend this node's credit without a key of their own, by AI Horde's anonymous 0000000000; "
        "on this machine that key always works",
    )
    metrics: bool = Field(
        default=False,
        description="Let other machines read the figures at /metrics without a key; else Prometheus sends the owner's as bearer. "
        "On this machine everybody may",
    )
    requests_per_minute: int = Field(
        default=300,
        description="Requests a minute for each shared key, and for each other machine that shows none; asking how far a job is "
        "counts a twentieth. 0 = no limit. The owner has none",
        ge=0,
        le=1_000_000,
    )


class LimitSettings(Group):
    """What it keeps and allows at most"""

    open_jobs: int = Field(default=256, description="Own jobs at the same time; more are refused until one ends", ge=1, le=65536)
    kept_jobs: int = Field(
        default=256, description="Finished jobs kept in memory with their pictures, until the node stops", ge=0, le=65536
    )
    kept_mib: int = Field(
        default=256, description="...and at most so many MiB of pictures; the oldest are dropped first", ge=1, le=1_048_576
    )
    connections: int = Field(default=256, description="Connections to other peers", ge=4, le=10_000)
    relay_peers: int = Field(default=64, description="As a relay: peers that it keeps reachable", ge=0, le=10_000)
    relay_circuits: int = Field(default=128, description="As a relay: connections that it carries for one peer", ge=1, le=1000)
    relay_kib_s: int = Field(
        default=4096,
        description="As a relay: KiB a second that it carries in all; more has to wait; 0 = no limit",
        ge=0,
        le=2**30,
    )


class Settings(Group):
    profile: str = Field(
        default="", description="A ready-made profile to build on: laptop, gpu-server, hub, observer; empty = none"
    )
    node: NodeSettings = Field(default_factory=NodeSettings)
    mesh: MeshSettings = Field(default_factory=MeshSettings)
    requester: RequesterSettings = Field(default_factory=RequesterSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)

    def has_role(self, role: Role) -> bool:
        return role in self.node.roles
