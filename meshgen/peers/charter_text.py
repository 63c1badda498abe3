"""A charter written out as YAML with what each key means; :func:`meshgen.peers.charter_file.parse_charter` reads it back."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from meshgen.identity import KEY_BYTES, peer_id
from meshgen.peers.charter_file import FACTORS, KEYS
from meshgen.protocols.advert import PICTURE_FAMILIES
from meshgen.protocols.charter import Charter, SignedCharter
from meshgen.protocols.record import Array, field_kinds


def render_charter(signed: SignedCharter) -> str:
    """The whole document. Reading it back gives the same bytes, hence the same hash."""
    return "\n".join(_lines(signed)) + "\n"


def _lines(signed: SignedCharter) -> Iterator[str]:
    charter = signed.charter
    yield "# The charter of a mesh. What is signed is what it says: comments and the order of keys don't count."
    yield f"# hash: {signed.hash.hex()}"
    for name, kind in field_kinds(Charter):
        value = getattr(charter, name)
        if isinstance(kind, type):
            yield from ("", *_comment(_MEANING[name], ""), f"{name}:")
            for inner, inner_kind in field_kinds(kind):
                yield from _comment(_MEANING.get(inner, ""), "  ")
                yield f"  {inner}: {_yaml(inner, inner_kind, getattr(value, inner))}"
        else:
            yield from _comment(_MEANING.get(name, ""), "")
            yield f"{name}: {_yaml(name, kind, value)}"
    yield ""
    yield from _comment(_MEANING["signatures"], "")
    yield "signatures:" if signed.signatures else "signatures: {}"
    for signature in signed.signatures:
        yield f"  {peer_id(signature.key)}: {signature.signature.hex()}"


def _comment(text: str, indent: str) -> Iterator[str]:
    return iter(textwrap.wrap(text, 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ") if text else ())


def _yaml(key: str, kind: Any, value: Any) -> str:
    if key == FACTORS:
        return "{" + ", ".join(f"{family}: {factor}" for family, factor in zip(PICTURE_FAMILIES, value, strict=True)) + "}"
    if isinstance(kind, Array):
        return "[" + ", ".join(_yaml(key, kind.of, item) for item in value) + "]"
    if isinstance(value, bytes):
        return (peer_id(value) if len(value) == KEY_BYTES and key in KEYS else value.hex()) or '""'
    text = str(value)
    return text if re.fullmatch(r"[a-z0-9][a-z0-9.-]*", text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_MEANING = {
    "name": "What people call the mesh. Its id is not the name but the front of the hash of version 0.",
    "version": "0 founds the mesh; `meshgen mesh amend` counts on and names the hash of the version before.",
    "delegates": "Who may change this text, as peer ids, and how many of them must sign a change.",
    "bootstrap": "Nodes to join through, for members who set none of their own.",
    "treasury": "A peer that may be given credit for common purposes; may be empty. No work is taxed for it.",
    "tariff": "What work costs, in thousandths of a kudos (mkudos) and of 1 (permille). Workers may ask more or less.",
    "step_mkudos": "A denoising step of a picture of 64x64 pixels, and how many steps a picture costs beside its own.",
    "area_permille": "A megapixel costs so much more, and grows with this exponent (a multiple of 125).",
    "families_permille": "Factors: of each model family, a picture made from another one, each post-processor, ControlNet.",
    "lora_mkudos": "Added for each LoRA, and once for textual inversions.",
    "surcharge_mkudos": "Added to each picture for the worker that draws it; less if its owner lets it be shared. Pictures made "
    "from another one are never shared.",
    "alchemy_mkudos": "A form of alchemy (caption, nsfw), an interrogation, a tile of 512x512 of an upscaled picture, and what "
    "is added to each form.",
    "token_mkudos": "Text: a token by a model of a billion parameters, and what is added to each request.",
    "limits": "What members take from each other at most.",
    "max_hold_mkudos": "The most that one job may set aside.",
    "stranger_entries": "New credit entries a day that a node takes in of an author whom nobody owes anything.",
    "stranger_pictures_per_minute": "For one requester without standing; 0 = no limit.",
    "declines": "What workers say in public that they do not do, e.g. [no-nsfw].",
    "policies": "What a worker does unless its owner's settings say otherwise.",
    "members": "open to anybody, or listed: for those alone whom delegates admit with `meshgen mesh admit`; and how many of them "
    "must admit, or expel, somebody for it to count.",
    "relay_gib_mkudos": "What members give a relay for each GiB that it carried of theirs; 0 = nothing.",
    "signatures": "By each delegate's key over the hash; `meshgen mesh sign` adds one. They are no part of what is hashed.",
}
