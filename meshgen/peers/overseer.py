"""The owner's hand on a worker: what it offers by the rules, whether it takes work now, and what it refused."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import trio

from meshgen.engine.port import AdapterInfo, Engine, ModelInfo
from meshgen.engine.several import declines_nsfw, is_declined, most_tokens
from meshgen.ledger.standing import Verdict
from meshgen.peers.availability import Availability
from meshgen.peers.demand import Demand
from meshgen.peers.matching import No
from meshgen.peers.rules import rules_of
from meshgen.protocols.charter import Charter
from meshgen.protocols.envelope import Signed
from meshgen.protocols.offer import MAX_TOKENS, Offer
from meshgen.settings import Settings

log = logging.getLogger(__name__)

WANTED = 10
"""Models that the state shows as asked for."""


class Overseer:
    """``on_change`` is called when what others are told has changed."""

    def __init__(
        self,
        settings: Settings,
        charter: Charter,
        engine: Engine,
        now_ms: Callable[[], int],
        on_change: Callable[[], None],
        *,
        home: Path | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings.worker
        self.follow(settings, charter)
        self._demand = Demand(now_ms)
        self._needed = Demand(now_ms)  # adapters, by their digests in hex
        self._refused: Counter[str] = Counter()  # orders, by the rule that they broke
        self.availability = Availability(settings.worker, engine, self.models, now_ms, on_change, home=home)

    def follow(self, settings: Settings, charter: Charter) -> None:
        """The rules in force from now on: the owner changed them, or the charter what the owner left open."""
        changed = settings.worker != self._settings
        self._settings, self._rules, self._charter = settings.worker, rules_of(settings, charter), charter
        if changed:
            self.availability.follow(settings.worker)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        for note in self._rules.notes(self._engine.models()):
            log.warning("worker rules: %s", note)
        await self.availability.run(task_status)

    # -- what is offered

    def models(self) -> list[ModelInfo]:
        """Those that are served, with the features that are."""
        return self._rules.served(self._engine.models(), self._demand.counts())

    def adapters(self) -> list[AdapterInfo]:
        """Those that are offered: what most ask for first, then the newest, which the engine's list ends with."""
        counts = self._needed.counts()
        newest_first = self._rules.adapters(self._engine.adapters())[::-1]
        return sorted(newest_first, key=lambda adapter: -counts[adapter.digest.hex()])

    def policies(self) -> tuple[str, ...]:
        """For the advert."""
        return self._rules.policies(self._charter, self.availability.closed() is not None)

    # -- what is refused

    def heard(self, offer: Signed[Offer]) -> None:
        """Of an offer, whether it is for this worker or not: it tells what the mesh asks for."""
        self._demand.heard(offer.author, offer.message.model)
        for need in offer.message.needs:
            self._needed.heard(offer.author, need.digest.hex())

    def no_offer(self, offer: Offer, verdict: Verdict) -> No | None:
        """The refusal of an offer, beside what the advert says of this worker."""
        most = min(self._settings.max_tokens, most_tokens(self._engine, offer.model) or MAX_TOKENS)
        if no := self.no(verdict):
            return no
        if offer.tokens > most:
            return No("too_many_steps", most)
        return No("policy") if offer.nsfw and declines_nsfw(self._engine, offer.model) else None

    def no(self, verdict: Verdict) -> No | None:
        """The refusal of any offer and award of such a requester now; None if there is nothing against it."""
        reason = self._rules.judge_peer(verdict)
        return self.availability.no() or (No(reason) if reason else None)

    def no_order(self, order: object, verdict: Verdict) -> No | None:
        """The refusal of an order, once it can be read: to be asked before it is accepted."""
        rule = self._rules.judge_order(order, verdict) or self._bridged_rule(order)
        self._refused.update([rule] if rule else ())
        return No("policy") if rule else None

    def _bridged_rule(self, order: object) -> str:
        """What a worker that is not the engine's own has against it."""
        prompt = getattr(order, "prompt", "")
        return "blacklist" if prompt and is_declined(self._engine, getattr(order, "model", ""), prompt) else ""

    def job(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """Around a job that was accepted; ``stop`` is called if the owner wants everything stopped at once."""
        return self.availability.job(stop)

    async def leave(self) -> None:
        """No new work any more; returns once what was accepted is over."""
        await self.availability.leave()

    # -- for the owner

    def pause(self, for_ms: int = 0, message: str = "", *, now: bool = False) -> None:
        """Raises ValueError with a text for people, OSError."""
        self.availability.pause(for_ms, message, now=now)

    def resume(self) -> None:
        """Raises OSError."""
        self.availability.resume()

    def state(self) -> dict[str, Any]:
        """Fit for JSON: whether it works, why not, by which rules, and what it refused by them."""
        found = self.availability.state()
        notes = self._rules.notes(self._engine.models()) + found.pop("notes")
        asked = sorted(self._demand.counts().items(), key=lambda item: (-item[1], item[0]))[:WANTED]
        return found | {
            "models": [model.name for model in self.models()],
            "wanted": [{"model": model, "requesters": number} for model, number in asked],
            "rules": self._in_force(),
            "refused": dict(self._refused),
            "notes": notes,
        }

    def brief(self) -> dict[str, Any]:
        """Of that, what status shows."""
        found = self.availability.state()
        return {key: found[key] for key in ("takes_work", "reasons", "troubles")}

    def _in_force(self) -> dict[str, Any]:
        """Words and patterns are counted, not shown: this goes into reports of faults."""
        given, rules = self._settings, self._rules
        keys = ("max_pixels", "max_steps", "max_count", "max_batch", "max_tokens", "max_queue", "slots", "vram_free_mib")
        limits = {key: getattr(given, key) for key in (*keys, "max_temperature_c", "max_power_w")}
        words = {"refuse_words": len(given.refuse_words), "refuse_patterns": len(given.refuse_patterns)}
        chosen = {"models": list(rules.models), "models_to_skip": list(rules.models_to_skip), "forms": list(rules.forms)}
        whom = {"only_friends": rules.only_friends, "friends": len(given.friends)}
        return chosen | {"declines": sorted(rules.declines), "hours": list(given.hours)} | whom | words | limits
