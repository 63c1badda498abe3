"""A charter as people write it, in YAML. Comments and the order of keys change nothing of its hash.

Every value is read as plain text and judged by the limits of its field: YAML's own types, where ``no`` is a boolean and ``1:30``
the number 90, play no part. Aliases, anchors and tags are refused, and so is what nests deeper than a charter does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from meshgen.identity import SIGNATURE_BYTES, public_key_of
from meshgen.protocols.advert import PICTURE_FAMILIES
from meshgen.protocols.charter import Charter, CharterSignature, SignedCharter
from meshgen.protocols.codec import Malformed
from meshgen.protocols.record import Array, Bin, UInt, field_kinds
from meshgen.settings.addressing import peer_address

MAX_TEXT_BYTES = 32 * 1024
MAX_NESTING = 4
KEYS = ("delegates", "treasury")
"""Public keys, which people see as peer ids."""
FACTORS = "families_permille"


class CharterError(ValueError):
    """A charter can't be used. The text names the file, the key, the fault and the cure; it can be shown to a person as it is."""


def parse_charter(text: str, source: str = "charter") -> SignedCharter:
    """The document and its signatures, which are not judged here. Raises CharterError."""
    try:
        values = _load(text)
        signatures = _signatures(values.pop("signatures", None) or {})
        body = _record(Charter, values, "").encode()
        return SignedCharter(body, signatures)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise CharterError(
            f"{source}{where}: not valid YAML: {getattr(error, 'problem', None) or str(error).splitlines()[0]}"
        ) from None
    except (CharterError, Malformed) as error:
        raise CharterError(f"{source}: {in_words(str(error))}") from None


def parse_tariff(values: Mapping[str, Any]) -> dict[str, Any]:
    """Some keys of a tariff with their values, as a charter's section holds them. Raises CharterError."""
    kinds = dict(field_kinds(type(Charter("tariff").tariff)))
    return {key: _value(_known(kinds, key, "tariff."), key, value, "tariff.") for key, value in values.items()}


def load_mapping(text: str, source: str) -> dict[str, Any]:
    """The keys of a YAML file, their values as texts. Raises CharterError."""
    try:
        return _load(text)
    except (yaml.YAMLError, CharterError) as error:
        raise CharterError(f"{source}: {error}") from None


# -- reading


class _Loader(yaml.BaseLoader):
    """Texts, lists and mappings whose keys stand once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                problem = f"the key {str(key.value)[:40]!r} stands here a second time, or is none"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _load(text: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise CharterError(f"longer than {MAX_TEXT_BYTES} bytes")
    depth = 0
    for event in yaml.parse(text, yaml.BaseLoader):  # flat, so that no depth can exhaust the stack
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise CharterError(f"line {line}: anchors and aliases (& and *) have no place in a charter")
        if getattr(event, "tag", None):
            raise CharterError(f"line {line}: tags (!) have no place in a charter")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_NESTING:
            raise CharterError(f"line {line}: nested deeper than a charter is")
    values = yaml.load(text, _Loader)  # knows texts, lists and mappings only
    if not isinstance(values, dict):
        raise CharterError("holds no keys such as `name:`")
    return values


def _record(cls: Any, values: object, where: str) -> Any:
    """A record of this class with what the mapping gives; the rest are defaults."""
    if not isinstance(values, dict):
        raise CharterError(f"{where.rstrip('.')}: its keys belong below it, indented")
    kinds = dict(field_kinds(cls))
    found = {key: _value(_known(kinds, key, where), key, value, where) for key, value in values.items()}
    if cls is Charter and "name" not in found:
        raise CharterError("name: is missing")
    return cls(**found)


def _known(kinds: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in kinds:
        close = difflib.get_close_matches(key.lower(), kinds, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(kinds)}"
        raise CharterError(f"{where}{key[:64]}: there is no such key; {hint}")
    return kinds[key]


def _value(kind: Any, key: str, value: Any, where: str) -> Any:
    path = where + key
    if key == FACTORS:
        return _families(value, path)
    match kind:
        case Array(of):
            items = [] if value == "" else value
            if not isinstance(items, list):
                raise CharterError(f"{path}: a list belongs here, e.g. [a, b]")
            made = [_value(of, key, item, where) for item in items]
            if len(set(made)) < len(made):
                raise CharterError(f"{path}: something stands there twice")
            return tuple(sorted(made) if key in KEYS else made)
        case _ if isinstance(kind, type):
            return _record(kind, value or {}, f"{path}.")
    if not isinstance(value, str):
        raise CharterError(f"{path}: a single value belongs here")
    match kind:
        case UInt():
            return _number(value, path)
        case Bin():
            return _key(value, path) if key in KEYS else _bytes(value, 32, path)
    return _address(value, path) if key == "bootstrap" else value


def _number(value: str, path: str) -> int:
    if not re.fullmatch(r"[0-9]{1,16}", value):
        raise CharterError(f"{path}: {value[:40]!r} is not a whole number")
    return int(value)


def _families(value: object, path: str) -> tuple[int, ...]:
    if not isinstance(value, dict):
        raise CharterError(f"{path}: a factor for each family belongs here, e.g. {{sd1: 1000}}")
    known = {family: family for family in PICTURE_FAMILIES}
    given = {_known(known, key, f"{path}."): _number(str(factor), path) for key, factor in value.items()}
    defaults = dict(zip(PICTURE_FAMILIES, Charter("x").tariff.families_permille, strict=True))
    return tuple((defaults | given).values())


def _key(value: str, path: str) -> bytes:
    if not value:
        return b""
    try:
        return public_key_of(value)
    except ValueError:
        raise CharterError(f"{path}: {value[:70]!r} is no peer id; `meshgen status` shows a node's") from None


def _bytes(value: str, size: int, path: str) -> bytes:
    if value and not re.fullmatch(rf"[0-9a-f]{{{2 * size}}}", value):
        raise CharterError(f"{path}: {2 * size} hex digits belong here")
    return bytes.fromhex(value)


def _address(value: str, path: str) -> str:
    try:
        return peer_address(value)
    except ValueError as error:
        raise CharterError(f"{path}: {error}") from None


def _signatures(values: object) -> tuple[CharterSignature, ...]:
    if not isinstance(values, dict):
        raise CharterError("signatures: a signature for each peer id belongs here")
    made = [
        CharterSignature(_key(peer, "signatures"), _bytes(str(signature), SIGNATURE_BYTES, f"signatures.{peer[:60]}"))
        for peer, signature in values.items()
    ]
    return tuple(sorted(made, key=lambda signature: signature.key))


def in_words(fault: str) -> str:
    """A message's fault in the keys of the file: ``tariff/1.step_mkudos`` -> ``tariff.step_mkudos``."""
    return re.sub(r"^(charter-)?(\w+)/1\.", lambda found: "" if found[2] == "charter" else f"{found[2]}.", fault)
