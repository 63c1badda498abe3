"""What a peer with an engine says of it in its advert."""

from __future__ import annotations

from collections.abc import Iterable

from meshgen.engine.port import AdapterInfo, Engine, ModelInfo
from meshgen.protocols.advert import MAX_ADAPTERS, MAX_MODELS, AdapterAdvert, ModelAdvert

SIDE = 1024
"""Speed is told for a picture of one megapixel."""


def model_adverts(models: Iterable[ModelInfo], engine: Engine) -> tuple[ModelAdvert, ...]:
    return tuple(_model_advert(model, engine) for model in list(models)[:MAX_MODELS])


def adapter_adverts(adapters: Iterable[AdapterInfo]) -> tuple[AdapterAdvert, ...]:
    kept = list(adapters)[:MAX_ADAPTERS]
    return tuple(AdapterAdvert(one.kind, plain(one.name)[:64], one.digest, one.family, one.enlarge) for one in kept)


def _model_advert(model: ModelInfo, engine: Engine) -> ModelAdvert:
    return ModelAdvert(
        name=model.name,
        digest=model.digest,
        family=model.family,
        default_side=model.default_size,
        max_pixels=model.max_pixels,
        features=model.features,
        mpixel_step_ms=round(engine.estimate_s(model.name, SIDE, SIDE, 1, 1) * 1000),
        millions=model.millions,
        context=model.context,
    )


def plain(text: str) -> str:
    """A driver may name its device in any letters; an advert is ASCII."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
