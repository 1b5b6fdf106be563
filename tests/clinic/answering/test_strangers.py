"""Pictures that are no lesion, and spoilt images, are what their names say."""

import numpy as np
import pytest

from clinic.answering.strangers import SPOILT, draw_strangers

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)


def test_strangers_are_drawn_by_kind_and_repeat_with_their_seed():
    drawn = draw_strangers(48, 3, seed=1)
    assert {pictures.shape for pictures in drawn.values()} == {(3, 48, 48, 3)}
    again, other = draw_strangers(48, 3, seed=1), draw_strangers(48, 3, seed=2)
    assert all((again[kind] == pictures).all() for kind, pictures in drawn.items())
    assert any((other[kind] != pictures).any() for kind, pictures in drawn.items())
    greys, plain, stripes = (drawn[kind] for kind in ("black, white and greys", "plain colours", "stripes"))
    assert np.ptp(greys) == 0 or (np.ptp(greys, axis=(1, 2, 3)) == 0).all()
    assert (np.ptp(plain, axis=(1, 2)) == 0).all() and np.ptp(plain, axis=-1).any()
    assert all(len(np.unique(one.reshape(-1, 3), axis=0)) == 2 for one in stripes)


@pytest.mark.parametrize("name", SPOILT)
def test_each_way_to_spoil_changes_an_image_and_keeps_its_form(name):
    spoilt = SPOILT[name](IMAGE)
    assert spoilt.shape == IMAGE.shape and spoilt.dtype == np.uint8 and (spoilt != IMAGE).any()


def test_spoilt_images_are_what_they_are_called():
    exchanged, grey, quarter = (SPOILT[name] for name in ("red and blue exchanged", "grey", "a quarter of the colour"))
    assert (exchanged(exchanged(IMAGE)) == IMAGE).all() and (SPOILT["negative"](IMAGE) == 255 - IMAGE).all()
    assert np.ptp(grey(IMAGE), axis=-1).max() == 0
    assert np.ptp(quarter(IMAGE), axis=-1).mean() == pytest.approx(np.ptp(IMAGE, axis=-1).mean() / 4, rel=0.1)
    assert SPOILT["brighter (gamma 0.5)"](IMAGE).mean() > IMAGE.mean() > SPOILT["darker (gamma 2)"](IMAGE).mean()
    warm, cold = (SPOILT[name](IMAGE).mean(axis=(0, 1)) for name in ("warm light", "cold light"))
    assert warm[0] > cold[0] and warm[2] < cold[2]
