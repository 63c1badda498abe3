"""What a peer with an engine says of it in its advert. Nothing that an engine or an owner calls a model may keep it from that."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from meshgen.engine.port import AdapterInfo, Engine, ModelInfo
from meshgen.protocols.advert import MAX_ADAPTERS, MAX_MODELS, AdapterAdvert, Advert, ModelAdvert
from meshgen.protocols.codec import Malformed

log = logging.getLogger(__name__)

SIDE = 1024
"""Speed is told for a picture of one megapixel."""
_CHOSEN = {
    "models": "worker.models and worker.models_to_skip say which are offered",
    "adapters": "Upscalers and ControlNets go first, then what most ask for, then the newest",
}
_LISTS_BYTES = 16
"""What the two lists take beside what is in them."""
_FIRST = ("post", "controlnet")
"""These go before LoRAs and inversions: an upscaler that is a form too has to be told in both lists, and there are few."""


def model_adverts(models: Iterable[ModelInfo], engine: Engine) -> tuple[ModelAdvert, ...]:
    """All that can be told."""
    return tuple(advert for model in models if (advert := _model_advert(model, engine)))


def adapter_adverts(adapters: Iterable[AdapterInfo]) -> tuple[AdapterAdvert, ...]:
    """All that can be told."""
    return tuple(advert for adapter in adapters if (advert := _adapter_advert(adapter)))


def filled(advert: Advert, models: Iterable[ModelAdvert], adapters: Iterable[AdapterAdvert]) -> Advert:
    """The advert with as many of both as go into one: the last are left out, of whichever take more room."""
    every_model, every_adapter = list(models), sorted(adapters, key=lambda one: one.kind not in _FIRST)
    found = every_model[:MAX_MODELS], every_adapter[:MAX_ADAPTERS]
    sizes = tuple([len(item.encode()) for item in items] for items in found)
    room = Advert.LIMITS.max_bytes - len(_with(advert, (), ()).encode()) - _LISTS_BYTES
    while sum(map(sum, sizes)) > room:
        max(sizes, key=sum).pop()
    for noun, every, told in zip(_CHOSEN, (len(every_model), len(every_adapter)), map(len, sizes), strict=True):
        if told < every:
            _warn(f"the mesh is told of {told} of {every} {noun}: an advert holds no more. {_CHOSEN[noun]}")
    return _with(advert, tuple(found[0][: len(sizes[0])]), tuple(found[1][: len(sizes[1])]))


def _with(advert: Advert, models: tuple[ModelAdvert, ...], adapters: tuple[AdapterAdvert, ...]) -> Advert:
    return replace(advert, models=models, adapters=adapters)


def _adapter_advert(one: AdapterInfo) -> AdapterAdvert | None:
    try:
        return AdapterAdvert(one.kind, plain(one.name)[:64], one.digest, one.family, one.enlarge)
    except Malformed as error:
        _warn(f"{one.kind} {one.name!r} is not offered: {error}")
        return None


def _model_advert(model: ModelInfo, engine: Engine) -> ModelAdvert | None:
    try:
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
    except (Malformed, OverflowError) as error:
        _warn(f"model {model.name!r} is not offered: {error}")
        return None


@lru_cache(1024)
def _warn(text: str) -> None:
    """Once, however often an advert is made."""
    log.warning("%s", text)


def plain(text: str) -> str:
    """A driver may name its device in any letters; an advert is ASCII."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
