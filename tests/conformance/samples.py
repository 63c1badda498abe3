"""One good message of each kind, the same bytes on every machine: the ground for vectors and for tests of bad ones."""

from __future__ import annotations

from hashlib import sha256

from meshgen.identity import Identity
from meshgen.protocols.advert import AdapterAdvert, Advert, ModelAdvert
from meshgen.protocols.charter import (
    Charter,
    CharterAnswer,
    CharterLimits,
    CharterPolicies,
    CharterQuestion,
    CharterSignature,
    SignedCharter,
    Tariff,
)
from meshgen.protocols.envelope import sign
from meshgen.protocols.invite import Invite, InvitePeer
from meshgen.protocols.job import (
    Accepted,
    BillMessage,
    Chunk,
    Done,
    Failed,
    Piece,
    Preview,
    Progress,
    ResultStart,
    Settled,
    Stop,
    VoucherMessage,
)
from meshgen.protocols.offer import Award, Bid, Cancel, Need, Offer, Refusal
from meshgen.protocols.order import (
    ControlOrder,
    FormOrder,
    Input,
    InversionOrder,
    LoraOrder,
    PostOrder,
    TextOrder,
    WorkOrder,
)
from meshgen.protocols.pulse import Ping, Pong
from meshgen.protocols.record import Record
from meshgen.protocols.roll import Held, Page, RollAnswer, RollQuestion

NOW_MS = 1_789_000_000_000
REQUESTER = Identity.from_seed(bytes(range(32)))
WORKER = Identity.from_seed(bytes(range(32, 64)))
NET = sha256(b"charter-v0").digest()[:16]
SECRET = "a violet walrus"
"""The prompt. Whatever shows it has leaked it."""


def h(name: str) -> bytes:
    """A hash that stands for something, told apart by name."""
    return sha256(name.encode()).digest()


DOORS = (
    f"/ip4/192.0.2.7/tcp/4711/p2p/{WORKER.peer_id}",
    f"/ip6/2001:db8::7/tcp/4711/p2p/{WORKER.peer_id}",
    f"/dns/hub.example.org/tcp/443/p2p/{REQUESTER.peer_id}",
    f"/ip4/192.0.2.7/tcp/4711/p2p/{WORKER.peer_id}/p2p-circuit/p2p/{REQUESTER.peer_id}",
)
"""Addresses to join a mesh through."""

_CHARTER = Charter(
    name="our-collective",
    about="Pictures for all of us",
    delegates=tuple(sorted((REQUESTER.public_key, WORKER.public_key))),
    threshold=1,
    bootstrap=("/dns/hub.example.org/tcp/4711/p2p/" + WORKER.peer_id,),
    treasury=REQUESTER.public_key,
    tariff=Tariff(step_mkudos=90),
    limits=CharterLimits(max_hold_mkudos=10**9),
    policies=CharterPolicies(declines=("no-nsfw",)),
)
_SIGNED = SignedCharter.unsigned(_CHARTER).signed_by(WORKER)

_PAGE = Page(NET, 3, tuple(sorted((h("member"), h("account")))), (h("expelled"),))
_HELD = Held(WORKER.public_key, 3, sign(WORKER, _PAGE).id)

_MODEL = ModelAdvert("meshgen-mini", h("weights"), "sd1", 64, 128 * 128, ("txt2img", "negative_prompt"), 1500)

_ADAPTER = AdapterAdvert("post", "RealESRGAN_x4plus", h("upscaler"), "", 4)
_NEED = Need("lora", h("lora"))
_INPUT = Input("source", 300_000, h("source"))
_LORA = LoraOrder("pencil", h("lora"), 5_800, 6_000)
_INVERSION = InversionOrder("badhands", h("inversion"), "negative_prompt", 6_000)
_CONTROL = ControlOrder("openpose", h("controlnet"), 6_000, 1, 0)
_POST = PostOrder("RealESRGAN_x4plus", h("upscaler"))

SAMPLES: dict[type[Record], Record] = {
    ModelAdvert: _MODEL,
    AdapterAdvert: _ADAPTER,
    Need: _NEED,
    Advert: Advert(
        net=NET,
        seq=7,
        expires_ms=NOW_MS + 300_000,
        alias="attic",
        agent="meshgen/0.1.0",
        roles=("requester", "worker"),
        addresses=("/ip4/192.0.2.7/tcp/4001/p2p/" + WORKER.peer_id,),
        device_kind="cuda",
        device_name="Example GPU 24 GB",
        vram_total_mib=24_576,
        vram_free_mib=20_000,
        models=(_MODEL,),
        max_pixels=1024 * 1024,
        max_steps=50,
        max_count=8,
        policies=("no-nsfw",),
        price_permille=1000,
        slots=1,
        queued=2,
        head_seq=3,
        head_id=h("head"),
        adapters=(_ADAPTER,),
    ),
    Tariff: Tariff(),
    CharterLimits: CharterLimits(),
    CharterPolicies: CharterPolicies(),
    Charter: _CHARTER,
    CharterSignature: _SIGNED.signatures[0],
    SignedCharter: _SIGNED,
    CharterQuestion: CharterQuestion(NET, 1),
    CharterAnswer: CharterAnswer(NET, (_SIGNED.encode(),)),
    Page: _PAGE,
    Held: _HELD,
    RollQuestion: RollQuestion(NET, (_HELD,)),
    RollAnswer: RollAnswer(NET, (sign(WORKER, _PAGE).wire,)),
    Offer: Offer(
        net=NET,
        nonce=bytes(range(16)),
        model="meshgen-mini",
        digest=h("weights"),
        family="sd1",
        width=64,
        height=64,
        steps=20,
        count=2,
        features=("txt2img",),
        max_mkudos=10_000,
        created_ms=NOW_MS,
        expires_ms=NOW_MS + 60_000,
        addresses=("/ip4/192.0.2.8/tcp/4001/p2p/" + REQUESTER.peer_id,),
        needs=(_NEED,),
    ),
    Bid: Bid(
        net=NET,
        offer_id=h("offer"),
        digest=h("weights"),
        count=2,
        mkudos=8_000,
        start_ms=0,
        picture_ms=1_500,
        seal_key=bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
        head_seq=3,
        head_id=h("head"),
        known_seq=0,
        expires_ms=NOW_MS + 10_000,
    ),
    Refusal: Refusal(NET, h("offer"), "too_large", 512 * 512),
    Award: Award(NET, h("offer"), h("bid"), 2, h("hold"), (b"genesis entry", b"hold entry"), b"sealed work"),
    Cancel: Cancel(NET, h("offer")),
    WorkOrder: WorkOrder(
        offer_id=h("offer"),
        prompt=f"{SECRET} on a grün hill,\n\tphoto",
        negative_prompt="blurry",
        model="meshgen-mini",
        digest=h("weights"),
        width=64,
        height=64,
        steps=20,
        guidance_milli=5_000,
        scheduler="",
        seeds=(1, 2**53 - 1),
        preview_every=5,
        inputs=(_INPUT, Input("control", 5, h("pose"))),
        strength_milli=600,
        clip_skip=2,
        tiling=0,
        hires_fix=1,
        loras=(_LORA,),
        inversions=(_INVERSION,),
        control=(_CONTROL,),
        post=(_POST,),
    ),
    Input: _INPUT,
    LoraOrder: _LORA,
    InversionOrder: _INVERSION,
    ControlOrder: _CONTROL,
    PostOrder: _POST,
    TextOrder: TextOrder(
        offer_id=h("offer"),
        prompt=f"{SECRET} once said:",
        model="smollm2",
        digest=h("weights"),
        tokens=80,
        context=1024,
        seeds=(1, 2),
        temperature_milli=700,
        top_p_milli=950,
        top_k=40,
        min_p_milli=0,
        repetition_milli=1100,
        stops=("\n\n",),
    ),
    FormOrder: FormOrder(h("offer"), "nsfw", h("weights"), 640, 480, (_INPUT,)),
    Accepted: Accepted(h("hold")),
    Progress: Progress(1, 10, 20),
    Piece: Piece(1, "hill, gr"),
    Preview: Preview(1, 10, b"\xff\xd8jpeg"),
    ResultStart: ResultStart(1, 2**53 - 1, 300_000, h("png"), bytes(16), 1_480),
    Chunk: Chunk(b"\x89PNG\r\n\x1a\n"),
    BillMessage: BillMessage(b"a bill"),
    VoucherMessage: VoucherMessage(b"a voucher"),
    Done: Done(2),
    Failed: Failed("out_of_memory"),
    Settled: Settled(b"a receipt's entry"),
    Stop: Stop(),
    Invite: Invite.to(h("charter"), "", DOORS, h("key")),
    InvitePeer: Invite.to(b"", "ours", DOORS).peers[1],
    Ping: Ping(NOW_MS),
    Pong: Pong(NOW_MS, NOW_MS + 1_220, NOW_MS + 1_221),
}
