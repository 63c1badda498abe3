"""Peers that speak the protocols by hand; see :mod:`meshgen.testing`."""

from meshgen.testing.outsiders import (
    MODEL,
    PROMPT,
    SIDE,
    STEPS,
    Deal,
    FalseWorker,
    Outsider,
    Play,
    extend,
    false_worker,
    make_chain,
    outsider,
    presence_topic,
)

__all__ = [
    "MODEL",
    "PROMPT",
    "SIDE",
    "STEPS",
    "Deal",
    "FalseWorker",
    "Outsider",
    "Play",
    "extend",
    "false_worker",
    "make_chain",
    "outsider",
    "presence_topic",
]
