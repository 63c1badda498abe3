"""How peers meet: the one seam between meshgen and a network.

Two nets implement it: :mod:`meshgen.net.libp2p` (the real one) and :mod:`meshgen.net.memory` (its seeded, virtual-time twin).
Roles know this file alone. Everything is message-oriented: whoever needs chunks sends several messages.

The three ways to reach others, and what each promises:

* a *channel* to one peer: ordered, reliable, encrypted to that peer, fails loudly with :class:`Unreachable`;
* a *topic*: best effort to everyone who subscribed; validated before it is forwarded, so junk stops at the first hop;
* the *directory table* (a DHT): slow, eventually there, possibly stale. Callers verify and judge freshness themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NewType, Protocol

PeerId = NewType("PeerId", str)
"""The text form of a libp2p peer id, e.g. ``12D3KooW...``: an Ed25519 public key, see :func:`meshgen.identity.peer_id`."""

MAX_MESSAGE_BYTES = 1024 * 1024
"""The largest message on a channel. Larger things travel in chunks of :data:`CHUNK_BYTES`."""
CHUNK_BYTES = 256 * 1024
MAX_GOSSIP_BYTES = 64 * 1024
"""The largest gossip message. py-libp2p silently drops what is over 1 MiB; offers and adverts are far smaller."""
MAX_TABLE_VALUE_BYTES = 16 * 1024
MAX_TABLE_KEY_BYTES = 80


class NetError(Exception):
    """What went wrong between this peer and another; the text can be shown to a person."""


class Unreachable(NetError):
    """The peer can't be dialled, refused the protocol, went away or fell silent."""


class TooLarge(NetError):
    """A message is over its limit, here or as announced by the other side."""


class Channel(Protocol):
    """An ordered two-way exchange of messages with one peer, opened for one protocol.

    Leaving the channel's context cleanly ends it on both sides; leaving it by an exception or cancellation resets it, and the
    other side sees :class:`Unreachable`.
    """

    @property
    def peer(self) -> PeerId: ...

    async def send(self, *messages: bytes, last: bool = False) -> None:
        """Send messages of at most MAX_MESSAGE_BYTES each, in one go: a write costs more than what it carries.

        ``last`` says that nothing follows from this side, which saves the write that would say so. Raises Unreachable, TooLarge.
        """

    async def receive(self) -> bytes | None:
        """The next message, or None when the other side ended the channel cleanly. Raises Unreachable, TooLarge."""


@dataclass(frozen=True, slots=True)
class Gossip:
    """One message heard on a topic. ``sender`` is who *published* it (signed by the net), not who forwarded it."""

    topic: str
    sender: PeerId
    data: bytes


@dataclass(frozen=True, slots=True)
class PeerLink:
    """One connected peer, as ``meshgen peers`` shows it. ``relayed`` says that a third peer carries the bytes."""

    peer: PeerId
    address: str
    outbound: bool
    relayed: bool = False
    heard_s: float | None = None
    """When its last bytes came, by trio's clock; None where the net does not tell."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether others can dial this peer, as they told it."""

    state: Literal["unknown", "public", "private"] = "unknown"
    """``public``: others dialled it when asked to. ``private``: they could not, so it is reached through relays."""
    relays: tuple[PeerId, ...] = ()
    """Those that hold a reservation for this peer, and so take circuits to it."""
    observed: tuple[str, ...] = ()
    """IPs (``/ip4/192.0.2.7``) that others see its connections come from; none of this machine alone."""


def about(peer: PeerId, error: Exception) -> str:
    """What went wrong with a peer, for the log: its id stands in it once."""
    text = str(error) or "no answer in time"
    return text if peer in text else f"{peer}: {text}"


ChannelHandler = Callable[[Channel], Awaitable[None]]
"""Serves one incoming channel; when it returns the channel ends. What it raises resets the channel and harms nothing else."""

GossipValidator = Callable[[PeerId, bytes], bool | None]
"""True to accept and forward; None to drop it, as for what is stale or of another mesh; False to drop what no honest peer would
have forwarded, and to put that down to the forwarder. Must be fast and must not raise."""

TableValidator = Callable[[str, bytes], bool]
"""(key, value) -> may this value be stored under this key?"""

TableSelector = Callable[[str, list[bytes]], int]
"""(key, valid values) -> index of the best one (the freshest)."""


@dataclass(frozen=True, slots=True)
class TableRules:
    """What the table may hold: keys ``/<namespace>/...``, values that ``validator`` accepts; ``selector`` picks the best."""

    namespace: str
    validator: TableValidator
    selector: TableSelector


class Net(Protocol):
    """A started network endpoint. Made by ``open_libp2p(...)`` or ``MemoryMesh.join(...)``, each an async context manager that
    owns every task of the endpoint in its own nursery."""

    @property
    def peer_id(self) -> PeerId: ...

    def addresses(self) -> list[str]:
        """The multiaddrs under which others can dial this peer, each ending in ``/p2p/<peer id>``."""

    # -- connections
    async def connect(self, address: str) -> PeerId:
        """Dial a multiaddr, join its routing table. Raises Unreachable, or ValueError for a malformed address."""

    def links(self) -> list[PeerLink]: ...

    async def drop(self, peer: PeerId, for_s: float = 0.0) -> None:
        """Hang up on a peer, and neither dial it nor let it in for so long; 0 hangs up, and no more.

        A longer time that runs already is kept; math.inf lasts until :meth:`pardon`. While it is kept out, what wants to reach it
        raises Unreachable. A peer that is not connected is no error."""

    def pardon(self, peer: PeerId) -> None:
        """Let a peer in again, whether it was dropped or had too many faults. Whoever is in already stays."""

    def blame(self, peer: PeerId, points: float) -> None:
        """Put a fault down to a peer (see :class:`meshgen.net.conduct.Fault`). Who gathers 100 points is dropped for a minute,
        then for two, for four...; points fade by half in 30 s."""

    def thank(self, peer: PeerId, points: float = 1.0) -> None:
        """Remember that a peer did something for this node, such as to keep its part of a job. Who has 3 points is no stranger:
        limits for strangers are not for it, and its connection is let go last. Points fade over hours."""

    def reach(self) -> Reach:
        """Whether others can dial this peer, and which relays it can be reached through."""

    def consult(self, book: Callable[[PeerId], Sequence[str]]) -> None:
        """Where to look for a peer's addresses before the network is asked: what peers say of themselves, signed, say."""

    def watch_reach(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called whenever :meth:`reach` or :meth:`addresses` says something new. It must not block or raise."""

    def relay_among(self, served: Callable[[PeerId], bool], may_carry: Callable[[PeerId], bool]) -> None:
        """Whom this peer is a relay for, and who may be one of its own: all, until it is told. What runs with others ends.

        Told again, those that refused to be a relay of its own are asked again at once."""

    def relayed(self) -> int:
        """Bytes of this peer's own, both ways, that relays have carried since the start."""

    def dialled_through(self) -> Mapping[PeerId, int]:
        """Of these, by relay, those on circuits that this peer dialled itself. One that carried little may be forgotten."""

    def carried(self) -> int:
        """Bytes, both ways, that this peer has carried for others as a relay since the start."""

    # -- channels
    def serve(self, protocol: str, handler: ChannelHandler) -> None:
        """Answer channels opened for ``protocol`` (e.g. ``/meshgen/job/1``). Once per protocol."""

    def open(self, peer: PeerId, protocol: str) -> AbstractAsyncContextManager[Channel]:
        """Open a channel. Streams are kept and reused underneath, so a channel to a known peer costs no handshake.
        Entering raises Unreachable.

        Should a kept stream prove stale before the first answer, what was sent is sent again on a fresh one: rarely, a handler
        sees the beginning of a channel twice, so what must not happen twice carries an id."""

    # -- topics
    def subscribe(self, topic: str, validator: GossipValidator) -> AbstractAsyncContextManager[AsyncIterator[Gossip]]:
        """Hear a topic, others' messages only, until the context is left. A reader that is too slow loses the oldest.
        One subscription a topic: a second raises ValueError."""

    async def publish(self, topic: str, data: bytes) -> None:
        """Gossip to the topic; never fails for lack of listeners. Raises TooLarge."""

    # -- the directory table
    async def provide(self, key: str) -> None:
        """Announce that this peer provides ``key``. Paced underneath (a burst is refused silently by receivers)."""

    async def find_providers(self, key: str, limit: int = 20) -> list[PeerId]: ...

    async def put_value(self, key: str, value: bytes) -> None:
        """Store under ``/<namespace>/...``. Raises TooLarge, or ValueError if the rules refuse it or know a newer one."""

    async def get_value(self, key: str) -> bytes | None:
        """The freshest value that the network knows; the local copy is not trusted. None if nobody has one."""


async def request(net: Net, peer: PeerId, protocol: str, message: bytes) -> bytes:
    """One question, one answer. The caller bounds the time with ``trio.fail_after``. Raises Unreachable, TooLarge."""
    async with net.open(peer, protocol) as channel:
        await channel.send(message, last=True)
        answer = await channel.receive()
    if answer is None:
        raise Unreachable(f"{peer} ended {protocol} without an answer")
    return answer
