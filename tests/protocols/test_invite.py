"""Invite lines: whatever happens to one on its way, it leads to the same mesh or nowhere."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import Identity
from meshgen.protocols.codec import Malformed
from meshgen.protocols.invite import MAX_LINE_CHARS, Invite, decode_line, neighbours_tag, read_line
from meshgen.protocols.multiaddr import MAX_MULTIADDR_BYTES, pack_multiaddr, unpack_multiaddr

KEY = bytes(range(200, 232))
PEERS = [Identity.from_seed(bytes([seed]) * 32).peer_id for seed in range(1, 5)]
CIRCUIT = f"/p2p/{PEERS[3]}/p2p-circuit"

ports = st.integers(1, 65535)
hosts = st.one_of(
    st.ip_addresses(v=4).map("/ip4/{}".format),
    st.ip_addresses(v=6).filter(lambda ip: "." not in str(ip)).map("/ip6/{}".format),
    st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,3})?(\.[a-z0-9]{1,6})?(\.[a-z]{2,3})?", fullmatch=True).map("/dns/{}".format),
)
addresses = st.builds("{}/tcp/{}{}/p2p/{}".format, hosts, ports, st.sampled_from(["", CIRCUIT]), st.sampled_from(PEERS[:3]))
names = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,63}", fullmatch=True)
meshes = st.one_of(st.tuples(st.binary(min_size=32, max_size=32), st.just("")), st.tuples(st.just(b""), names))
invites = st.builds(
    lambda mesh, ways, psk: Invite.to(*mesh, ways, psk), meshes, st.lists(addresses, max_size=4), st.sampled_from([b"", KEY])
)


@given(invites)
def test_a_line_says_what_its_invite_says(invite: Invite) -> None:
    assert decode_line(invite.line) == read_line(invite.line) == invite
    assert read_line(invite.line).addresses == invite.addresses


@given(invites, st.data())
def test_a_line_survives_what_people_and_programs_do_to_it(invite: Invite, data: st.DataObject) -> None:
    line = data.draw(st.sampled_from([invite.line, invite.line.lower(), invite.line.title()]))
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(line)))
        line = (
            line[:at]
            + data.draw(st.sampled_from([" ", "\n", "\r\n> ", "\t", "-", "\u200b", "=\n", '"', "\u00a0", "`"]))
            + line[at:]
        )
    line = data.draw(st.sampled_from(["{}", '"{}"', "\u201c{}\u201d", "meshgen join {}", "Hi! Join us: <{}>.", "{}\n\n"])).format(
        line
    )
    assert read_line(line) == invite


@given(invites, st.randoms(use_true_random=False))
def test_lookalikes_are_taken_for_what_they_look_like(invite: Invite, rng: Random) -> None:
    changed = "".join(rng.choice({"0": "0Oo", "1": "1IiLl"}.get(char, char)) for char in invite.line[8:])
    assert read_line(invite.line[:8] + changed) == invite


@given(invites, st.data())
def test_any_other_change_is_found(invite: Invite, data: st.DataObject) -> None:
    line = invite.line
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(line)), st.integers(0, len(line)))))
    put = data.draw(st.one_of(st.text(max_size=3), st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", max_size=8)))
    changed = line[:start] + put + line[end:]
    try:
        found = read_line(changed)
    except Malformed as error:
        assert KEY.hex() not in str(error)
    else:
        assert found == invite


@given(st.text(max_size=400))
def test_what_is_no_line_is_refused_in_words(text: str) -> None:
    with pytest.raises(Malformed):
        read_line(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "no invite line: one begins with MESHGEN:1"),
        ("/ip4/192.0.2.7/tcp/4711", "no invite line"),
        ("MESHGEN:", "cut or mistyped"),
        ("MESHGEN:1", "cut or mistyped"),
        ("MESHGEN:2ABC", "newer version: upgrade"),
        ("meshgen:xabc", "newer version: upgrade"),
        ("MESHGEN:\u00e9", "cut or mistyped"),
        ("MESHGEN:1" + "A" * MAX_LINE_CHARS, "too long"),
    ],
)
def test_each_fault_has_its_words(line: str, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read_line(line)


def test_a_line_with_two_addresses_and_a_key_is_short() -> None:
    ways = [f"/ip4/192.0.2.7/tcp/4711/p2p/{PEERS[0]}", f"/ip4/10.0.0.7/tcp/4711/p2p/{PEERS[0]}"]
    assert len(Invite.to(bytes(32), "", ways, KEY).line) < 300


def test_nothing_shows_the_key() -> None:
    invite = Invite.to(b"", "ours", [f"/ip4/192.0.2.7/tcp/4711/p2p/{PEERS[0]}"], KEY)
    assert repr(KEY) not in repr(invite) and KEY.hex() not in str(invite)
    with pytest.raises(Malformed) as caught:
        Invite(name="ours", psk=KEY[:-1])
    assert str(KEY[:-1]) not in str(caught.value)


def test_the_meshs_id_is_the_front_of_its_hash() -> None:
    from meshgen.protocols.charter import Lineage

    assert Invite(name="ours").net == Lineage.plain("ours").net
    assert Invite(charter=KEY).net == KEY[:16]


def test_neighbours_know_each_other_by_mesh_and_key() -> None:
    assert neighbours_tag(bytes(16), None) == sha256(b"meshgen/neighbours/v1\0" + bytes(16)).hexdigest()[:10]
    assert neighbours_tag(bytes(16), None) != neighbours_tag(bytes(16), KEY)


# -- multiaddrs


@given(addresses)
def test_an_address_is_the_same_in_bytes_and_in_text(address: str) -> None:
    assert unpack_multiaddr(pack_multiaddr(address)) == address


@given(st.binary(max_size=60))
def test_bytes_are_an_address_in_its_one_form_or_none(data: bytes) -> None:
    try:
        text = unpack_multiaddr(data)
    except Malformed:
        return
    assert pack_multiaddr(text) == data


@given(addresses)
def test_bytes_are_those_of_the_librarys(address: str) -> None:
    from multiaddr import Multiaddr

    assert pack_multiaddr(address) == Multiaddr(address).to_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "ip4/192.0.2.7",
        "/ip4",
        "/ip4/",
        "/ip4/192.0.2",
        "/ip4/192.0.2.07/tcp/1",
        "/ip6/2001:DB8::1/tcp/1",
        "/ip6/fe80::1%eth0/tcp/1",
        "/ip4/192.0.2.7/tcp/01",
        "/ip4/192.0.2.7/tcp/65536",
        "/ip4/192.0.2.7/tcp/-1",
        "/ip4/192.0.2.7/tcp/\u0663",
        "/ip4/192.0.2.7/udp/1",
        "/ip4/192.0.2.7/tcp/1/",
        "/dns/Hub.example.org/tcp/1",
        "/dns/h\u00fcb/tcp/1",
        f"/dns/{'a' * 65}/tcp/1",
        f"/ip4/192.0.2.7/tcp/1/p2p/{PEERS[0]}x",
        "/ip4/192.0.2.7/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="multiaddr"):
        pack_multiaddr(text)


def test_an_address_has_an_end() -> None:
    with pytest.raises(Malformed, match=f"1 to {MAX_MULTIADDR_BYTES} bytes"):
        pack_multiaddr("/ip4/192.0.2.7/tcp/1" * 20)
