"""A small internet of one's own: machines, some of them behind the routers of homes. Each is a network namespace.

No root is needed, user namespaces are. A namespace lives as long as a process in it. Each is held by one whose standard input is
a pipe from here, so nothing is left behind however the test ends; what runs inside is killed by the kernel when the test dies.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server

API_PORT = 4712
DOOR, CABLE = (Path(__file__).with_name(name) for name in ("door.py", "cable.py"))
INTERNET = ("net", "elsewhere")
"""Bridges: all machines with an address of their own are on the first, those that were split off on the second."""
LAN = "lan"
TCP_RETRIES = 4
"""A connection whose peer is cut off ends after some seconds; by default the kernel tries for a quarter of an hour."""


class NoNamespacesError(Exception):
    """This machine lets nobody make namespaces; the text says what failed."""


@dataclass(slots=True)
class Machine:
    """``api``: where the test reaches the API of the node inside. ``site``: whose router it is behind; "" = none."""

    holder: subprocess.Popen[bytes]
    number: int
    site: str
    ip: str = ""
    moves: int = 0
    api: str = ""
    delay_s: float = 0.0
    loss: float = 0.0

    @property
    def port(self) -> str:
        """The other end of its cable."""
        return f"port{self.number}x{self.moves}"


class World:
    """Made by :func:`world`."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._internet = holder
        self._all: dict[str, Machine] = {}
        self._sites: dict[str, Machine] = {}
        self._cables: list[subprocess.Popen[bytes]] = []
        _ip(holder, *(f"link add {name} type bridge" for name in INTERNET), *(f"link set {name} up" for name in INTERNET))

    def __getitem__(self, name: str) -> Machine:
        return self._all[name]

    def site(self, name: str) -> None:
        """A home: one address on the internet, whose router lets its machines out and nobody in."""
        self._sites[name] = router = Machine(_held([*_inside(self._internet), *_UNSHARE, *_HOLD]), self._count() + 1, "")
        self._plug_in(router)
        number = len(self._sites)
        _ip(router.holder, f"link add {LAN} type bridge", f"link set {LAN} up", f"addr add 192.168.{number}.1/24 dev {LAN}")
        for rule in (
            "-t nat -A POSTROUTING -o eth0 -j MASQUERADE",
            "-A FORWARD -i eth0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            "-A FORWARD -i eth0 -j DROP",
            "-A INPUT -i eth0 -m conntrack --ctstate NEW -j DROP",  # silent, as most are: a refusal would spoil a hole
            "-A FORWARD -o eth0 -d 192.168.0.0/16 -j DROP",  # others' homes: no answer, as on the real one
        ):
            _run([*_inside(router.holder), "iptables", *rule.split()])
        _ip(router.holder, "route add default dev eth0")
        _run([*_inside(router.holder), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])

    def add(self, name: str, at: str = "", delay_s: float = 0.0, loss: float = 0.0) -> None:
        """A machine ``at`` a site, or with an address of its own; its cable takes so long each way, and loses such a share."""
        with create_server(("127.0.0.1", 0)) as listener:
            words = [*_UNSHARE, sys.executable, "-S", str(DOOR), str(listener.fileno()), str(API_PORT)]
            holder = _held([*_inside(self._internet), *words], listener.fileno())
            api = "http://{}:{}".format(*listener.getsockname())
        self._all[name] = machine = Machine(holder, self._count() + 1, at, api=api, delay_s=delay_s, loss=loss)
        self._plug_in(machine)
        _run([*self.enter(name), "sh", "-c", f"echo {TCP_RETRIES} > /proc/sys/net/ipv4/tcp_retries2 || true"])

    def move(self, name: str, to: str = "") -> None:
        """To another site, and so to another address; nothing tells the other ends of its connections."""
        machine = self._all[name]
        _ip(machine.holder, "link del eth0")
        machine.site, machine.moves = to, machine.moves + 1
        self._plug_in(machine)

    def enter(self, name: str) -> list[str]:
        """What to put before a command for it to run there, and to die with the test."""
        return [*_inside(self._all[name].holder), "setpriv", "--pdeathsig", "KILL", "--"]

    def split(self, away: Iterable[str]) -> None:
        """These machines of the internet hear each other and nobody else; nothing tells them so."""
        self._to_bridge(INTERNET[1], away)

    def heal(self) -> None:
        self._to_bridge(INTERNET[0], (name for name, machine in self._all.items() if not machine.site))

    def close(self) -> None:
        for holder in (*self._cables, *(machine.holder for machine in (*self._all.values(), *self._sites.values()))):
            _let_go(holder)

    def _count(self) -> int:
        return len(self._all) + len(self._sites)

    def _plug_in(self, machine: Machine) -> None:
        """A cable to its site's router, or to the internet; an address there and the way out."""
        place, bridge, gateway = self._internet, INTERNET[0], ""
        machine.ip = f"5.77.{machine.moves}.{machine.number}"
        mask = 16
        if machine.site:
            place, bridge, mask = self._sites[machine.site].holder, LAN, 24
            net = f"192.168.{list(self._sites).index(machine.site) + 1}"
            machine.ip, gateway = f"{net}.{machine.number + 10}", f"{net}.1"
        if machine.delay_s or machine.loss:
            words = (machine.port, machine.holder.pid, machine.delay_s, machine.loss, machine.number)
            self._cables.append(_held([*_inside(place), sys.executable, "-S", str(CABLE), *map(str, words)]))
        else:
            _ip(place, f"link add {machine.port} type veth peer name eth0 netns {machine.holder.pid}")
        _ip(place, f"link set {machine.port} up master {bridge}")
        _ip(machine.holder, "link set lo up", f"addr add {machine.ip}/{mask} dev eth0", "link set eth0 up")
        if gateway:
            _ip(machine.holder, f"route add default via {gateway}")

    def _to_bridge(self, bridge: str, names: Iterable[str]) -> None:
        _ip(self._internet, *(f"link set {self._all[name].port} master {bridge}" for name in names))


_HOLD = ("sh", "-c", "echo ready; exec cat")
_UNSHARE = ("unshare", "--net")


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
def world(*names: str) -> Iterator[World]:
    """With these machines on the internet. Raises NoNamespacesError where they can't be had."""
    with ExitStack() as stack:
        try:
            internet = _held(["unshare", "--user", "--map-root-user", "--net", *_HOLD])
            stack.callback(_let_go, internet)
            made = World(internet)
            stack.callback(made.close)
            for name in names:
                made.add(name)
        except OSError as error:
            raise NoNamespacesError(str(error)) from error
        yield made


def _let_go(holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.communicate()
