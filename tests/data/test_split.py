import numpy as np
import pandas as pd
import pytest
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from helpers.data.duplicates import duplicate_groups, find_duplicates
from helpers.data.lesions import load_lesions
from helpers.data.split import FOLDS, fold_split, make_split, read_split
from helpers.records import file_sha256, write_csv
from helpers.study import StudyError

NO_PAIRS = pd.DataFrame({"lesion_a": [], "lesion_b": []}, dtype=object)


def made_up_lesions(sizes_by_label):
    """Lesions with the given numbers of images, {label: [images of a lesion, …]}."""
    rows = [
        (f"{label}{number}", f"{label}{number}-{image}", label)
        for label, sizes in sizes_by_label.items()
        for number, size in enumerate(sizes)
        for image in range(size)
    ]
    return pd.DataFrame(rows, columns=["lesion_id", "image_id", "label"])


def split_lesions(lesions, seed=0):
    return make_split(lesions, lesions.lesion_id.to_numpy(), seed)


lesion_sizes = st.dictionaries(
    st.sampled_from(["nv", "mel"]), st.lists(st.integers(1, 6), min_size=5, max_size=30), min_size=1
)


@settings(max_examples=25)
@given(lesion_sizes, st.integers(0, 1000))
def test_a_split_is_complete_and_balanced_and_keeps_lesions_together(sizes_by_label, seed):
    lesions = made_up_lesions(sizes_by_label)
    split = split_lesions(lesions, seed)
    assert sorted(split.image_id) == sorted(lesions.image_id)  # every image, once
    per_lesion = split.groupby("lesion_id")[["part", "fold"]].nunique()
    assert (per_lesion == 1).all(axis=None)  # no lesion on two sides
    assert ((split.part == "test") == (split.fold == 0)).all()
    for label, sizes in sizes_by_label.items():
        images = split[split.label == label]
        assert set(images.fold) == set(range(5)) and set(images.part) == {"train", "validation", "test"}
        folds = images.fold.value_counts()
        assert folds.max() - folds.min() <= max(sizes)  # equal, up to one lesion
        rest = len(images) - folds[0]
        assert abs((images.part == "validation").sum() - rest / 8) <= max(sizes)


@settings(max_examples=5)
@given(lesion_sizes, st.randoms(use_true_random=False))
def test_row_order_does_not_change_the_split(sizes_by_label, random):
    lesions = made_up_lesions(sizes_by_label)
    order = list(range(len(lesions)))
    random.shuffle(order)
    shuffled = lesions.iloc[order].reset_index(drop=True)
    pd.testing.assert_frame_equal(split_lesions(lesions, 3), split_lesions(shuffled, 3))


def test_the_same_bytes_on_every_machine(tmp_path):
    lesions = made_up_lesions({"nv": [1, 2, 3] * 10, "mel": [1] * 20})
    write_csv(tmp_path / "split.csv", split_lesions(lesions))
    assert file_sha256(tmp_path / "split.csv") == "9508ee04947ebe9bbbcc106197c02e605294d035f5298b11689b885d66c6b7bd"
    assert (tmp_path / "split.csv").read_bytes().count(b"\r") == 0


def test_another_seed_another_split():
    lesions = made_up_lesions({"nv": [1, 2] * 20})
    assert not split_lesions(lesions, 0).part.equals(split_lesions(lesions, 1).part)


def test_too_few_lesions_of_a_diagnosis():
    lesions = made_up_lesions({"nv": [1] * 9, "df": [5, 5, 5, 5]})
    with pytest.raises(StudyError, match="Diagnosis df has 4 lesions, but each of 5 folds needs one"):
        split_lesions(lesions)


def test_groups_join_lesions_through_chains_of_duplicates():
    lesions = made_up_lesions({"nv": [2, 1, 1, 1]})
    pairs = pd.DataFrame({"lesion_a": ["nv1", "nv3"], "lesion_b": ["nv3", "nv2"]})
    assert duplicate_groups(lesions, pairs).tolist() == ["nv0", "nv0", "nv1", "nv1", "nv1"]
    assert duplicate_groups(lesions, NO_PAIRS).tolist() == lesions.lesion_id.tolist()


def test_grouped_lesions_stay_together():
    lesions = made_up_lesions({"nv": [1] * 40})
    pairs = pd.DataFrame({"lesion_a": ["nv0"] * 5, "lesion_b": [f"nv{k}" for k in range(1, 6)]})
    split = make_split(lesions, duplicate_groups(lesions, pairs), 0).set_index("lesion_id")
    assert split.loc[[f"nv{k}" for k in range(6)], "fold"].nunique() == 1


def duplicate_fixture(folder):
    """Eight pictures: 0 to 3 unlike each other, 4 a copy of 0, 5 a brighter 1, 6 a moved 2, 7 a 3 turned by 90°."""
    pictures = [picture_with_detail(k) for k in range(4)]
    moved = Image.fromarray(np.roll(pictures[2], (2, 2), axis=(0, 1)))
    pictures += [pictures[0], ImageEnhance.Brightness(pictures[1]).enhance(1.2), moved, pictures[3].rotate(90)]
    paths = [folder / f"{k}.jpg" for k in range(8)]
    for image, path in zip(pictures, paths, strict=True):
        image.save(path, quality=90)
    ids = [f"i{k}" for k in range(8)]
    return pd.DataFrame({"image_id": ids, "lesion_id": ids, "label": "nv", "path": [str(path) for path in paths]})


def picture_with_detail(seed, side=256):
    grain = np.random.default_rng(seed).normal(0, 30, (32, 32, 1)).repeat(3, axis=2)
    grain = np.asarray(Image.fromarray((128 + grain).clip(0, 255).astype(np.uint8)).resize((side, side)), float)
    return Image.fromarray((0.5 * np.asarray(picture(seed, side), float) + 0.5 * grain).astype(np.uint8))


def test_duplicates_are_found_and_others_are_not(tmp_path):
    pairs = find_duplicates(duplicate_fixture(tmp_path)).set_index(["image_a", "image_b"])
    assert set(pairs.index) == {("i0", "i4"), ("i1", "i5"), ("i2", "i6")}
    assert pairs.kind.to_dict() == {("i0", "i4"): "exact", ("i1", "i5"): "near", ("i2", "i6"): "near"}
    assert pairs.detail.between(0.75, 1).all() and pairs.loc[("i0", "i4"), "bits"] == 0


def test_no_duplicates_give_an_empty_table(tmp_path):
    pairs = find_duplicates(duplicate_fixture(tmp_path).head(4))
    assert len(pairs) == 0 and {"lesion_a", "lesion_b", "kind", "bits"} <= set(pairs.columns)


def test_reading_a_split(tmp_path):
    with pytest.raises(StudyError, match="02_preprocessing"):
        read_split(tmp_path / "split.csv")
    (tmp_path / "split.csv").write_text("image_id,lesion_id,label\n")
    with pytest.raises(StudyError, match="column fold, part is missing"):
        read_split(tmp_path / "split.csv")
    lesions = made_up_lesions({"nv": [1] * 10})
    split = split_lesions(lesions)
    write_csv(tmp_path / "split.csv", split)
    pd.testing.assert_frame_equal(read_split(tmp_path / "split.csv"), split, check_dtype=False)


@pytest.mark.real
def test_the_real_data_split(real_ham10000):
    lesions = load_lesions("ham10000", real_ham10000)
    pairs = find_duplicates(lesions)
    exact = pairs[pairs.kind == "exact"]
    assert set(exact.image_a) == {"ISIC_0024366", "ISIC_0024777"}
    across = pairs[pairs.lesion_a != pairs.lesion_b]
    assert {"ISIC_0025226", "ISIC_0027027", "ISIC_0034228"} <= set(across.image_a)  # seen to be the same spot
    assert len(across) < 20
    split = make_split(lesions, duplicate_groups(lesions, pairs), 0)
    shares = split.part.value_counts(normalize=True)
    assert np.allclose(shares[["train", "validation", "test"]], [0.7, 0.1, 0.2], atol=0.002)


@settings(max_examples=8)
@given(lesion_sizes, st.integers(0, 1000))
def test_every_fold_is_the_test_part_once(sizes_by_label, seed):
    lesions = made_up_lesions(sizes_by_label)
    split = split_lesions(lesions, seed)
    splits = [fold_split(split, fold, split.lesion_id.to_numpy(), seed=seed) for fold in range(FOLDS)]
    assert splits[0].equals(split)
    for fold, other in enumerate(splits):
        assert (other.groupby("lesion_id")["part"].nunique() == 1).all()
        assert ((other.part == "test") == (split.fold == fold)).all()
        for label, sizes in sizes_by_label.items():
            rest = other[(other.label == label) & (other.part != "test")]
            assert abs(len(rest) / 8 - (rest.part == "validation").sum()) <= max(sizes)


def test_a_sixth_fold_is_refused():
    with pytest.raises(StudyError, match="fold is 5"):
        fold_split(pd.DataFrame({"part": [], "fold": []}), 5, np.array([]))


def test_duplicates_stay_together_in_every_fold():
    split = make_split(made_up_lesions({"nv": [1] * 40}), np.arange(40).astype(str).repeat(1), 0)
    groups = np.where(split["lesion_id"].isin(["nv3", "nv7"]), "nv3", split["lesion_id"])
    split = split.assign(fold=np.where(groups == "nv3", 2, split["fold"]))
    for fold in (1, 3, 4):
        assert fold_split(split, fold, groups).loc[groups == "nv3", "part"].nunique() == 1
