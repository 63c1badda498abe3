"""Which jobs can be drawn as one batch, and the line in which jobs wait until a child takes them."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable

from meshgen.engine.pool.orders import Order
from meshgen.engine.port import TextWork, Work

MAX_BATCH = 8
"""Pictures that are drawn at once at most: beyond, larger batches gain little and a cancelled job waits longer."""
_PNG_WITH_ALPHA = (4, 6)  # colour types


def key(work: Work | TextWork) -> Hashable | None:
    """Jobs of equal keys can be one batch: they differ in prompts, seeds and pictures alone. None: this one runs by itself."""
    if isinstance(work, TextWork) or (work.source and not work.mask and _maybe_transparent(work.source)):
        return None
    control = work.control
    return (
        work.model,
        work.width,
        work.height,
        work.steps,
        work.guidance_scale,
        work.scheduler,
        (bool(work.source), bool(work.mask), work.strength if work.source else 0.0),
        (work.clip_skip, work.tiling, work.hires_fix),
        (work.loras, work.inversions),
        control and (control.digest, control.name, control.is_map, control.weight, control.return_map),
    )


def _maybe_transparent(source: bytes) -> bool:
    """A transparent source is painted where it is transparent: another kind of job, which its first bytes may not tell."""
    if source.startswith(b"\x89PNG"):
        return source[25:26] in {bytes([kind]) for kind in _PNG_WITH_ALPHA} or b"tRNS" in source[:4096]
    return not source.startswith(b"\xff\xd8")  # JPEG has no transparency


class Line:
    """Jobs in the order in which they came."""

    def __init__(self) -> None:
        self._orders: dict[Order, Hashable | None] = {}

    def __len__(self) -> int:
        return len(self._orders)

    @property
    def first(self) -> Order:
        return next(iter(self._orders))

    def first_goes_alone(self) -> bool:
        return self._orders[self.first] is None

    def join(self, order: Order) -> None:
        self._orders[order] = None if order.alone else key(order.work)

    def join_first(self, order: Order) -> None:
        self._orders = {order: None if order.alone else key(order.work), **self._orders}

    def leave(self, order: Order) -> None:
        self._orders.pop(order, None)

    def of_model(self, name: str) -> list[Order]:
        return [order for order in self._orders if order.work.model == name]

    def all(self) -> list[Order]:
        return list(self._orders)

    def party(self, most: int) -> list[Order]:
        """The first, and those behind it that go with it: ``most`` pictures, unless the first alone has more."""
        first, *others = self._orders.items()
        party, pictures = [first[0]], first[0].pictures
        if first[1] is None:
            return party
        for order, its_key in others:
            if its_key == first[1] and pictures + order.pictures <= most:
                party.append(order)
                pictures += order.pictures
        return party

    def take(self, most: int, devices: int = 1) -> list[Order]:
        """A party for one of the devices that are idle: several of them are faster than a large batch on one."""
        party = self.party(most)
        party = party[: math.ceil(len(party) / max(devices, 1))]
        for order in party:
            del self._orders[order]
        return party


def most_pictures(work: Work | TextWork, batch_pixels: int, max_batch: int = MAX_BATCH) -> int:
    """How many pictures of this size are drawn at once, on a device that draws ``batch_pixels`` at once."""
    if isinstance(work, TextWork):
        return 1
    return max(1, min(max_batch, batch_pixels // (work.width * work.height)))


def pictures_of(orders: Collection[Order]) -> int:
    return sum(order.pictures for order in orders)
