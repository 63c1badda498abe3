"""The same door by another protocol: NAT-PMP, which Apple's routers and many others speak where UPnP is switched off.

Datagrams of a dozen bytes to the router itself. Its methods block, as a :class:`~meshgen.net.libp2p.reach_router.Router`'s do.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from meshgen.net.libp2p.reach_router import RouterError

PORT = 5351
WAITS_S = (0.25, 0.5, 1.0)
"""For an answer, before it is asked again."""
ADDRESS, FORWARD_TCP = 0, 2
ANSWER = 128
"""Added to the question's number."""
_ROUTES = Path("/proc/net/route")
_HEADER = struct.Struct("!BBHI")
_MAPPING = struct.Struct("!HHI")
_REFUSALS = {2: "is told to forward nothing", 3: "has no address itself", 4: "has no room for another port"}


class NatPmp:
    """The router at this address; it may speak NAT-PMP or not."""

    def __init__(self, gateway: str, port: int = PORT) -> None:
        self._place = (gateway, port)
        self._inside = 0

    def outside(self) -> str:
        """Raises RouterError, as all here."""
        return socket.inet_ntoa(self._ask(ADDRESS, b"", 4))

    def forward(self, outside_port: int, inside_port: int, lease_s: int) -> None:
        if not lease_s:
            raise RouterError("this router gives leases for a time only")
        self._inside = inside_port
        if self._map(inside_port, outside_port, lease_s) != outside_port:
            self._map(inside_port, 0, 0)
            raise RouterError("the router gives another port than the one that was asked for")

    def close(self, outside_port: int) -> None:  # noqa: ARG002 - it is known by the port inside
        if self._inside:  # 0 would close all that this machine's other programs had forwarded, too
            self._map(self._inside, 0, 0)

    def _map(self, inside_port: int, outside_port: int, lease_s: int) -> int:
        question = b"\0\0" + _MAPPING.pack(inside_port, outside_port, lease_s)
        inside, outside, _lease_s = _MAPPING.unpack(self._ask(FORWARD_TCP, question, _MAPPING.size))
        if inside != inside_port:
            raise RouterError("the router answered about another port")
        return int(outside)

    def _ask(self, number: int, question: bytes, size: int) -> bytes:
        """What follows the answer's header, ``size`` bytes."""
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
                asked.connect(self._place)  # nobody else's answer gets in
                return self._heard(asked, bytes((0, number)) + question, number, size)
        except OSError as error:
            raise RouterError(f"the router can't be asked: {error.strerror or error}") from error

    def _heard(self, asked: socket.socket, question: bytes, number: int, size: int) -> bytes:
        for wait_s in WAITS_S:
            asked.settimeout(wait_s)
            asked.send(question)
            try:
                answer = asked.recv(64)
            except TimeoutError:
                continue
            return _judged(answer, number, size)
        raise RouterError("the router speaks no NAT-PMP")


def _judged(answer: bytes, number: int, size: int) -> bytes:
    if len(answer) < _HEADER.size:
        raise RouterError("the router's answer is too short")
    version, kind, result, _age_s = _HEADER.unpack_from(answer)
    if (version, kind) != (0, ANSWER + number):
        raise RouterError("the router answered another question")
    if result:
        raise RouterError(f"the router {_REFUSALS.get(result, f'refused ({result})')}")
    if len(answer) != _HEADER.size + size:
        raise RouterError("the router's answer has another size than it should")
    return answer[_HEADER.size :]


def find_natpmp() -> NatPmp | None:
    """The router of this network, if it speaks NAT-PMP."""
    gateway = find_gateway()
    if gateway is None:
        return None
    router = NatPmp(gateway)
    try:
        router.outside()
    except RouterError:
        return None
    return router


def find_gateway(routes: Path = _ROUTES, ask: Callable[[], str] | None = None) -> str | None:
    """This machine's way out, by IPv4: from Linux' table of routes, or from what ``route`` says elsewhere."""
    try:
        return _from_table(routes.read_text("ascii", "replace"))
    except OSError:
        found = re.search(r"gateway: (\d+\.\d+\.\d+\.\d+)\s", (ask or _route)())
        return found[1] if found else None


def _from_table(text: str) -> str | None:
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[1] == "00000000" and re.fullmatch("[0-9A-F]{8}", words[2]) and words[2] != "00000000":
            return socket.inet_ntoa(struct.pack("=I", int(words[2], 16)))
    return None


def _route() -> str:
    try:
        done = subprocess.run(["route", "-n", "get", "default"], check=False, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
