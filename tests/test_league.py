"""The league: epochs fill the budget, and every contender is given the same images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.league import table
from benchmarks.peer_loops.from_scratch import epochs_within


@given(st.floats(1, 1e7), st.integers(1, 60_000), st.integers(1, 512))
def test_epochs_fill_the_budget_and_do_not_pass_it(num_images, num_train, batch_size):
    batch = min(batch_size, num_train)
    if num_images < batch:
        with pytest.raises(ValueError, match="give more minutes"):
            epochs_within(num_images, num_train, batch_size)
        return
    epochs, each = epochs_within(num_images, num_train, batch_size)
    assert batch <= each <= num_train
    assert num_images - epochs * batch < epochs * each + 1e-6 * num_images
    assert epochs * each <= num_images


def test_the_table_has_the_best_of_a_budget_first_with_its_binomial_error():
    found = {"set": "a.zip", "budget": 5.0, "side": 32, "held_out": 100, "epochs": 2.5, "cpu_s": 299.0, "pflop": 0.01}
    rows = table([found | {"contender": "x", "accuracy": 0.5}, found | {"contender": "y", "accuracy": 0.9}])
    assert rows.splitlines()[2:] == [
        "| a.zip | 5 | y | 32 | 0.9000 ± 0.0300 | 2.5 | 299 | 0.0100 |",
        "| a.zip | 5 | x | 32 | 0.5000 ± 0.0500 | 2.5 | 299 | 0.0100 |",
    ]
