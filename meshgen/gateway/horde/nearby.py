"""What AI Horde adds to a 404: the routes that look like what was asked for."""

from __future__ import annotations

import difflib
from functools import lru_cache

from starlette.requests import Request

from meshgen.gateway.horde.errors import HordeError

PREFIX = "/api/v2/"
PATHS = (
    *("generate/async", "generate/check/<string:id>", "generate/status/<string:id>", "generate/rate/<string:id>"),
    *("generate/text/async", "generate/text/status/<string:id>", "interrogate/async", "interrogate/status/<string:id>"),
    *("generate/pop", "generate/submit", "generate/text/pop", "generate/text/submit", "interrogate/pop", "interrogate/submit"),
    *("status/heartbeat", "status/performance", "status/news", "status/modes", "status/models"),
    *("status/models/<string:model_name>", "find_user", "users", "users/<string:user_id>", "workers"),
    *("workers/<string:worker_id>", "workers/name/<string:worker_name>", "sharedkeys", "sharedkeys/<string:sharedkey_id>"),
    *("kudos/transfer", "kudos/award", "teams", "teams/<string:team_id>", "styles/image", "styles/text", "collections"),
)
"""Those that a client may have meant, as AI Horde writes them."""
_BARE = {(PREFIX + path).partition("<")[0]: PREFIX + path for path in PATHS}


def not_found(request: Request, what: str, thing_id: str, rc: str = "RequestNotFound", by: str = "ID") -> HordeError:
    """``what``: "Image Waiting Prompt (Check)"."""
    return HordeError(404, rc, f"{what} with {by} '{thing_id[:80]}' not found.{similar(request.url.path[:200])}")


@lru_cache(maxsize=256)
def similar(path: str) -> str:
    """ "" where nothing looks like it."""
    close = [_BARE[one] for one in difflib.get_close_matches(path, _BARE)]
    return f" You have requested this URI [{path}] but did you mean {' or '.join(close)} ?" if close else ""
