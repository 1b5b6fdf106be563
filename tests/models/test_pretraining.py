from functools import partialmethod

import keras
import numpy as np
import pytest

from helpers.demo import generate, plan
from helpers.demo.lesion import STRUCTURES, sample_lesion
from helpers.models import pretraining
from helpers.models.head import Common
from helpers.models.mobilenet import Backbone, mobilenet


def test_pictures_and_what_they_show():
    images, structures = generate.draw_structures(14, 32, 5)
    assert images.shape == (14, 32, 32, 3) and images.dtype == np.uint8 and images.std() > 10
    assert structures.shape == (14, len(STRUCTURES)) and set(np.unique(structures)) == {0, 1}
    lesion = sample_lesion(plan.CLASSES[13 % 7], 5, 13)
    assert np.array_equal(structures[13], [strength > 0 for strength in lesion.structures.values()])
    assert np.array_equal(generate.draw_structures(14, 32, 5)[0][13], images[13])


@pytest.mark.slow
def test_the_trained_backbone_is_one_that_the_study_can_start_from(tmp_path, monkeypatch):
    """One step on noise, one operation after the other: compiling it would take longer."""

    def noise(count, side, seed):
        random = np.random.default_rng(seed)
        return random.integers(0, 256, (count, side, side, 3), np.uint8), random.integers(0, 2, (count, 3))

    monkeypatch.setattr(pretraining, "draw_structures", noise)
    monkeypatch.setattr(keras.Model, "compile", partialmethod(keras.Model.compile, run_eagerly=True))
    monkeypatch.setattr(pretraining, "SIDE", 32)
    monkeypatch.setattr(pretraining, "BATCH", 16)
    pretraining.pretrain(18, 1, tmp_path / "backbone.weights.h5")
    backbone = Backbone(pretraining.ALPHA, str(tmp_path / "backbone.weights.h5"))
    averages = mobilenet(Common(32, 7), backbone).get_layer("conv_pw_13_bn").moving_mean
    assert float(keras.ops.max(keras.ops.abs(averages))) > 0  # it has seen images
