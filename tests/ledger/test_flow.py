"""Maximum flow over three hops: exact against two references, bounded, charged without growing."""

from __future__ import annotations

from itertools import chain, combinations, pairwise, permutations, product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.ledger.flow import CreditGraph

NODES = 6
ME, PEER = bytes([0]), bytes([1])
Edges = dict[tuple[bytes, bytes], int]

_node = st.integers(0, NODES - 1).map(lambda number: bytes([number]))
_edge = st.tuples(_node, _node).filter(lambda pair: pair[0] != pair[1])
edge_maps = st.dictionaries(_edge, st.integers(0, 12), max_size=NODES * NODES)


def graph_of(edges: Edges) -> CreditGraph:
    graph = CreditGraph()
    for (debtor, creditor), amount in edges.items():
        graph.set(debtor, creditor, amount)
    return graph


def least_cut(edges: Edges, me: bytes = ME, peer: bytes = PEER) -> int:
    """By the definition of a cut, over all of them: which first hops and which second hops lie on my side."""
    others = [bytes([number]) for number in range(NODES) if bytes([number]) not in (me, peer)]
    sides = list(chain.from_iterable(combinations(others, size) for size in range(len(others) + 1)))

    def room(a: bytes, b: bytes) -> int:
        return edges.get((a, b), 0)

    def cut(mine: tuple[bytes, ...], second: tuple[bytes, ...]) -> int:
        if set(mine) - set(second):
            return 10**9  # the hop from x to itself has no bound
        return (
            sum(room(me, x) for x in others if x not in mine)
            + sum(room(x, y) for x, y in product(mine, others) if x != y and y not in second)
            + sum(room(y, peer) for y in second)
        )

    return room(me, peer) + min(cut(mine, second) for mine, second in product(sides, sides))


def every_assignment(edges: Edges, me: bytes, peer: bytes, others: list[bytes]) -> int:
    """The best sum over all ways to put whole amounts on all paths."""
    middles = [middle for size in range(3) for middle in permutations(others, size)]
    paths = [list(zip((me, *middle), (*middle, peer), strict=True)) for middle in middles]

    def best(rest: list[list[tuple[bytes, bytes]]], left: Edges) -> int:
        if not rest:
            return 0
        most = min(left.get(edge, 0) for edge in rest[0])
        return max(
            amount + best(rest[1:], left | {edge: left.get(edge, 0) - amount for edge in rest[0]}) for amount in range(most + 1)
        )

    return best(paths, edges)


@given(edge_maps)
def test_it_is_the_least_cut(edges: Edges) -> None:
    assert graph_of(edges).capacity(ME, PEER) == least_cut(edges)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from([b"\0", b"\2", b"\3"]), st.sampled_from([b"\1", b"\2", b"\3"])), st.integers(0, 3), max_size=9
    )
)
def test_it_is_the_best_of_all_assignments(edges: Edges) -> None:
    edges = {pair: amount for pair, amount in edges.items() if pair[0] != pair[1]}
    assert graph_of(edges).capacity(ME, PEER) == every_assignment(edges, ME, PEER, [b"\2", b"\3"])


@given(edge_maps)
def test_it_is_bounded_by_what_i_owe_and_by_what_is_owed_to_the_peer(edges: Edges) -> None:
    capacity = graph_of(edges).capacity(ME, PEER)
    assert capacity <= sum(amount for (debtor, _), amount in edges.items() if debtor == ME)
    assert capacity <= sum(amount for (_, creditor), amount in edges.items() if creditor == PEER)


@given(edge_maps, _edge, st.integers(0, 12))
def test_more_credit_never_makes_less_capacity(edges: Edges, edge: tuple[bytes, bytes], more: int) -> None:
    graph = graph_of(edges)
    before = graph.capacity(ME, PEER)
    graph.set(*edge, edges.get(edge, 0) + more)
    assert graph.capacity(ME, PEER) >= before


@given(edge_maps, st.lists(st.tuples(_edge, st.integers(0, 12)), max_size=8))
def test_cached_answers_follow_every_change(edges: Edges, changes: list[tuple[tuple[bytes, bytes], int]]) -> None:
    graph, peers = graph_of(edges), [bytes([number]) for number in range(NODES)]
    for edge, amount in changes:
        for peer in peers:
            graph.capacity(ME, peer)
        graph.set(*edge, amount)
        edges = edges | {edge: amount}
        assert [graph.capacity(ME, peer) for peer in peers[1:]] == [least_cut(edges, ME, peer) for peer in peers[1:]]


@given(edge_maps)
def test_paths_are_a_flow_of_that_capacity(edges: Edges) -> None:
    graph = graph_of(edges)
    paths = graph.paths(ME, PEER)
    used: Edges = {}
    for path in paths:
        assert (path.nodes[0], path.nodes[-1]) == (ME, PEER)
        assert 2 <= len(path.nodes) == len(set(path.nodes)) <= 4
        assert path.amount > 0
        for hop in path.hops:
            used[hop] = used.get(hop, 0) + path.amount
    assert all(amount <= edges[hop] for hop, amount in used.items())
    assert sum(path.amount for path in paths) == graph.capacity(ME, PEER)
    assert [len(path.nodes) for path in paths] == sorted(len(path.nodes) for path in paths)


@given(edge_maps, st.lists(st.tuples(_node, st.integers(0, 20)), max_size=6))
def test_charges_take_what_they_say_from_the_peer_and_give_nobody_more(edges: Edges, charges: list[tuple[bytes, int]]) -> None:
    graph, peers = graph_of(edges), [bytes([number]) for number in range(1, NODES)]
    taken = 0
    for peer, amount in charges:
        before = {other: graph.capacity(ME, other) for other in peers}
        charged = sum(path.amount for path in graph.charge(ME, peer, amount))
        taken += charged
        after = {other: graph.capacity(ME, other) for other in peers}
        assert charged == min(amount, before.get(peer, 0))
        assert after.get(peer, 0) == before.get(peer, 0) - charged
        assert all(after[other] <= before[other] for other in peers)
    assert taken <= sum(amount for (debtor, _), amount in edges.items() if debtor == ME)


@given(edge_maps, st.lists(st.tuples(_node, st.integers(0, 20)), max_size=6), st.lists(st.tuples(_edge, st.integers(0, 12))))
def test_refunds_undo_charges_whatever_happened_to_the_edges(
    edges: Edges, charges: list[tuple[bytes, int]], changes: list[tuple[tuple[bytes, bytes], int]]
) -> None:
    graph = graph_of(edges)
    charged = [graph.charge(ME, peer, amount) for peer, amount in charges]
    for edge, amount in changes:
        graph.set(*edge, amount)
        edges = edges | {edge: amount}
    for paths in charged:
        graph.refund(paths)
    for edge, amount in edges.items():
        assert (graph.left(*edge), graph.used(*edge)) == (amount, 0)


@given(edge_maps, st.randoms())
def test_the_order_in_which_edges_were_set_does_not_matter(edges: Edges, rng: Random) -> None:
    shuffled = list(edges.items())
    rng.shuffle(shuffled)
    assert graph_of(dict(shuffled)).paths(ME, PEER) == graph_of(edges).paths(ME, PEER)


def test_a_full_flow_may_have_to_be_rearranged() -> None:
    """The first path that is found takes y from b, which has no other: it must be moved to z."""
    a, b, y, z = b"a", b"b", b"y", b"z"
    graph = graph_of({(ME, a): 1, (ME, b): 1, (a, y): 1, (a, z): 1, (b, y): 1, (y, PEER): 1, (z, PEER): 1})
    assert graph.capacity(ME, PEER) == 2
    graph.charge(ME, PEER, 1)
    assert graph.capacity(ME, PEER) == 1


@pytest.mark.parametrize(("hops", "capacity"), [(1, 7), (2, 7), (3, 7), (4, 0)])
def test_only_three_hops_count(hops: int, capacity: int) -> None:
    nodes = [ME, *(bytes([number]) for number in range(2, 1 + hops)), PEER]
    assert graph_of(dict.fromkeys(pairwise(nodes), 7)).capacity(ME, PEER) == capacity


def test_nobody_stands_with_himself_and_loops_count_for_nothing() -> None:
    graph = graph_of({(ME, PEER): 5, (PEER, ME): 5})
    graph.set(ME, ME, 100)
    assert (graph.capacity(ME, ME), graph.capacity(ME, PEER), graph.left(ME, ME)) == (0, 5, 0)
    assert graph.charge(ME, PEER, 0) == graph.charge(ME, PEER, -3) == []
