"""The gateway in a running node: Hypercorn on trio."""

from __future__ import annotations

import errno
import logging
import os
import socket
from pathlib import Path

import trio
from fastapi import FastAPI
from hypercorn.config import Config

from meshgen.gateway.app import make_app
from meshgen.gateway.face import NodeFace
from meshgen.gateway.http import serve_http
from meshgen.gateway.keys import KeyRingError
from meshgen.gateway.metrics import Lag
from meshgen.gateway.runfile import RunInfo, make_token, remove_run, write_run
from meshgen.home import TOKEN_FILE
from meshgen.settings import ApiSettings, Settings

GRACE_S = 1.0
"""How long answers under way may take when the node stops."""

IDLE_S = 30.0
"""How long a connection is kept for the next request: there are clients that ask every ten seconds."""


class GatewayError(Exception):
    """The API can't be served; the text says why and what to do."""


async def serve_gateway(
    node: NodeFace, settings: Settings, home: Path, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled. Reports the URL once clients can connect. Raises GatewayError."""
    listener = _bind(settings.api)
    token = make_token(home)
    try:
        async with trio.open_nursery() as nursery:
            lag = Lag()
            nursery.start_soon(lag.watch)
            app = _app(node, token, home, settings.api, nursery, lag)
            await nursery.start(serve_http, app, _config(), listener)
            url = _reachable(listener)
            write_run(home, RunInfo.own(url, str(home / TOKEN_FILE), settings.requester.pictures_dir))
            task_status.started(url)
    finally:
        remove_run(home, os.getpid())
        (home / TOKEN_FILE).unlink(missing_ok=True)


def _app(node: NodeFace, token: str, home: Path, api: ApiSettings, background: trio.Nursery, lag: Lag) -> FastAPI:
    try:
        return make_app(node, token, home=home, api=api, background=background, lag=lag)
    except KeyRingError as error:
        raise GatewayError(str(error)) from None


def _reachable(listener: socket.socket) -> str:
    """Any address is no address to connect to."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind(api: ApiSettings) -> socket.socket:
    """Bound here rather than by Hypercorn, so that a taken port is explained and not one of a group of exceptions."""
    listener = socket.socket(socket.AF_INET6 if ":" in api.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((api.host, api.port))
    except OSError as error:
        listener.close()
        raise _explained(api, error) from None
    return listener


def _without_trace(record: logging.LogRecord) -> bool:
    """Hypercorn logs a failed request with its error's text, which may quote what a person asked for."""
    record.exc_info = record.exc_text = None
    return True


def _config() -> Config:
    config = Config()
    config.errorlog = logging.getLogger("meshgen.gateway.http")
    config.errorlog.addFilter(_without_trace)
    config.errorlog.setLevel(logging.WARNING)  # the node itself says where its API is
    config.accesslog = None
    config.graceful_timeout = GRACE_S
    config.keep_alive_timeout = IDLE_S
    config.include_server_header = False
    return config


def _explained(api: ApiSettings, error: OSError) -> GatewayError:
    if error.errno == errno.EADDRINUSE:
        return GatewayError(f"port {api.port} of {api.host} is taken; set api.port to another one, or to 0 for any free one")
    if error.errno == errno.EADDRNOTAVAIL:
        return GatewayError(
            f"this machine has no address {api.host}; set api.host to one of its own, or to 127.0.0.1 for itself alone"
        )
    return GatewayError(f"the API can't listen on {api.host} port {api.port}: {error.strerror or error}")
