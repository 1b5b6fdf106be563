import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.demo import generate as generate_module
from helpers.explanation.artefacts import (
    DRAWS,
    FIND,
    HARMLESS,
    LEAST_HAIR,
    PASTE,
    counterparts,
    find_artefact,
    find_dark_corners,
    find_hairs,
    find_rulers,
    inpaint,
    paint_with_counterparts,
)
from helpers.study import StudyError

SKIN = np.array([200, 160, 150], np.uint8)
SIDE = 64
DISTANCE = np.hypot(*np.meshgrid(*[(np.arange(SIDE) + 0.5) / SIDE * 2 - 1] * 2))


def skin(lesion: float = 0.5, count: int = 3) -> np.ndarray:
    """Plain skin with a round dark lesion, uint8 [count, SIDE, SIDE, 3]; lesion: its radius in half sides."""
    picture = np.where((lesion > DISTANCE)[..., None], np.uint8([60, 40, 30]), SKIN)
    return np.repeat(picture[None], count, axis=0)


@pytest.mark.parametrize("what", PASTE)
def test_what_is_pasted_is_dark_covers_a_part_and_is_repeated_by_its_seed(what):
    images = skin(0)
    found = PASTE[what](images, 4)
    touched = (found != images).any(axis=3)
    assert found.dtype == np.uint8 and found.shape == images.shape
    assert (found.astype(int) <= images).all() and 0.01 < touched.mean() < 0.5
    assert np.array_equal(found, PASTE[what](images, 4)) and not np.array_equal(found, PASTE[what](images, 5))
    assert not np.array_equal(found[0], found[1])  # each image has its own
    assert np.array_equal(PASTE[what](images[:1], 4)[0], found[0])


def test_where_it_is_pasted():
    images = skin(0)
    strands, ruler, corners = ((images != paste(images, 0)).any(axis=3) for paste in PASTE.values())
    assert (strands.mean(axis=(1, 2)) >= LEAST_HAIR).all()
    assert not ruler[:, 16:-16, 16:-16].any()
    assert corners[:, DISTANCE > 1.25].all() and not corners[:, DISTANCE < 0.95].any()


def test_what_means_nothing_moves_the_images_and_no_more():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    assert np.array_equal(HARMLESS["mirror image"](images)[:, :, 0], images[:, :, -1])
    moved = HARMLESS["shift"](images)
    assert moved.shape == images.shape and np.array_equal(moved[:, 2:, 2:], images[:, :-2, :-2])
    assert (moved[:, :3, 5] == images[:, :1, 3]).all() and (moved[:, 5, :3] == images[:, 3, :1]).all()


def has_mask(masks: np.ndarray) -> np.ndarray:
    """Which images have what the masks cover, bool [n]."""
    return masks.any(axis=(1, 2))


@pytest.mark.parametrize("what", FIND)
def test_what_is_pasted_is_found_and_a_lesion_is_not_taken_for_it(what):
    assert FIND.keys() == PASTE.keys()
    images = skin(count=8)
    assert has_mask(FIND[what](PASTE[what](images, 0))).mean() >= 0.85
    bare = np.concatenate([skin(radius, 1) for radius in (0, 0.2, 0.5, 1.1)])
    assert not FIND[what](bare).any() and not FIND[what]((bare * 0.4).astype(np.uint8)).any()
    assert FIND[what](bare[:0]).shape == (0, SIDE, SIDE)


@pytest.mark.parametrize("what", FIND)
def test_what_is_found_covers_what_was_pasted_and_is_gone_when_painted_over(what):
    images = skin(count=8)
    with_it = PASTE[what](images, 0)
    masks = FIND[what](with_it)
    found = has_mask(masks)
    off = np.abs(with_it[found].astype(int) - images[found]).max(axis=3) > 60
    assert (off & masks[found]).sum() > 0.9 * off.sum()
    painted = inpaint(with_it, masks)
    assert np.array_equal(painted[~masks], with_it[~masks]) and not has_mask(FIND[what](painted)).any()
    left = np.abs(painted.astype(int) - images)[masks].mean()
    assert left < 0.3 * np.abs(with_it.astype(int) - images)[masks].mean()


def line(images: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The images with a straight line of one pixel's width beside the lesion."""
    painted = images.copy()
    painted[:, 4:44, 4] = colour
    return painted


def test_lines_that_are_no_hairs():
    images = skin()
    assert has_mask(find_hairs(line(images, (60, 40, 30)))).all()
    assert not find_hairs(line(images, (180, 60, 60))).any()  # a vessel: much green and hardly any red is taken
    assert not find_hairs(line(images, (250, 240, 240))).any()
    inside = images.copy()
    inside[:, 24:40, 32] = (10, 5, 5)
    assert not find_hairs(inside).any()  # on nothing but the lesion
    short = images.copy()
    short[:, 4:8, 4] = (60, 40, 30)
    assert not find_hairs(short).any()
    wide = images.copy()
    wide[:, :, 2:8] = (60, 40, 30)
    assert not find_hairs(wide).any()


@pytest.mark.parametrize("edge", range(4))
@pytest.mark.parametrize("apart", [3, 4, 6])
def test_a_ruler_is_found_at_each_edge(edge, apart):
    """At 96 px: ticks that lie 3 to 6 pixels apart, 16 to 32 along the edge."""
    images = np.random.default_rng(0).normal(150, 3, (3, 96, 96, 3)).astype(np.uint8)
    ticked, noise = images.copy(), images.copy()
    ticked[:, ::apart, 8:12] -= 30
    noise[:, np.random.default_rng(1).choice(96, 96 // apart, replace=False), 8:12] -= 30
    masks = find_rulers(np.rot90(ticked, edge, axes=(1, 2)))
    back = np.rot90(masks, -edge, axes=(1, 2))
    assert back[:, :, 9:11].all() and not back[:, :, 16:].any() and not back[:, :, :4].any()
    assert not find_rulers(noise).any() and not find_rulers(images).any()


@pytest.fixture(scope="module")
def demo_pictures(tmp_path_factory):
    """90 of the demo's pictures at 64 px, uint8, and the artefacts of each, as `artefact_opacities` gives them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate_module, "cpu_count", lambda: 1)
        folder = generate_module.generate(tmp_path_factory.mktemp("drawn") / "demo", images=90, side=64)
    names = pd.read_csv(folder / generate_module.METADATA)["image_id"]
    paths = {path.stem: path for path in folder.glob("*/*.jpg")}
    truth = generate_module.artefact_opacities(90, 64)
    return np.stack([np.asarray(Image.open(paths[name])) for name in names]), [truth[name] for name in names]


def precision_and_recall(images: np.ndarray, truth: list[dict], what: str) -> tuple[float, float]:
    """Of the images with a finding the share that has it, and of those that have it the share with a finding."""
    found, true = has_mask(FIND[what](images)), np.array([what in one and one[what].any() for one in truth])
    return (found & true).sum() / found.sum(), (found & true).sum() / true.sum()


def test_hairs_of_drawn_pictures_are_found(demo_pictures):
    images, truth = demo_pictures
    precision, recall = precision_and_recall(*demo_pictures, "hairs")
    assert precision > 0.5 and recall > 0.8  # at 64 px the lines of drawn lesions look much like hairs
    hairy = [place for place, one in enumerate(truth) if "hairs" in one]
    dense = np.stack([truth[place]["hairs"] > 0.4 for place in hairy])
    assert find_hairs(images[hairy])[dense].mean() > 0.7


def test_rulers_of_drawn_pictures_are_found(demo_pictures):
    precision, recall = precision_and_recall(*demo_pictures, "ruler")
    assert precision > 0.9 and recall > 0.9


def test_dark_corners_are_found_by_the_shade_of_the_light():
    shaded = (skin() * np.where(DISTANCE > 1, 0.6, 1)[..., None]).astype(np.uint8)
    masks = find_dark_corners(shaded)
    assert masks[:, DISTANCE > 1].all() and not masks[:, DISTANCE < 0.8].any()


def test_what_is_painted_has_the_colours_beside_it():
    images = np.zeros((3, 48, 48, 3), np.uint8)
    images[:, :, :24], images[:, :, 24:] = (200, 150, 100), (100, 80, 60)
    masks = np.zeros((3, 48, 48), bool)
    masks[0, 20:23] = True
    masks[2] = True
    broken = np.where(masks[..., None], np.uint8(0), images)
    found = inpaint(broken, masks)
    assert np.array_equal(found[1], images[1]) and np.array_equal(found[2], broken[2])
    assert np.array_equal(found[0, :, :18], images[0, :, :18]) and np.array_equal(found[0, :, 30:], images[0, :, 30:])
    between = found[0, 21, 18:30].astype(int)
    assert (np.diff(between, axis=0) <= 0).all()


def test_a_counterpart_has_the_same_label_and_does_not_have_it():
    having = np.array([True, True, False, False, True, False])
    labels = np.array(list("aabacb"))
    found = counterparts(having, labels, 0)
    assert not having[found].any() and list(labels[found[:2]]) == ["a", "a"] and len(found) == 3
    many = counterparts(np.repeat([True, False], [50, 3]), np.repeat("a", 53), 0)
    assert set(many) == {50, 51, 52}
    with pytest.raises(StudyError, match="All images have the artefact"):
        counterparts(np.ones(2, bool), np.array(["a", "b"]), 0)


def test_artefacts_are_found_block_by_block(monkeypatch):
    monkeypatch.setattr("helpers.explanation.artefacts.BLOCK", 2)
    images = np.concatenate([skin(), PASTE["dark corners"](skin(), 0)])
    assert find_artefact(images, "dark corners").any(axis=(1, 2)).tolist() == [False] * 3 + [True] * 3


def test_counterparts_are_painted_in_the_same_places():
    images, masks = skin(count=4), np.zeros((4, SIDE, SIDE), bool)
    masks[1, :8, :8] = True
    images[:, :8, :8] = 0
    rows, having, painted = paint_with_counterparts(images, masks, np.array(["nv", "nv", "nv", "mel"]), seed=0)
    assert rows[0] == 1 and having.tolist() == [True] + [False] * DRAWS and set(rows[1:]) <= {0, 2}
    assert (painted[:, :8, :8] > 0).all() and np.array_equal(painted[:, 8:], images[rows][:, 8:])
