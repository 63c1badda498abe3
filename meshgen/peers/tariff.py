"""What work costs by a mesh's tariff, in milli-kudos (1000 = one kudo). Whole numbers only: everybody gets the same figure.

A picture costs ``step * (steps + overhead) * (1 + area * x^exponent)``, where x is 0 at 64x64 pixels and 1 at 1024x1024, times
the factors of its model's family and of what it needs beside, plus a surcharge. The defaults follow what AI Horde's server
charges, so that people's sense of a kudo holds. A worker multiplies the tariff by its own ``price_permille``; the requester's
offer says the most that it pays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt, prod
from typing import Literal

from meshgen.protocols.advert import PICTURE_FAMILIES, ModelAdvert
from meshgen.protocols.charter import EXPONENT_STEP, Tariff
from meshgen.protocols.offer import Offer
from meshgen.protocols.record import MAX_MKUDOS

AlchemyForm = Literal["caption", "nsfw", "interrogation", "upscale"]

DEFAULT = Tariff()
SOURCE_FEATURES = frozenset(("img2img", "inpainting", "outpainting"))
"""What starts from a picture of somebody's. The result is never shared, whatever was asked, and costs what unshared ones do."""

_BASE_PIXELS = 64 * 64
_FULL_PIXELS = 1024 * 1024
_ONE = 10**6
"""Fixed point: so many stand for 1."""
_CONTEXT_EXPONENT = 1125
_SIZE_EXPONENT = 250
_TILE_SIDE = 512


@dataclass(frozen=True, slots=True)
class ImageWork:
    """One picture, as far as it has a price. ``source``: made from another picture."""

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


def image_mkudos(work: ImageWork, tariff: Tariff = DEFAULT) -> int:
    """The tariff for one picture, its surcharge included."""
    factors = [tariff.families_permille[PICTURE_FAMILIES.index(work.family)]]
    factors += [tariff.source_permille] * work.source
    factors += [tariff.controlnet_permille] * work.controlnet
    factors += [tariff.post_processor_permille] * work.post_processors
    area = _ONE + tariff.area_permille * _power(_beyond(work.width, work.height), tariff.area_exponent_permille) // 1000
    core = _ceil(tariff.step_mkudos * (work.steps + tariff.overhead_steps) * area * prod(factors), _ONE * 1000 ** len(factors))
    extras = tariff.lora_mkudos * work.loras + tariff.inversions_mkudos * work.inversions
    surcharge = tariff.shared_mkudos if work.shared and not work.source else tariff.surcharge_mkudos
    return min(core + extras + surcharge, MAX_MKUDOS)


def alchemy_mkudos(form: AlchemyForm, pixels: int = 0, tariff: Tariff = DEFAULT) -> int:
    """The tariff for one form of alchemy; ``pixels`` of the source picture matter for upscaling alone."""
    match form:
        case "interrogation":
            core = tariff.interrogation_mkudos
        case "upscale":
            core = tariff.upscale_tile_mkudos * max(1, _ceil(pixels, _TILE_SIDE**2))
        case _:
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
        known = {"caption", "nsfw", "interrogation"}
        form: AlchemyForm = offer.model if offer.model in known else "upscale"  # type: ignore[assignment]
        return alchemy_mkudos(form, offer.width * offer.height, tariff)
    kinds = Counter(need.kind for need in offer.needs)
    work = ImageWork(
        offer.width,
        offer.height,
        offer.steps,
        offer.family,
        bool(offer.shared),
        not SOURCE_FEATURES.isdisjoint(offer.features),
        "controlnet" in offer.features,
        kinds["post"],
        kinds["lora"],
        bool(kinds["inversion"]),
    )
    return image_mkudos(work, tariff)


def picture_mkudos(
    width: int,
    height: int,
    steps: int,
    family: str = "sd1",
    tariff: Tariff = DEFAULT,
    *,
    features: Iterable[str] = (),
    shared: bool = False,
) -> int:
    """The tariff for one picture that needs these features of its worker: sides in pixels."""
    source = not SOURCE_FEATURES.isdisjoint(features)
    return image_mkudos(ImageWork(width, height, steps, family, shared, source, "controlnet" in features), tariff)


def scaled(mkudos: int, permille: int) -> int:
    """The tariff at a worker's own price; free (0) only if the owner says 0."""
    return min(_ceil(mkudos * permille, 1000), MAX_MKUDOS)


def _beyond(width: int, height: int) -> int:
    return max(0, (width * height - _BASE_PIXELS) * _ONE // (_FULL_PIXELS - _BASE_PIXELS))


def _power(base: int, permille: int) -> int:
    """base^(permille/1000) in fixed point, rounded down: the exponent is in eighths, and three square roots make an eighth."""
    eighths = permille // EXPONENT_STEP
    return isqrt(isqrt(isqrt(base**eighths * _ONE**8 // _ONE**eighths)))


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
