"""What AI Horde adds to a 404: the routes that look like what was asked for."""

from __future__ import annotations

import difflib
import re

from starlette.requests import Request

from meshgen.gateway.horde.errors import HordeError

PREFIX = "/api/v2/"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


def not_found(request: Request, what: str, thing_id: str, rc: str = "RequestNotFound") -> HordeError:
    """``what``: "Image Waiting Prompt (Check)"."""
    return HordeError(404, rc, f"{what} with ID '{thing_id[:80]}' not found.{similar(request)}")


def similar(request: Request) -> str:
    path = request.url.path[:200]
    routes = {_PARAMETER.split(route)[0]: route for route in request.app.openapi()["paths"] if route.startswith(PREFIX)}
    close = [_PARAMETER.sub(r"<string:\1>", routes[one]) for one in difflib.get_close_matches(path, routes)]
    return f" You have requested this URI [{path}] but did you mean {' or '.join(close)} ?" if close else ""
