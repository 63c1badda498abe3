"""The local HTTP API as an ASGI application.

Its description is at /openapi.json. People read it at /docs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from fastapi import FastAPI

from meshgen import __version__
from meshgen.gateway.accounts import account_routes
from meshgen.gateway.community import community_routes
from meshgen.gateway.credit import credit_routes
from meshgen.gateway.docs import docs_routes
from meshgen.gateway.door import Door
from meshgen.gateway.errors import ERRORS, install_handlers
from meshgen.gateway.face import NodeFace
from meshgen.gateway.guard import Guard
from meshgen.gateway.horde.asking import asking_routes
from meshgen.gateway.horde.desk import Desk
from meshgen.gateway.horde.faults import HORDE_ERRORS, install_horde_handlers
from meshgen.gateway.horde.popping import popping_routes
from meshgen.gateway.horde.reading import reading_routes
from meshgen.gateway.hot import Hot
from meshgen.gateway.jobs import job_routes
from meshgen.gateway.keys import KeyRing
from meshgen.gateway.limits import Limiter
from meshgen.gateway.mesh import mesh_routes
from meshgen.gateway.metrics import Lag, metrics_routes
from meshgen.gateway.openai import openai_routes
from meshgen.gateway.origin import is_loopback
from meshgen.gateway.pages import page_routes
from meshgen.gateway.session import Sessions, session_routes
from meshgen.gateway.settings import settings_routes
from meshgen.gateway.sharing import sharing_routes
from meshgen.gateway.worker import worker_routes
from meshgen.settings import ApiSettings

LOCAL = ApiSettings()
UNWATCHED: Any = {"tracing": False, "metrics": False, "logs": False}
"""Nobody collects traces of this API; without that being said each request looks for somebody who does."""


def make_app(
    node: NodeFace,
    token: str,
    *,
    home: Path | None = None,
    api: ApiSettings = LOCAL,
    background: trio.Nursery | None = None,
    lag: Lag | None = None,
) -> FastAPI:
    """``home`` None keeps keys in memory. Tasks that outlive a request run in ``background``. Raises KeyRingError."""
    keys = KeyRing(home, anonymous=api.anonymous)
    sessions = Sessions(keys.owner_key)
    desk = Desk(keys, background)
    keys.pending = desk.pending
    app = FastAPI(title="meshgen", version=__version__, docs_url=None, redoc_url=None, responses=ERRORS, telemetry=UNWATCHED)
    for routes in asking_routes(node, keys, desk):  # first, as what is asked for most is found by trying one after the other
        app.include_router(routes, responses=HORDE_ERRORS)
    app.include_router(job_routes(node))
    app.include_router(mesh_routes(node))
    app.include_router(community_routes(node))
    app.include_router(metrics_routes(node, lag or Lag()))
    app.include_router(credit_routes(node))
    app.include_router(account_routes(node))
    app.include_router(worker_routes(node))
    app.include_router(settings_routes(node))
    app.include_router(openai_routes(node, keys, desk))
    app.include_router(docs_routes())
    app.include_router(session_routes(keys, sessions))
    app.include_router(sharing_routes(keys))
    for routes in (popping_routes(node, keys), *reading_routes(node, keys, desk)):
        app.include_router(routes, responses=HORDE_ERRORS)
    app.include_router(page_routes())
    install_handlers(app)
    install_horde_handlers(app)
    lan = not is_loopback(api.host) and api.host != "localhost"
    names = frozenset(name.lower() for name in api.names)
    app.add_middleware(Hot, looks=desk.looks)
    app.add_middleware(Guard, door=Door(token, keys, sessions, Limiter(api.requests_per_minute), names, lan, api.metrics))
    return app
