"""Text as it is shown: whole characters, nothing of a stop sequence, and all pieces together are the text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("transformers")

from meshgen.engine.text.pieces import Pieces
from tests.engine.text.tiny_models import byte_tokenizer

SEED = 11


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer()


def shown(
    tokenizer: Any, text: str, stop: Sequence[str] = (), cut: int = 0, prompt: str = "Prompt: ä"
) -> tuple[list[str], Pieces]:
    """The pieces of a text, one byte a token, but for the last ``cut`` bytes."""
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = Pieces(lambda tokens: tokenizer.decode(tokens, skip_special_tokens=True), tokenizer(prompt)["input_ids"], stop)
    given = []
    for token in tokens[: len(tokens) - cut]:
        given.append(pieces.add(token))
        if pieces.stopped:
            break
    given.append(pieces.rest())
    assert "".join(given) == pieces.text
    return given, pieces


def test_characters_come_whole(tokenizer: Any) -> None:
    given, _ = shown(tokenizer, "aé日🐉b")
    assert [piece for piece in given if piece] == ["a", "é", "日", "🐉", "b"]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_character_that_stays_unfinished_is_left_out(tokenizer: Any, cut: int) -> None:
    assert shown(tokenizer, "end 🐉", cut=cut)[1].text == "end "


def test_bytes_that_are_no_character_do_not_stop_what_follows(tokenizer: Any) -> None:
    dragon = tokenizer("🐉", add_special_tokens=False)["input_ids"]
    pieces = Pieces(tokenizer.decode, [], ())
    for token in [*dragon[:2], *tokenizer("ok 🐉", add_special_tokens=False)["input_ids"]]:
        pieces.add(token)
    assert pieces.text.strip("\ufffd") == "ok 🐉"


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["three", "two"], "one "),
        ("one tw", ["two"], "one tw"),
        ("aab aaab", ["aaab"], "aab "),
        ("ein 🐉 da", ["🐉"], "ein "),
        ("stop", ["stop"], ""),
        ("no end", [], "no end"),
        ("User: x\nUser: y", ["\nUser:"], "User: x"),
    ],
)
def test_stop_sequences_are_not_shown(tokenizer: Any, text: str, stop: list[str], left: str) -> None:
    _, pieces = shown(tokenizer, text, stop)
    assert pieces.text == left
    assert pieces.stopped == any(one in text for one in stop)


def test_pieces_are_the_text_whatever_it_is(tokenizer: Any) -> None:
    chance = random.Random(SEED)
    for turn in range(100):
        text = "".join(chance.choice("ab \né日🐉") for _ in range(chance.randrange(30)))
        stop = ["".join(chance.choice("ab \né") for _ in range(chance.randint(1, 4))) for _ in range(chance.randrange(3))]
        expected = min((text.split(one)[0] for one in stop), key=len, default=text)
        assert shown(tokenizer, text, stop)[1].text == expected, f"seed {SEED}, turn {turn}"


def test_the_space_before_the_first_word_stays() -> None:
    """Decoders of sentencepiece's kind drop a space at the very beginning."""
    words = ["▁The", "▁cat", "▁sat"]
    pieces = Pieces(lambda tokens: "".join(words[token] for token in tokens).replace("▁", " ").removeprefix(" "), [0], ())
    assert [pieces.add(1), pieces.add(2)] == [" cat", " sat"]
