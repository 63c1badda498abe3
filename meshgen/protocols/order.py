"""The work itself: pictures, a text, or a form of alchemy. An order crosses the net only sealed to the chosen worker.

Pictures that go in are too large for the seal: the order names their sizes and hashes, and they follow on the job's own channel,
which is encrypted to the same worker (:mod:`meshgen.protocols.job`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from meshgen.protocols.codec import Limits, Malformed
from meshgen.protocols.offer import MAX_CONTEXT, MAX_COUNT, MAX_NEEDS, MAX_SIDE, MAX_STEPS, MAX_TOKENS
from meshgen.protocols.record import Array, Hash, Record, Text, UInt, decode_any

MAX_PROMPT_BYTES = 16 * 1024
MAX_TEXT_PROMPT_BYTES = 48 * 1024
MAX_INPUTS = 3
MAX_INPUT_BYTES = 16 * 1024 * 1024
ROLES = ("source", "mask", "control")
PLACES = ("none", "prompt", "negative_prompt")
MAX_LORAS, MAX_INVERSIONS, MAX_POST = 8, 20, 4
MAX_STOPS = 16

WEIGHT_ZERO = 5000
"""Weights may be negative and the wire has no sign: they stand there in thousandths, above -5."""
Needs = tuple[tuple[str, bytes], ...]
"""(kind, digest) of adapters, sorted."""
_Weight = Annotated[int, UInt(0, 2 * WEIGHT_ZERO)]
_Name = Annotated[str, Text(64, low=1)]
_Flag = Annotated[int, UInt(0, 1)]
_Prompt = Annotated[str, Text(MAX_PROMPT_BYTES, ascii_only=False)]
_Seeds = Annotated[tuple[int, ...], Array(UInt(), MAX_COUNT, low=1)]
_LIMITS = Limits(max_bytes=60 * 1024, max_items=64, max_depth=3, max_text=MAX_PROMPT_BYTES, ascii_only=False)


def to_weight(weight: float) -> int:
    """As the wire has it. Raises Malformed beyond -5 to 5."""
    value = round(weight * 1000) + WEIGHT_ZERO
    if not 0 <= value <= 2 * WEIGHT_ZERO:
        raise Malformed(f"a weight of {weight:g}: there is -5 to 5")
    return value


def from_weight(value: int) -> float:
    return (value - WEIGHT_ZERO) / 1000


@dataclass(frozen=True, slots=True)
class Input(Record):
    """An encoded picture (PNG, JPEG, WebP) that follows the award."""

    TAG = "input/1"
    role: Annotated[str, Text(8, choices=ROLES)]
    size: Annotated[int, UInt(1, MAX_INPUT_BYTES)]
    sha256: Hash


@dataclass(frozen=True, slots=True)
class LoraOrder(Record):
    TAG = "lora/1"
    name: _Name
    digest: Hash
    weight: _Weight
    clip_weight: _Weight


@dataclass(frozen=True, slots=True)
class InversionOrder(Record):
    """``place``: where the worker puts the token; none if the prompt has it already."""

    TAG = "inversion/1"
    name: _Name
    digest: Hash
    place: Annotated[str, Text(16, choices=PLACES)]
    weight: _Weight


@dataclass(frozen=True, slots=True)
class ControlOrder(Record):
    """``is_map``: the input is the map itself. ``return_map``: the map is what is wanted."""

    TAG = "control/1"
    name: _Name
    digest: Hash
    weight: _Weight
    is_map: _Flag
    return_map: _Flag


@dataclass(frozen=True, slots=True)
class PostOrder(Record):
    TAG = "post/1"
    name: _Name
    digest: Hash


@dataclass(frozen=True, slots=True)
class WorkOrder(Record):
    """Pictures, one a seed. Its repr shows no prompt."""

    TAG = "work/1"
    LIMITS = _LIMITS
    offer_id: Hash
    """Ties the sealed bytes to one offer: a replay under another one is refused."""
    prompt: _Prompt
    negative_prompt: _Prompt
    model: _Name
    digest: Hash
    width: Annotated[int, UInt(8, MAX_SIDE)]
    height: Annotated[int, UInt(8, MAX_SIDE)]
    steps: Annotated[int, UInt(1, MAX_STEPS)]
    guidance_milli: Annotated[int, UInt(0, 100_000)]
    """guidance_scale x 1000."""
    scheduler: Annotated[str, Text(48)]
    seeds: _Seeds
    preview_every: Annotated[int, UInt(0, MAX_STEPS)]
    inputs: Annotated[tuple[Input, ...], Array(Input, MAX_INPUTS)] = ()
    strength_milli: Annotated[int, UInt(0, 1000)] = 750
    clip_skip: Annotated[int, UInt(1, 12)] = 1
    tiling: _Flag = 0
    hires_fix: _Flag = 0
    loras: Annotated[tuple[LoraOrder, ...], Array(LoraOrder, MAX_LORAS)] = ()
    inversions: Annotated[tuple[InversionOrder, ...], Array(InversionOrder, MAX_INVERSIONS)] = ()
    control: Annotated[tuple[ControlOrder, ...], Array(ControlOrder, 1)] = ()
    post: Annotated[tuple[PostOrder, ...], Array(PostOrder, MAX_POST)] = ()

    def check(self) -> None:
        roles = [given.role for given in self.inputs]
        if len(set(roles)) < len(roles):
            raise Malformed(f"{self.TAG}.inputs: one of a kind, and no two")
        if "mask" in roles and "source" not in roles:
            raise Malformed(f"{self.TAG}.inputs: a mask without the picture that it is for")
        if bool(self.control) != ("control" in roles):
            raise Malformed(f"{self.TAG}.control: it and its picture are given together")
        if len(self.needs) > MAX_NEEDS:
            raise Malformed(f"{self.TAG}: it needs {len(self.needs)} adapters, more than {MAX_NEEDS}")

    @property
    def needs(self) -> Needs:
        """Every adapter, as the offer has to name them."""
        kinds = (("lora", self.loras), ("inversion", self.inversions), ("controlnet", self.control), ("post", self.post))
        return tuple(sorted((kind, item.digest) for kind, items in kinds for item in items))

    @property
    def features(self) -> frozenset[str]:
        """What the offer has to ask for."""
        roles = {given.role for given in self.inputs}
        asked = {
            "negative_prompt": bool(self.negative_prompt),
            "inpainting": "mask" in roles,
            "controlnet": bool(self.control),
            "lora": bool(self.loras),
            "inversion": bool(self.inversions),
            "clip_skip": self.clip_skip > 1,
            "tiling": bool(self.tiling),
            "hires_fix": bool(self.hires_fix),
        }
        return frozenset(name for name, wanted in asked.items() if wanted)

    def __repr__(self) -> str:
        return f"WorkOrder({self.model} {self.width}x{self.height} x{len(self.seeds)}, prompts withheld)"


@dataclass(frozen=True, slots=True)
class TextOrder(Record):
    """Completions of a prompt, one a seed. Its repr shows no prompt."""

    TAG = "text/1"
    LIMITS = replace(_LIMITS, max_text=MAX_TEXT_PROMPT_BYTES)
    offer_id: Hash
    prompt: Annotated[str, Text(MAX_TEXT_PROMPT_BYTES, ascii_only=False)]
    model: _Name
    digest: Hash
    tokens: Annotated[int, UInt(1, MAX_TOKENS)]
    """At most so many in each."""
    context: Annotated[int, UInt(0, MAX_CONTEXT)]
    """Tokens of the prompt that are read at most, its end; 0 = as many as the model can."""
    seeds: _Seeds
    temperature_milli: Annotated[int, UInt(0, 10_000)]
    top_p_milli: Annotated[int, UInt(0, 1000)]
    top_k: Annotated[int, UInt(0, 100_000)]
    min_p_milli: Annotated[int, UInt(0, 1000)]
    repetition_milli: Annotated[int, UInt(0, 10_000)]
    stops: Annotated[tuple[str, ...], Array(Text(64, low=1, ascii_only=False), MAX_STOPS)]

    inputs: ClassVar[tuple[Input, ...]] = ()
    needs: ClassVar[Needs] = ()
    features: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        return f"TextOrder({self.model} {self.tokens} tokens x{len(self.seeds)}, prompt withheld)"


@dataclass(frozen=True, slots=True)
class FormOrder(Record):
    """One form of alchemy over one picture; ``model`` is the form."""

    TAG = "form/1"
    LIMITS = _LIMITS
    offer_id: Hash
    model: _Name
    digest: Hash
    width: Annotated[int, UInt(1, MAX_SIDE)]
    height: Annotated[int, UInt(1, MAX_SIDE)]
    inputs: Annotated[tuple[Input, ...], Array(Input, 1, low=1)]

    seeds: ClassVar[tuple[int, ...]] = (0,)
    needs: ClassVar[Needs] = ()
    features: ClassVar[frozenset[str]] = frozenset()


Order = WorkOrder | TextOrder | FormOrder
ORDERS: tuple[type[WorkOrder], type[TextOrder], type[FormOrder]] = (WorkOrder, TextOrder, FormOrder)


def decode_order(data: bytes) -> Order:
    """Raises Malformed."""
    return decode_any(data, ORDERS)  # type: ignore[return-value]


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {
    "work": WorkOrder.decode,
    "text": TextOrder.decode,
    "form": FormOrder.decode,
}
