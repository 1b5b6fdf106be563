"""The embedded demo data: the same bytes each time, HAM10000's layout, and a task that mean colour does not solve."""

import json
import re
from collections import Counter

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

from helpers.demo import camera
from helpers.demo import generate as generate_module
from helpers.demo import lesion as lesion_module
from helpers.demo import plan as plan_module
from helpers.records import file_sha256
from helpers.study import StudyError


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """40 images of 48 px, drawn in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate_module, "_processors", lambda: 1)
        return generate_module.generate(tmp_path_factory.mktemp("small") / "demo", images=40, side=48)


@pytest.fixture(scope="module")
def moderate(tmp_path_factory):
    """Table, images [300, 64, 64, 3] and masks [300, 64, 64] of 300 images."""
    folder = generate_module.generate(tmp_path_factory.mktemp("moderate") / "demo", images=300, side=64)
    return read(folder)


def read(folder):
    table = pd.read_csv(folder / generate_module.METADATA)
    half = (len(table) + 1) // 2
    parts = [generate_module.PARTS[0]] * half + [generate_module.PARTS[1]] * (len(table) - half)
    images = [Image.open(folder / part / f"{name}.jpg") for part, name in zip(parts, table.image_id, strict=True)]
    masks = [Image.open(folder / generate_module.MASKS / f"{name}_segmentation.png") for name in table.image_id]
    assert {image.mode for image in images} == {"RGB"} and {mask.mode for mask in masks} == {"1"}
    return table, np.stack(images), np.stack(masks)


def contents(folder):
    return {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def separability(features, table):
    """Balanced accuracy of a logistic regression, cross-validated without sharing lesions."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    guess = cross_val_predict(model, features, table.dx, groups=table.lesion_id, cv=folds)
    return balanced_accuracy_score(table.dx, guess)


def test_the_bytes_do_not_depend_on_the_number_of_processes(small, tmp_path, monkeypatch):
    monkeypatch.setattr(generate_module, "_processors", lambda: 2)
    again = generate_module.generate(tmp_path / "demo", images=40, side=48)
    assert contents(again) == contents(small)


def test_another_seed_gives_other_pictures(small, tmp_path, monkeypatch):
    monkeypatch.setattr(generate_module, "_processors", lambda: 1)
    other = generate_module.generate(tmp_path / "demo", images=40, side=48, seed=1)
    ours, theirs = contents(small), contents(other)
    assert ours.keys() == theirs.keys()
    assert not any(ours[name] == theirs[name] for name in ours)


def test_layout_is_ham10000s(small):
    table, images, masks = read(small)
    assert list(table.columns) == [
        "lesion_id",
        "image_id",
        "dx",
        "dx_type",
        "age",
        "sex",
        "localization",
        "date",
        "dataset",
    ]
    assert images.shape == (40, 48, 48, 3) and masks.shape == (40, 48, 48)
    assert len(contents(small)) == 40 + 40 + 2
    assert table.image_id.is_unique and table.image_id.str.fullmatch(r"DEMO_\d{7}").all()
    assert table.lesion_id.str.fullmatch(r"DEMO_L\d{4}").all()
    assert (table.groupby("lesion_id")[["dx", "dx_type", "age", "sex", "localization"]].nunique() <= 1).all(axis=None)


def test_every_class_has_its_floor_and_nevi_are_most():
    rows = pd.DataFrame([picture.row for picture in plan_module.plan_pictures(700, 0)])
    images, lesions = rows.dx.value_counts(), rows.groupby("dx").lesion_id.nunique()
    assert set(images.index) == set(plan_module.CLASSES) and images.sum() == 700
    assert images.min() >= 24 and lesions.min() >= 16
    assert images["nv"] > 0.5 * 700 and images["mel"] > 2 * images["df"]
    assert (images > lesions.reindex(images.index)).all()


def test_patients_resemble_ham10000s():
    rows = pd.DataFrame([picture.row for picture in plan_module.plan_pictures(3000, 0)])
    assert set(rows[rows.dx_type == "follow_up"].dx) == {"nv"}
    assert set(rows[rows.dx.isin(["mel", "bcc", "akiec"])].dx_type) == {"histo"}
    age = pd.to_numeric(rows.age)
    assert 0.005 < age.isna().mean() < 0.02 and set(age.dropna() % 5) == {0}
    assert age[rows.dx == "nv"].mean() + 10 < age[rows.dx == "bcc"].mean()
    assert set(rows.sex) == {"male", "female", "unknown"} and (rows.localization == "unknown").mean() < 0.04
    assert rows[rows.dx == "df"].localization.mode()[0] == "lower extremity"
    assert abs((rows.sex == "female").mean() - 0.46) < 0.05


@settings(max_examples=25)
@given(images=st.integers(30, 900), seed=st.integers(0, 2**32))
def test_any_size_and_seed_can_be_planned(images, seed):
    plan = plan_module.plan_pictures(images, seed)
    assert len(plan) == images
    assert min(Counter(picture.row["dx"] for picture in plan).values()) >= 2
    assert plan_module.planted_duplicates(images, seed).keys() == {"exact", "near"}
    drawn = Counter((picture.number, picture.view) for picture in plan)
    assert sorted(drawn.values())[-3:] == [1, 2, 2]


def test_planted_duplicates_are_there(small):
    table, images, _ = read(small)
    place = {name: k for k, name in enumerate(table.image_id)}
    pairs = plan_module.planted_duplicates(40, 0)
    a, b = (place[name] for name in pairs["exact"])
    assert file_of(small, a, table) == file_of(small, b, table)
    assert table.lesion_id[a] == table.lesion_id[b]
    a, b = (place[name] for name in pairs["near"])
    assert file_of(small, a, table) != file_of(small, b, table)
    assert table.lesion_id[a] != table.lesion_id[b] and table.dx[a] == table.dx[b]
    grey = images.mean(axis=3).reshape(len(images), -1)
    assert np.corrcoef(grey[a], grey[b])[0, 1] > 0.98
    assert 1 < abs(grey[a] - grey[b]).mean() < 20


def file_of(folder, k, table):
    return next(folder.glob(f"HAM10000_images_part_*/{table.image_id[k]}.jpg")).read_bytes()


def test_views_of_a_lesion_differ_but_keep_its_skin_and_outline():
    lesion = lesion_module.sample_lesion("nv", 0, 3)
    colour, edge = lesion_module.draw_scene(lesion, 48)
    one, two = (camera.draw_view(colour, edge, 48, plan_module.random_stream(0, 3, k)) for k in (100, 101))
    assert abs(one[0].astype(int) - two[0]).mean() > 4
    assert 0.5 < one[1].mean() / two[1].mean() < 2


def test_visits_are_dated_and_in_order():
    pictures = plan_module.plan_pictures(700, 0)
    assert all(re.fullmatch(r"20[12]\d-\d\d-\d\d", picture.row["date"]) for picture in pictures)
    for _, own in (
        pd.DataFrame(
            [(p.number, p.view, p.months, p.row["date"]) for p in pictures if p.gain == 1],
            columns=["lesion", "view", "months", "date"],
        )
        .drop_duplicates(["lesion", "view"])
        .groupby("lesion")
    ):
        own = own.sort_values("view")
        assert own["months"].iloc[0] == 0 and (own["months"].diff().dropna() >= 3).all()
        days = pd.to_datetime(own["date"]).diff().dt.days.dropna()
        assert np.allclose(days, 30.4 * own["months"].diff().dropna(), atol=1)


def test_malignant_lesions_grow_and_the_rest_stays_in_place():
    change = {
        dx: [np.log(lesion_module.grown(lesion, dx, 12).look["radius"] / lesion.look["radius"]) for lesion in lesions]
        for dx in plan_module.CLASSES
        if (lesions := [lesion_module.sample_lesion(dx, 0, number) for number in range(60)])
    }
    means = {dx: np.mean(values) for dx, values in change.items()}
    assert (
        min(means[dx] for dx in ("mel", "bcc", "akiec")) > 0.05 > max(means[dx] for dx in ("nv", "bkl", "df", "vasc"))
    )
    lesion = lesion_module.sample_lesion("mel", 0, 1)
    later = lesion_module.grown(lesion, "mel", 9)
    assert (
        later.structures == lesion.structures
        and later.key == lesion.key
        and lesion_module.grown(lesion, "mel", 0) == lesion
    )
    edges = [lesion_module.draw_scene(one, 64)[1] < 1 for one in (lesion, later)]
    assert edges[1].sum() > edges[0].sum() and (edges[1] >= edges[0]).mean() > 0.97


def test_a_third_comes_from_another_clinic_whatever_the_class():
    table = pd.DataFrame([picture.row for picture in plan_module.plan_pictures(3000, 0)]).drop_duplicates("lesion_id")
    share = (table["dataset"] == "clinic b").groupby(table["dx"]).mean()
    assert abs((table["dataset"] == "clinic b").mean() - 1 / 3) < 0.04 and share.between(0.2, 0.5).all()


def test_the_second_camera_is_darker_and_warmer(moderate):
    table, images, _ = moderate
    colour = images.reshape(len(images), -1, 3).mean(axis=1)
    first, second = (colour[(table["dataset"] == name).to_numpy()].mean(axis=0) for name in plan_module.CLINICS)
    assert second.sum() < first.sum() and second[0] / second[2] > first[0] / first[2]


def test_what_lies_over_a_picture_is_known(moderate):
    table, images, _ = moderate
    drawn = generate_module.drawn_artefacts(300, 64)
    assert list(drawn) == list(table["image_id"])
    shares = {name: np.mean([name in layers for layers in drawn.values()]) for name in ("hairs", "ruler", "bubbles")}
    assert 0.28 < shares["hairs"] < 0.42 and 0.04 < shares["ruler"] < 0.13 and 0.08 < shares["bubbles"] < 0.2
    for name in ("hairs", "ruler"):
        covers = np.stack([layers.get(name, np.zeros((64, 64))) for layers in drawn.values()])
        grey = images.mean(axis=3) / np.median(images.mean(axis=3), axis=(1, 2), keepdims=True)
        assert covers.max() <= 1 and grey[covers > 0.4].mean() < 0.75 * grey[covers == 0].mean()


def test_mask_is_the_outline_of_what_is_drawn():
    _, edge = lesion_module.draw_scene(lesion_module.sample_lesion("mel", 0, 0), 64)
    two_tone = np.where(edge < 1, 0.3, 0.8) * np.ones((3, 1, 1))
    agreement = []
    for view in range(9):
        picture, mask = camera.draw_view(two_tone, edge, 64, plan_module.random_stream(view))
        agreement.append(((picture.mean(axis=2) < 0.55 * 255) == mask).mean())
    assert np.median(agreement) > 0.98  # the rest is hair, dark corners and blur


def test_masks_lie_on_the_lesions(moderate):
    table, images, masks = moderate
    area = masks.mean(axis=(1, 2))
    assert area.min() > 0.01 and area.max() < 0.95 and 0.12 < area.mean() < 0.4
    grey = images.mean(axis=3)
    darker = np.array([g[~m].mean() - g[m].mean() for g, m in zip(grey, masks, strict=True)])
    assert (darker > 0).mean() > 0.85
    assert darker[table.dx == "nv"].mean() > 30


def test_mean_colour_does_not_solve_the_task(moderate):
    table, images, _ = moderate
    pixels = images.reshape(len(images), -1, 3)
    assert separability(pixels.mean(axis=1), table) < 0.3
    both = np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)
    assert 0.18 < separability(both, table) < 0.5


def test_surroundings_do_not_tell_the_class(moderate):
    table, images, masks = moderate
    far = [distance_transform_edt(~mask) for mask in masks]
    bare = [image[away >= min(5, away.max())] for image, away in zip(images, far, strict=True)]
    features = [np.concatenate([np.median(skin, axis=0), skin.std(axis=0)]) for skin in bare]
    assert separability(np.array(features), table) < 0.22  # chance is 0.14


def test_finished_folder_is_returned_at_once(small, monkeypatch):
    monkeypatch.setattr(generate_module, "_draw_all", lambda *_: pytest.fail("drew again"))
    assert generate_module.generate(small, images=40, side=48) == small


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder of 30 images of 32 px, drawn in one process."""
    monkeypatch.setattr(generate_module, "_processors", lambda: 1)
    return generate_module.generate(tmp_path / "demo", images=30, side=32)


def test_other_settings_redraw_and_leave_the_cache(tiny):
    (tiny / "cache").mkdir()
    (tiny / "cache" / "32px.npy").write_bytes(b"kept")
    before = contents(tiny)
    generate_module.generate(tiny, images=31, side=32)
    assert (
        len(pd.read_csv(tiny / generate_module.METADATA)) == 31
        and len(list((tiny / generate_module.MASKS).iterdir())) == 31
    )
    assert (tiny / "cache" / "32px.npy").read_bytes() == b"kept"
    generate_module.generate(tiny, images=30, side=32)
    assert contents(tiny) == before


def test_other_version_redraws(tiny, monkeypatch):
    monkeypatch.setattr(generate_module, "VERSION", generate_module.VERSION + 1)
    (tiny / generate_module.METADATA).write_text("old")
    generate_module.generate(tiny, images=30, side=32)
    assert len(pd.read_csv(tiny / generate_module.METADATA)) == 30
    assert json.loads((tiny / "demo.json").read_text())["version"] == generate_module.VERSION


def test_interrupted_drawing_leaves_the_folder_as_it_was(tiny, monkeypatch):
    before = contents(tiny)
    monkeypatch.setattr(camera, "draw_view", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        generate_module.generate(tiny, images=31, side=32)
    assert contents(tiny) == before and list(tiny.parent.iterdir()) == [tiny]


def test_interrupted_move_is_drawn_again(tiny):
    before = contents(tiny)
    (tiny / "demo.json").write_text(json.dumps({"version": "unfinished"}))
    (tiny / generate_module.METADATA).unlink()
    generate_module.generate(tiny, images=30, side=32)
    assert contents(tiny) == before


def test_folder_with_only_a_cache_counts_as_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(generate_module, "_processors", lambda: 1)
    (tmp_path / "demo" / "cache").mkdir(parents=True)
    assert (generate_module.generate(tmp_path / "demo", images=30, side=32) / generate_module.METADATA).exists()


def test_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / generate_module.METADATA).write_text("the real table")
    with pytest.raises(StudyError, match=r"HAM10000_metadata\.csv but no demo\.json.*another folder"):
        generate_module.generate(tmp_path, images=30, side=32)
    assert [path.name for path in tmp_path.iterdir()] == [generate_module.METADATA]
    assert (tmp_path / generate_module.METADATA).read_text() == "the real table"


def test_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "demo").write_text("")
    with pytest.raises(StudyError, match="is a file"):
        generate_module.generate(tmp_path / "demo", images=30, side=32)


@pytest.mark.parametrize(("images", "side"), [(29, 32), (30, 31)])
def test_too_small_a_set_is_refused(tmp_path, images, side):
    with pytest.raises(StudyError, match="at least 30 images of at least 32 px"):
        generate_module.generate(tmp_path / "demo", images=images, side=side)
    assert not (tmp_path / "demo").exists()
