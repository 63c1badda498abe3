"""What a bridged worker earns by one result, at this worker's price: told to it when it hands in."""

from __future__ import annotations

from math import prod

from meshgen.engine.bridge.names import POST_PROCESSORS, family_of, millions_of
from meshgen.engine.port import AnyWork, FormWork, TextWork, Work
from meshgen.peers.admission import WorkerPolicy
from meshgen.peers.tariff import ImageWork, alchemy_mkudos, image_mkudos, scaled, text_mkudos
from meshgen.pictures import PictureError, measure


def worth(work: AnyWork, policy: WorkerPolicy) -> int:
    """In mkudos. The bill goes by the offer; this is the same but for what only an offer says (shared or not)."""
    match work:
        case Work():
            mkudos = image_mkudos(_picture(work), policy.tariff)
        case TextWork():
            mkudos = text_mkudos(work.max_tokens, millions_of(work.model), work.context, policy.tariff)
        case FormWork():
            mkudos = _form(work, policy)
    return scaled(mkudos, policy.price_permille)


def _picture(work: Work) -> ImageWork:
    return ImageWork(
        width=work.width,
        height=work.height,
        steps=work.steps,
        family=family_of(work.model),
        source=bool(work.source),
        controlnet=work.control is not None,
        post_processors=len(work.post),
        hires_fix=work.hires_fix,
        enlarge=prod(POST_PROCESSORS.get(name, 1) for name in work.post),
    )


def _form(work: FormWork, policy: WorkerPolicy) -> int:
    enlarge = POST_PROCESSORS.get(work.form, 1)
    if enlarge == 1:
        return alchemy_mkudos("interrogation" if work.form == "interrogation" else "plain", tariff=policy.tariff)
    try:
        shape = measure(work.source)
    except PictureError:
        return 0
    return alchemy_mkudos("upscale", shape.width * shape.height * enlarge**2, policy.tariff)
