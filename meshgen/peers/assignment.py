"""A request whose model and adapters are found: what is offered for it, and the order that the chosen worker gets sealed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt, prod
from typing import Any

from meshgen.peers.request import (
    ControlWish,
    FormRequest,
    ImageRequest,
    InversionWish,
    LoraWish,
    Request,
    RequestError,
    TextRequest,
)
from meshgen.pictures import PictureError, measure
from meshgen.protocols.advert import AdapterAdvert, ModelAdvert
from meshgen.protocols.codec import Malformed
from meshgen.protocols.offer import MAX_ENLARGE, MAX_SIDE, Need
from meshgen.protocols.order import (
    MAX_INPUT_BYTES,
    ControlOrder,
    FormOrder,
    Input,
    InversionOrder,
    LoraOrder,
    Order,
    PostOrder,
    TextOrder,
    WorkOrder,
    to_weight,
)

SIDE_STEP = 64
"""Sides that are chosen for a person are multiples of so many pixels, which every family can draw."""
Adapters = Mapping[tuple[str, str], AdapterAdvert]
"""(kind, name) -> which one."""
Find = Callable[[str, str, str], AdapterAdvert | None]
"""(kind, name, the model's family) -> the one that most workers have."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Made by :func:`assign`. ``width`` and ``height`` in pixels: of the pictures, or of a form's source."""

    request: Request
    model: ModelAdvert
    width: int
    height: int
    inputs: tuple[bytes, ...] = field(repr=False)
    adapters: Adapters
    transparent: bool = False
    named: tuple[Input, ...] = ()
    """The inputs as the order names them."""

    def order(self, offer_id: bytes, digest: bytes, seeds: tuple[int, ...]) -> Order:
        """``digest``: the weights that the worker said it would use. Raises Malformed for what no order may hold."""
        request = self.request
        match request:
            case TextRequest():
                return _text_order(request, self.model.name, offer_id, digest, seeds)
            case FormRequest():
                size = self.width, self.height
                return FormOrder(offer_id, request.model, digest, *size, inputs=self.named)
            case ImageRequest():
                return self._work_order(request, offer_id, digest, seeds)

    def measures(self) -> dict[str, Any]:
        """What the offer says of the work: fields of :class:`meshgen.protocols.offer.Offer`."""
        order, request = self.order(bytes(32), self.model.digest, (0,)), self.request
        features = {*order.features, *self._source_features()}
        return {
            "model": self.model.name,
            "digest": self.model.digest,
            "family": self.model.family,
            "width": self.width,
            "height": self.height,
            "steps": request.steps if isinstance(request, ImageRequest) else 0,
            "features": tuple(sorted(features)),
            "needs": tuple(Need(kind, digest) for kind, digest in order.needs),
            "enlarge": self.enlarge,
            "tokens": request.tokens if isinstance(request, TextRequest) else 0,
            "context": request.context if isinstance(request, TextRequest) else 0,
            "shared": int(bool(request.shared)),
            "nsfw": int(request.nsfw),
        }

    @property
    def enlarge(self) -> int:
        """How many times a result's sides are those that are ordered."""
        if isinstance(self.request, FormRequest):
            adapter = self.adapters.get(("post", self.request.model))
            return adapter.enlarge if adapter else 1
        posts = self.request.post if isinstance(self.request, ImageRequest) else ()
        return prod(self.adapters["post", name].enlarge for name in posts)

    def _source_features(self) -> set[str]:
        if not isinstance(self.request, ImageRequest) or not self.request.source:
            return set()
        return {"inpainting"} if self.request.mask or self.transparent else {"img2img"}

    def _work_order(self, request: ImageRequest, offer_id: bytes, digest: bytes, seeds: tuple[int, ...]) -> WorkOrder:
        return WorkOrder(
            offer_id=offer_id,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            model=self.model.name,
            digest=digest,
            width=self.width,
            height=self.height,
            steps=request.steps,
            guidance_milli=round(request.guidance_scale * 1000),
            scheduler=request.scheduler,
            seeds=seeds,
            preview_every=request.preview_every,
            inputs=self.named,
            strength_milli=round(request.strength * 1000),
            clip_skip=request.clip_skip,
            tiling=int(request.tiling),
            hires_fix=int(request.hires_fix),
            loras=tuple(self._lora(wish) for wish in request.loras),
            inversions=tuple(self._inversion(wish) for wish in request.inversions),
            control=(self._control(request.control),) if request.control else (),
            post=tuple(PostOrder(post.name, post.digest) for post in (self.adapters["post", name] for name in request.post)),
        )

    def _lora(self, wish: LoraWish) -> LoraOrder:
        clip_weight = wish.weight if wish.clip_weight is None else wish.clip_weight
        lora = self.adapters["lora", wish.name]
        return LoraOrder(lora.name, lora.digest, to_weight(wish.weight), to_weight(clip_weight))

    def _inversion(self, wish: InversionWish) -> InversionOrder:
        inversion = self.adapters["inversion", wish.name]  # asked for by its digest, perhaps; its token is its name
        return InversionOrder(inversion.name, inversion.digest, wish.place or "none", to_weight(wish.weight))

    def _control(self, wish: ControlWish) -> ControlOrder:
        digest = self.adapters["controlnet", wish.name].digest
        return ControlOrder(wish.name, digest, to_weight(wish.weight), int(wish.is_map), int(wish.return_map))


def assign(request: Request, model: ModelAdvert, find: Find) -> Assignment:
    """Raises RequestError that names what is wrong, or what no known worker has."""
    given, transparent = _inputs(request)
    named = tuple(_input(role, data) for role, data in given.items())
    width, height = _size(request, model)
    adapters: dict[tuple[str, str], AdapterAdvert] = {}
    for kind, name in _wanted(request):
        found = find(kind, name, model.family)
        if found is None:
            if isinstance(request, FormRequest):
                continue  # it enlarges nothing, or who offers it did not say
            raise RequestError("no_adapter", f"no worker is known that has the {kind} {name!r} for {model.name}", kind)
        adapters[kind, name] = found
    made = Assignment(request, model, width, height, tuple(given.values()), adapters, transparent, named)
    _check_enlarged(made)
    try:
        made.order(bytes(32), model.digest, (0,)).encode()
    except Malformed as error:
        raise RequestError("bad_request", str(error), _field_of(error)) from None
    return made


def _check_enlarged(made: Assignment) -> None:
    """Raises RequestError for what no offer may say."""
    request, most = made.request, MAX_SIDE // max(made.width, made.height, 1)
    if isinstance(request, ImageRequest) and request.control and request.control.return_map and made.enlarge > 1:
        raise RequestError("bad_request", "a map is handed back as it is: ask for no upscaler with it", "post")
    if made.enlarge > min(most, MAX_ENLARGE):
        why = f"{made.width}x{made.height} can't grow {made.enlarge} times: {MAX_ENLARGE} at most, up to {MAX_SIDE} pixels a side"
        raise RequestError("bad_size", why, "source" if isinstance(request, FormRequest) else "post")


def _field_of(error: Malformed) -> str:
    """Of "work/1.steps: ..."."""
    place = str(error).partition(":")[0]
    return place.partition("/1.")[2]


def _wanted(request: Request) -> list[tuple[str, str]]:
    match request:
        case ImageRequest():
            names = [("lora", wish.name) for wish in request.loras] + [("inversion", wish.name) for wish in request.inversions]
            names += [("controlnet", request.control.name)] if request.control else []
            return names + [("post", name) for name in request.post]
        case FormRequest():
            return [("post", request.model)]
    return []


def _inputs(request: Request) -> tuple[dict[str, bytes], bool]:
    """The pictures that go in, by role, and whether the source is transparent somewhere."""
    if isinstance(request, TextRequest):
        return {}, False
    given = {"source": request.source}
    if isinstance(request, ImageRequest):
        given |= {"mask": request.mask, "control": request.control.image if request.control else b""}
    for name, data in given.items():
        if data:
            _measured(name, data)
    transparent = bool(request.source) and measure(request.source).transparent
    return {name: data for name, data in given.items() if data}, transparent


def _measured(name: str, data: bytes) -> tuple[int, int]:
    if len(data) > MAX_INPUT_BYTES:
        raise RequestError("bad_picture", f"{name}: {len(data)} bytes, more than the {MAX_INPUT_BYTES} that may go along", name)
    try:
        shape = measure(data)
    except PictureError as error:
        raise RequestError("bad_picture", f"{name}: {error}", name) from None
    return shape.width, shape.height


def _size(request: Request, model: ModelAdvert) -> tuple[int, int]:
    match request:
        case TextRequest():
            return 0, 0
        case FormRequest():
            return _measured("source", request.source)
        case ImageRequest(width=width, height=height) if width or height:
            return width or model.default_side, height or model.default_side
        case ImageRequest(source=source) if source:
            return _like(_measured("source", source), model.default_side)
    return model.default_side, model.default_side


def _like(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """That shape at about ``side`` x ``side`` pixels."""
    width, height = shape
    scaled = isqrt(side * side * width // height), isqrt(side * side * height // width)
    step = min(SIDE_STEP, side)
    return tuple(min(max(round(value / step), 1) * step, MAX_SIDE) for value in scaled)  # type: ignore[return-value]


def _input(role: str, data: bytes) -> Input:
    return Input(role, len(data), hashlib.sha256(data).digest())


def _text_order(request: TextRequest, model: str, offer_id: bytes, digest: bytes, seeds: Sequence[int]) -> TextOrder:
    return TextOrder(
        offer_id=offer_id,
        prompt=request.prompt,
        model=model,
        digest=digest,
        tokens=request.tokens,
        context=request.context,
        seeds=tuple(seeds),
        temperature_milli=round(request.temperature * 1000),
        top_p_milli=round(request.top_p * 1000),
        top_k=request.top_k,
        min_p_milli=round(request.min_p * 1000),
        repetition_milli=round(request.repetition_penalty * 1000),
        stops=request.stops,
    )
