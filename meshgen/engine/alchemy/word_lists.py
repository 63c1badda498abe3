"""The words that an interrogation chooses from: a text file for each of AI Horde's seven lists, one word or phrase a line."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

LISTS = {
    "tags": "a picture of {}",
    "sites": "a picture as it is seen on {}",
    "artists": "a picture in the style of {}",
    "flavors": "a picture, {}",
    "mediums": "{}",
    "movements": "a picture of the movement {}",
    "techniques": "a picture made with {}",
}
"""Each list with the phrase that a word of it is put into."""


@cache
def words(name: str) -> tuple[str, ...]:
    text = files("meshgen.engine.alchemy").joinpath("words", f"{name}.txt").read_text("utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
