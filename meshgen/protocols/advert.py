"""What a peer says of itself: its device, models, limits and load. Signed, in the DHT and over the presence topic.

An advert is a claim, not a proof; a worker that bids beyond it is judged by what it delivers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from meshgen.protocols.codec import Limits, Malformed
from meshgen.protocols.record import Array, Bin, Hash, Millis, NetId, Record, Text, UInt

PICTURE_FAMILIES = ("sd1", "sdxl", "sd3", "flux", "other")
FAMILIES = (*PICTURE_FAMILIES, "text", "alchemy")
"""Model families; the last two draw nothing. Each has its own offer topic, so a worker hears what it could do and little else."""
ADAPTERS = ("lora", "inversion", "controlnet", "post")
"""What changes a model's pictures, or comes after them."""
MAX_ADAPTERS = 64
NO_NSFW = "no-nsfw"
"""The policy of those who refuse offers that say ``nsfw``."""
NO_POST = "no-post-processing"
"""The policy of those who refuse offers of pictures that need a post-processor, though they may tell of some: for forms."""
ROLES = ("requester", "worker", "hub", "archivist", "observer")
MAX_MODELS = 64
MAX_ADDRESSES = 8
MAX_ADDRESS_BYTES = 224
"""Room for one through a relay, which names two peers."""
MAX_LIFETIME_MS = 10 * 60 * 1000
"""An advert that claims to live longer is refused: a GPU's load an hour ago says nothing."""
TABLE_NAMESPACE = "meshgen"


@dataclass(frozen=True, slots=True)
class ModelAdvert(Record):
    TAG = "model/1"
    name: Annotated[str, Text(64, low=1)]
    digest: Hash
    family: Annotated[str, Text(8, choices=FAMILIES)]
    default_side: Annotated[int, UInt(8, 8192)]
    """Pixels of a side that the model was trained for: what a request without a size gets."""
    max_pixels: Annotated[int, UInt(1, 2**26)]
    features: Annotated[tuple[str, ...], Array(Text(24, low=1), 16)]
    mpixel_step_ms: Annotated[int, UInt(0, 2**32)]
    """Measured milliseconds for one denoising step of one megapixel; 0 = not measured yet."""
    millions: Annotated[int, UInt(0, 10**7)] = 0
    """Parameters, of a text model: they decide its price."""
    context: Annotated[int, UInt(0, 2**24)] = 0
    """Tokens, of a text model."""


@dataclass(frozen=True, slots=True)
class AdapterAdvert(Record):
    """A LoRA, textual inversion, ControlNet (named by its control type) or post-processor."""

    TAG = "adapter/1"
    kind: Annotated[str, Text(12, choices=ADAPTERS)]
    name: Annotated[str, Text(64, low=1)]
    digest: Hash
    family: Annotated[str, Text(8)]
    """Of the models that it fits; empty = any."""
    enlarge: Annotated[int, UInt(1, 16)] = 1
    """How many times a post-processor makes the sides grow."""


@dataclass(frozen=True, slots=True)
class Advert(Record):
    TAG = "advert/1"
    LIMITS = Limits(max_bytes=16 * 1024 - 256, max_depth=4)
    net: NetId
    seq: Annotated[int, UInt(1)]
    """Grows with each advert of this peer; the highest that has not expired counts."""
    expires_ms: Millis
    alias: Annotated[str, Text(32)]
    agent: Annotated[str, Text(48)]
    roles: Annotated[tuple[str, ...], Array(Text(16, choices=ROLES), 5)]
    addresses: Annotated[tuple[str, ...], Array(Text(MAX_ADDRESS_BYTES, low=1), MAX_ADDRESSES)]
    device_kind: Annotated[str, Text(8)]
    device_name: Annotated[str, Text(64)]
    vram_total_mib: Annotated[int, UInt(0, 2**24)]
    vram_free_mib: Annotated[int, UInt(0, 2**24)]
    models: Annotated[tuple[ModelAdvert, ...], Array(ModelAdvert, MAX_MODELS)]
    max_pixels: Annotated[int, UInt(0, 2**26)]
    max_steps: Annotated[int, UInt(0, 1000)]
    max_count: Annotated[int, UInt(0, 64)]
    policies: Annotated[tuple[str, ...], Array(Text(24, low=1), 16)]
    """What the owner does not do, e.g. ``no-nsfw``, ``paused``."""
    price_permille: Annotated[int, UInt(0, 1_000_000)]
    """Its price in thousandths of the mesh's tariff; 1000 = the tariff."""
    slots: Annotated[int, UInt(0, 1024)]
    queued: Annotated[int, UInt(0, 2**20)]
    """Pictures accepted and not yet drawn."""
    head_seq: Annotated[int, UInt()]
    head_id: Annotated[bytes, Bin(32, optional=True)]
    """The peer's credit chain ends here; bin0 and 0 before its GENESIS."""
    adapters: Annotated[tuple[AdapterAdvert, ...], Array(AdapterAdvert, MAX_ADAPTERS)] = ()

    def check(self) -> None:
        if self.vram_free_mib > self.vram_total_mib:
            raise Malformed(f"{self.TAG}.vram_free_mib: {self.vram_free_mib}, more than the {self.vram_total_mib} there are")
        if (self.head_seq == 0) != (self.head_id == b""):
            raise Malformed(f"{self.TAG}.head_id: bin0 belongs to head_seq 0, and to no other")


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {"advert": Advert.decode}
