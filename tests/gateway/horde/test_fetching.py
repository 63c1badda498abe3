"""What strangers name on the web is fetched from public addresses alone."""

from __future__ import annotations

import contextlib
import datetime
import ssl
import tempfile
from collections.abc import Sequence

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from meshgen.gateway.horde import fetching
from meshgen.gateway.horde.fetching import Call, FetchError, exchange, fetch_picture, is_public

PUBLIC = "93.184.215.14"


class Web:
    """Hosts by their addresses; ``answers`` one a connection."""

    def __init__(self, *answers: bytes, **hosts: Sequence[str]) -> None:
        self.hosts = {name.replace("_", "."): list(addresses) for name, addresses in hosts.items()}
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.connected: list[tuple[str, int]] = []
        self.resolved: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        if host not in self.hosts:
            raise OSError("no such host")
        return self.hosts[host]

    async def connect(self, address: str, port: int) -> trio.abc.Stream:
        self.connected.append((address, port))
        here, there = trio.testing.memory_stream_pair()
        answer = self.answers.pop(0)

        async def serve() -> None:
            self.asked.append(bytes(await there.receive_some(65536)))
            await there.send_all(answer)
            await there.send_eof()

        trio.lowlevel.spawn_system_task(serve)
        return here

    async def fetch(self, url: str) -> bytes:
        return await fetch_picture(url, resolve=self.resolve, connect=self.connect)


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def moved(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


async def test_a_picture_from_the_public_web() -> None:
    web = Web(ok(b"a picture"), a_example=[PUBLIC])
    assert await web.fetch("http://a.example/x.png?y=1") == b"a picture"
    assert web.connected == [(PUBLIC, 80)] and web.resolved == ["a.example"]
    assert web.asked[0].startswith(b"GET /x.png?y=1 HTTP/1.1\r\nHost: a.example\r\n")
    assert b"Accept-Encoding: identity" in web.asked[0]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *(
            "240.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fe80::1%eth0",
            "fc00::1",
            "ff02::1",
        ),
        *("fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::", "2002:a00:1::1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001:0:a00:1::", "not an address", ""),
    ],
)
async def test_addresses_that_are_not_public_are_not_spoken_to(address: str) -> None:
    assert not is_public(address)
    web = Web(a_example=[address], b_example=[PUBLIC, address])
    for host in ("a.example", "b.example"):
        with pytest.raises(FetchError, match="not on the public internet"):
            await web.fetch(f"http://{host}/")
    assert web.connected == []


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700:4700::1111", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "ftp://a.example/",
            "gopher://a.example/",
            "http://",
            "http:///x",
            "//a.example/",
            "http://[::1/",
        ),
        *("http://a.example:22/", "http://a.example:8080/", "http://a.example:99999/", "http://me:secret@a.example/"),
        *("http://a.example/ x", "http://a.example/\r\nHost: b", "http://a.example/\x00", "http://ä.example/"),
        "http://a.example/" + "x" * 5000,
    ],
)
async def test_urls_that_are_not_followed(url: str) -> None:
    web = Web(a_example=[PUBLIC])
    with pytest.raises(FetchError) as refused:
        await web.fetch(url)
    assert web.connected == [] and "secret" not in str(refused.value) and "a.example" not in str(refused.value)


@pytest.mark.parametrize("location", ["http://[bad/", "http://[::1", "//[", "http://.a.example/", "ftp://a.example/", "\xe4://"])
async def test_redirects_to_nonsense(location: str) -> None:
    web = Web(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"), a_example=[PUBLIC])
    with pytest.raises(FetchError):
        await web.fetch("http://a.example/")
    assert len(web.connected) == 1


async def test_a_name_is_resolved_once_and_its_checked_address_connected_to() -> None:
    """A name that points elsewhere at the second look (DNS rebinding) gains nothing: there is none."""
    web = Web(ok(b"x"), a_example=[PUBLIC])
    first = web.resolve

    async def rebinding(host: str, port: int) -> list[str]:
        found = await first(host, port)
        web.hosts[host] = ["127.0.0.1"]
        return found

    assert await fetch_picture("http://a.example/", resolve=rebinding, connect=web.connect) == b"x"
    assert web.connected == [(PUBLIC, 80)]


async def test_every_redirect_is_checked_again() -> None:
    web = Web(moved("http://b.example/y"), moved("/z"), ok(b"x"), a_example=[PUBLIC], b_example=["1.1.1.1"])
    assert await web.fetch("http://a.example/") == b"x"
    assert [place for place, _ in web.connected] == [PUBLIC, "1.1.1.1", "1.1.1.1"]

    inside = Web(moved("http://inner.example/"), a_example=[PUBLIC], inner_example=["192.168.0.1"])
    with pytest.raises(FetchError, match="public internet"):
        await inside.fetch("http://a.example/")
    for target in ("file:///etc/passwd", "http://a.example:22/"):
        with pytest.raises(FetchError):
            await Web(moved(target), a_example=[PUBLIC]).fetch("http://a.example/")
    with pytest.raises(FetchError, match="more than 3 times"):
        await Web(*[moved("/")] * 4, a_example=[PUBLIC]).fetch("http://a.example/")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "connection failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "connection failed"),
        (b"", "connection failed"),
        (ok(b"x", "Content-Encoding: gzip"), "compressed"),
    ],
)
async def test_answers_that_are_no_file(answer: bytes, why: str) -> None:
    with pytest.raises(FetchError, match=why):
        await Web(answer, a_example=[PUBLIC]).fetch("http://a.example/")


async def test_a_file_that_is_too_large_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_INPUT_BYTES", 100)
    assert len(await Web(ok(bytes(100)), a_example=[PUBLIC]).fetch("http://a.example/")) == 100
    with pytest.raises(FetchError, match="more than 100 bytes"):
        await Web(ok(bytes(101)), a_example=[PUBLIC]).fetch("http://a.example/")


async def test_a_server_that_dawdles_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async def sleepy(host: str, port: int) -> list[str]:
        await trio.sleep(60)
        return [PUBLIC]

    with pytest.raises(FetchError, match="within 15 seconds"):
        await fetch_picture("http://a.example/", resolve=sleepy)


async def test_a_call_carries_its_body_and_no_foreign_headers() -> None:
    web = Web(b"HTTP/1.1 204 No Content\r\n\r\n", a_example=[PUBLIC])
    call = Call("POST", "http://a.example/hook", b'{"a": 1}', {"Content-Type": "application/json"})
    assert (await exchange(call, resolve=web.resolve, connect=web.connect)).status == 204
    assert web.asked[0].endswith(b'\r\n\r\n{"a": 1}') and b"Content-Length: 8\r\n" in web.asked[0]


def self_signed(name: str) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS with a certificate that nobody vouches for, and the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(called).issuer_name(called).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(key, hashes.SHA256())
    public = signed.public_bytes(Encoding.PEM)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + public)
        file.flush()
        context.load_cert_chain(file.name)
    return context, public.decode()


@pytest.mark.parametrize("trusted", [True, False])
async def test_https_needs_a_certificate_that_somebody_vouches_for(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    context, certificate = self_signed("a.example")
    ours = ssl.create_default_context(cadata=certificate if trusted else None)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ours)

    async def connect(address: str, port: int) -> trio.abc.Stream:
        here, there = trio.testing.memory_stream_pair()
        assert (address, port) == (PUBLIC, 443)

        async def serve() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                server = trio.SSLStream(there, context, server_side=True)
                await server.receive_some(65536)
                await server.send_all(ok(b"a picture"))

        nursery.start_soon(serve)
        return here

    fetch = fetch_picture("https://a.example/", resolve=Web(a_example=[PUBLIC]).resolve, connect=connect)
    if trusted:
        assert await fetch == b"a picture"
    else:
        with pytest.raises(FetchError, match="the connection failed"):
            await fetch
    nursery.cancel_scope.cancel()
