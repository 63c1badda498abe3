"""What work costs by a mesh's tariff, in milli-kudos (1000 = one kudo). Whole numbers only: everybody gets the same figure.

A picture costs ``step * (steps + overhead) * (1 + area * x^exponent)``, where x is 0 at 64x64 pixels and 1 at 1024x1024, times
the factors of its model's family and of what it needs beside, plus what enlarging takes, plus a surcharge. With hires fix it is
drawn in two passes, and each costs as if it stood alone. The defaults follow what AI Horde's server charges, so that people's
sense of a kudo holds. A worker multiplies the tariff by its own ``price_permille``; the requester's offer says the most that it
pays.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isqrt, prod
from typing import Literal

from meshgen.peers.passes import has_source, passes
from meshgen.protocols.advert import PICTURE_FAMILIES, ModelAdvert
from meshgen.protocols.charter import EXPONENT_STEP, Tariff
from meshgen.protocols.offer import Offer
from meshgen.protocols.record import MAX_MKUDOS

AlchemyForm = Literal["plain", "interrogation", "upscale"]
"""As far as it matters for the price: plain is any other, whether it finds something or makes a picture of the same size."""

DEFAULT = Tariff()

_BASE_PIXELS = 64 * 64
_FULL_PIXELS = 1024 * 1024
_ONE = 10**6
"""Fixed point: so many stand for 1."""
_CONTEXT_EXPONENT = 1125
_SIZE_EXPONENT = 250
_TILE_PIXELS = 2048 * 2048
"""Of what comes out of an upscaler: a tile of 512 pixels a side enlarged four times."""


@dataclass(frozen=True, slots=True)
class ImageWork:
    """One picture, as far as it has a price. ``source``: made from another picture. ``enlarge``: its sides grow so many times
    in post-processing."""

    width: int
    height: int
    steps: int
    family: str = "sd1"
    shared: bool = False
    source: bool = False
    controlnet: bool = False
    post_processors: int = 0
    loras: int = 0
    inversions: bool = False
    hires_fix: bool = False
    enlarge: int = 1


def image_mkudos(work: ImageWork, tariff: Tariff = DEFAULT) -> int:
    """The tariff for one picture, its surcharge included."""
    factors = [tariff.families_permille[PICTURE_FAMILIES.index(work.family)]]
    factors += [tariff.source_permille] * work.source
    factors += [tariff.controlnet_permille] * work.controlnet
    factors += [tariff.post_processor_permille] * work.post_processors
    core = _ceil(tariff.step_mkudos * _drawing(work, tariff) * prod(factors), _ONE * 1000 ** len(factors))
    extras = tariff.lora_mkudos * work.loras + tariff.inversions_mkudos * work.inversions
    if work.enlarge > 1:
        extras += _enlarging(work.width * work.height * work.enlarge**2, tariff)
    shared = work.shared and not work.source and not work.controlnet
    return min(core + extras + (tariff.shared_mkudos if shared else tariff.surcharge_mkudos), MAX_MKUDOS)


def alchemy_mkudos(form: AlchemyForm, pixels: int = 0, tariff: Tariff = DEFAULT) -> int:
    """The tariff for one form of alchemy; ``pixels`` of the picture that comes out matter for upscaling alone."""
    match form:
        case "interrogation":
            core = tariff.interrogation_mkudos
        case "upscale":
            core = _enlarging(pixels, tariff)
        case "plain":
            core = tariff.alchemy_mkudos
    return min(core + tariff.alchemy_surcharge_mkudos, MAX_MKUDOS)


def text_mkudos(tokens: int, model_millions: int, context: int, tariff: Tariff = DEFAULT) -> int:
    """The tariff for up to ``tokens`` tokens by a model of so many million parameters with a context of so many tokens."""
    wide = 12 * _ONE // 10 + _power(context * _ONE // 1024, _CONTEXT_EXPONENT)
    large = _power(max(model_millions, 13_000) * _ONE // 13_000, _SIZE_EXPONENT)
    core = _ceil(tariff.token_mkudos * tokens * model_millions * large * min(wide, 30 * _ONE), 1000 * _ONE**2)
    return min(core + tariff.text_surcharge_mkudos, MAX_MKUDOS)


def offer_mkudos(offer: Offer, tariff: Tariff = DEFAULT, model: ModelAdvert | None = None) -> int:
    """The tariff for one result of an offer. Of a text it depends on the model's size."""
    if offer.family == "text":
        context = offer.context or (model.context if model else 0)
        return text_mkudos(offer.tokens, model.millions if model else 0, context, tariff)
    if offer.family == "alchemy":
        pixels = offer.width * offer.height * offer.enlarge**2
        return alchemy_mkudos("upscale" if offer.enlarge > 1 else _form(offer.model), pixels, tariff)
    kinds = Counter(need.kind for need in offer.needs)
    work = ImageWork(
        width=offer.width,
        height=offer.height,
        steps=offer.steps,
        family=offer.family,
        shared=bool(offer.shared),
        source=has_source(offer),
        controlnet="controlnet" in offer.features,
        post_processors=kinds["post"],
        loras=kinds["lora"],
        inversions=bool(kinds["inversion"]),
        hires_fix="hires_fix" in offer.features,
        enlarge=offer.enlarge,
    )
    return image_mkudos(work, tariff)


def scaled(mkudos: int, permille: int) -> int:
    """The tariff at a worker's own price; free (0) only if the owner says 0."""
    return min(_ceil(mkudos * permille, 1000), MAX_MKUDOS)


def _form(name: str) -> AlchemyForm:
    return "interrogation" if name == "interrogation" else "plain"


def _drawing(work: ImageWork, tariff: Tariff) -> int:
    """Steps, those included that stand for what comes before and after them, each weighed by its area, in fixed point."""
    size = work.width, work.height, work.steps
    drawn = passes(work.family, *size, hires_fix=work.hires_fix, source=work.source)
    return sum((one.steps + tariff.overhead_steps) * _area(one.width * one.height, tariff) for one in drawn)


def _area(pixels: int, tariff: Tariff) -> int:
    beyond = max(0, (pixels - _BASE_PIXELS) * _ONE // (_FULL_PIXELS - _BASE_PIXELS))
    return _ONE + tariff.area_permille * _power(beyond, tariff.area_exponent_permille) // 1000


def _enlarging(pixels: int, tariff: Tariff) -> int:
    return tariff.upscale_tile_mkudos * max(1, _ceil(pixels, _TILE_PIXELS))


def _power(base: int, permille: int) -> int:
    """base^(permille/1000) in fixed point, rounded down: the exponent is in eighths, and three square roots make an eighth."""
    eighths = permille // EXPONENT_STEP
    return isqrt(isqrt(isqrt(base**eighths * _ONE**8 // _ONE**eighths)))


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
