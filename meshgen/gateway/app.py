"""The local HTTP API as an ASGI application.

Its description is at /openapi.json. There is no /docs page: FastAPI's own loads scripts from the web, and this one works offline.
"""

from __future__ import annotations

from fastapi import FastAPI

from meshgen import __version__
from meshgen.gateway.accounts import account_routes
from meshgen.gateway.credit import credit_routes
from meshgen.gateway.errors import install_handlers
from meshgen.gateway.face import NodeFace
from meshgen.gateway.guard import Guard
from meshgen.gateway.jobs import job_routes
from meshgen.gateway.mesh import mesh_routes
from meshgen.gateway.worker import worker_routes


def make_app(node: NodeFace, token: str) -> FastAPI:
    app = FastAPI(title="meshgen", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(job_routes(node))
    app.include_router(mesh_routes(node))
    app.include_router(credit_routes(node))
    app.include_router(account_routes(node))
    app.include_router(worker_routes(node))
    install_handlers(app)
    app.add_middleware(Guard, token=token)
    return app
