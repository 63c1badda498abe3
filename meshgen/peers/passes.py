"""The passes in which a picture is drawn: one, or with hires fix two. For prices and estimates."""

from __future__ import annotations

from typing import NamedTuple

from meshgen.protocols.offer import Offer

SOURCE_FEATURES = frozenset(("img2img", "inpainting", "outpainting"))
"""What starts from a picture of somebody's."""
_OWN_SIDES = {"sd1": 512, "sdxl": 1024, "sd3": 1024, "flux": 1024}
"""Pixels a side of the pictures that models of a family were trained on; of other families nobody can tell."""


class Pass(NamedTuple):
    """So many denoising steps at so many pixels."""

    width: int
    height: int
    steps: int


def passes(
    family: str, width: int, height: int, steps: int, *, hires_fix: bool = False, source: bool = False
) -> tuple[Pass, ...]:
    """With hires fix a picture is composed at the family's own size and refined at its full one, in six tenths of the steps.
    Not if it is hardly larger than that (less than 1.2 times), or is made from another picture (``source``)."""
    full, side = Pass(width, height, steps), _OWN_SIDES.get(family, 0)
    if not hires_fix or source or not side or 5 * width * height < 6 * side * side:
        return (full,)
    return Pass(side, side, steps), full._replace(steps=max(1, steps * 6 // 10))


def passes_of(offer: Offer) -> tuple[Pass, ...]:
    """For one picture of an offer."""
    size = offer.width, offer.height, offer.steps
    return passes(offer.family, *size, hires_fix="hires_fix" in offer.features, source=has_source(offer))


def has_source(offer: Offer) -> bool:
    """Is it to be made from another picture?"""
    return not SOURCE_FEATURES.isdisjoint(offer.features)
