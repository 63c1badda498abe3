"""Requests that may carry pictures: read and checked in a thread, so that nobody else waits, and kept in memory once."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import trio
from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.responses import Response

LARGE = 256 * 1024
"""Bytes. Less is read at once: a thread takes longer to begin."""


class LargeRoute(APIRoute):
    """``APIRouter(route_class=LargeRoute)``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler
        kind = self.body_field.field_info.annotation
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None

        async def handle(request: Request) -> Response:
            return await handler(LargeRequest(request, model))

        return handle


class LargeRequest(Request):
    """FastAPI holds on to what ``body`` gives until the answer is there, so it is given a token in place of what is large."""

    def __init__(self, request: Request, model: type[BaseModel] | None) -> None:
        super().__init__(request.scope, request.receive)
        self._model = model
        self._large = b""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            text = await super().body()
            if len(text) >= LARGE:
                self._large, self._body = text, b"(large)"
        return self._body

    async def json(self) -> Any:
        """A model, or the plain values that do not fit into one: FastAPI says why. Raises JSONDecodeError."""
        await self.body()
        return await trio.to_thread.run_sync(self._read) if self._large else await super().json()

    def _read(self) -> Any:
        try:
            values = from_json(self._large)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None
        self._large = b""
        try:
            return self._model.model_validate(values) if self._model else values
        except ValidationError:
            return values
