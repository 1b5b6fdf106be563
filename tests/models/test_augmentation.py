import keras
import numpy as np
import pytest
from keras import ops

from helpers.models import augmentation as augmentation_module
from helpers.models.augmentation import (
    AUGMENTATIONS,
    BRIGHTNESS,
    CLASSIC,
    COLOUR_GAIN,
    ERASED_AREA,
    GEOMETRY,
    NOISE,
    RandomAffine,
    RandomBrightness,
    RandomColour,
    RandomErasing,
    RandomNoise,
    RandomSymmetry,
    augment,
    resample,
)
from helpers.study import StudyError

each = pytest.mark.parametrize("names", [[name] for name in AUGMENTATIONS] + [list(CLASSIC)], ids="-".join)
IMAGES = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)  # an odd number


def block(names, seed=0):
    images = keras.Input((16, 16, 3), dtype="uint8")
    return keras.Model(images, augment(images, names, seed))


def transform(model, images=IMAGES):
    return np.asarray(ops.convert_to_numpy(model(images, training=True)))


def flat(level, count=200):
    """Images of one grey level or of one colour."""
    return np.full((count, 16, 16, 3), level, np.uint8)


@each
def test_each_changes_training_and_leaves_inference_untouched(names):
    model = block(names)
    seen, used = transform(model), ops.convert_to_numpy(model(IMAGES, training=False))
    assert seen.shape == IMAGES.shape and (seen != IMAGES).mean() > 0.05
    assert seen.min() >= 0 and seen.max() <= 255 + 1e-3
    assert used.dtype == np.uint8 and (used == IMAGES).all()
    assert np.array_equal(transform(block(dict.fromkeys(names, 0.0))), IMAGES)  # at strength 0


@each
def test_the_seed_decides_what_is_drawn_and_each_step_draws_anew(names, tmp_path):
    model = block(names, seed=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    first, again, other, second = transform(model), transform(loaded), transform(block(names, 2)), transform(model)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other) and not np.array_equal(first, second)


def test_strength_is_a_variable_and_multiplies():
    """Two layers that differ in nothing else draw the same numbers: half the strength shifts half as far."""
    full, half = (transform(RandomBrightness(strength), flat(127)) - 127 for strength in (1.0, 0.5))
    assert np.allclose(full, 2 * half, atol=1e-4) and np.ptp(full) > 20
    layer = RandomBrightness(1.0)
    layer.amount.assign(0.5)
    assert np.allclose(transform(layer, flat(127)) - 127, half, atol=1e-4)


def test_a_name_of_strength_zero_leaves_the_others_as_they_are():
    strengths = {name: float(name in ("flip", "noise")) for name in AUGMENTATIONS}
    assert np.array_equal(transform(block(strengths)), transform(block(["flip", "noise"])))


def test_names_may_carry_strengths_and_stand_in_any_order():
    images = keras.Input((8, 8, 3), dtype="uint8")

    def layers_of(names):
        return [layer.get_config() for layer in keras.Model(images, augment(images, names, 0)).layers]

    assert layers_of(["zoom:0.5", "noise"]) == layers_of({"noise": 1.0, "zoom": 0.5})
    assert augment(images, [], 0) is images


@pytest.mark.parametrize(
    ("name", "message"),
    [("mirror", r"'mirror': choose from symmetries, .*, or \[\] for none"), ("zom:1", "'zom'")]
    + [(f"zoom:{wrong}", "a number of 0 or more") for wrong in ("much", "-1", "inf")],
)
def test_an_augmentation_that_cannot_be(name, message):
    with pytest.raises(StudyError, match=message):
        augment(keras.Input((8, 8, 3), dtype="uint8"), ["flip", name], 0)


def test_geometry_is_one_resampling():
    geometry = [layer for layer in block(list(CLASSIC)).layers if isinstance(layer, RandomAffine)]
    assert len(geometry) == 1 and tuple(geometry[0].strength) == (1, 1, 1)


def test_it_computes_in_float32_whatever_the_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert transform(block(list(CLASSIC))).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_flips_of_the_two_axes_are_independent_and_exact():
    drawn = transform(RandomAffine((1, 0, 0)), np.repeat(IMAGES[:1], 200, axis=0)).astype(np.uint8)
    four = [IMAGES[0], IMAGES[0, ::-1], IMAGES[0, :, ::-1], IMAGES[0, ::-1, ::-1]]
    counts = [sum((out == one).all() for out in drawn) for one in four]
    assert sum(counts) == 200 and min(counts) > 25


def test_the_matrix_says_where_a_pixel_comes_from():
    images = IMAGES.astype(np.float32)
    zero, one = np.zeros(9, np.float32), np.ones(9, np.float32)
    turned = ops.convert_to_numpy(resample(images, (zero, -one), (one, zero)))  # (0, 1) is taken from (-1, 0)
    assert np.allclose(turned, np.rot90(images, 1, axes=(1, 2))) or np.allclose(turned, np.rot90(images, -1, (1, 2)))
    halved = ops.convert_to_numpy(resample(images, (2 * one, zero), (zero, 2 * one)))
    # Two output pixels apart are four input pixels; what lies beyond the edge is the edge's mirror image.
    assert np.allclose(halved[:, 4, 4], images[:, 0:2, 0:2].mean(axis=(1, 2)))
    assert np.allclose(halved[:, 3], halved[:, 4])


@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_brings_in_no_black(name):
    assert np.allclose(transform(block([name]), flat(200)), 200, atol=1e-2)


def test_rotation_keeps_what_is_round():
    place = np.arange(16) - 7.5
    bell = 200 * np.exp(-(place[:, None] ** 2 + place**2) / 18)
    images = np.repeat(np.repeat(bell[None, :, :, None], 50, axis=0), 3, axis=3).astype(np.uint8)
    turned = transform(RandomAffine((0, 1, 0)), images)
    assert np.abs(turned - images)[:, 4:12, 4:12].max() < 5  # of 200: resampling of a coarse picture


def test_brightness_is_one_shift_an_image():
    shift = transform(RandomBrightness(seed=0), flat(127)) - 127
    assert np.allclose(shift, shift[:, :1, :1, :1], atol=1e-3)
    assert np.abs(shift).max() <= 255 * BRIGHTNESS and shift[:, 0, 0, 0].std() > 255 * BRIGHTNESS / 3


def test_colour_moves_grey_within_its_bounds_and_keeps_red_red():
    levels = transform(RandomColour(seed=0), flat(128))
    bound = 128 * COLOUR_GAIN / 2 * (1 + COLOUR_GAIN) + 0.5 * COLOUR_GAIN
    assert np.ptp(levels, axis=(1, 2)).max() < 1e-3 and np.abs(levels - 128).max() <= bound + 1e-3
    seen = transform(RandomColour(seed=0), flat([200, 0, 0]))[:, 0, 0]
    assert (seen.argmax(axis=1) == 0).all() and seen[:, 0].std() > 5 and seen[:, 1].std() > 1


def test_noise_is_gaussian_of_the_stated_width():
    noise = transform(RandomNoise(seed=0), flat(128, 41)) - 128
    assert abs(noise.std() - NOISE) < 0.2 and abs(noise.mean()) < 0.2
    assert abs((np.abs(noise) < NOISE).mean() - 0.6827) < 0.01
    assert np.abs(np.corrcoef(noise.reshape(41, -1))[0, 1:20]).max() < 0.15


def test_erasing_puts_one_rectangle_of_one_colour_on_half_of_the_images():
    images = np.random.default_rng(1).integers(0, 256, (400, 32, 32, 3), np.uint8)
    seen = transform(RandomErasing(seed=0), images)
    erased = (seen != images).any(axis=3)
    touched = erased.any(axis=(1, 2))
    assert 0.4 < touched.mean() < 0.6
    for out, mask in zip(seen[touched], erased[touched], strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (box == box[0, 0]).all() and mask.mean() <= ERASED_AREA[1] + 0.05


@pytest.mark.jax
def test_each_can_be_part_of_a_compiled_step():
    """What it does depends on no value of a batch: it is traced with nothing but shapes."""
    for layer in [layer for name in AUGMENTATIONS for layer in block([name]).layers[1:]]:
        assert layer(keras.KerasTensor((3, 16, 16, 3), "uint8"), training=True).shape == (3, 16, 16, 3)


@pytest.mark.parametrize("gpus", [[], ["made up"]])
def test_the_symmetries_are_made_as_their_draws_say(gpus, monkeypatch):
    """On a GPU of TensorFlow too, which gathers other numbers than bytes."""
    monkeypatch.setattr(augmentation_module, "tensorflow_gpus", lambda: gpus)
    layer = RandomSymmetry(seed=3)
    images = np.random.default_rng(0).integers(0, 256, (64, 6, 6, 3)).astype(np.uint8)
    draws = [np.asarray(ops.convert_to_numpy(draw))[:, 0, 0] < 1 for draw in layer.draw(images)]
    made = ops.convert_to_numpy(layer.change(images, [np.where(draw, 0.5, 1.5)[:, None, None] for draw in draws]))
    for image, changed, across, down, transposed in zip(images, made, *draws, strict=True):
        expected = image[::-1] if across else image
        expected = expected[:, ::-1] if down else expected
        assert np.array_equal(changed, expected.transpose(1, 0, 2) if transposed else expected)
    assert len({tuple(draw) for draw in np.transpose(draws)}) == 8
