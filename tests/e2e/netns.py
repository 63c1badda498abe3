"""Machines of one's own: a network namespace each, on bridges that can be split and healed. No root needed, user namespaces are.

A namespace lives as long as a process in it. Each is held by one whose standard input is a pipe from here, so nothing is left
behind however the test ends; the nodes inside are killed by the kernel when the test dies.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import create_server
from typing import Any

from meshgen.cli.client import Api
from meshgen.cli.local_mesh import LocalMesh, LocalNode

API_PORT = 4712
MESH_PORT = 4711
RELAY = Path(__file__).with_name("relay.py")
BRIDGES = ("here", "there")
TCP_RETRIES = 4
"""A connection whose peer is cut off ends after some seconds; by default the kernel tries for a quarter of an hour."""
KNOB = "/proc/sys/net/ipv4/tcp_retries2"


class NoNamespacesError(Exception):
    """This machine lets nobody make namespaces; the text says what failed."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A namespace with an address. ``api`` is where the test reaches the API of the node inside."""

    holder: subprocess.Popen[bytes]
    ip: str
    port: str
    api: str


class Machines:
    """Made by :func:`machines`. All are on the first bridge at first."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._bridge = holder
        self._all: dict[str, Machine] = {}
        self._ip(holder, *(f"link add {name} type bridge" for name in BRIDGES), *(f"link set {name} up" for name in BRIDGES))

    def __getitem__(self, name: str) -> Machine:
        return self._all[name]

    def add(self, name: str) -> None:
        number = len(self._all) + 1
        ip, port = f"10.77.0.{number}", f"port{number}"
        with create_server(("127.0.0.1", 0)) as listener:
            words = ["unshare", "--net", sys.executable, "-S", str(RELAY), str(listener.fileno()), str(API_PORT)]
            holder = _held([*_inside(self._bridge), *words], listener.fileno())
            api = "http://{}:{}".format(*listener.getsockname())
        self._all[name] = Machine(holder, ip, port, api)
        self._ip(self._bridge, f"link add {port} type veth peer name eth0 netns {holder.pid}", f"link set {port} up")
        self._ip(holder, "link set lo up", f"addr add {ip}/24 dev eth0", "link set eth0 up")
        self._plug(BRIDGES[0], [name])
        _run([*self.enter(name), "sh", "-c", f"echo {TCP_RETRIES} > {KNOB} || true"])

    def enter(self, name: str) -> list[str]:
        """What to put before a command for it to run there, and to die with the test."""
        return [*_inside(self._all[name].holder), "setpriv", "--pdeathsig", "KILL", "--"]

    def split(self, away: Iterable[str]) -> None:
        """These hear each other and nobody else; nothing tells them so."""
        self._plug(BRIDGES[1], away)

    def heal(self) -> None:
        self._plug(BRIDGES[0], self._all)

    def close(self) -> None:
        for machine in self._all.values():
            _let_go(machine.holder)

    def _plug(self, bridge: str, names: Iterable[str]) -> None:
        self._ip(self._bridge, *(f"link set {self._all[name].port} master {bridge}" for name in names))

    @staticmethod
    def _ip(where: subprocess.Popen[bytes], *commands: str) -> None:
        _run([*_inside(where), "ip", "-batch", "-"], "\n".join(commands))


def _run(command: list[str], given: str = "") -> None:
    done = subprocess.run(command, input=given.encode(), check=False, capture_output=True)
    if done.returncode:
        raise NoNamespacesError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace').strip()}")


def _inside(holder: subprocess.Popen[bytes]) -> list[str]:
    return ["nsenter", "--target", str(holder.pid), "--user", "--net", "--preserve-credentials", "--"]


def _held(command: list[str], *fds: int) -> subprocess.Popen[bytes]:
    """A process that says a line once it is in its namespace."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=fds)
    assert process.stdout is not None
    if not process.stdout.readline():
        _out, fault = process.communicate()
        raise NoNamespacesError(f"{command[0]} failed: {fault.decode(errors='replace').strip()}")
    return process


@contextmanager
def machines(*names: str) -> Iterator[Machines]:
    """Raises NoNamespacesError where they can't be had."""
    with ExitStack() as stack:
        try:
            bridge = _held(["unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo ready; exec cat"])
            stack.callback(_let_go, bridge)
            made = Machines(bridge)
            stack.callback(made.close)
            for name in names:
                made.add(name)
        except OSError as error:
            raise NoNamespacesError(str(error)) from error
        yield made


def _let_go(holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.communicate()


class SpreadMesh(LocalMesh):
    """Each node on a machine of its own, of the same name."""

    def __init__(self, root: Path, charter: str, places: Machines) -> None:
        super().__init__(root, charter)
        self._places = places

    def launch(self, name: str, *roles: str, through: LocalNode | None = None, **settings: Any) -> LocalNode:
        given = {"mesh__listen": f"/ip4/{self._places[name].ip}/tcp/{MESH_PORT}", "api__port": API_PORT} | settings
        return super().launch(name, *roles, through=through, **given)

    def command(self, name: str) -> list[str]:
        return [*self._places.enter(name), *super().command(name)]

    def reach(self, node: LocalNode) -> Api:
        found = Api.of(node.home)
        return Api(replace(found.info, url=self._places[node.name].api), Path(found.info.token_file).read_text())
