"""Maps of the answers of a network."""

import numpy as np
import pytest
from clinical import CODES
from conftest import picture
from tiny import small_cnn

from clinic.answering.maps import grad_cam


def test_the_highest_value_of_a_map_is_one():
    images = np.stack([np.asarray(picture(seed, 32)) for seed in range(3)])
    maps = grad_cam(small_cnn(32, len(CODES), [4]), images)
    assert maps.shape == (3, 32, 32) and maps.dtype == np.float32 and maps.min() >= 0
    assert all(one.max() in (0, pytest.approx(1)) for one in maps)
