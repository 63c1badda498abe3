"""What both nets check and survive in the same way: limits, and the callbacks that roles hand in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from meshgen.net.port import (
    MAX_GOSSIP_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TABLE_KEY_BYTES,
    MAX_TABLE_VALUE_BYTES,
    Gossip,
    GossipValidator,
    TableRules,
    TooLarge,
    Unreachable,
)

log = logging.getLogger("meshgen.net")

GOSSIP_QUEUE = 256
"""How many gossip messages wait for a slow reader before the oldest is dropped."""
DIAL_TIMEOUT_S = 5.0


def check_message(message: bytes) -> None:
    _check_size("a message", len(message), MAX_MESSAGE_BYTES)


def check_gossip(data: bytes) -> None:
    _check_size("a gossip message", len(data), MAX_GOSSIP_BYTES)


def check_key(key: str) -> None:
    _check_size("a table key", len(key.encode()), MAX_TABLE_KEY_BYTES)


def check_value(rules: TableRules, key: str, value: bytes) -> None:
    """Raises TooLarge, or ValueError when the table's rules refuse the value."""
    check_key(key)
    _check_size("a table value", len(value), MAX_TABLE_VALUE_BYTES)
    if not is_valid(rules, key, value):
        raise ValueError(f"the table's rules refuse this value under {key!r}")


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"{what} has {size} bytes; the limit is {limit}")


def is_valid(rules: TableRules, key: str, value: bytes) -> bool:
    """The rules' verdict on what may come from anybody; a key outside of their namespace is never valid."""
    if not key.startswith(f"/{rules.namespace}/") or len(value) > MAX_TABLE_VALUE_BYTES:
        return False
    try:
        return rules.validator(key, value)
    except Exception as error:  # noqa: BLE001 - a validator that trips over hostile bytes must not take the node down
        log.error("the table's validator raised instead of judging: %s", where(error))
        return False


def accepts(validator: GossipValidator, message: Gossip) -> bool | None:
    """The validator's verdict. One that raises has a bug: the message is dropped and the bug is logged."""
    if len(message.data) > MAX_GOSSIP_BYTES:
        return False
    try:
        return validator(message.sender, message.data)
    except Exception as error:  # noqa: BLE001 - see above
        log.error("the validator of %s raised instead of judging: %s", message.topic, where(error))
        return None


def report_handler(protocol: str, error: Exception) -> None:
    """Log why a channel's handler failed, without the error's text: it may quote what the peer sent.

    A ValueError (malformed bytes) or a TooSlowError is the peer's fault, which a stranger can repeat as often as he likes: no
    reason for alarm.
    """
    level = logging.DEBUG if isinstance(error, Unreachable | ValueError | trio.TooSlowError) else logging.ERROR
    log.log(level, "the handler of %s failed and its channel was reset: %s", protocol, where(error))


def where(error: BaseException) -> str:
    """An error's type and place; never its text."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return type(error).__name__
    return f"{type(error).__name__} at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"


def shielded(seconds: float) -> trio.CancelScope:
    """A scope for what must be finished though its task is cancelled, within so many seconds."""
    return trio.CancelScope(deadline=trio.current_time() + seconds, shield=True)


@contextmanager
def single_errors() -> Iterator[None]:
    """Nurseries wrap one error into as many groups as they are nested; let a lone error out as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from error.__cause__
