"""What the asking side answers, for the API's description; AI Horde's own names for all of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Caution(BaseModel):
    code: str
    message: str


class Accepted(BaseModel):
    id: str
    kudos: float = Field(description="expected cost")
    message: str | None = None
    warnings: list[Caution] | None = None


class DryRun(BaseModel):
    kudos: float


class Check(BaseModel):
    """How a request goes."""

    finished: int
    processing: int
    restarted: int = Field(description="results that a worker was to bring and did not")
    waiting: int
    done: bool = Field(description="the results are there")
    faulted: bool = Field(description="not all of them came, or none, and no more will")
    wait_time: int = Field(description="seconds; at least 1 while something is pending")
    queue_position: int
    kudos: float = Field(description="spent so far")
    is_possible: bool
    message: str | None = Field(default=None, description="why it is not possible, or what went wrong")


class Metadata(BaseModel):
    type: str
    value: str
    ref: str | None = None


class _Made(BaseModel):
    id: str
    gen_metadata: list[Metadata]
    worker_id: str
    worker_name: str
    model: str
    state: str


class MadeImage(_Made):
    img: str = Field(description="a URL; base64 of a WebP where r2 was false")
    seed: str
    censored: bool


class MadeText(_Made):
    text: str
    seed: int


class ImageStatus(Check):
    generations: list[MadeImage]
    shared: bool


class TextStatus(Check):
    generations: list[MadeText]


class Reward(BaseModel):
    reward: float


class FormsAccepted(BaseModel):
    id: str
    message: str | None = None


class FormStatus(BaseModel):
    form: str
    state: str
    result: dict[str, Any] | None = None


class FormsStatus(BaseModel):
    state: str = Field(description="waiting, processing, partial, done, faulted or cancelled")
    forms: list[FormStatus]
    message: str | None = None
