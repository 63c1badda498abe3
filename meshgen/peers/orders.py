"""From what crosses the net to what the engine takes, and for how long: the same way for a worker and for one who draws for
himself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshgen.engine.port import AnyWork, Control, Engine, FormWork, Inversion, Lora, TextWork, Work
from meshgen.peers.passes import Pass, passes, passes_of
from meshgen.protocols.advert import AdapterAdvert
from meshgen.protocols.offer import Offer
from meshgen.protocols.order import FormOrder, InversionOrder, Order, TextOrder, WorkOrder, from_weight


def work_of(order: Order, inputs: Sequence[bytes]) -> AnyWork:
    """``inputs``: the order's pictures, in its order."""
    match order:
        case TextOrder():
            return _text(order)
        case FormOrder():
            return FormWork(order.model, inputs[0])
    given = {item.role: data for item, data in zip(order.inputs, inputs, strict=True)}
    return Work(
        model=order.model,
        prompt=order.prompt,
        negative_prompt=order.negative_prompt,
        width=order.width,
        height=order.height,
        steps=order.steps,
        guidance_scale=order.guidance_milli / 1000,
        scheduler=order.scheduler,
        seeds=order.seeds,
        preview_every=order.preview_every,
        source=given.get("source", b""),
        mask=given.get("mask", b""),
        strength=order.strength_milli / 1000,
        clip_skip=order.clip_skip,
        tiling=bool(order.tiling),
        hires_fix=bool(order.hires_fix),
        loras=tuple(Lora(o.name, o.digest, from_weight(o.weight), from_weight(o.clip_weight)) for o in order.loras),
        inversions=tuple(map(_inversion, order.inversions)),
        control=_control(order, given.get("control", b"")),
        post=tuple(post.name for post in order.post),
    )


def names_what_it_needs(order: Order, adapters: Iterable[AdapterAdvert]) -> bool:
    """Post-processors are run by name, and agreed on by digest: do both mean the same?"""
    names = {adapter.digest: adapter.name for adapter in adapters if adapter.kind == "post"}
    return not isinstance(order, WorkOrder) or all(names.get(post.digest) == post.name for post in order.post)


def result_s(engine: Engine, offer: Offer) -> float:
    """Seconds of compute for one result of an offer, as estimated."""
    if not offer.steps:
        return engine.estimate_s(offer.model, offer.width, offer.height, offer.tokens or 1, 1)
    seconds = sum(engine.estimate_s(offer.model, *one, 1) for one in passes_of(offer))
    posts = [need.digest for need in offer.needs if need.kind == "post"]
    return seconds + _after_s(engine, posts, offer.width, offer.height)


def order_s(engine: Engine, order: Order) -> float:
    """The same for all results of an order."""
    count = len(order.seeds)
    match order:
        case WorkOrder():
            seconds = sum(engine.estimate_s(order.model, *one, count) for one in _passes(engine, order))
            return seconds + count * _after_s(engine, [post.digest for post in order.post], order.width, order.height)
        case TextOrder():
            return engine.estimate_s(order.model, 0, 0, order.tokens, count)
        case FormOrder():
            return engine.estimate_s(order.model, order.width, order.height, 1, count)


def _passes(engine: Engine, order: WorkOrder) -> tuple[Pass, ...]:
    family = next((model.family for model in engine.models() if model.name == order.model), "")
    source = any(given.role == "source" for given in order.inputs)
    return passes(family, order.width, order.height, order.steps, hires_fix=bool(order.hires_fix), source=source)


def _after_s(engine: Engine, posts: Sequence[bytes], width: int, height: int) -> float:
    """Of the post-processors, one after the other, over one picture: an upscaler may take longer than the drawing."""
    known = {adapter.digest: adapter for adapter in engine.adapters() if adapter.kind == "post"} if posts else {}
    seconds = 0.0
    for digest in posts:
        if post := known.get(digest):
            seconds += engine.estimate_s(post.name, width, height, 1, 1)
            width, height = width * post.enlarge, height * post.enlarge
    return seconds


def _inversion(order: InversionOrder) -> Inversion:
    return Inversion(order.name, order.digest, order.place.replace("none", ""), from_weight(order.weight))


def _control(order: WorkOrder, image: bytes) -> Control | None:
    for control in order.control:
        weight = from_weight(control.weight)
        return Control(control.name, control.digest, image, bool(control.is_map), weight, bool(control.return_map))
    return None


def _text(order: TextOrder) -> TextWork:
    return TextWork(
        model=order.model,
        prompt=order.prompt,
        max_tokens=order.tokens,
        seeds=order.seeds,
        context=order.context,
        temperature=order.temperature_milli / 1000,
        top_p=order.top_p_milli / 1000,
        top_k=order.top_k,
        min_p=order.min_p_milli / 1000,
        repetition_penalty=order.repetition_milli / 1000,
        stop=order.stops,
    )
