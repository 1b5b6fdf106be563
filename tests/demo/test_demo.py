"""The embedded demo data: the same bytes each time, HAM10000's layout, and a task that mean colour does not solve."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import distance_transform_edt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.demo import generate as generate_module
from helpers.demo.camera import draw_view
from helpers.demo.generate import COLUMNS, MASKS, METADATA, PARTS, artefact_opacities, generate
from helpers.demo.lesion import draw_scene, grow, sample_lesion
from helpers.demo.plan import CLASSES, CLINICS, plan_pictures, random_stream
from helpers.records import file_sha256
from helpers.study import StudyError

TINY = {"images": 30, "side": 32}


@pytest.fixture(scope="module")
def one_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate_module, "cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, one_process):
    """30 images of 32 px, to be read only."""
    return generate(tmp_path_factory.mktemp("tiny") / "demo", **TINY)


@pytest.fixture
def demo(tiny, tmp_path):
    """A copy of them."""
    return shutil.copytree(tiny, tmp_path / "demo")


@pytest.fixture(scope="module")
def moderate(tmp_path_factory, one_process):
    """Table, images [300, 64, 64, 3] and masks [300, 64, 64] of 300 images."""
    return read(generate(tmp_path_factory.mktemp("moderate") / "demo", images=300, side=64))


def read(folder):
    table = pd.read_csv(folder / METADATA)
    half = (len(table) + 1) // 2
    paths = [folder / PARTS[k >= half] / f"{name}.jpg" for k, name in enumerate(table.image_id)]
    images = [Image.open(path) for path in paths]
    masks = [Image.open(folder / MASKS / f"{name}_segmentation.png") for name in table.image_id]
    assert {image.mode for image in images} == {"RGB"} and {mask.mode for mask in masks} == {"1"}
    return table, np.stack(images), np.stack(masks)


def contents(folder):
    return {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def planned_rows(images):
    return pd.DataFrame([picture.row for picture in plan_pictures(images, 0)])


def separability(features, table):
    """Balanced accuracy of a logistic regression, cross-validated without a lesion in two folds."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, class_weight="balanced"))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    guess = cross_val_predict(model, features, table.dx, groups=table.lesion_id, cv=folds)
    return balanced_accuracy_score(table.dx, guess)


def test_the_bytes_do_not_depend_on_the_number_of_processes(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(generate_module, "cpu_count", lambda: 2)
    (tmp_path / "demo" / "cache").mkdir(parents=True)  # a folder with only a cache counts as empty
    assert contents(generate(tmp_path / "demo", **TINY)) == contents(tiny)


def test_another_seed_gives_other_pictures_and_a_finished_folder_is_returned_at_once(tiny, tmp_path, monkeypatch):
    first, other = contents(tiny), contents(generate(tmp_path / "demo", **TINY, seed=1))
    assert first.keys() == other.keys() and not any(first[name] == other[name] for name in first)
    monkeypatch.setattr(generate_module, "_draw_all", lambda *_, **__: pytest.fail("drew again"))
    assert generate(tiny, **TINY) == tiny


def test_the_layout_is_that_of_ham10000(tiny):
    table, images, masks = read(tiny)
    assert tuple(table.columns) == COLUMNS
    assert images.shape == (30, 32, 32, 3) and masks.shape == (30, 32, 32)
    assert len(contents(tiny)) == 30 + 30 + 2
    assert table.image_id.is_unique and table.image_id.str.fullmatch(r"DEMO_\d{7}").all()
    assert table.lesion_id.str.fullmatch(r"DEMO_L\d{4}").all()
    assert (table.groupby("lesion_id")[["dx", "dx_type", "age", "sex", "localization"]].nunique() <= 1).all(axis=None)


def test_every_class_has_enough_lesions_and_nevi_are_most():
    rows = planned_rows(700)
    images, lesions = rows.dx.value_counts(), rows.groupby("dx").lesion_id.nunique()
    assert set(images.index) == set(CLASSES) and images.sum() == 700
    assert images.min() >= 24 and lesions.min() >= 16
    assert images["nv"] > 0.5 * 700 and images["mel"] > 2 * images["df"]
    assert (images > lesions.reindex(images.index)).all()


def test_patients_resemble_those_of_ham10000():
    rows = planned_rows(3000)
    assert set(rows[rows.dx_type == "follow_up"].dx) == {"nv"}
    assert set(rows[rows.dx.isin(["mel", "bcc", "akiec"])].dx_type) == {"histo"}
    age = pd.to_numeric(rows.age)
    assert 0.005 < age.isna().mean() < 0.02 and set(age.dropna() % 5) == {0}
    assert age[rows.dx == "nv"].mean() + 10 < age[rows.dx == "bcc"].mean()
    assert set(rows.sex) == {"male", "female", "unknown"} and (rows.localization == "unknown").mean() < 0.04
    assert rows[rows.dx == "df"].localization.mode()[0] == "lower extremity"
    assert abs((rows.sex == "female").mean() - 0.46) < 0.05
    lesions = rows.drop_duplicates("lesion_id")
    second = (lesions["dataset"] == CLINICS[1]).groupby(lesions["dx"]).mean()
    assert abs((lesions["dataset"] == CLINICS[1]).mean() - 1 / 3) < 0.04 and second.between(0.2, 0.5).all()


@settings(max_examples=15)
@given(images=st.integers(30, 300), seed=st.integers(0, 2**32))
def test_any_size_and_seed_can_be_planned(images, seed):
    plan = plan_pictures(images, seed)
    assert len(plan) == images
    assert min(Counter(picture.row["dx"] for picture in plan).values()) >= 2
    views = Counter((picture.number, picture.view) for picture in plan)
    assert sorted(views.values())[-3:] == [1, 2, 2]  # two pairs of duplicates


def test_one_pair_has_the_same_bytes_and_one_is_brighter_under_another_lesion_id(tiny):
    table, images, _ = read(tiny)
    plan = plan_pictures(30, 0)
    views = Counter((picture.number, picture.view) for picture in plan)
    near = [k for k, picture in enumerate(plan) if picture.gain != 1]
    twice = [k for k, picture in enumerate(plan) if views[picture.number, picture.view] == 2]
    a, b = [k for k in twice if plan[k].number != plan[near[0]].number]
    assert np.array_equal(images[a], images[b]) and table.lesion_id[a] == table.lesion_id[b]
    assert len({digest for name, digest in contents(tiny).items() if name.endswith(".jpg")}) == 29
    a, b = [k for k in twice if plan[k].number == plan[near[0]].number]
    assert table.lesion_id[a] != table.lesion_id[b] and table.dx[a] == table.dx[b]
    grey = images.mean(axis=3).reshape(len(images), -1)
    assert np.corrcoef(grey[a], grey[b])[0, 1] > 0.95
    assert 1 < abs(grey[a] - grey[b]).mean() < 20


def test_views_of_a_lesion_differ_but_keep_its_size():
    scene = draw_scene(sample_lesion("nv", 0, 3), 48)
    one, two = (draw_view(scene, 48, random_stream(0, 3, k)) for k in (100, 101))
    assert abs(one[0].astype(int) - two[0]).mean() > 4
    assert 0.5 < one[1].mean() / two[1].mean() < 2


def test_visits_are_dated_and_in_order():
    visits = [(p.number, p.view, p.months, p.row["date"]) for p in plan_pictures(300, 0) if p.gain == 1]
    visits = pd.DataFrame(visits, columns=["lesion", "view", "months", "date"]).drop_duplicates(["lesion", "view"])
    visits = visits.sort_values(["lesion", "view"]).assign(date=pd.to_datetime(visits["date"], format="%Y-%m-%d"))
    assert (visits[visits["view"] == 0]["months"] == 0).all() and visits["date"].dt.year.between(2014, 2020).all()
    steps = visits.groupby("lesion")[["months", "date"]].diff().dropna()
    assert len(steps) > 30 and (steps["months"] >= 3).all()
    assert np.allclose(steps["date"].dt.days, 30.4 * steps["months"], atol=1)


def test_malignant_lesions_grow_and_the_rest_stays_in_place():
    growth = {}
    for dx in CLASSES:
        lesions = [sample_lesion(dx, 0, number) for number in range(60)]
        ratios = [grow(lesion, dx, 12).look["radius"] / lesion.look["radius"] for lesion in lesions]
        growth[dx] = np.log(ratios).mean()
    malignant = {"mel", "bcc", "akiec"}
    assert min(growth[dx] for dx in malignant) > 0.05 > max(growth[dx] for dx in set(CLASSES) - malignant)
    lesion = sample_lesion("mel", 0, 1)
    later = grow(lesion, "mel", 9)
    assert later.structures == lesion.structures and later.key == lesion.key and grow(lesion, "mel", 0) == lesion
    before, after = (draw_scene(state, 64)[1] < 1 for state in (lesion, later))
    assert after.sum() > before.sum() and (after >= before).mean() > 0.97


def test_the_second_camera_is_darker_and_warmer(moderate):
    table, images, _ = moderate
    colour = images.reshape(len(images), -1, 3).mean(axis=1)
    first, second = (colour[(table["dataset"] == name).to_numpy()].mean(axis=0) for name in CLINICS)
    assert second.sum() < first.sum() and second[0] / second[2] > first[0] / first[2]


def test_the_artefacts_of_a_picture_are_known(moderate):
    table, images, _ = moderate
    opacities = artefact_opacities(300, 64)
    assert list(opacities) == list(table["image_id"])
    shares = {
        name: np.mean([name in layers for layers in opacities.values()]) for name in ("hairs", "ruler", "bubbles")
    }
    assert 0.28 < shares["hairs"] < 0.42 and 0.04 < shares["ruler"] < 0.13 and 0.08 < shares["bubbles"] < 0.2
    for name in ("hairs", "ruler"):
        covers = np.stack([layers.get(name, np.zeros((64, 64))) for layers in opacities.values()])
        grey = images.mean(axis=3) / np.median(images.mean(axis=3), axis=(1, 2), keepdims=True)
        assert covers.max() <= 1 and grey[covers > 0.4].mean() < 0.75 * grey[covers == 0].mean()


def test_the_mask_is_the_outline_of_the_lesion():
    _, edge = draw_scene(sample_lesion("mel", 0, 0), 64)
    two_tone = np.where(edge < 1, 0.3, 0.8) * np.ones((3, 1, 1))
    agreement = []
    for view in range(9):
        picture, mask = draw_view((two_tone, edge), 64, random_stream(view))
        agreement.append(((picture.mean(axis=2) < 0.55 * 255) == mask).mean())
    assert np.median(agreement) > 0.98  # the rest is hair, dark corners and blur


def test_mean_colour_does_not_solve_the_task(moderate):
    table, images, _ = moderate
    pixels = images.reshape(len(images), -1, 3)
    assert separability(pixels.mean(axis=1), table) < 0.3
    both = np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)
    assert 0.18 < separability(both, table) < 0.5


def test_the_surroundings_do_not_reveal_the_class(moderate):
    table, images, masks = moderate
    far = [distance_transform_edt(~mask) for mask in masks]
    bare = [image[away >= min(5, away.max())] for image, away in zip(images, far, strict=True)]
    features = [np.concatenate([np.median(skin, axis=0), skin.std(axis=0)]) for skin in bare]
    assert separability(np.array(features), table) < 0.22  # chance is 0.14


def test_other_settings_or_another_version_redraw_and_leave_the_cache(demo, tiny, monkeypatch):
    (demo / "cache").mkdir()
    (demo / "cache" / "32px.npy").write_bytes(b"kept")
    generate(demo, images=31, side=32)
    assert len(pd.read_csv(demo / METADATA)) == 31 and len(list((demo / MASKS).iterdir())) == 31
    monkeypatch.setattr(generate_module, "VERSION", generate_module.VERSION + 1)
    generate(demo, **TINY)
    assert json.loads((demo / "demo.json").read_text())["version"] == generate_module.VERSION
    assert (demo / METADATA).read_bytes() == (tiny / METADATA).read_bytes()
    assert (demo / "cache" / "32px.npy").read_bytes() == b"kept"


def test_interrupted_drawing_leaves_the_folder_as_it_was_and_an_interrupted_move_is_drawn_again(demo, tiny):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(generate_module, "draw_view", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        generate(demo, images=31, side=32)
    assert contents(demo) == contents(tiny) and list(demo.parent.iterdir()) == [demo]
    (demo / "demo.json").write_text(json.dumps({"version": "unfinished"}))
    (demo / METADATA).unlink()
    assert contents(generate(demo, **TINY)) == contents(tiny)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"cut")], ids=["deleted", "cut"])
def test_a_picture_that_is_lost_or_cut_is_drawn_again(demo, tiny, damage):
    damage(next((demo / PARTS[1]).iterdir()))
    assert contents(generate(demo, **TINY)) == contents(tiny)


def test_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "cache").mkdir()  # does not count: with the table alone the folder is foreign
    (tmp_path / METADATA).write_text("the real table")
    with pytest.raises(StudyError, match=r"HAM10000_metadata\.csv but no demo\.json.*another folder"):
        generate(tmp_path, **TINY)
    assert {path.name for path in tmp_path.iterdir()} == {"cache", METADATA}
    assert (tmp_path / METADATA).read_text() == "the real table"
    with pytest.raises(StudyError, match="is a file"):
        generate(tmp_path / METADATA, **TINY)


@pytest.mark.parametrize(("images", "side"), [(29, 32), (30, 31)])
def test_too_few_or_too_small_images_are_refused(tmp_path, images, side):
    with pytest.raises(StudyError, match="at least 30 images of at least 32 px"):
        generate(tmp_path / "demo", images=images, side=side)
    assert not (tmp_path / "demo").exists()
