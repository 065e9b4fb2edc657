"""Which node a fold goes to, when one counts as lost, and what a fold goes on from."""

from pipeline.engines.placement import (
    GONE_S,
    MAX_IN_VAIN,
    SENDS_AT_ONCE,
    SILENCE_S,
    Need,
    NodeState,
    Patience,
    choose,
    is_gone,
    is_lost,
    newest_states,
    places,
)


def dealt(nodes, need, count):
    """Where so many folds go, one after the other."""
    names = []
    for _ in range(count):
        names.append(choose(nodes, need))
        if names[-1] is not None:
            nodes[names[-1]].at_work.append(need)
    return names


def test_folds_spread_over_nodes_by_the_share_of_their_cores_and_wait_where_there_is_no_room():
    nodes = {"a": NodeState(cpus=4), "b": NodeState(cpus=2), "c": NodeState(cpus=1)}
    assert places(nodes, Need(2)) == 3
    assert dealt(nodes, Need(2), 4) == ["a", "b", "a", None]
    assert places(nodes, Need(2)) == 3, "those at work count"
    assert dealt({"a": NodeState(cpus=3), "b": NodeState(cpus=3)}, Need(1), 4) == ["a", "b", "a", "b"]


def test_gpus_are_counted_by_parts_and_nodes_without_any_get_no_fold_that_needs_one():
    nodes = {"a": NodeState(cpus=64, gpus=1), "b": NodeState(cpus=64)}
    assert places(nodes, Need(1, gpus=0.3)) == 3
    assert dealt(nodes, Need(1, gpus=0.5), 3) == ["a", "a", None]


def test_among_idle_nodes_one_that_holds_the_inputs_is_taken_and_an_unfit_one_never():
    nodes = {"a": NodeState(cpus=1), "b": NodeState(cpus=1, holds_inputs=True), "c": NodeState(cpus=8, unfit="lost")}
    assert dealt(nodes, Need(1), 3) == ["b", "a", None]
    assert places({"c": nodes["c"]}, Need(1)) == 0


def test_few_nodes_are_sent_inputs_at_once_and_a_fold_takes_whichever_is_ready_first():
    nodes = {f"{number:02d}": NodeState(cpus=2) for number in range(SENDS_AT_ONCE + 2)}
    names = dealt(nodes, Need(2), SENDS_AT_ONCE + 1)
    assert len(set(names[:-1])) == SENDS_AT_ONCE
    assert names[-1] is None, "the rest are idle, and have no inputs"
    nodes["03"].holds_inputs = True
    assert dealt(nodes, Need(2), 2) == [f"{SENDS_AT_ONCE:02d}", None], "one has all of them now"
    nodes["03"].at_work.clear()
    assert choose(nodes, Need(2)) == "03"
    nodes["05"].unfit = "lost"
    nodes["03"].at_work.append(Need(2))
    assert choose(nodes, Need(2)) == f"{SENDS_AT_ONCE + 1:02d}", "nothing is sent to a lost one"


def test_a_cluster_is_gone_after_some_time_without_a_node_that_has_room():
    assert not is_gone(100.0, 100.0 + GONE_S)
    assert is_gone(100.0, 100.1 + GONE_S)


def test_a_node_is_lost_after_some_seconds_of_silence():
    assert not is_lost(100.0, 100.0 + SILENCE_S)
    assert is_lost(100.0, 100.1 + SILENCE_S)
    assert SILENCE_S < 30


def test_the_newest_state_of_each_network_goes_along():
    names = ["0-f00-1-000000099-aa.pt", "0-f00-2-000000009-cc.pt", "0-f00-2-000000010-bb.pt", "other.pt"]
    assert newest_states(names) == ["0-f00-1-000000099-aa.pt", "0-f00-2-000000010-bb.pt"]


def test_patience_ends_with_a_fold_that_comes_no_further():
    patience, at_nine, at_ten = Patience(), ["0-f-1-000000009-a.pt"], ["0-f-1-000000010-b.pt"]
    assert all(patience.lost(at_nine) for _ in range(MAX_IN_VAIN))
    assert patience.lost(at_ten), "it came further"
    assert [patience.lost(at_ten) for _ in range(MAX_IN_VAIN)] == [True] * (MAX_IN_VAIN - 1) + [False]
