"""Weights in prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.engine.diffusion.emphasis import LIMIT, Fragment, fragments


def said(prompt: str) -> list[tuple[str, float]]:
    return [(fragment.text, round(fragment.weight, 4)) for fragment in fragments(prompt)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("a red circle", [("a red circle", 1)]),
        ("a (red) circle", [("a ", 1), ("red", 1.1), (" circle", 1)]),
        ("a ((red)) [circle]", [("a ", 1), ("red", 1.21), (" ", 1), ("circle", 0.9091)]),
        ("a (red:1.5) (circle: .5 )", [("a ", 1), ("red", 1.5), (" ", 1), ("circle", 0.5)]),
        ("(a (red:2) circle:0.5)", [("a ", 0.5), ("red", 1), (" circle", 0.5)]),
        ("(red:-1) (blue:99)", [("red", -1), (" ", 1), ("blue", LIMIT)]),
        (r"a \(red\) circle", [("a (red) circle", 1)]),
        (r"back\slash \\(red)", [("back\\slash \\", 1), ("red", 1.1)]),
        ("at 12:30) [1:2] :) :(", [("at 12:30) ", 1), ("1:2", 0.9091), (" :) :(", 1)]),
        ("(open [and open", [("(open [and open", 1)]),
        ("(crossed [over) there]", [("(crossed ", 1), ("over) there", 0.9091)]),
        ("[red:1.5)", [("[red:1.5)", 1)]),
    ],
)
def test_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert said(prompt) == expected


@given(st.text(alphabet="ab()[]:\\ 1.-", max_size=60))
def test_every_prompt_means_something(prompt: str) -> None:
    found = fragments(prompt)
    assert all(abs(fragment.weight) <= LIMIT and fragment.text for fragment in found)
    assert sum(text.count("a") for text, _ in said(prompt)) == prompt.count("a")


def test_thousands_of_brackets_are_no_burden() -> None:
    assert len(fragments("(" * 5000 + "a" + ")" * 5000)) <= 3


def test_a_fragment_does_not_show_its_text() -> None:
    assert "secret" not in repr(Fragment("secret"))
