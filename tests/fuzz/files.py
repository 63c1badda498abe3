"""Files: pictures, charters, settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import cast

from PIL import Image, PngImagePlugin

from meshgen.peers.charter_file import CharterError, parse_charter
from meshgen.peers.charter_text import render_charter
from meshgen.pictures import PictureError, bare, check_png, text_of
from meshgen.protocols.charter import Charter, SignedCharter
from meshgen.settings.example import example
from meshgen.settings.load import SettingsError, load_settings
from tests.conformance.samples import WORKER
from tests.fuzz.target import Target
from tests.protocols.deals import png


def file_targets() -> Iterator[Target]:
    yield Target("files/png", _picture, (_real_png(), png()), (PictureError,))
    yield Target("files/charter", _charter, _charters(), (CharterError,), slow=True)
    own = (example().encode(), b"worker:\n  slots: 2001-12-13\n", b"? [a]\n: !!bool b\n")
    yield Target("files/settings", _settings, own, (SettingsError,), slow=True)


def _charter(data: bytes) -> None:
    signed = parse_charter(data.decode("utf-8", "replace"))
    assert parse_charter(render_charter(signed)) == signed, "what was read is not what is written out"


def _charters() -> tuple[bytes, ...]:
    charter = SignedCharter.unsigned(Charter("mesh", delegates=(WORKER.public_key,), threshold=1))
    plain = SignedCharter.unsigned(Charter("plain"))
    written = [render_charter(one).encode() for one in (charter.signed_by(WORKER), plain)]
    return (*written, b"name: x\n", b"a: [b, {c: d}]\n", b"? [a]\n: b\n", b"a: &x [b]\nc: *x\n")


@dataclass(frozen=True)
class _File:
    """As much of a path as the settings ask of one."""

    data: bytes

    def read_text(self, encoding: str) -> str:
        return self.data.decode(encoding)


def _settings(data: bytes) -> None:
    load_settings(cast(Path, _File(data)))


def _picture(data: bytes) -> None:
    with suppress(PictureError):
        text_of(data)
    check_png(data, 16, 16)
    check_png(bare(data), 16, 16)


def _real_png() -> bytes:
    out, told = BytesIO(), PngImagePlugin.PngInfo()
    told.add_text("parameters", "a")
    told.add_itxt("meshgen", "{}")
    Image.radial_gradient("L").resize((16, 16)).convert("RGB").save(out, "PNG", pnginfo=told)
    return out.getvalue()
