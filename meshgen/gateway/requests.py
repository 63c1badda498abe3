"""What people ask for, with bounds: pictures, texts, forms of alchemy. Pictures that go in are base64."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from meshgen.gateway.bodies import Body
from meshgen.peers.request import ControlWish, FormRequest, ImageRequest, InversionWish, LoraWish, TextRequest, Whom
from meshgen.protocols.offer import MAX_CONTEXT, MAX_COUNT, MAX_SIDE, MAX_STEPS, MAX_TOKENS
from meshgen.protocols.order import MAX_INPUT_BYTES, MAX_INVERSIONS, MAX_LORAS, MAX_POST, MAX_STOPS, PLACES

MAX_PROMPT = 8000  # characters: models that draw read 77 to 512 tokens
MAX_TEXT = 32_000
MAX_WEIGHT = 5.0
MAX_PEERS = 256
PEER_ID = "12D3KooW[1-9A-HJ-NP-Za-km-z]{44}"


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
    except binascii.Error:
        raise ValueError("not base64: send the picture's file, encoded") from None


Picture = Annotated[bytes, BeforeValidator(_decoded), Field(max_length=MAX_INPUT_BYTES, repr=False)]
_Name = Annotated[str, Field(min_length=1, max_length=64)]
_Weight = Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT)]
_MaxMkudos = Annotated[int | None, Field(ge=0, le=2**40, description="for one result, thousandths of a kudos; null = settings")]
_Seed = Annotated[int | None, Field(ge=0, le=2**32 - 1, description="result i gets seed + i; null draws one")]
_Peers = Annotated[list[Annotated[str, Field(pattern=f"^{PEER_ID}$")]], Field(max_length=MAX_PEERS)]
_Timeout = Annotated[float | None, Field(gt=0, le=24 * 3600)]
_DryRun = Annotated[bool, Field(description="say what it would cost, and ask nobody anything")]
_Nsfw = Annotated[bool, Field(description="what comes out may be not safe for work: only workers that take such jobs are asked")]


class WorkBody(Body):
    """What every request may say besides."""

    max_mkudos: _MaxMkudos = None
    nsfw: _Nsfw = False
    timeout_s: _Timeout = None
    workers: _Peers = Field(default=[], description="peer ids; none but these are asked")
    avoid_workers: _Peers = Field(default=[], description="peer ids; these are not asked")
    dry_run: _DryRun = False

    @property
    def whom(self) -> Whom:
        return Whom(frozenset(self.workers), frozenset(self.avoid_workers))


NOT_THE_REQUESTS = {"dry_run", "workers", "avoid_workers"}


class LoraBody(Body):
    name: _Name = Field(description="or the first 8 or more hex digits of its digest")
    weight: _Weight = 1.0
    clip_weight: _Weight | None = Field(default=None, description="of the text encoder's part; null = weight")


class InversionBody(Body):
    name: _Name
    place: str = Field(default="", pattern=f"^({'|'.join(PLACES)})$", description="where to put its token; empty = it is there")
    weight: _Weight = 1.0


class ControlBody(Body):
    """ControlNet."""

    name: _Name = Field(description="the control type: canny, depth, ...")
    image: Picture
    weight: _Weight = 1.0
    is_map: bool = False
    return_map: bool = Field(default=False, description="hand back the map instead of a picture")


class GenerateBody(WorkBody):
    """A request for pictures. 0 or an empty text leaves a choice to the model or the settings."""

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT, repr=False)
    negative_prompt: str = Field(default="", max_length=MAX_PROMPT, repr=False)
    model: str = Field(default="", max_length=64)
    width: int = Field(default=0, ge=0, le=MAX_SIDE, multiple_of=8, description="pixels")
    height: int = Field(default=0, ge=0, le=MAX_SIDE, multiple_of=8, description="pixels")
    steps: int = Field(default=20, ge=1, le=MAX_STEPS)
    guidance_scale: float = Field(default=5.0, ge=0, le=100)
    scheduler: str = Field(default="", max_length=32)
    seed: _Seed = None
    count: int = Field(default=1, ge=1, le=MAX_COUNT)
    preview_every: int = Field(default=0, ge=0, le=MAX_STEPS, description="steps between previews; 0 = none")
    private: bool = Field(default=False, description="leave the prompt out of the pictures' metadata, whatever the settings say")
    shared: bool | None = Field(
        default=None, description="let others have the pictures too, which costs less; null = as the settings say"
    )
    source: Picture = Field(default=b"", description="to start from; where it is transparent it is painted anew")
    mask: Picture = Field(default=b"", description="white is painted anew, black stays")
    strength: float = Field(default=0.75, ge=0, le=1, description="how much of the source is given up")
    clip_skip: int = Field(default=1, ge=1, le=12, description="1 = the text encoder's last layer")
    tiling: bool = Field(default=False, description="the edges fit together")
    hires_fix: bool = Field(default=False, description="composed at the model's own size, then enlarged and refined")
    loras: list[LoraBody] = Field(default=[], max_length=MAX_LORAS)
    inversions: list[InversionBody] = Field(default=[], max_length=MAX_INVERSIONS)
    control: ControlBody | None = None
    post: list[_Name] = Field(default=[], max_length=MAX_POST, description="post-processors, one after the other")

    @model_validator(mode="after")
    def _whole_size(self) -> GenerateBody:
        if bool(self.width) != bool(self.height):
            raise ValueError("width and height belong together: give both, or neither for the model's own size")
        return self

    def request(self) -> ImageRequest:
        plain: dict[str, Any] = self.model_dump(exclude=NOT_THE_REQUESTS | {"loras", "inversions", "control", "post"})
        return ImageRequest(
            **plain,
            whom=self.whom,
            loras=tuple(LoraWish(**lora.model_dump()) for lora in self.loras),
            inversions=tuple(InversionWish(**inversion.model_dump()) for inversion in self.inversions),
            control=ControlWish(**self.control.model_dump()) if self.control else None,
            post=tuple(self.post),
        )


class TextBody(WorkBody):
    """A request for texts that go on from a prompt."""

    prompt: str = Field(min_length=1, max_length=MAX_TEXT, repr=False)
    model: str = Field(default="", max_length=64, description="empty = the one that most workers offer")
    tokens: int = Field(default=80, ge=1, le=MAX_TOKENS, description="the most that each may have")
    context: int = Field(default=0, ge=0, le=MAX_CONTEXT, description="tokens of the prompt's end to read; 0 = all that fit")
    temperature: float = Field(default=0.7, ge=0, le=10, description="0 = always the likeliest token")
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0, le=100_000, description="0 = all")
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0, le=10)
    stops: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default=[], max_length=MAX_STOPS, repr=False)
    seed: _Seed = None
    count: int = Field(default=1, ge=1, le=MAX_COUNT)

    def request(self) -> TextRequest:
        return TextRequest(**self.model_dump(exclude=NOT_THE_REQUESTS | {"stops"}), stops=tuple(self.stops), whom=self.whom)


class FormBody(WorkBody):
    """A request for one form of alchemy over one picture."""

    form: _Name = Field(description="nsfw, caption, interrogation, an upscaler's name, ...")
    source: Picture

    def request(self) -> FormRequest:
        return FormRequest(self.form, self.source, self.max_mkudos, self.nsfw, timeout_s=self.timeout_s, whom=self.whom)
