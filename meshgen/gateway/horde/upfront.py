"""What AI Horde does only for those who have the credit for it. The anonymous key is the owner's guest and has none."""

from __future__ import annotations

import math

from meshgen.gateway.callers import Caller
from meshgen.gateway.horde.bodies import ImageBody, ImageParams
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.intake import Caution, caution

MAX_PIXELS = 1024 * 1024
MAX_STEPS = 50
GRID = 64
_FEW_STEPS = {"lcm": 10} | dict.fromkeys(("k_heun", "k_dpmpp_sde", "k_dpm_2", "k_dpm_2_a"), MAX_STEPS // 2)
_REFUSED = (
    "Due to heavy demand, for requests over 1024x1024 or over 50 steps (10 steps for LCM work, 30 steps for Stable Cascade, and "
    "half those steps for k_heun, dpmpp_sde, and dpm_2*) the client needs to already have the required kudos. "
    "This request requires {} kudos to fulfil."
)


def needs_credit(caller: Caller, params: ImageParams) -> bool:
    return caller.kind == "anonymous" and (params.width * params.height > MAX_PIXELS or params.steps > _most_steps(params))


def downgraded(body: ImageBody) -> tuple[ImageBody, Caution]:
    """As large and with as many steps as nobody needs credit for; its shape stays, within a grid of 64 pixels."""
    params = body.params
    smaller = min(1.0, math.sqrt(MAX_PIXELS / (params.width * params.height)))
    width, height = (max(GRID, int(side * smaller) // GRID * GRID) for side in (params.width, params.height))
    steps = min(params.steps, _most_steps(params))
    fitting = params.model_copy(update={"width": width, "height": height, "steps": steps})
    told = caution("Downgraded", f"Warning: this is drawn with {width}x{height} pixels and {steps} steps: more needs a key.")
    return body.model_copy(update={"params": fitting}), told


def refused(kudos: float) -> HordeError:
    return HordeError(403, "KudosUpfront", _REFUSED.format(f"{kudos:.1f}"))


def _most_steps(params: ImageParams) -> int:
    return _FEW_STEPS.get(params.sampler_name, MAX_STEPS)
