"""Pictures as files: metadata that people's tools read, the check of a picture that arrives, and contact sheets.

Text goes into a PNG as chunks, without touching its pixels: re-encoding a large picture takes longer than drawing
some small ones.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from meshgen import __version__

if TYPE_CHECKING:
    from PIL import Image  # imported where it is used: a node that never sees a picture does without

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 256 * 1024
MAX_SIDE = 8192
INPUT_FORMATS = ("PNG", "JPEG", "WEBP")
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_RIFF, _WEBP = b"RIFF", b"WEBP"
_SHOWN = frozenset((b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"IDAT", b"IEND"))
_HEADER_END = 33  # behind the signature (8) and IHDR (25)
_SAMPLERS = {
    "k_euler": "Euler",
    "k_euler_a": "Euler a",
    "k_heun": "Heun",
    "k_lms": "LMS",
    "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2 a",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2s_a": "DPM++ 2S a",
    "k_dpmpp_sde": "DPM++ SDE",
    "lcm": "LCM",
    "EulerDiscreteScheduler": "Euler",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "DDIMScheduler": "DDIM",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "UniPCMultistepScheduler": "UniPC",
}


_UNREADABLE = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)
"""What decoders raise for damaged headers."""


class PictureError(ValueError):
    """The bytes are not the picture that they should be; the text says why."""


def check_png(data: bytes, width: int, height: int) -> None:
    """Raises PictureError unless this is a whole PNG of that size: every checksum, every pixel. Bombs are refused unread."""
    if not data.startswith(SIGNATURE):
        raise PictureError("it is not a PNG")
    if max(width, height) > MAX_SIDE:
        raise PictureError(f"a side of more than {MAX_SIDE} pixels")
    shape = struct.unpack(">II", data[16:24]) if len(data) >= _HEADER_END else (0, 0)
    if shape != (width, height):
        raise PictureError(f"it has {shape[0]}x{shape[1]} pixels instead of {width}x{height}")
    chunks = [(kind, 12 + len(body)) for kind, body in _chunks(data)]
    if not chunks or chunks[-1][0] != b"IEND":
        raise PictureError("it is cut off")
    if len(SIGNATURE) + sum(size for _, size in chunks) != len(data):
        raise PictureError("something follows behind its end")
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=("PNG",)) as image:
                image.load()
    except UnidentifiedImageError:
        raise PictureError("it can't be read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError("it has too many pixels") from None
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise PictureError(f"it is damaged ({error})") from None


class Shape(NamedTuple):
    """Of an encoded picture as it is looked at, in pixels."""

    width: int
    height: int
    transparent: bool
    """May be, as far as its header says."""


def measure(data: bytes) -> Shape:
    """Of a PNG, JPEG or WebP, by its header: nothing is decoded. Raises PictureError, also of one that is plainly cut off."""
    from PIL import Image, UnidentifiedImageError

    check_kind(data)
    if data.startswith(SIGNATURE) and len(data) >= _HEADER_END:
        _check_sides(*struct.unpack(">II", data[16:24]))  # before PIL calls it a bomb, and says no figures
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=INPUT_FORMATS) as image:
                width, height = image.size
                transparent = "A" in image.getbands() or "transparency" in image.info
                if _lies_on_its_side(image):
                    width, height = height, width
    except Image.DecompressionBombError:
        raise PictureError(f"it has too many pixels; a side has at most {MAX_SIDE}") from None
    except (*_UNREADABLE, UnidentifiedImageError):
        raise PictureError("it is damaged: its header can't be read") from None
    _check_sides(width, height)
    if _is_cut(data):
        raise PictureError("it is cut off: its end is missing")
    return Shape(width, height, transparent)


def check_kind(data: bytes) -> None:
    """By its first bytes alone. Raises PictureError."""
    if not data:
        raise PictureError("it is empty")
    if not data.startswith((SIGNATURE, _JPEG)) and (data[:4], data[8:12]) != (_RIFF, _WEBP):
        raise PictureError("it is no PNG, JPEG or WebP picture")


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise PictureError(f"it has {width}x{height} pixels; a side has at most {MAX_SIDE}")


def _is_cut(data: bytes) -> bool:
    """Never true of a whole one, whatever follows behind its end; what is cut within may only be found when it is decoded."""
    if data.startswith(SIGNATURE):
        return not _reaches_end(data)
    if data.startswith(_RIFF):
        return len(data) < 8 + int(struct.unpack("<I", data[4:8])[0])
    return _JPEG_END not in data


def _reaches_end(png: bytes) -> bool:
    at = len(SIGNATURE)
    while at + 12 <= len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        at += 12 + size
        if kind == b"IEND":
            return bool(at <= len(png))
    return False


def _lies_on_its_side(image: Image.Image) -> bool:
    """As cameras save what they took upright. Only by what stands before the pixels: nothing is decoded for it."""
    if image.format == "PNG" and "exif" not in image.info:
        return False
    return image.getexif().get(0x0112) in (5, 6, 7, 8)


def with_text(png: bytes, texts: Mapping[str, str]) -> bytes:
    """The PNG with a text chunk a keyword (1 to 79 characters of Latin-1), right behind its header."""
    if not png.startswith(SIGNATURE) or len(png) < _HEADER_END:
        raise PictureError("it is not a PNG")
    chunks = b"".join(_text_chunk(keyword, text) for keyword, text in texts.items())
    return png[:_HEADER_END] + chunks + png[_HEADER_END:]


def bare(png: bytes) -> bytes:
    """The PNG with nothing in it but what its pixels need: no words of whoever drew it, none behind its end."""
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body in _chunks(png) if kind in _SHOWN)


def text_of(png: bytes) -> dict[str, str]:
    """The text chunks (tEXt and uncompressed iTXt) of a PNG. Raises PictureError if its chunks are damaged."""
    found: dict[str, str] = {}
    for kind, body in _chunks(png):
        keyword, _, rest = body.partition(b"\0")
        if kind == b"tEXt":
            found[keyword.decode("latin-1")] = rest.decode("latin-1")
        elif kind == b"iTXt" and rest[:1] == b"\0":
            *names, text = rest[2:].split(b"\0", 2)
            if len(names) != 2:  # language and translated keyword
                raise PictureError("its 'iTXt' chunk is damaged")
            found[keyword.decode("latin-1")] = text.decode("utf-8", "replace")
    return found


def parameters_text(
    *,
    prompt: str,
    negative_prompt: str,
    steps: int,
    scheduler: str,
    guidance_scale: float,
    seed: int,
    width: int,
    height: int,
    model: str,
    model_digest: bytes,
) -> str:
    """The ``parameters`` text that A1111 writes and galleries read: prompt, negative prompt, one line of settings."""
    settings = {
        "Steps": str(steps),
        "Sampler": _sampler(scheduler),
        "CFG scale": f"{guidance_scale:g}",
        "Seed": str(seed),
        "Size": f"{width}x{height}",
        "Model hash": model_digest.hex()[:10],
        "Model": _quoted(model),
        "Version": f"meshgen {__version__}",
    }
    lines = [prompt] if prompt else []
    lines += [f"Negative prompt: {negative_prompt}"] if negative_prompt else []
    return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in settings.items())])


def contact_sheet(pngs: Sequence[bytes], captions: Sequence[str], cell: int = 256) -> bytes:
    """All pictures on one page, as near to square as it gets, each fitted into ``cell`` pixels over its caption."""
    from PIL import Image, ImageDraw, ImageFont

    columns = max(1, math.ceil(math.sqrt(len(pngs))))
    rows = math.ceil(len(pngs) / columns)
    gap, line = cell // 16, cell // 10
    font = ImageFont.load_default(size=line * 6 // 10)
    sheet = Image.new("RGB", (columns * (cell + gap) + gap, rows * (cell + line + gap) + gap), "#f4f2ee")
    draw = ImageDraw.Draw(sheet)
    for place, (png, caption) in enumerate(zip(pngs, captions, strict=True)):
        left = gap + place % columns * (cell + gap)
        top = gap + place // columns * (cell + line + gap)
        picture = _fitted(png, cell)
        sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
        fitting = _shortened(caption, lambda text: draw.textlength(text, font=font) <= cell)
        draw.text((left + cell // 2, top + cell + line // 2), fitting, fill="#3a3733", font=font, anchor="mm")
    out = BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def _fitted(png: bytes, cell: int) -> Image.Image:
    """Small pictures grow, large ones shrink, both keep their proportions."""
    from PIL import Image

    with Image.open(BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS)


def _shortened(text: str, fits: Callable[[str], bool]) -> str:
    """The text, or its beginning with an ellipsis."""
    line = " ".join(text.split())
    if fits(line):
        return line
    cut = next((end for end in range(len(line) - 1, 0, -1) if fits(line[:end] + "\u2026")), 0)
    return line[:cut].rstrip() + "\u2026"


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of each chunk up to IEND. Raises PictureError at one that is cut or has a wrong checksum."""
    at = len(SIGNATURE)
    while at < len(png):
        if at + 12 > len(png):
            raise PictureError("it is cut off")
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        end = at + 12 + size
        if end > len(png):
            raise PictureError("it is cut off")
        body = png[at + 8 : end - 4]
        if zlib.crc32(kind + body) != struct.unpack(">I", png[end - 4 : end])[0]:
            raise PictureError(f"its {kind.decode('latin-1')!r} chunk is damaged")
        yield kind, body
        if kind == b"IEND":
            return
        at = end


def _text_chunk(keyword: str, text: str) -> bytes:
    """tEXt where Latin-1 is enough, which more tools read; else iTXt."""
    name = keyword.encode("latin-1")
    try:
        kind, body = b"tEXt", name + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        kind, body = b"iTXt", name + b"\0\0\0\0\0" + text.encode("utf-8", "replace")
    if not 1 <= len(name) <= 79 or len(body) > MAX_TEXT_BYTES:
        raise PictureError(f"the text {keyword!r} does not fit into a chunk")
    return _chunk(kind, body)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _sampler(scheduler: str) -> str:
    """The name that A1111 gives to a scheduler; what it does not know keeps its own."""
    plain = scheduler.removesuffix("_karras")
    return _SAMPLERS.get(plain, plain or "default") + (" Karras" if plain != scheduler else "")


def _quoted(value: str) -> str:
    """Commas and colons would end the value for a gallery's parser."""
    return f'"{value}"' if any(char in value for char in ',:"') else value
