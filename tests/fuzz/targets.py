"""Everything that decodes what others send, by name.

A decoder that is added to a protocol's VECTOR_DECODERS is fuzzed without further ado.
"""

from __future__ import annotations

from functools import cache

from tests.fuzz.files import file_targets
from tests.fuzz.logs import log_targets
from tests.fuzz.messages import message_targets
from tests.fuzz.target import Target


@cache
def targets() -> dict[str, Target]:
    return {target.name: target for target in (*message_targets(), *log_targets(), *file_targets())}
