"""Private meshes: the cipher against libsodium's, connections in odd pieces, and who gets in with which key."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_secretbox

from meshgen.net.libp2p.psk import HELLO, NONCE_BYTES, AnotherKeyError, KeyedConn, MeshSecurity, xsalsa20
from meshgen.net.port import Unreachable
from tests.net.conftest import Libp2pWorld, echo

KEY, OTHER = b"k" * 32, b"o" * 32


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=24, max_size=24), st.binary(min_size=1, max_size=300))
def test_the_cipher_is_the_one_that_others_have(key: bytes, nonce: bytes, text: bytes) -> None:
    """A secretbox is XSalsa20 from its 33rd byte on, behind a tag of 16."""
    stream = xsalsa20(key, nonce)
    stream.encrypt(bytes(32))
    assert stream.encrypt(text) == crypto_secretbox(text, nonce, key)[16:]


class Pipe:
    """One side of a connection that gives what it has in pieces of ``size``."""

    is_initiator = True

    def __init__(self, size: int = 1 << 16) -> None:
        self.size = size
        self.sent, self.inbox = bytearray(), bytearray()

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += data

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        taken = bytes(self.inbox[: min(n or self.size, self.size)])
        del self.inbox[: len(taken)]
        return taken


@given(st.lists(st.binary(min_size=1, max_size=80), max_size=6), st.integers(1, 40))
def test_what_goes_in_comes_out_in_any_pieces(texts: list[bytes], size: int) -> None:
    async def go() -> None:
        out, back = Pipe(), Pipe(size)
        writer, reader = KeyedConn(out, KEY), KeyedConn(back, KEY)
        for text in texts:
            await writer.write(text)
        back.inbox += out.sent
        found = b""
        while len(found) < len(b"".join(texts)):
            found += await reader.read(7)
        assert found == b"".join(texts)
        assert len(out.sent) == (NONCE_BYTES if texts else 0) + len(found)

    trio.run(go)


async def test_a_cancelled_write_leaves_no_hole_in_the_key_stream() -> None:
    out = Pipe()
    writer = KeyedConn(out, KEY)
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.write(b"never said")
    await writer.write(b"said")
    reader = KeyedConn(Pipe(), KEY)
    reader._conn.inbox += out.sent
    assert await reader.read(4) == b"said"


async def test_each_connection_has_a_nonce_of_its_own() -> None:
    pipes = [Pipe() for _ in range(20)]
    for pipe in pipes:
        await KeyedConn(pipe, KEY).write(b"hello")
    assert (
        len({bytes(pipe.sent[:NONCE_BYTES]) for pipe in pipes}) == len({bytes(pipe.sent[NONCE_BYTES:]) for pipe in pipes}) == 20
    )


@pytest.mark.parametrize(("said", "words"), [(b"", "hung up"), (b"short", "hung up"), (HELLO + b"\x07/noise\n", "without a key")])
async def test_who_has_no_key_is_told_so(said: bytes, words: str) -> None:
    pipe = Pipe()
    pipe.inbox += said
    with pytest.raises(AnotherKeyError, match=words):
        await KeyedConn(pipe, KEY).read(1)


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        MeshSecurity({}, b"short")


# -- over real connections


async def ask(net: Any, other: Any) -> bytes | None:
    async with net.open(other.peer_id, "/echo/1") as channel:
        await channel.send(b"hello", last=True)
        answer: bytes | None = await channel.receive()
        return answer


async def test_those_with_the_key_are_in(libp2p_world: Libp2pWorld) -> None:
    one = await libp2p_world.join(1, psk=KEY)
    two = await libp2p_world.join(2, psk=KEY)
    one.serve("/echo/1", echo)
    assert await ask(two, one) == b"hello"
    assert [link.address for link in two.links()] == [one.addresses()[0].rpartition("/p2p/")[0]]


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        (KEY, OTHER, "speaks another mesh's key, or none"),
        (KEY, None, "speaks (without a key|another mesh's key)|hung up"),
        (None, KEY, "is of a private mesh, whose invite line holds the key"),
    ],
    ids=["another key", "none there", "none here"],
)
async def test_all_others_stay_outside_and_learn_why(
    libp2p_world: Libp2pWorld, here: bytes | None, there: bytes | None, words: str
) -> None:
    member = await libp2p_world.join(1, psk=there)
    with trio.fail_after(8), pytest.raises(Unreachable, match=words) as caught:
        async with libp2p_world.opened(2, {"psk": here}) as stranger:
            await stranger.connect(member.addresses()[0])
    assert KEY.decode() not in str(caught.value) and KEY.hex() not in str(caught.value)
    assert not member.links()
