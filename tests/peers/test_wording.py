"""Words and patterns over prompts: what they find, what they leave alone, and that nothing holds the worker up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.peers.wording import NSFW_WORDS, Wording

LONG = "a" * 16_000 + "!"
SLOW = [
    r"(a+)+$",
    r"(a|aa)+$",
    r"(?:a?){30}a{30}b",
    r"(\w+\s?)+$!",
    r"(a+)\1+b",
    r"(?:x(?=.*z))|(a*a*a*a*a*z)",
    r"((a{1,100}){1,100}){1,100}z",
]


@pytest.mark.parametrize(
    ("words", "prompt"),
    [
        (["fox"], "a red FOX, running"),
        (["red fox"], "a red,\n fox"),
        (["fox"], "a_fox"),
        (["fox"], "a f\u200box"),  # a space of no width
        (["fox"], "a ｆｏｘ"),  # letters of full width
        (["Straße"], "eine STRASSE"),
        (["rouge et noir"], "le Rouge-et-Noir"),
        (["狐"], "赤い狐が走る"),
    ],
)
def test_words_are_found_however_they_are_written(words: list[str], prompt: str) -> None:
    assert Wording(words).found(prompt) == "word"


@pytest.mark.parametrize(
    ("words", "prompt"), [(["fox"], "foxglove"), (["red fox"], "fox, red"), (["art"], "a party"), ([], "fox"), (["fox"], "")]
)
def test_only_whole_words_count(words: list[str], prompt: str) -> None:
    assert Wording(words).found(prompt) == ""


def test_patterns() -> None:
    wording = Wording((), [r"\bx\d+\b", r"fo+x"])
    assert (wording.found("an X100"), wording.found("a fooox"), wording.found("a fx")) == ("pattern 1", "pattern 2", "")


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_would_take_for_ever_refuses_and_ends(pattern: str) -> None:
    assert Wording((), [pattern, "!"]).found(LONG) == "pattern 1 (too slow)"


def test_a_slow_pattern_leaves_short_prompts_alone() -> None:
    assert Wording((), SLOW).found("a red fox") == ""


def test_the_own_list_of_nsfw_words() -> None:
    nsfw = Wording(NSFW_WORDS)
    assert nsfw.found("a Nude woman") == nsfw.found("NSFW, hentai") == "word"
    assert nsfw.found("a middlesex county analyst with a cucumber") == ""


@given(
    st.text(max_size=300), st.lists(st.text(min_size=1, max_size=8).filter(lambda text: any(map(str.isalnum, text))), max_size=5)
)
def test_any_text_is_judged(prompt: str, words: list[str]) -> None:
    assert Wording(words).found(prompt) in ("", "word")
    assert all(Wording([word]).found(f"x {word} y") == "word" for word in words)
