"""A client of the running node's API on the standard library: importing httpx would cost more time than all of this verb."""

from __future__ import annotations

import errno
import http.client
import json
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

from meshgen.cli.awaiting import running_node
from meshgen.cli.faults import Fault, NotRunning, Silent
from meshgen.gateway.process import is_stopped
from meshgen.gateway.runfile import RunInfo, read_run
from meshgen.home import BEGUN_FILE, RESTORING_DIR

__all__ = ["Api", "Event", "NotRunning"]

ANSWER_S = 30.0
"""The node keeps event streams alive every 15 s, and nothing that it is asked takes so long: it hangs."""
SILENT_S = 5.0
"""Whoever waits is told after so long what for."""
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event of a job."""

    id: str
    kind: str
    data: dict[str, Any]


class Api:
    """Each call is one request. Raises NotRunning, or Fault with what the node said."""

    def __init__(self, info: RunInfo, token: str) -> None:
        self.info = info
        parts = urlsplit(info.url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._headers = {"Authorization": f"Bearer {token}"}

    @classmethod
    def of(cls, home: Path, *, wait: bool = True) -> Api:
        """``wait`` for a node that is just starting, and say so."""
        info = running_node(home) if wait else read_run(home)
        if info is None or not info.url:
            made = any((home / name).exists() for name in ("identity.key", BEGUN_FILE, RESTORING_DIR))
            first = "" if made else "make one with `meshgen join LINE` or `meshgen init`, then `meshgen run`"
            raise NotRunning(f"no node runs in {home}", first or "start it with `meshgen run`")
        if not info.alive():
            raise NotRunning(f"the node in {home} was killed (its process {info.pid} is gone)")
        try:
            return cls(info, Path(info.token_file).read_text())
        except OSError as error:
            raise NotRunning(f"{info.token_file} can't be read: {error.strerror}", "use the account that runs the node") from None

    def get(self, path: str, **query: object) -> Any:
        given = {key: value for key, value in query.items() if value not in (None, "")}
        return json.loads(self._ask("GET", f"{path}?{urlencode(given)}" if given else path))

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self._ask("POST", path, body))

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return json.loads(self._ask("PATCH", path, body))

    def delete(self, path: str) -> Any:
        return json.loads(self._ask("DELETE", path))

    def fetch(self, path: str) -> bytes:
        return self._ask("GET", path)

    def events(self, job_id: str, after: str) -> Iterator[Event]:
        """Until the stream ends, which it also does when the node goes or the connection is lost."""
        headers = {"Last-Event-ID": after} if after else {}
        connection, answer = self._open("GET", f"/v1/jobs/{quote(job_id)}/events", None, headers)
        try:
            yield from _parse(answer)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        connection, answer = self._open(method, path, body, {})
        try:
            return answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from None
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_S)
        headers = self._headers | headers | {"Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            self._ensure_not_stopped(connection.sock)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._lost(error) from None
        if answer.status >= 400:
            with closing(connection):
                raise _refused(answer.read())
        return connection, answer

    def _ensure_not_stopped(self, connection: socket.socket) -> None:
        """Returns once the answer begins, or has been waited for long enough to say so. Raises Silent."""
        if select.select([connection], [], [], SILENT_S)[0]:
            return
        pid = self.info.pid
        if is_stopped(pid):
            raise Silent(f"the node's process {pid} is stopped, as by Ctrl-Z", f"let it go on with: kill -CONT {pid}")
        click.echo(f"the node (process {pid}) has not answered for {SILENT_S:.0f} s; still waiting ...", err=True)

    def _lost(self, error: Exception) -> NotRunning:
        if isinstance(error, TimeoutError):
            cure = f"its log tells why; if it stays so, end it with `kill {self.info.pid}` (or kill -9), and start it again"
            return Silent(f"the node at {self.info.url} (process {self.info.pid}) does not answer", cure)
        if isinstance(error, ConnectionRefusedError):
            return NotRunning(f"nothing listens at {self.info.url}")
        if isinstance(error, OSError) and error.errno in _NO_WAY:
            return NotRunning(f"{self.info.url} can't be reached: {error.strerror}", "see that this machine's loopback is up")
        return NotRunning(f"the node at {self.info.url} went away", "see its log; start it with `meshgen run`")


def _refused(answer: bytes) -> Fault:
    try:
        error = json.loads(answer)["error"]
        return Fault(str(error["message"]), str(error.get("hint", "")), code=str(error["code"]))
    except (ValueError, KeyError, TypeError):
        return NotRunning(
            "the answer is not from a meshgen node", "something else listens on its port; stop the node and start it again"
        )


def _parse(lines: Iterable[bytes]) -> Iterator[Event]:
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            found[name] = value
        elif "event" in found:
            yield Event(found.get("id", ""), found["event"], json.loads(found["data"]))
            found = {}
