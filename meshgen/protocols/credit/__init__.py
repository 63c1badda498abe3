"""What peers owe each other, as bytes: entries of append-only logs, the notes that lead to them, and how logs are pulled.

An :class:`Entry` is one signed link of one author's chain; its ``content`` is the typed view of its data (``kinds``). Notes
(:class:`Bill`, :class:`Voucher`, :class:`Consent`, :class:`Witness`) travel beside the log, and entries embed their signature
alone. ``sync`` holds what ``/meshgen/credit/1`` says.

Whether an entry may stand where it stands in its chain is :mod:`meshgen.ledger.rules`. The law is ``protocols/credit/README.md``.
"""

from __future__ import annotations

from collections.abc import Callable

from meshgen.protocols.credit.entry import *  # noqa: F403
from meshgen.protocols.credit.entry import decode_entry
from meshgen.protocols.credit.kinds import *  # noqa: F403
from meshgen.protocols.credit.notes import *  # noqa: F403
from meshgen.protocols.credit.notes import Bill, Consent, Voucher, Witness
from meshgen.protocols.credit.sync import *  # noqa: F403
from meshgen.protocols.credit.sync import (
    Branch,
    BranchRequest,
    BucketRequest,
    ForkProof,
    Heads,
    HeadsRequest,
    News,
    Prints,
    PrintsRequest,
    Proofs,
    ProofsRequest,
    RangeReply,
    RangeRequest,
    WitnessRequest,
)

_KINDS = (
    *(Bill, Voucher, Consent, Witness, HeadsRequest, Heads, RangeRequest, RangeReply, PrintsRequest, Prints, BucketRequest),
    *(ForkProof, ProofsRequest, Proofs, BranchRequest, Branch, News, WitnessRequest),
)
VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {kind.TAG.removesuffix("/1"): kind.decode for kind in _KINDS}
VECTOR_DECODERS["entry"] = decode_entry
