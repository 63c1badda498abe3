"""The routes that a 404 names."""

from __future__ import annotations

import pytest

from meshgen.gateway.app import make_app
from meshgen.gateway.horde.nearby import PATHS, PREFIX, similar
from tests.gateway.fake_node import FakeNode


def test_every_route_that_is_named_is_there() -> None:
    served = {path.replace("{", "<string:").replace("}", ">") for path in make_app(FakeNode(), "a-token").openapi()["paths"]}
    assert {PREFIX + path for path in PATHS} <= served


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (
            "generate/status/garbage",
            ["generate/status/<string:id>", "generate/text/status/<string:id>", "interrogate/status/<string:id>"],
        ),
        ("generate/async", ["generate/async", "generate/text/async", "interrogate/async"]),
        ("find_user", ["find_user", "users", "users/<string:user_id>"]),
        ("users/999999", ["users/<string:user_id>", "users", "workers/<string:worker_id>"]),
        ("generate/check/00000000-0000-0000-0000-000000000000", []),
        ("workers/00000000-0000-0000-0000-000000000000", []),
    ],
)
def test_the_routes_that_ai_horde_names(path: str, named: list[str]) -> None:
    text = similar(PREFIX + path)
    words = " or ".join(PREFIX + one for one in named)
    assert text == (f" You have requested this URI [{PREFIX}{path}] but did you mean {words} ?" if named else "")
