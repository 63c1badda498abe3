"""What ends a request under ``/api/v2``, as AI Horde's clients know it; everywhere else nothing changes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from meshgen.gateway.horde.bodies import horde_faults
from meshgen.gateway.horde.errors import HordeError, invalid

log = logging.getLogger(__name__)

PREFIX = "/api/v2"
NOT_JSON = "The browser (or proxy) sent a request that this server could not understand."

Handler = Callable[[Request, Exception], Awaitable[Response]]


class Fault(BaseModel):
    message: str
    rc: str = ""
    errors: dict[str, str] = {}


HORDE_ERRORS: dict[int | str, dict[str, Any]] = {code: {"model": Fault, "description": "an error"} for code in ("4XX", "5XX")}
"""For the API's description."""


class InvalidInput(Exception):
    """``errors`` by dotted names, all of them: ``{"params.width": "500 is not a multiple of 64"}``."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("input payload validation failed")
        self.errors = errors


def install_horde_handlers(app: FastAPI) -> None:
    """After the handlers of the rest, which go on to answer for all other paths."""
    app.add_exception_handler(HordeError, _horde_error)
    app.add_exception_handler(InvalidInput, _invalid_input)
    for kind, handler in ((RequestValidationError, _invalid), (HTTPException, _http_error), (Exception, _fault)):
        app.add_exception_handler(kind, _under_prefix(handler, app.exception_handlers[kind]))


def _under_prefix(handler: Handler, elsewhere: Callable[[Request, Any], Any]) -> Handler:
    async def by_path(request: Request, error: Exception) -> Response:
        answer: Response = await (handler if request.url.path.startswith(PREFIX) else elsewhere)(request, error)
        return answer

    return by_path


async def _horde_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, HordeError)
    return error.response()


async def _invalid_input(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, InvalidInput)
    return invalid(error.errors)


async def _invalid(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return JSONResponse({"message": NOT_JSON}, 400)
    return invalid(horde_faults(faults))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    rc = "NotFound" if error.status_code == 404 else "BadRequest"
    message = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse({"message": message, "rc": rc}, error.status_code, error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
    return JSONResponse({"message": "The node failed to answer; its log says more.", "rc": "BadRequest"}, 500)
