"""Folds on simulated nodes: what must hold in any world, whatever its figures are."""

import dataclasses
import itertools

import pytest

from benchmarks.cluster import HOUR, MB, Simulation, World
from pipeline.engines import placement
from pipeline.engines.errand import PIECE
from pipeline.engines.placement import POLL_S, SILENCE_S

SMALL = World(
    nodes=4, folds=3, seeds=2, experiments=2, images=20_000, tests=2_000, side=32, classes=10, weights_mb=20.0,
    hours=0.5, link_mb=50.0, node_mb=50.0, repair_h=0.2,
)  # fmt: skip
UNSAFE = dataclasses.replace(SMALL, mttf_days=0.02, spread=0.3)


def run(world, **changes):
    return Simulation(dataclasses.replace(world, **changes)).run()


def test_one_node_without_failures_takes_the_sum_of_all_there_is_to_do():
    world = dataclasses.replace(SMALL, nodes=1, spread=0.0)
    found, simulation = run(world), Simulation(world)
    teach, train, infer = world.stages
    folds = world.folds * world.experiments
    sent = sum(teach.inputs.values()) + folds * infer.inputs["weights"]
    moved = (sent + folds * (train.outputs + infer.outputs)) / (world.link_mb * MB)
    works = train.work * simulation._period / simulation._interval + infer.work
    least = folds * (works + 3 * world.start_s) + moved
    last_state = world.state / (world.link_mb * MB)  # a stage may end while one is on its way
    assert least - 1e-6 <= found.hours * HOUR <= least + folds * (3 * POLL_S + last_state)


@pytest.mark.parametrize("nodes", [1, 3, 20])
def test_without_failures_no_work_is_lost_and_inputs_go_to_a_node_once(nodes):
    found = run(SMALL, nodes=nodes)
    assert (found.again_h, found.lost, found.starved, found.given_up, found.runs) == (0, 0, 0, 0, 1)
    assert found.moved["cut off"] == found.moved["states out"] == 0
    used = {node for _, node, *_ in found.attempts}
    stores = sum(SMALL.stages[0].inputs.values())
    weights = SMALL.stages[2].inputs["weights"] * SMALL.folds * SMALL.experiments
    assert found.moved["inputs"] == pytest.approx(len(used) * stores + weights)
    assert len(found.attempts) == 3 * SMALL.folds * SMALL.experiments


@pytest.mark.parametrize("seed", range(4))
def test_a_fold_is_never_on_two_nodes_nor_a_node_at_two_folds_and_all_folds_end(seed):
    found = run(UNSAFE, seed=seed)
    assert found.lost
    for part in (0, 1):
        by_key = sorted((attempt[part], *attempt[2:]) for attempt in found.attempts)
        pairs = [pair for pair in itertools.pairwise(by_key) if pair[0][0] == pair[1][0]]
        assert all(before[2] <= after[1] for before, after in pairs)
    assert {fold for fold, *_ in found.attempts} == {f"e{e}s0f{f}" for e in range(2) for f in range(3)}
    assert found.given_up < SMALL.folds * SMALL.experiments


@pytest.mark.parametrize("world", [SMALL, UNSAFE])
def test_bytes_by_kind_are_those_that_the_link_carried_and_that_nodes_hold(world):
    found = run(world)
    sent, came = found.carried
    moved = found.moved
    assert sent + came == pytest.approx(sum(moved.values()))
    assert moved["inputs"] == pytest.approx(found.cached)
    assert moved["inputs"] + moved["states out"] <= sent * (1 + 1e-9)
    assert moved["states home"] + moved["outputs"] <= came * (1 + 1e-9)


def test_work_lost_with_a_node_is_what_its_last_state_at_home_did_not_hold():
    simulation = Simulation(UNSAFE)
    found = simulation.run()
    interval = simulation._period + UNSAFE.state / (UNSAFE.link_mb * MB / UNSAFE.nodes)
    fastest = max(machine.speed for machine in simulation._machines.values())
    infer = UNSAFE.stages[2].work
    assert 0 < found.again_h * HOUR <= found.lost * max(fastest * (interval + SILENCE_S), infer)


def test_a_fold_that_is_lost_at_once_every_time_is_given_up():
    found = run(SMALL, mttf_days=20 / 86400, repair_h=0.01)
    assert found.given_up > 0


def test_more_nodes_than_folds_do_not_help_but_more_up_to_there_do():
    hours = [run(SMALL, nodes=nodes, spread=0.0).hours for nodes in (1, 2, 6, 7, 30)]
    assert hours[0] > hours[1] > hours[2]
    assert hours[2] == hours[3] == hours[4]


def test_the_same_seed_gives_the_same_run_and_another_another():
    assert run(UNSAFE) == run(UNSAFE)
    assert run(UNSAFE) != run(UNSAFE, seed=1)


def test_a_link_too_slow_for_a_piece_loses_nodes_that_are_well(monkeypatch):
    """Ten nodes at once get less than a piece in the time after which a node counts as lost."""
    slow = dataclasses.replace(
        SMALL,
        nodes=10,
        experiments=4,
        folds=5,
        link_mb=9 * PIECE / SILENCE_S / MB,
        images=20_000,
        hours=0.01,
        weights_mb=0.1,
    )
    assert run(slow).starved > 0
    monkeypatch.setattr(placement, "SENDS_AT_ONCE", 4)
    assert run(slow).starved == 0, "inputs go to four at once, no more"


def test_with_inputs_sent_to_a_few_nodes_at_once_more_nodes_do_not_take_longer(monkeypatch):
    many = dataclasses.replace(SMALL, experiments=20, images=300_000, link_mb=30.0, seeds=1, hours=0.1, spread=0.0)
    few, more = (run(many, nodes=nodes).hours for nodes in (10, 60))
    assert more < 1.2 * few
    monkeypatch.setattr(placement, "SENDS_AT_ONCE", 1000)
    at_once = run(many, nodes=60)
    assert (at_once.starved, at_once.given_up) == (0, 0)
    assert at_once.hours > 1.2 * more, "all of them wait for all"
