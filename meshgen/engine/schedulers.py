"""Schedulers by AI Horde's names for them, or by their classes in diffusers. A table; nothing here imports diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshgen.engine.port import EngineError

KARRAS = "_karras"
_SUFFIX = "Scheduler"


@dataclass(frozen=True, slots=True)
class SchedulerChoice:
    """A class of diffusers and what to set besides the model's own configuration."""

    name: str
    class_name: str
    settings: dict[str, Any]


_CLASSES = {  # class: does it know Karras sigmas?
    "DDIMScheduler": False,
    "DDPMScheduler": False,
    "DEISMultistepScheduler": True,
    "DPMSolverMultistepScheduler": True,
    "DPMSolverSinglestepScheduler": True,
    "EulerAncestralDiscreteScheduler": False,
    "EulerDiscreteScheduler": True,
    "FlowMatchEulerDiscreteScheduler": True,
    "FlowMatchHeunDiscreteScheduler": False,
    "HeunDiscreteScheduler": True,
    "KDPM2AncestralDiscreteScheduler": True,
    "KDPM2DiscreteScheduler": True,
    "LCMScheduler": False,
    "LMSDiscreteScheduler": True,
    "PNDMScheduler": False,
    "TCDScheduler": False,
    "UniPCMultistepScheduler": True,
}
_PNDM = "pndmscheduler"
_NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "k_euler": ("EulerDiscreteScheduler", {}),
    "k_euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "k_heun": ("HeunDiscreteScheduler", {}),
    "k_lms": ("LMSDiscreteScheduler", {}),
    "k_dpm_2": ("KDPM2DiscreteScheduler", {}),
    "k_dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "k_dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "k_dpmpp_2s_a": ("DPMSolverSinglestepScheduler", {}),
    "k_dpmpp_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmsolver": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 3}),
    "ddim": ("DDIMScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    _PNDM: ("PNDMScheduler", {"skip_prk_steps": True}),  # as every Stable Diffusion sets it
}
NAMES = (*_NAMES, *_CLASSES)


def scheduler_of(name: str) -> SchedulerChoice | None:
    """None for "", the model's own. Raises EngineError("bad_input") that names what there is."""
    if not name:
        return None
    plain = name.removesuffix(KARRAS)
    class_name, settings = _NAMES.get(plain.lower(), (plain, {}))
    if class_name not in _CLASSES:
        raise EngineError(
            "bad_input", f"no scheduler {name[:48]!r}; there is {', '.join(NAMES)}; some of them also with {KARRAS}"
        )
    if plain == name:
        return SchedulerChoice(name, class_name, settings)
    if not _CLASSES[class_name]:
        raise EngineError("bad_input", f"the scheduler {plain} has no Karras sigmas; leave {KARRAS} out")
    return SchedulerChoice(name, class_name, {**settings, "use_karras_sigmas": True})


def horde_sampler(name: str) -> tuple[str, bool] | None:
    """AI Horde's name for a scheduler, and whether it has Karras sigmas; None if AI Horde has none. For "", the model's own, what
    AI Horde's workers are best at. Raises EngineError("bad_input") that names what there is."""
    choice = scheduler_of(name)
    if choice is None:
        return "k_euler", False
    plain = name.removesuffix(KARRAS)
    alike = (horde for horde, (class_name, _) in _NAMES.items() if class_name == choice.class_name)
    found = plain.lower() if plain.lower() in _NAMES else next(alike, None)
    if found is None or found == _PNDM:
        return None
    return found.upper() if found == "ddim" else found, plain != name
