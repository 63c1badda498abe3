"""HTTP to addresses that strangers name: pictures that are fetched, webhooks that are called.

The node stands where no stranger does: behind its owner's router, beside his other machines. So it speaks to nothing but the
public internet. A name is resolved once, every address that it has must be public, and the connection goes to one of the very
addresses that were looked at. Where a picture is redirected to is looked at in the same way.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import SplitResult, urljoin, urlsplit

import h11
import trio

from meshgen.protocols.order import MAX_INPUT_BYTES

TIMEOUT_S = 15.0
MAX_REDIRECTS = 3
MAX_URL = 4096
PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)
CHUNK = 64 * 1024
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) -> its addresses."""
Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""(address, port) -> a connection."""


class FetchError(ValueError):
    """Nothing came back; the text says why, and holds nothing of the URL."""


async def resolve_name(host: str, port: int) -> list[str]:
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


async def connect_to(address: str, port: int) -> trio.abc.Stream:
    return await trio.open_tcp_stream(address, port)


async def fetch_picture(url: str, *, resolve: Resolve = resolve_name, connect: Connect = connect_to) -> bytes:
    """The file behind a URL; whether it is a picture is for others to say. Raises FetchError."""
    try:
        with trio.fail_after(TIMEOUT_S):
            for _ in range(1 + MAX_REDIRECTS):
                answer = await exchange(Call("GET", url), resolve=resolve, connect=connect)
                if answer.status not in REDIRECTS:
                    return _file(answer)
                url = _next(url, answer.location)
    except trio.TooSlowError:
        raise FetchError(f"it did not arrive within {TIMEOUT_S:g} seconds") from None
    raise FetchError(f"it is redirected more than {MAX_REDIRECTS} times")


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    url: str = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    location: str = field(repr=False)
    body: bytes = field(repr=False)


def _file(answer: Reply) -> bytes:
    if answer.status != 200:
        raise FetchError(f"the other side answered {answer.status}")
    return answer.body


def _next(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise FetchError("it is redirected to what is no URL") from None


async def exchange(call: Call, *, resolve: Resolve, connect: Connect) -> Reply:
    """One request, one answer of at most 16 MiB, no redirects. Raises FetchError."""
    url, port = _checked(call.url)
    host = cast(str, url.hostname)
    address = await _public_address(host, port, resolve)
    try:
        stream = await connect(address, port)
        if url.scheme == "https":
            stream = trio.SSLStream(stream, ssl.create_default_context(), server_hostname=host, https_compatible=True)
        async with stream:
            return await _spoken(stream, call, url)
    except (OSError, UnicodeError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise FetchError(f"the connection failed ({type(error).__name__})") from None


def _checked(text: str) -> tuple[SplitResult, int]:
    if len(text) > MAX_URL or not text.isascii() or any(char <= " " for char in text):
        raise FetchError(f"a URL has at most {MAX_URL} characters of ASCII, and no spaces")
    try:
        url = urlsplit(text)
        port = url.port or PORTS.get(url.scheme, 0)
    except ValueError:
        raise FetchError("it is no URL") from None
    if url.scheme not in PORTS or not url.hostname or url.hostname.startswith("."):
        raise FetchError("it is no http or https URL")
    if url.username is not None or url.password is not None:
        raise FetchError("a URL with a name or password in it is not followed")
    if port not in PORTS.values():
        raise FetchError("only the ports 80 and 443 are spoken to")
    return url, port


async def _public_address(host: str, port: int, resolve: Resolve) -> str:
    try:
        found = await resolve(host, port)
    except (OSError, UnicodeError):
        raise FetchError("its host is not known") from None
    if not found or not all(is_public(address) for address in found):
        raise FetchError("its host is not on the public internet")
    return found[0]


def is_public(text: str) -> bool:
    """May a stranger have this node speak to that IP address?"""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return all(_is_public(form) for form in _unfolded(address))


def _unfolded(address: IP) -> list[IP]:
    """The address and the IPv4 addresses that are reached by it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    within: list[IP | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        within.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    inner = [form for form in within if form is not None]
    return inner if address in NAT64 or address.ipv4_mapped else [address, *inner]


def _is_public(address: IP) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.scope_id):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def _spoken(stream: trio.abc.Stream, call: Call, url: SplitResult) -> Reply:
    talk = h11.Connection(h11.CLIENT)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = {"Host": url.netloc, "User-Agent": "meshgen", "Accept-Encoding": "identity", "Connection": "close"}
    if call.body:
        headers["Content-Length"] = str(len(call.body))
    try:
        request = h11.Request(method=call.method, target=target, headers=list((headers | dict(call.headers)).items()))
        sent = [talk.send(event) for event in (request, h11.Data(data=call.body), h11.EndOfMessage())]
    except h11.LocalProtocolError:
        raise FetchError("it is no URL") from None
    await stream.send_all(b"".join(part for part in sent if part))
    return await _heard(stream, talk)


async def _heard(stream: trio.abc.Stream, talk: h11.Connection) -> Reply:
    parts: list[bytes] = []
    size, status, location = 0, 0, ""
    while True:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            talk.receive_data(bytes(await stream.receive_some(CHUNK)))
        elif isinstance(event, h11.Response):
            status, location = event.status_code, _header(event, b"location")
            if _header(event, b"content-encoding") not in ("", "identity"):
                raise FetchError("it comes compressed, which is not undone here")
        elif isinstance(event, h11.Data):
            parts.append(bytes(event.data))
            size += len(event.data)
            if size > MAX_INPUT_BYTES:
                raise FetchError(f"it has more than {MAX_INPUT_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return Reply(status, location, b"".join(parts))


def _header(response: h11.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key == name), "")
