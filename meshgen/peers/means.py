"""What every job of a requester works with, and what its standing wishes and the mesh's charter make of a request."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshgen.identity import Identity
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Net, PeerId
from meshgen.peers.advice import Advice
from meshgen.peers.assignment import Assignment, assign
from meshgen.peers.directory import Directory
from meshgen.peers.market import Market
from meshgen.peers.matching import Choice, No
from meshgen.peers.own import OwnEngine
from meshgen.peers.request import ANYBODY, ImageRequest, Request, RequestError, TextRequest, Whom
from meshgen.peers.supply import Quote, find_adapter, find_weights, price_levels
from meshgen.peers.tariff import offer_mkudos
from meshgen.protocols.advert import PICTURE_FAMILIES, AdapterAdvert, ModelAdvert
from meshgen.protocols.charter import Charter
from meshgen.protocols.offer import Offer
from meshgen.protocols.record import MAX_MKUDOS
from meshgen.settings import Settings


@dataclass(frozen=True, slots=True)
class RequesterPolicy:
    """The person's standing wishes. ``patience_s``: how long a job looks for a first worker before it says why there is none."""

    default_model: str = ""
    max_mkudos: int = 250_000
    bid_window_s: float = 1.5
    patience_s: float = 10.0
    offer_lifetime_ms: int = 60_000
    lateness: float = 4.0
    slack_s: float = 60.0
    timeout_s: float = 900.0
    open_jobs: int = 256
    kept_jobs: int = 256
    kept_bytes: int = 256 * 2**20
    private: bool = False
    shared: bool = False

    @classmethod
    def of(cls, settings: Settings) -> RequesterPolicy:
        given = settings.requester
        return cls(
            default_model=given.default_model,
            max_mkudos=given.max_mkudos,
            patience_s=given.bid_wait_s,
            offer_lifetime_ms=round(given.offer_lifetime_s * 1000),
            lateness=given.part_timeout_factor,
            slack_s=given.part_timeout_min_s,
            open_jobs=settings.limits.open_jobs,
            kept_jobs=settings.limits.kept_jobs,
            kept_bytes=settings.limits.kept_mib * 2**20,
            private=given.private,
            shared=given.share,
        )


@dataclass(frozen=True, slots=True)
class Means:
    net: Net
    identity: Identity
    ledger: Ledger
    directory: Directory
    market: Market
    own: OwnEngine | None
    policy: RequesterPolicy
    now_ms: Callable[[], int]
    rng: random.Random
    charter: Callable[[], Charter]
    """As it stands now."""
    advice: Advice
    why_outside: Callable[[], str] = lambda: ""
    """Why this node is no member of a mesh that lists them: "outside" or "expelled"."""
    refusal_of: Callable[[str], str] = lambda _: ""
    """Why a peer is not dealt with, in words; "" if it is."""
    clocks_trouble: Callable[[], str] = lambda: ""
    """Why nobody may answer, where it is this machine's clock."""

    def advised_against(self) -> dict[PeerId, No]:
        """Known workers that those whom this node follows say to avoid."""
        if not self.advice.follow:
            return {}  # a directory of thousands is not gone through for nothing, four times a job
        return {PeerId(signed.peer): No("advised") for signed in self.directory.adverts() if self.advice.avoids(signed.author)}

    def kept_out(self, whom: Whom) -> dict[PeerId, No]:
        """Known workers that a request is not for."""
        if whom == ANYBODY:
            return {}
        return {PeerId(one.peer): No("not_chosen") for one in self.directory.adverts() if not whom.allows(one.peer)}

    def may_do(self, whom: Whom) -> bool:
        """Is there an own device, and may it be asked?"""
        return self.own is not None and whom.allows(self.net.peer_id)

    def known_model(self, name: str, families: Sequence[str], whom: Whom = ANYBODY) -> ModelAdvert | None:
        """Of a worker that may be asked, if one has it."""
        avoid, known = self.advised_against() | self.kept_out(whom), list(self.directory.adverts())
        own = self.own.models() if self.own and self.may_do(whom) else ()
        heeded = [signed.message for signed in known if signed.peer not in avoid]
        everybody = [signed.message for signed in known]
        return find_weights(heeded, own, name, families) or find_weights(everybody, own, name, families)

    def known_adapter(self, kind: str, name: str, family: str) -> AdapterAdvert | None:
        own = self.own.adapters() if self.own else ()
        return find_adapter([signed.message for signed in self.directory.adverts()], own, kind, name, family)

    def wanted(self, request: Request) -> tuple[str, Sequence[str]]:
        """The model's name, "" for any, and of which families it has to be."""
        match request:
            case ImageRequest(model=name):
                return name or self.policy.default_model, PICTURE_FAMILIES
            case TextRequest(model=name):
                return name, ("text",)
        return request.model, ("alchemy",)

    def max_mkudos(self, request: Request) -> int:
        """The most that one result may cost: what the request says, else the settings; never more than a hold may have."""
        wanted = self.policy.max_mkudos if request.max_mkudos is None else request.max_mkudos
        return min(wanted, self.charter().limits.max_hold_mkudos, MAX_MKUDOS // request.count)

    def draft(self, assignment: Assignment, count: int, max_mkudos: int) -> Offer:
        """The offer for ``count`` results."""
        now = self.now_ms()
        return Offer(
            net=self.ledger.net,
            nonce=os.urandom(16),
            count=count,
            max_mkudos=max_mkudos,
            created_ms=now,
            expires_ms=now + self.policy.offer_lifetime_ms,
            addresses=self.directory.own_addresses(),
            **assignment.measures(),
        )

    def quote(self, request: Request) -> Quote:
        """What it would cost, from what is known already: nobody is asked anything. Raises RequestError."""
        wanted, families = self.wanted(request)
        model = self.known_model(wanted, families, request.whom)
        if model is None:
            which = f"the model {wanted!r}" if wanted else "any model"
            raise RequestError("no_worker", f"no worker is known yet that offers {which}, so its price can't be told", "model")
        offer = self.draft(assign(request, model, self.known_adapter), request.count, self.max_mkudos(request))
        able = [peer for peer in self.directory.able(offer)[0] if request.whom.allows(peer)]
        tariff = offer_mkudos(offer, self.charter().tariff, model)
        return Quote(
            model=model.name,
            width=offer.width,
            height=offer.height,
            steps=offer.steps,
            count=offer.count,
            shared=bool(offer.shared),
            tariff_mkudos=tariff,
            max_mkudos=offer.max_mkudos,
            levels=price_levels([advert for peer in able if (advert := self.directory.get(peer))], tariff),
            own=self.own is not None and self.may_do(request.whom) and isinstance(self.own.choice(offer), Choice),
        )
