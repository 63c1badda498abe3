"""Every error of the API has one shape: ``{"error": {"code", "message", "field"?, "hint"?}}``."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from meshgen.gateway.bodies import ModelBody
from meshgen.gateway.bounds import TooLarge
from meshgen.gateway.requests import FormBody, GenerateBody, TextBody

log = logging.getLogger(__name__)


class ApiError(Exception):
    """Ends a request with an error that a person can act on. ``code`` is for programs, ``message`` and ``hint`` for people."""

    def __init__(self, status: int, code: str, message: str, field: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.field, self.hint = status, code, field, hint

    def response(self) -> JSONResponse:
        return error_response(self.status, self.code, str(self), self.field, self.hint)


class Error(BaseModel):
    code: str
    message: str
    field: str = ""
    hint: str = ""


class ErrorAnswer(BaseModel):
    error: Error


ERRORS: dict[int | str, dict[str, Any]] = {code: {"model": ErrorAnswer, "description": "an error"} for code in ("4XX", "5XX")}
"""For the API's description."""


def error_response(
    status: int, code: str, message: str, field: str = "", hint: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    error = {"code": code, "message": message} | ({"field": field} if field else {}) | ({"hint": hint} if hint else {})
    return JSONResponse({"error": error}, status, dict(headers or {}))


def install_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)


async def _api_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, ApiError)
    return error.response()


async def _invalid(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """The first fault of the input. What was sent is not repeated: it may be a prompt."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"] if part not in ("body", "query", "path", "header"))
    if fault["type"] == "json_invalid":
        return error_response(422, "invalid_json", f"the body is not valid JSON: {fault['ctx']['error']}")
    if fault["type"] == "extra_forbidden":
        return error_response(422, "unknown_field", f"there is no field {field!r}", field, _nearest(field))
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    return error_response(422, "invalid", f"{field or 'the body'}: {message}", field)


def _nearest(word: str) -> str:
    known = {name for body in (GenerateBody, TextBody, FormBody, ModelBody) for name in body.model_fields}
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, TooLarge):
        return error_response(413, "too_large", error.detail)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return error_response(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
    return error_response(500, "fault", "the node failed to answer; its log says more", hint="please report it")
