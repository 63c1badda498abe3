"""Does what is asked for fit what the mesh offers? A name under the wrong verb is refused, a misspelt one is guessed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault
from meshgen.cli.model_views import KINDS
from meshgen.cli.nearest import meant

HIRES_FROM = 1.2
"""Times the model's own pixels: below, workers draw at once."""
MAX_SHOWN = 12
_HOW = {
    "text": ("writes text", 'meshgen write --model "{}" "..."'),
    "alchemy": ("is a form of alchemy", "meshgen alchemy {} PICTURE"),
    "picture": ("draws pictures", 'meshgen generate --model "{}" "..."'),
}


class Offered:
    """What is known of the mesh now; somebody who is not known yet may offer more."""

    def __init__(self, api: Api) -> None:
        found = api.get("/v1/models")
        self._models: dict[str, dict[str, Any]] = {row["name"]: row for row in found["mesh"]}
        self._adapters: list[dict[str, Any]] = found.get("adapters", [])

    def check_model(self, name: str, kind: str) -> str:
        """A guess at what was meant, or nothing. ``kind``: picture or text. Raises Fault for a model of another kind."""
        row = self._models.get(name)
        if not name or row is None:
            return self._guess("model", name, self._names(kind)) if name else ""
        if (found := kind_of(row)) != kind:
            does, call = _HOW[found]
            raise Fault(f"{name} {does}", f"ask with: {call.format(name)}", code="wrong_kind")
        return ""

    def check_form(self, name: str) -> str:
        """A warning, or nothing. Raises Fault for what is no form."""
        forms = self._names("alchemy")
        if name in forms:
            return ""
        if name in self._models:
            self.check_model(name, "alchemy")
        offered = f"offered are {_some(forms)}" if forms else "no form is offered by anybody known now"
        known = well_known()
        if name in known:
            return f"nobody known now does {name}: it takes its weights in the folder alchemy/ of a worker's home; {offered}"
        if forms:
            raise Fault(
                f"there is no form {name!r}", " ".join(filter(None, (meant(name, {*forms, *known}), offered))), code="no_form"
            )
        return meant(name, known)

    def check_adapters(self, kind: str, names: Iterable[str]) -> list[str]:
        known = {row["name"] for row in self._adapters if row["kind"] == kind}
        digests = [row["digest"] for row in self._adapters if "digest" in row]
        missing = [name for name in names if name not in known and not any(digest.startswith(name) for digest in digests)]
        return [guess for name in missing if (guess := self._guess(KINDS[kind], name, known))]

    def own_side(self, model: str) -> int:
        """Pixels; 0 if it is not known."""
        return int(self._models.get(model, {}).get("default_side", 0))

    def _names(self, kind: str) -> list[str]:
        return [name for name, row in self._models.items() if kind_of(row) == kind]

    @staticmethod
    def _guess(what: str, name: str, known: Iterable[str]) -> str:
        found = meant(name, known)
        return f"nobody known now has the {what} {name!r}; {found}" if found else ""


def kind_of(row: dict[str, Any]) -> str:
    """picture, text or alchemy."""
    return str(row["family"]) if row["family"] in _HOW else "picture"


def well_known() -> tuple[str, ...]:
    """Forms that a worker can do, with the weights for it."""
    from meshgen.engine.alchemy.forms import UPSCALERS

    return ("nsfw", "strip_background", "caption", "interrogation", *UPSCALERS)


def check_scheduler(name: str) -> None:
    """Raises Fault."""
    from meshgen.engine.port import EngineError
    from meshgen.engine.schedulers import KARRAS, NAMES, scheduler_of

    plain = name.removesuffix(KARRAS)
    guess = "" if plain.lower() in map(str.lower, NAMES) else meant(plain, NAMES)
    try:
        scheduler_of(name)
    except EngineError as error:
        raise Fault(f"there is no scheduler {name[:48]!r}" if guess else str(error), guess, code="no_scheduler") from None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more
