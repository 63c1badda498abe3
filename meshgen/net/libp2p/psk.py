"""A private mesh: every byte of a connection under a key that its members share, as go-libp2p and js-libp2p have it.

``/key/swarm/psk/1.0.0/``: each side sends a nonce of 24 bytes, then all else XORed with XSalsa20 of key and nonce, below Noise.
py-libp2p 0.8's own takes Salsa20 with 8 bytes instead, which no other libp2p understands; it loses its place in the key stream
when a write is cancelled, a nonce that arrives in two pieces ends it, and it has no addresses. So it is done here.
"""

from __future__ import annotations

import os
from struct import pack, unpack
from typing import Any

import trio
from Crypto.Cipher import Salsa20
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from libp2p.abc import IRawConnection
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.security.security_multistream import SecurityMultistream

KEY_BYTES = 32
NONCE_BYTES = 24
HELLO = b"\x13/multistream/1.0.0\n"
"""The first that either side says on any connection. Whatever else comes is said under another key."""
HUNG_UP = "the node there hung up without a word: it may speak another mesh's key, or none"

_CONSTANT = unpack("<4I", b"expand 32-byte k")
_MASK = 0xFFFFFFFF
_AES, _NO_NONCE = AESGCM(bytes(16)), bytes(12)
LARGE_BYTES = 4096


class AnotherKeyError(IOException):  # type: ignore[misc]
    """The node there does not speak this mesh's key; the text can be shown to a person."""


class MeshSecurity(SecurityMultistream):  # type: ignore[misc]
    """Agrees on Noise; under the mesh's key if there is one. Says what is wrong where two keys meet."""

    def __init__(self, transports: Any, psk: bytes | None) -> None:
        super().__init__(transports)
        if psk is not None and len(psk) != KEY_BYTES:
            raise ValueError(f"a mesh's key has {KEY_BYTES} bytes")
        self._psk = psk

    async def secure_inbound(self, conn: Any) -> Any:
        return await super().secure_inbound(self._protected(conn))

    async def secure_outbound(self, conn: Any, peer_id: Any) -> Any:
        return await super().secure_outbound(self._protected(conn), peer_id)

    async def select_transport_and_protocol(self, conn: Any, is_initiator: bool) -> Any:
        return await super().select_transport_and_protocol(_Greeting(conn), is_initiator)

    def _protected(self, conn: Any) -> Any:
        return conn if self._psk is None else KeyedConn(conn, self._psk)


class _Delegate(IRawConnection):  # type: ignore[misc]
    """A connection around another one."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self.is_initiator = conn.is_initiator

    async def read(self, n: int | None = None) -> bytes:
        return await self._conn.read(n)  # type: ignore[no-any-return]

    async def write(self, data: bytes) -> None:
        await self._conn.write(data)

    async def close(self) -> None:
        await self._conn.close()

    def get_remote_address(self) -> Any:
        return self._conn.get_remote_address()

    def get_transport_addresses(self) -> Any:
        return self._conn.get_transport_addresses()

    def get_connection_type(self) -> Any:
        return self._conn.get_connection_type()


class KeyedConn(_Delegate):
    """Both directions under the key."""

    def __init__(self, conn: Any, psk: bytes) -> None:
        super().__init__(conn)
        self._psk = psk
        self._incoming: Any = None
        self._outgoing: Any = None
        self._writing = trio.Lock()

    async def write(self, data: bytes) -> None:
        async with self._writing:  # what waits for its turn is not encrypted yet, so it may be cancelled
            nonce = b""
            if self._outgoing is None:
                nonce = os.urandom(NONCE_BYTES)
                self._outgoing = xsalsa20(self._psk, nonce)
            _clear_registers(data)
            await self._conn.write(nonce + self._outgoing.encrypt(data))

    async def read(self, n: int | None = None) -> bytes:
        if self._incoming is None:
            self._incoming = xsalsa20(self._psk, await self._nonce())
        data = await self._conn.read(n)
        _clear_registers(data)
        return self._incoming.decrypt(data)  # type: ignore[no-any-return]

    async def _nonce(self) -> bytes:
        nonce = b""
        while len(nonce) < NONCE_BYTES:
            nonce += (piece := await self._conn.read(NONCE_BYTES - len(nonce)))
            if nonce.startswith(HELLO):
                raise AnotherKeyError("the node there speaks without a key, and this mesh is private")
            if not piece:
                raise AnotherKeyError(HUNG_UP)
        return nonce


def _clear_registers(data: bytes) -> None:
    """Before a large piece. OpenSSL's ChaCha20, which Noise uses, leaves the AVX-512 registers in a state in which this cipher's
    SSE code runs at a quarter of its speed; OpenSSL's AES clears them, which takes a microsecond."""
    if len(data) > LARGE_BYTES:
        _AES.encrypt(_NO_NONCE, b"", None)


class _Greeting(_Delegate):
    """Refuses, at the first wrong byte, to go on with who does not say HELLO."""

    def __init__(self, conn: Any) -> None:
        super().__init__(conn)
        self._awaited = HELLO

    async def read(self, n: int | None = None) -> bytes:
        data = await self._heard(n)
        said = data[: len(self._awaited)]
        if not self._awaited.startswith(said):
            raise AnotherKeyError(self._words())
        self._awaited = self._awaited[len(said) :]
        return data

    async def _heard(self, n: int | None) -> bytes:
        """Most who can't read what they hear hang up before they say anything."""
        try:
            return await super().read(n)
        except ConnectionClosedError:
            if self._awaited and self._is_keyed:
                raise AnotherKeyError(HUNG_UP) from None
            raise

    @property
    def _is_keyed(self) -> bool:
        return isinstance(self._conn, KeyedConn)

    def _words(self) -> str:
        if self._is_keyed:
            return "the node there speaks another mesh's key, or none"
        return "the node there is of a private mesh, whose invite line holds the key, or it is no node at all"


def xsalsa20(key: bytes, nonce: bytes) -> Any:
    """The stream cipher for a key of 32 bytes and a nonce of 24."""
    return Salsa20.new(_hsalsa20(key, nonce[:16]), nonce[16:])


def _hsalsa20(key: bytes, nonce: bytes) -> bytes:
    """The key of 32 bytes that stands for ``key`` and the first 16 bytes of a nonce. Once a connection and direction."""
    k, (c0, c1, c2, c3) = unpack("<8I", key), _CONSTANT
    x = [c0, *k[:4], c1, *unpack("<4I", nonce), c2, *k[4:], c3]
    for _ in range(10):
        for column in range(4):
            _quarter(x, *((column + 4 * row + 4 * column) % 16 for row in range(4)))
        for row in range(4):
            _quarter(x, *(4 * row + (row + column) % 4 for column in range(4)))
    return pack("<8I", *(x[place] for place in (0, 5, 10, 15, 6, 7, 8, 9)))


def _quarter(x: list[int], a: int, b: int, c: int, d: int) -> None:
    for into, one, other, turn in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
        total = (x[one] + x[other]) & _MASK
        x[into] ^= (total << turn | total >> (32 - turn)) & _MASK
