"""Telling others' servers what was made: a POST for each generation, as AI Horde sends it, to public addresses alone."""

from __future__ import annotations

import json
import logging
from typing import Any

import trio

from meshgen.gateway.horde.fetching import Call, Connect, FetchError, Resolve, connect_to, exchange, resolve_name

log = logging.getLogger(__name__)

TRIES = 3
TRY_S = 5.0
GAP_S = 5.0
"""Between two tries; twice as long before the third."""
MAX_CALLS = 8
"""At the same time: a slow server takes no more of the node than that."""


class Webhooks:
    """Each call is tried a few times, then forgotten."""

    def __init__(self, *, resolve: Resolve = resolve_name, connect: Connect = connect_to) -> None:
        self._resolve, self._connect = resolve, connect
        self._places = trio.CapacityLimiter(MAX_CALLS)

    async def tell(self, url: str, generation: dict[str, Any]) -> bool:
        """Did the other side take it?"""
        call = Call("POST", url, json.dumps(generation).encode(), {"Content-Type": "application/json"})
        for tried in range(1, TRIES + 1):
            async with self._places:
                why = await self._try(call)
            if not why:
                return True
            log.info("a webhook failed, %d of %d: %s", tried, TRIES, why)
            if tried < TRIES:
                await trio.sleep(GAP_S * tried)
        return False

    async def _try(self, call: Call) -> str:
        """Why it failed; "" if it did not."""
        try:
            with trio.fail_after(TRY_S):
                answer = await exchange(call, resolve=self._resolve, connect=self._connect)
        except trio.TooSlowError:
            return "no answer in time"
        except FetchError as error:
            return str(error)
        return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"
