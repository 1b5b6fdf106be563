import json

import numpy as np
import pandas as pd
import pytest
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from helpers.data.duplicates import duplicate_groups, find_duplicates
from helpers.data.lesions import load_lesions
from helpers.data.split import FOLDS, fold_split, make_split, read_split, save_split
from helpers.records import file_sha256, write_csv
from helpers.study import ROOT, StudyError


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


@settings(max_examples=15)
@given(lesion_sizes, st.integers(0, 1000))
def test_every_fold_gives_a_complete_and_balanced_split_that_keeps_lesions_together(sizes_by_label, seed):
    lesions = made_up_lesions(sizes_by_label)
    split = split_lesions(lesions, seed)
    shuffled = lesions.sample(frac=1, random_state=seed, ignore_index=True)
    pd.testing.assert_frame_equal(split, split_lesions(shuffled, seed))  # the order of the rows does not matter
    assert sorted(split.image_id) == sorted(lesions.image_id) and set(split.fold) == set(range(FOLDS))
    assert fold_split(split, 0, split.lesion_id.to_numpy(), seed=seed).equals(split)
    for fold in range(FOLDS):
        other = fold_split(split, fold, split.lesion_id.to_numpy(), seed=seed)
        assert (other.groupby("lesion_id")[["part", "fold"]].nunique() == 1).all(axis=None)
        assert ((other.part == "test") == (split.fold == fold)).all()
        for label, sizes in sizes_by_label.items():
            images = other[other.label == label]
            counts = images.part.value_counts()
            assert abs(counts["test"] - len(images) / 5) <= max(sizes)  # equal, up to one lesion
            assert abs(counts["validation"] - (len(images) - counts["test"]) / 8) <= max(sizes)


def test_the_same_bytes_on_every_machine(tmp_path):
    lesions = made_up_lesions({"nv": [1, 2, 3] * 10, "mel": [1] * 20})
    write_csv(tmp_path / "split.csv", split_lesions(lesions))
    assert file_sha256(tmp_path / "split.csv") == "9508ee04947ebe9bbbcc106197c02e605294d035f5298b11689b885d66c6b7bd"
    assert (tmp_path / "split.csv").read_bytes().count(b"\r") == 0


def test_too_few_lesions_and_a_sixth_fold_are_refused():
    with pytest.raises(StudyError, match="Diagnosis df has 4 lesions, but each of 5 folds needs one"):
        split_lesions(made_up_lesions({"nv": [1] * 9, "df": [5, 5, 5, 5]}))
    with pytest.raises(StudyError, match="fold is 5"):
        fold_split(pd.DataFrame({"part": [], "fold": []}), 5, np.array([]))


def test_groups_join_lesions_through_chains_of_duplicates():
    lesions = made_up_lesions({"nv": [2, 1, 1, 1]})
    pairs = pd.DataFrame({"lesion_a": ["nv1", "nv3"], "lesion_b": ["nv3", "nv2"]})
    assert duplicate_groups(lesions, pairs).tolist() == ["nv0", "nv0", "nv1", "nv1", "nv1"]
    assert duplicate_groups(lesions, pairs.head(0)).tolist() == lesions.lesion_id.tolist()


def test_duplicates_stay_together_in_every_fold():
    lesions = made_up_lesions({"nv": [1] * 40})
    pairs = pd.DataFrame({"lesion_a": ["nv0"] * 5, "lesion_b": [f"nv{k}" for k in range(1, 6)]})
    groups = duplicate_groups(lesions, pairs)
    split = make_split(lesions, groups, 0)
    groups = pd.Series(groups, lesions["image_id"])[split["image_id"]].to_numpy()
    for fold in range(FOLDS):
        other = fold_split(split, fold, groups)
        assert other.loc[groups == "nv0", ["fold", "part"]].nunique().tolist() == [1, 1]


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
    table = duplicate_fixture(tmp_path)
    pairs = find_duplicates(table).set_index(["image_a", "image_b"])
    assert set(pairs.index) == {("i0", "i4"), ("i1", "i5"), ("i2", "i6")}
    assert pairs.kind.to_dict() == {("i0", "i4"): "exact", ("i1", "i5"): "near", ("i2", "i6"): "near"}
    assert pairs.detail.between(0.75, 1).all() and pairs.loc[("i0", "i4"), "bits"] == 0
    nothing = find_duplicates(table.head(4))
    assert len(nothing) == 0 and {"lesion_a", "lesion_b", "kind", "bits"} <= set(nothing.columns)


def test_a_split_is_read_as_it_was_written(tmp_path):
    lesions = made_up_lesions({"nv": [2] * 10})
    with pytest.raises(StudyError, match="split.csv: no such file.*make 02_preprocessing"):
        read_split(tmp_path / "split.csv", lesions)
    save_split(split_lesions(lesions), tmp_path / "split.csv")
    assert read_split(tmp_path / "split.csv", lesions).equals(split_lesions(lesions))


def append_test_as_train(split):
    return pd.concat([split, split[split.part == "test"].assign(part="train")])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (append_test_as_train, "4 ids are listed twice, the first is"),
        (lambda split: split.drop(columns=["fold", "part"]), "column fold, part is missing"),
        (lambda split: split.replace({"part": {"train": "training"}}), "have no part of the split"),
        (lambda split: split.assign(part=["train", "test"] * 10), "10 ids are in two parts, the first is nv0"),
        (lambda split: split.iloc[2:], "2 ids are in lesions.csv, but not in the split, the first is nv0-0"),
        (lambda split: split.replace("nv0-0", "nv0-9"), "1 ids are in lesions.csv, but not"),
        (lambda split: split.replace({"part": {"test": "train", "train": "test"}}), "its checksum differs"),
    ],
)
def test_a_changed_split_is_refused_with_the_reason_and_the_remedy(tmp_path, damage, message):
    lesions = made_up_lesions({"nv": [2] * 10})
    save_split(split_lesions(lesions), tmp_path / "split.csv")
    write_csv(tmp_path / "split.csv", damage(split_lesions(lesions)))
    with pytest.raises(StudyError, match=f"split.csv: .*{message}.*make 02_preprocessing"):
        read_split(tmp_path / "split.csv", lesions)
    with pytest.raises(StudyError, match="are in the split, but not in lesions.csv"):
        save_split(split_lesions(lesions), tmp_path / "split.csv")
        read_split(tmp_path / "split.csv", lesions.iloc[1:])


@pytest.mark.parametrize("study", ["ham10000_cpu", "isic2019_cpu"])
def test_published_splits_are_those_that_their_records_name(study):
    folder = ROOT / "results" / study
    split = pd.read_csv(folder / "split.csv", dtype=str)
    assert read_split(folder / "split.csv", split).image_id.equals(split.image_id)
    recorded = json.loads((folder / "03_cnn_baseline" / "metrics.json").read_text())["split"]
    assert recorded == json.loads((folder / "split.json").read_text())


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
