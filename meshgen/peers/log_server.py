"""Answers about credit logs: every peer says what it holds, to whoever asks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from meshgen.ledger import checkpoints
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Channel, Net, PeerId
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    MAX_BRANCH_REPLY,
    MAX_HEADS,
    MAX_PROOFS,
    MAX_RANGE_BYTES,
    MAX_RANGE_ENTRIES,
    PROTOCOL,
    Branch,
    BranchRequest,
    BucketRequest,
    Frontier,
    Head,
    Heads,
    HeadsRequest,
    Prints,
    PrintsRequest,
    Proofs,
    ProofsRequest,
    RangeReply,
    RangeRequest,
    WitnessRequest,
)
from meshgen.protocols.record import Record, decode_any

Question = (
    RangeRequest | HeadsRequest | PrintsRequest | BucketRequest | ProofsRequest | BranchRequest | WitnessRequest
)  # fmt: skip
_QUESTIONS: tuple[type[Record], ...] = (
    *(RangeRequest, HeadsRequest, PrintsRequest, BucketRequest, ProofsRequest, BranchRequest, WitnessRequest),
)


class LogServer:
    """Serves ``/meshgen/credit/1`` from one ledger. ``on_difference`` hears who found that it knows of other forks than we."""

    def __init__(self, net: Net, ledger: Ledger) -> None:
        self._net = net
        self._ledger = ledger
        self.on_difference: list[Callable[[PeerId], None]] = []

    def start(self) -> None:
        self._net.serve(PROTOCOL, self._serve)

    async def _serve(self, channel: Channel) -> None:
        message = await channel.receive()
        if message is None:
            return
        question: Record = decode_any(message, _QUESTIONS)
        assert isinstance(question, Question)
        if question.net != self._ledger.net:
            raise Malformed("credit: a question about another mesh")
        if isinstance(question, ProofsRequest) and not question.after:
            for listener in self.on_difference:
                listener(channel.peer)
        answer = self._answer(question)
        if answer is not None:
            await channel.send(answer, last=True)

    def _answer(self, question: Question) -> bytes | None:
        match question:
            case RangeRequest():
                return self._range(question).encode()
            case HeadsRequest():
                return self._heads(question.authors).encode()
            case PrintsRequest():
                return Prints(self._ledger.net, self._ledger.prints(), self._ledger.proofs_print()).encode()
            case BucketRequest():
                return self._bucket(question).encode()
            case ProofsRequest():
                return self._proofs(question).encode()
            case BranchRequest():
                return self._branch(question).encode()
            case WitnessRequest():
                return self._witness(question)

    def _range(self, question: RangeRequest) -> RangeReply:
        last = min(question.to_seq, question.from_seq + MAX_RANGE_ENTRIES - 1)
        entries = tuple(self._ledger.entries(question.author, question.from_seq, last))
        return RangeReply(self._ledger.net, question.author, self._ledger.known(question.author).seq, entries)

    def _heads(self, authors: tuple[bytes, ...]) -> Heads:
        held: Callable[[bytes], Head] = self._ledger.known
        asked = authors or tuple(author for author, _ in self._ledger.heads()[:MAX_HEADS])
        return Heads(self._ledger.net, tuple(Frontier(author, *held(author)) for author in asked if held(author).seq))

    def _bucket(self, question: BucketRequest) -> Heads:
        mine = sorted(author for author, _ in self._ledger.heads() if author[0] == question.bucket)
        return self._heads_of(mine[bisect_right(mine, question.after) :][:MAX_HEADS])

    def _heads_of(self, authors: list[bytes]) -> Heads:
        return self._heads(tuple(authors)) if authors else Heads(self._ledger.net, ())

    def _proofs(self, question: ProofsRequest) -> Proofs:
        known = sorted((fork for fork in self._ledger.forks() if fork.author > question.after), key=lambda fork: fork.author)
        return Proofs(self._ledger.net, tuple(fork.as_message() for fork in known[:MAX_PROOFS]))

    def _branch(self, question: BranchRequest) -> Branch:
        wires: list[bytes] = []
        room = MAX_RANGE_BYTES
        for wire in self._ledger.branch(question.author, (question.after_seq, question.after_id), MAX_BRANCH_REPLY):
            room -= len(wire) + 3  # the array's own bytes around it
            if room < 0:
                break
            wires.append(wire)
        return Branch(self._ledger.net, question.author, tuple(wires))

    def _witness(self, question: WitnessRequest) -> bytes | None:
        """A signature for whoever states what this peer finds too; silence for everybody else."""
        ledger, author = self._ledger, question.author
        if author == ledger.identity.public_key or ledger.known(author) != (question.upto_seq, question.upto_id):
            return None
        found = checkpoints.sums(author, ledger.balance(author), ledger.edges())
        if checkpoints.question(ledger.net, author, ledger.known(author), found) != question:
            return None
        return checkpoints.note(question, ledger.identity.public_key).sign(ledger.identity).encode()
