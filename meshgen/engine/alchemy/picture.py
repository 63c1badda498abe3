"""Pictures that come in, opened with care, and those that go out."""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from meshgen.engine.port import EngineError
from meshgen.pictures import MAX_SIDE

FORMATS = ("PNG", "JPEG", "WEBP")


def open_picture(data: bytes) -> Image.Image:
    """RGB, or RGBA if anything in it may be transparent; upright. Raises EngineError("bad_input"); bombs are refused unread."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=FORMATS) as opened:
                _check_size(opened)
                picture = _eight_bits(ImageOps.exif_transpose(opened))
                return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except UnidentifiedImageError:
        raise EngineError("bad_input", f"this is no picture that can be read: {', '.join(FORMATS)} can be") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise EngineError("bad_input", f"the picture is too large: a side may have at most {MAX_SIDE} pixels") from None
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, zlib.error) as error:
        raise EngineError("bad_input", f"the picture is damaged ({type(error).__name__})") from None


def flat(picture: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white."""
    if picture.mode == "RGB":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")


def to_png(picture: Image.Image) -> bytes:
    """Without any text."""
    out = BytesIO()
    picture.info.clear()
    picture.save(out, "PNG", compress_level=4)
    return out.getvalue()


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits would be cut off at 255 by convert()."""
    return picture.point(lambda value: value * (1 / 257)).convert("L") if picture.mode.startswith("I") else picture


def _check_size(picture: Image.Image) -> None:
    if max(picture.size) > MAX_SIDE:
        width, height = picture.size
        raise EngineError("bad_input", f"the picture has {width}x{height} pixels: a side may have at most {MAX_SIDE}")
