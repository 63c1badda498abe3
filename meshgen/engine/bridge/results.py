"""What a worker hands in: is it what was asked for? Pictures become plain PNGs."""

from __future__ import annotations

import json
import warnings
from io import BytesIO
from math import prod

from meshgen.engine.bridge.names import POST_PROCESSORS
from meshgen.engine.port import AnyWork, FormWork, TextWork
from meshgen.pictures import PictureError, bare, measure

MAX_BYTES = 64 * 1024 * 1024
MAX_FOUND_BYTES = 60 * 1024
TOKEN_BYTES, FRAME_BYTES = 200, 1024
"""A text of more than so many bytes a token is none that a model wrote."""
SAID = ("caption", "describe")
"""Forms whose findings are a text, which some hand in as it is."""
_DAMAGED = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError)


class Unusable(ValueError):
    """The result is not what was asked for; the text says why."""


def checked(work: AnyWork, data: bytes) -> tuple[bytes, str]:
    """The result and its media type. Decodes pictures: for a thread. Raises Unusable."""
    if isinstance(work, TextWork):
        return _text(data, work), "text/plain"
    if isinstance(work, FormWork) and work.form not in POST_PROCESSORS:
        return _found(data, work.form), "application/json"
    return _picture(data, *_size(work)), "image/png"


def _size(work: AnyWork) -> tuple[int, int]:
    if isinstance(work, FormWork):
        shape = measure(work.source)
        enlarge = POST_PROCESSORS[work.form]
        return shape.width * enlarge, shape.height * enlarge
    assert not isinstance(work, TextWork)
    enlarge = prod(POST_PROCESSORS.get(name, 1) for name in work.post)
    return work.width * enlarge, work.height * enlarge


def _picture(data: bytes, width: int, height: int) -> bytes:
    from PIL import Image, UnidentifiedImageError

    if len(data) > MAX_BYTES:
        raise Unusable(f"it has more than {MAX_BYTES} bytes")
    try:
        shape = measure(data)
        if (shape.width, shape.height) != (width, height):  # before a pixel of it is decoded
            raise Unusable(f"it has {shape.width}x{shape.height} pixels instead of {width}x{height}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
                plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
        if plain.size != (width, height):
            raise Unusable("it lies on its side")
        file = BytesIO()
        plain.save(file, "PNG", compress_level=4)
        return bare(file.getvalue())
    except PictureError as error:
        raise Unusable(str(error)) from None
    except Unusable:
        raise
    except (*_DAMAGED, UnidentifiedImageError, Image.DecompressionBombError):
        raise Unusable("it is damaged") from None


def _text(data: bytes, work: TextWork) -> bytes:
    if len(data) > TOKEN_BYTES * work.max_tokens + FRAME_BYTES:
        raise Unusable(f"a text of {len(data)} bytes is more than {work.max_tokens} tokens")
    return data


def _found(data: bytes, form: str) -> bytes:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise Unusable("it is no JSON") from None
    if isinstance(found, str) and form in SAID:
        found = {form: found}
    if not isinstance(found, dict) or form not in found:
        raise Unusable(f"it says nothing of {form}")
    plain = json.dumps({form: found[form]}).encode()
    if len(plain) > MAX_FOUND_BYTES:
        raise Unusable(f"it has more than {MAX_FOUND_BYTES} bytes")
    return plain
