"""How people may ask for a scene: every scene has many phrasings, and some say less than the picture shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from meshgen.engine.bundled.draw import SCENES, Scene, Thing

__all__ = ["EMPTY", "FILLERS", "plain_prompt", "prompt_for", "words"]

EMPTY = Scene("")  # what a prompt that says nothing asks for

_SHAPES = {
    "circle": ("circle", "circle", "circle", "disc", "ball", "dot"),
    "square": ("square", "square", "square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "cross": ("cross", "cross", "plus", "plus sign"),
}
_COLOURS = {"purple": ("purple", "purple", "violet")}
_SIZES = {"small": ("small", "small", "little", "tiny"), "big": ("big", "large", "huge")}
_ABOVE = ("above", "above", "over", "on top of")
_BELOW = ("below", "below", "under", "beneath", "underneath")
_LEFT = ("left of", "to the left of", "on the left of")
_RIGHT = ("right of", "to the right of", "on the right of")
_BESIDE = ("next to", "beside", "and", "and")  # the first named stands on the left
_SCENES = {
    "sunset": ("a sunset", "sunset over the sea", "a sunset at the ocean", "sun setting over the water", "a sunset at sea"),
    "night": ("night", "a night sky", "moon and stars", "the night sky with a moon", "a starry night"),
    "house": ("a house", "a house on a meadow", "a small house with a red roof", "a home", "a little house on grass"),
    "mountains": ("mountains", "snowy mountains", "a mountain landscape", "mountains with snow", "two mountains"),
}
_OPENINGS = ("a picture of", "a drawing of", "an image of", "a photo of", "picture of", "draw", "a painting of")
FILLERS = (
    "beautiful",
    "highly detailed",
    "masterpiece",
    "simple",
    "flat",
    "clean",
    "nice",
    "best quality",
    "digital art",
    "vector",
    "minimal",
    "sharp",
    "4k",
    "8k",
    "vivid colours",
    "bright",
    "art",
    "poster",
    "cute",
    "please",
    "high resolution",
    "icon",
    "a cat",
    "a dog",
    "a city",
    "portrait of a woman",
    "car",
    "castle",
    "forest",
    "robot",
    "dragon",
    "flower",
    "tree",
)


def words() -> list[str]:
    """Every word that a prompt may hold."""
    kinds = [*_SHAPES.values(), *_COLOURS.values(), *_SIZES.values(), _ABOVE, _BELOW, _LEFT, _RIGHT, _BESIDE, *_SCENES.values()]
    said = " ".join([*(text for kind in kinds for text in kind), *_OPENINGS, *FILLERS])
    said += " red orange yellow green blue black white purple background backdrop on with against a an the of in, ."
    return sorted(set(said.replace(",", " ").split()))


def _article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


def _thing(thing: Thing, size: str, rng: np.random.Generator) -> str:
    parts = [str(rng.choice(_SIZES[size]))] if size in _SIZES else []
    if thing.colour:
        parts.append(str(rng.choice(_COLOURS.get(thing.colour, (thing.colour,)))))
    parts.append(str(rng.choice(_SHAPES[thing.shape])))
    text = " ".join(parts)
    chance = rng.random()
    return _article(text) if chance < 0.7 else "the " + text if chance < 0.75 else text


def _things(scene: Scene, rng: np.random.Generator) -> str:
    if scene.a is None:
        return ""
    first = _thing(scene.a, scene.layout, rng)
    if scene.b is None:
        return first
    second = _thing(scene.b, "", rng)
    chance = rng.random()
    forward, backward = (_ABOVE, _BELOW) if scene.layout == "vertical" else (_LEFT, _RIGHT)
    if scene.layout == "horizontal" and chance < 0.2:
        return f"{first} {rng.choice(_BESIDE)} {second}"
    if chance < 0.6:
        return f"{first} {rng.choice(forward)} {second}"
    return f"{second} {rng.choice(backward)} {first}"


def silent_background(scene: Scene) -> str:
    """The background of a prompt that names none: white, or black behind something white."""
    return "black" if "white" in scene.colours() else "white"


def _with_background(scene: Scene, text: str, rng: np.random.Generator) -> str:
    if scene.background == silent_background(scene) and rng.random() < 0.6:
        return text
    colour = str(rng.choice(_COLOURS.get(scene.background, (scene.background,))))
    chance = rng.random()
    if chance < 0.45:
        return f"{text} on {_article(colour)} background"
    if chance < 0.6:
        return f"{text}, {colour} background"
    if chance < 0.7:
        return f"{text} with {_article(colour)} background"
    if chance < 0.8:
        return f"{text} against {_article(colour)} background"
    return f"{text} on {colour}" if chance < 0.9 else f"{colour} background, {text}"


def _dress(text: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        text = f"{rng.choice(_OPENINGS)} {text}"
    if rng.random() < 0.1:
        text = f"{text}, " + ", ".join(map(str, rng.choice(FILLERS, int(rng.integers(1, 4)))))
    if rng.random() < 0.03:
        text = f"{rng.choice(FILLERS)} {text}"
    return text + "." if rng.random() < 0.1 else text


def prompt_for(scene: Scene, rng: np.random.Generator) -> tuple[str, Scene]:
    """A prompt and what it asks for: the scene itself, or less of it when the prompt leaves something out."""
    if not scene.layout:
        return (str(rng.choice(FILLERS)) if rng.random() < 0.3 else ""), scene
    if scene.layout in SCENES:
        return _dress(str(rng.choice(_SCENES[scene.layout])), rng), scene
    # A colour that goes unsaid is free; white backgrounds alone, or the default would hang on an unsaid colour.
    if scene.a is not None and scene.background == "white" and rng.random() < 0.1:
        scene = replace(scene, a=replace(scene.a, colour=""))
    return _dress(_with_background(scene, _things(scene, rng), rng), rng), scene


def plain_prompt(scene: Scene) -> str:
    """The scene in the plainest words."""
    if scene.a is None:
        return _SCENES[scene.layout][0]
    first = f"{scene.layout} " if scene.layout in _SIZES else ""
    text = _article(f"{first}{scene.a.colour} {scene.a.shape}")
    if scene.b is not None:
        relation = "above" if scene.layout == "vertical" else "to the left of"
        text += f" {relation} {_article(f'{scene.b.colour} {scene.b.shape}')}"
    return f"{text} on {_article(scene.background)} background"
