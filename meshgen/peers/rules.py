"""The owner's rules: what of the engine's abilities is offered to others, and which jobs are refused.

Rules are for others' jobs. The own account's are never held against them: nobody has to argue with his own filter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meshgen.engine.port import AdapterInfo, ModelInfo
from meshgen.ledger.standing import OTHERS, OWN, Verdict
from meshgen.peers.selection import select, select_forms, selector_fault
from meshgen.peers.wording import NSFW_WORDS, Wording
from meshgen.protocols.charter import Charter
from meshgen.settings import Settings

_FEATURES = {
    "img2img": ("img2img",),
    "inpainting": ("inpainting", "outpainting"),
    "controlnet": ("controlnet",),
    "lora": ("lora",),
    "inversion": ("inversion",),
    "post-processing": ("post-processing",),
}
"""What is declined, and the features of a model that this takes away."""
_ADAPTERS = {"lora": "lora", "inversion": "inversion", "controlnet": "controlnet"}
"""Post-processors are told even so: an upscaler that is a form has to say how much it enlarges. The policy says the rest."""
_FAMILIES = {"text": "text", "alchemy": "alchemy"}
DECLINABLE = ("nsfw", *_FEATURES, *_FAMILIES)
NONE_SERVED = "none of the installed models is served by worker.models, models_to_skip, forms and declines"
MAX_POLICIES = 16
"""As many as an advert holds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """``declines`` holds words of :data:`DECLINABLE`; ``wording`` judges prompts, for nsfw too if that is declined."""

    models: tuple[str, ...] = ("all",)
    models_to_skip: tuple[str, ...] = ()
    forms: tuple[str, ...] = ("all",)
    declines: frozenset[str] = frozenset()
    only_friends: bool = False
    wording: Wording = field(default_factory=Wording)

    def policies(self, charter: Charter, paused: bool) -> tuple[str, ...]:
        """For the advert: what it does not do, as others may read it. The charter's words that no rule stands for are added."""
        own = [f"no-{word}" for word in DECLINABLE if word in self.declines]
        ruled = {f"no-{word}" for word in DECLINABLE}
        others = [word for word in charter.policies.declines if word not in ruled]
        return tuple(["paused"] * paused + ["friends-only"] * self.only_friends + own + others)[:MAX_POLICIES]

    def served(self, models: Iterable[ModelInfo], demand: Mapping[str, int]) -> list[ModelInfo]:
        """Those that are offered, with the features that are."""
        allowed = [model for model in models if model.family not in self._families()]
        forms = [model for model in allowed if model.family == "alchemy"]
        others = [model for model in allowed if model.family != "alchemy"]
        skipped = {model.name for model in select(allowed, self.models_to_skip, demand)}
        kept = [model for model in others if model.name not in skipped]
        chosen = select(kept, self.models, demand) + select_forms(forms, self.forms)
        return [replace(model, features=self._features(model.features)) for model in chosen if model.name not in skipped]

    def adapters(self, adapters: Iterable[AdapterInfo]) -> list[AdapterInfo]:
        """Those that are offered."""
        refused = {kind for word, kind in _ADAPTERS.items() if word in self.declines}
        return [adapter for adapter in adapters if adapter.kind not in refused]

    def judge_peer(self, verdict: Verdict) -> str:
        """Why a requester is refused, in a refusal's word; "" if it is not."""
        return "policy" if self.only_friends and verdict.rank.tier == OTHERS else ""

    def judge_order(self, order: object, verdict: Verdict) -> str:
        """Which rule an unsealed order breaks, without a word of its prompt; "" if none, or if it has no prompt, as a form of
        alchemy. Takes 0.1 s at the very most."""
        return "" if verdict.rank.tier == OWN else self.wording.found(getattr(order, "prompt", ""))

    def notes(self, models: Iterable[ModelInfo]) -> list[str]:
        """What in these rules means nothing here, for the owner."""
        names = {model.name for model in models}
        words = [word for word in (*self.models, *self.models_to_skip) if word not in names]
        faults = [selector_fault(word) for word in words]
        unknown = [word for word in self.models if word in words and _is_name(word)]
        return [fault for fault in faults if fault] + [f"{word!r} is not installed" for word in unknown]

    def _families(self) -> set[str]:
        return {family for word, family in _FAMILIES.items() if word in self.declines}

    def _features(self, features: tuple[str, ...]) -> tuple[str, ...]:
        refused = {feature for word in self.declines for feature in _FEATURES.get(word, ())}
        return tuple(feature for feature in features if feature not in refused)


def rules_of(settings: Settings, charter: Charter) -> Rules:
    """The owner's settings; what they leave open about declining, the mesh's charter says."""
    given = settings.worker
    declines = frozenset(given.declines) if "declines" in given.model_fields_set else _declined_by(charter)
    words = (*given.refuse_words, *(NSFW_WORDS if "nsfw" in declines else ()))
    return Rules(
        models=given.models,
        models_to_skip=given.models_to_skip,
        forms=given.forms,
        declines=declines,
        only_friends=given.only_friends,
        wording=Wording(words, given.refuse_patterns),
    )


def _declined_by(charter: Charter) -> frozenset[str]:
    return frozenset(word for word in DECLINABLE if f"no-{word}" in charter.policies.declines)


def _is_name(word: str) -> bool:
    return not selector_fault(word) and word.lower().split()[0] not in ("all", "top", "bottom")
