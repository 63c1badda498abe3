"""What ``meshgen generate`` can say of a picture beside its prompt: sources, adapters, what comes after it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import click

from meshgen.cli.faults import Fault
from meshgen.pictures import PictureError, check_kind, measure

MAX_PICTURE_BYTES = 16 * 1024 * 1024
STRENGTH = 0.75
_FILE = click.Path(path_type=Path, dir_okay=False)


class Weighted(click.ParamType[dict[str, Any]]):
    """``NAME``, ``NAME:0.8`` or, of a LoRA, ``NAME:0.8:0.5`` with the text encoder's weight."""

    name = "NAME[:WEIGHT]"

    def __init__(self, *keys: str) -> None:
        self._keys = keys

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        name, *weights = str(value).split(":")
        if not name or len(weights) > len(self._keys):
            self.fail(f"{value!r} is not {self.name}, such as pencil:0.8", param, ctx)
        try:
            given = dict(zip(self._keys, map(float, weights), strict=False))
        except ValueError:
            self.fail(f"{value!r}: a weight is a number, such as pencil:0.8", param, ctx)
        return {"name": name} | given


class Placed(Weighted):
    """Of an inversion, also where its token is put: ``NAME:0.8@negative``; without a place the prompt names it itself."""

    name = "NAME[:WEIGHT][@PLACE]"
    PLACES = {"prompt": "prompt", "negative": "negative_prompt"}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        text, at, place = str(value).partition("@")
        if at and place not in self.PLACES:
            self.fail(f"{value!r}: behind the @ goes prompt or negative, such as easynegative@negative", param, ctx)
        return super().convert(text, param, ctx) | ({"place": self.PLACES[place]} if at else {})


_OPTIONS = (
    click.option("--source", type=_FILE, default=None, help="A picture to start from, painted anew where transparent."),
    click.option("--mask", type=_FILE, default=None, help="What of the source is painted anew: white; black stays."),
    click.option("--strength", type=click.FloatRange(0, 1), default=None, help="How much of the source is given up.  [0.75]"),
    click.option("--lora", "loras", type=Weighted("weight", "clip_weight"), multiple=True, help="A LoRA; may be given again."),
    click.option(
        "--inversion",
        "inversions",
        type=Placed("weight"),
        multiple=True,
        help="A textual inversion; its token is put into the @prompt or @negative prompt, or is in there already.",
    ),
    click.option("--control", type=Weighted("weight"), default=None, help="ControlNet by its type (canny, depth, ...)."),
    click.option("--control-image", type=_FILE, default=None, help="The picture that it follows (default: the source)."),
    click.option("--control-map", is_flag=True, help="That picture is the map itself."),
    click.option("--return-map", is_flag=True, help="Hand back the map instead of a picture."),
    click.option("--clip-skip", type=click.IntRange(1, 12), default=1, show_default=True, help="Layers of the text encoder."),
    click.option("--tiling", is_flag=True, help="The edges fit together."),
    click.option("--hires-fix", is_flag=True, help="Compose at the model's own size, then enlarge and refine."),
    click.option("--post", multiple=True, metavar="NAME", help="An upscaler or another post-processor; may be given again."),
)


def picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), command)


def picture_body(given: dict[str, Any]) -> dict[str, Any]:
    """The options above, taken out of ``given``, as the API takes them. Raises Fault."""
    source, control = _encoded(given.pop("source")), given.pop("control")
    control_image = _encoded(given.pop("control_image")) or source
    flags = {"is_map": given.pop("control_map"), "return_map": given.pop("return_map")}
    if control and not control_image:
        raise Fault("--control needs a picture to follow", "give --control-image, or --source")
    if not control and any(flags.values()):
        raise Fault("--control-map and --return-map say something of --control", "give --control too, such as --control canny")
    strength = given.pop("strength")
    if strength is not None and not source:
        raise Fault("--strength says how much of a source is given up", "give --source too")
    body: dict[str, Any] = {
        "source": source,
        "strength": STRENGTH if strength is None else strength,
        "mask": _encoded(given.pop("mask")),
        "loras": list(given.pop("loras")),
        "inversions": list(given.pop("inversions")),
        "control": control | flags | {"image": control_image} if control else None,
        "post": list(given.pop("post")),
    }
    same = ("clip_skip", "tiling", "hires_fix")
    return body | {name: given.pop(name) for name in same}


def _encoded(file: Path | None) -> str:
    return base64.b64encode(read_picture(file)).decode() if file else ""


def read_picture(file: Path) -> bytes:
    """A picture by its first bytes; the node looks at the rest. Raises Fault."""
    try:
        if file.stat().st_size > MAX_PICTURE_BYTES:
            raise Fault(f"{file} is larger than {MAX_PICTURE_BYTES // 2**20} MiB", "make it smaller, or save it as JPEG or WebP")
        data = file.read_bytes()
        check_kind(data)
    except OSError as error:
        raise Fault(f"{file} can't be read: {error.strerror}", "give the path of a PNG, JPEG or WebP") from None
    except PictureError as error:
        raise Fault(f"{file} can't be used: {error}", "give the path of a PNG, JPEG or WebP") from None
    return data


def mask_note(source: Path | None, mask: Path | None) -> str:
    """Of two pictures that do not lie on each other as they are; "" for such that can't be measured, which the node refuses."""
    if source is None or mask is None:
        return ""
    try:
        of_source, of_mask = (measure(read_picture(file))[:2] for file in (source, mask))
    except PictureError:
        return ""
    (width, height), (wide, high) = of_source, of_mask
    if of_source == of_mask:
        return ""
    cut = "" if width * high == height * wide else ", and what hangs over is cut"
    return f"the mask has {wide}x{high} pixels and the source {width}x{height}: it is scaled to fit{cut}"
