"""Who does the work: a worker's yes or no to an offer, and a requester's choice among bids. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from meshgen.peers.selection import FIND_FORMS
from meshgen.protocols.advert import NO_NSFW, NO_POST, PICTURE_FAMILIES, AdapterAdvert, Advert, ModelAdvert
from meshgen.protocols.job import MAX_RESULT_PIXELS
from meshgen.protocols.offer import MAX_OFFER_LIFETIME_MS, Offer

TRUST_FLOOR = 0.05
"""A worker that failed often still gets work when nobody else offers."""
PART_MS = 1000
"""What no worker's promise is believed to go below: who says that it takes no time at all is judged by its trust, too."""


@dataclass(frozen=True, slots=True)
class No:
    """A refusal in the making: ``reason`` is one of :data:`meshgen.protocols.offer.REASONS`."""

    reason: str
    limit: int = 0


def find_model(models: Iterable[ModelAdvert], name: str, digest: bytes) -> ModelAdvert | None:
    """The model of that name; of those weights, if a digest is given."""
    return next((model for model in models if model.name == name and digest in (b"", model.digest)), None)


def refusal(offer: Offer, advert: Advert, now_ms: int) -> No | None:
    """Why a peer with this advert would not do one picture of this offer; None if it would. Price and load aside."""
    model = find_model(advert.models, offer.model, offer.digest)
    if offer.net != advert.net:
        return No("other_mesh")
    if not now_ms < offer.expires_ms <= now_ms + MAX_OFFER_LIFETIME_MS:
        return No("expired")
    if model is None:
        return No("unknown_model")
    if "paused" in advert.policies:
        return No("paused")
    if offer.nsfw and NO_NSFW in advert.policies:
        return No("policy")
    if NO_POST in advert.policies and any(need.kind == "post" for need in offer.needs):
        return No("policy")
    most = _most_pixels(offer, advert, model)
    if offer.width * offer.height > most:
        return No("too_large", most)
    if offer.steps > advert.max_steps:
        return No("too_many_steps", advert.max_steps)
    return lacking(offer, model, advert.adapters)


def _most_pixels(offer: Offer, advert: Advert, model: ModelAdvert) -> int:
    """Of what is offered: what it is willing to do, and so that a picture that comes out can cross the mesh."""
    finds = offer.family == "alchemy" and offer.model in FIND_FORMS
    willing = min(advert.max_pixels, model.max_pixels) if offer.family in PICTURE_FAMILIES else model.max_pixels
    return willing if finds else min(willing, MAX_RESULT_PIXELS // offer.enlarge**2)


def lacking(offer: Offer, model: ModelAdvert, adapters: Iterable[AdapterAdvert]) -> No | None:
    """What the offer needs and is not there."""
    if not set(offer.features) <= set(model.features):
        return No("unsupported")
    held = {(adapter.kind, adapter.digest): adapter for adapter in adapters if adapter.family in ("", offer.family)}
    needs = [(need.kind, need.digest) for need in offer.needs]
    if not held.keys() >= set(needs):
        return No("unsupported")
    forms = [a for a in adapters if offer.family == "alchemy" and (a.kind, a.name) == ("post", offer.model)]
    grown = prod(held[need].enlarge for need in needs) * prod(adapter.enlarge for adapter in forms[:1])
    return None if grown == offer.enlarge else No("bad_offer")


@dataclass(frozen=True, slots=True)
class Choice:
    """A bid as the allocation sees it. Times in ms; ``trust`` from 0 to 1 is this requester's own experience."""

    count: int
    mkudos: int
    start_ms: int
    picture_ms: int
    trust: float = 1.0


def allocate(choices: Sequence[Choice], count: int, max_mkudos: int) -> list[int]:
    """How many of ``count`` pictures each choice gets: one after the other to whoever would finish it first.

    A worker's times, and PART_MS, are divided by its trust; ties go to the fewer pictures, then the lower price, then the
    earlier in the list (shuffle it for fairness). Choices over ``max_mkudos`` get none. The sum may be below ``count``.
    """
    given = [0] * len(choices)
    for _ in range(count):
        open_ones = [
            ((c.start_ms + (given[i] + 1) * c.picture_ms + PART_MS) / max(c.trust, TRUST_FLOOR), given[i], -c.trust, c.mkudos, i)
            for i, c in enumerate(choices)
            if given[i] < c.count and c.mkudos <= max_mkudos
        ]
        if not open_ones:
            break
        given[min(open_ones)[-1]] += 1
    return given


_WORDS: Mapping[str, str] = {
    "too_large": "allow(s) fewer pixels",
    "too_many_steps": "allow(s) fewer steps",
    "too_many_pictures": "allow(s) fewer pictures",
    "unsupported": "lack(s) a feature it needs",
    "full": "{are} full",
    "price": "ask(s) more",
    "policy": "decline(s) by the owner's rules",
    "standing": "want(s) more credit from you first",
    "paused": "{are} paused",
    "expired": "found the offer expired (is a clock wrong?)",
    "engine": "{have} a broken engine",
    "not_member": "work(s) for members of the mesh alone",
    "silent": "did not answer",
    "late": "{are} late",
    "away": "went away",
    "failed": "failed earlier in this job",
    "bad_input": "can't use a picture that was sent or an option that was set",
    "advised": "{are} advised against by those whom this node follows",
    "not_chosen": "{are} not among those that may be asked",
    "contradiction": "gave two different answers",
}


def explain(model: str, knowing: int, refusals: Iterable[No]) -> str:
    """Why nobody does it, for a person: "3 workers know meshgen-mini: 2 are full, 1 allows at most 512x512"."""
    if knowing == 0:
        which = f"the model {model!r}; `meshgen models` lists what is there" if model else "any model"
        return f"no worker in the mesh offers {which}"
    refusals = list(refusals)
    counts = Counter(no.reason for no in refusals)
    limits = {no.reason: max(other.limit for other in refusals if other.reason == no.reason) for no in refusals}
    phrases = [_phrase(reason, number, limits[reason]) for reason, number in counts.most_common()]
    known = f"{knowing} worker{'s know' if knowing > 1 else ' knows'} {model}"
    return f"{known}: {', '.join(phrases)}" if phrases else f"{known}, none answered in time"


def _phrase(reason: str, number: int, limit: int) -> str:
    one = number == 1
    if reason == "too_large" and limit:
        side = int(limit**0.5)
        return f"{number} allow{'s' * one} at most {side}x{side} pixels"
    if reason == "too_many_steps" and limit:
        return f"{number} allow{'s' * one} at most {limit} steps"
    if reason == "price" and limit:
        return f"{number} ask{'s' * one} at least {limit / 1000:g} kudos each"
    words = _WORDS.get(reason, f"refused ({reason})")
    words = words.replace("(s)", "s" if one else "").replace("{are}", "is" if one else "are")
    return f"{number} {words.replace('{have}', 'has' if one else 'have')}"
