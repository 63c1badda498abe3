"""A router that speaks NAT-PMP, on loopback: what it is asked, and what is made of its answers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from meshgen.net.libp2p import reach_natpmp
from meshgen.net.libp2p.reach_natpmp import NatPmp, find_gateway
from meshgen.net.libp2p.reach_router import RouterError

OUTSIDE = struct.pack("!BBHI4B", 0, 128, 0, 7, 5, 77, 0, 1)


def mapping(inside: int, outside: int, lease_s: int) -> bytes:
    return struct.pack("!BBHIHHI", 0, 130, 0, 7, inside, outside, lease_s)


def good(question: bytes) -> bytes:
    return OUTSIDE if question == b"\0\0" else mapping(*struct.unpack("!4xHHI", question))


@contextmanager
def router(answer: Callable[[bytes], bytes]) -> Iterator[tuple[NatPmp, list[bytes]]]:
    """It, and what it is asked; an empty answer is none."""
    heard: list[bytes] = []

    def serve() -> None:
        while (received := box.recvfrom(64))[0] != b"end":
            heard.append(received[0])
            if said := answer(received[0]):
                box.sendto(said, received[1])

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box:
        box.bind(("127.0.0.1", 0))
        thread = Thread(target=serve)
        thread.start()
        try:
            yield NatPmp(*box.getsockname()), heard
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", box.getsockname())
            thread.join()


def test_a_port_is_forwarded_and_given_back() -> None:
    with router(good) as (asked, heard):
        assert asked.outside() == "5.77.0.1"
        asked.forward(4712, 4711, 3600)
        asked.close(4712)
    assert heard == [b"\0\0", *(b"\0\2\0\0" + struct.pack("!HHI", 4711, *rest) for rest in ((4712, 3600), (0, 0)))]


def test_what_was_not_forwarded_is_not_given_back() -> None:
    """A question about port 0 would close all ports of this machine."""
    with router(good) as (asked, heard):
        asked.close(4712)
    assert not heard


def test_another_port_than_asked_for_is_given_back() -> None:
    with router(lambda question: mapping(4711, 50000, 3600)) as (asked, heard), pytest.raises(RouterError, match="another port"):
        asked.forward(4711, 4711, 3600)
    assert heard[-1].endswith(bytes(6))


def test_there_are_no_leases_without_end() -> None:
    with pytest.raises(RouterError, match="for a time"):
        NatPmp("127.0.0.1").forward(4711, 4711, 0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\0\x80\0\3" + bytes(4), "no address itself"),
        (b"\0\x80\0\x63" + bytes(4), r"refused \(99\)"),
        (b"\0\x80", "too short"),
        (OUTSIDE + b"\0", "another size"),
        (b"\1" + OUTSIDE[1:], "another question"),
        (mapping(1, 2, 3), "another question"),
    ],
)
def test_bad_answers_are_refused_by_name(answer: bytes, words: str) -> None:
    with router(lambda _question: answer) as (asked, _heard), pytest.raises(RouterError, match=words):
        asked.outside()


def test_a_router_that_says_nothing_is_asked_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach_natpmp, "WAITS_S", (0.01, 0.01))
    with router(lambda _question: b"") as (asked, heard), pytest.raises(RouterError, match="speaks no NAT-PMP"):
        asked.outside()
    assert heard == [b"\0\0"] * 2


@pytest.mark.parametrize(
    ("table", "gateway"),
    [
        ("Iface Destination Gateway Flags\neth0 0001A8C0 00000000 0001\neth0 00000000 0101A8C0 0003\n", "192.168.1.1"),
        ("Iface Destination Gateway Flags\nwg0 00000000 00000000 0001\n", None),
        ("Iface Destination Gateway Flags\neth0 00000000 nonsense 0003\n\0\n", None),
        ("", None),
    ],
)
def test_the_gateway_stands_in_the_table_of_routes(tmp_path: Path, table: str, gateway: str | None) -> None:
    (tmp_path / "route").write_text(table)
    assert find_gateway(tmp_path / "route") == gateway


def test_elsewhere_the_gateway_is_asked_for(tmp_path: Path) -> None:
    said = "   route to: default\n    gateway: 192.168.0.1\n  interface: en0\n"
    assert find_gateway(tmp_path / "none", lambda: said) == "192.168.0.1"
    assert find_gateway(tmp_path / "none", lambda: "route: not in table\n") is None
