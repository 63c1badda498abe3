"""Errors as AI Horde's clients know them: ``{"message", "rc"}``; for a body that does not fit, ``{"message", "errors"}``."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

INVALID = "Input payload validation failed"


class HordeError(Exception):
    """Ends a request. ``rc`` is AI Horde's return code."""

    def __init__(self, status: int, rc: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.rc, self.headers = status, rc, headers

    def response(self) -> JSONResponse:
        return JSONResponse({"message": str(self), "rc": self.rc}, self.status, dict(self.headers or {}))


def invalid(errors: Mapping[str, str]) -> JSONResponse:
    """``errors`` by dotted names: ``{"params.width": "500 is not a multiple of 64"}``."""
    return JSONResponse({"message": INVALID, "errors": dict(errors)}, 400)
