"""Which weights fit a byte, and by which step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from niwaki.policies.grid import LARGEST, grid_of, step_for

WEIGHTS = hnp.arrays(np.float32, (3, 4), elements=st.floats(-(2.0**99), 2.0**99, width=32))


@given(WEIGHTS)
def test_the_step_is_the_smallest_power_of_two_that_reaches_the_largest_weight(weight):
    step, largest = step_for(weight), float(np.abs(weight).max())
    assert np.frexp(step)[0] == 0.5  # a power of two
    assert largest <= LARGEST * step
    if largest > LARGEST * 2.0**-126:
        assert largest > LARGEST * step / 2


@given(hnp.arrays(np.int8, (3, 4), elements=st.integers(-LARGEST, LARGEST)), st.integers(-100, 100))
def test_whole_numbers_times_a_power_of_two_are_on_the_grid_and_come_back(numbers, exponent):
    weight = np.float32(numbers * 2.0**exponent)
    grid = grid_of(weight)
    if not numbers.any():
        assert grid is None
        return
    np.testing.assert_array_equal(np.float32(grid.numbers) * np.float32(grid.step), weight)


@given(WEIGHTS)
def test_what_is_on_the_grid_comes_back_exactly(weight):
    if (grid := grid_of(weight)) is not None:
        np.testing.assert_array_equal(np.float32(grid.numbers) * np.float32(grid.step), weight)


@pytest.mark.parametrize(
    ("weight", "fits"), [([1, 127], True), ([1, 128], False), ([2, 254], True), ([1, 0.3], False), ([0, 0], False)]
)
def test_a_byte_holds_so_much_and_no_more(weight, fits):
    assert (grid_of(np.float32([weight])) is not None) == fits
