import numpy as np
import pandas as pd
from made_up import answers

from helpers.data.pixels import PixelCache
from helpers.evaluation import leakage
from helpers.evaluation.audit import audit_split
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.leakage import (
    INFLATION,
    add_altered_copies,
    audit_protocol,
    choose_on,
    measure_inflation,
    oversample,
    split_by_image,
)


def many(seed: int = 0) -> pd.DataFrame:
    """300 images of 150 lesions, of three labels, in the shares of a study's parts."""
    random = np.random.default_rng(seed)
    label = np.repeat(["nv", "mel", "df"], [100, 40, 10]).repeat(2)
    lesion = np.arange(150).repeat(2).astype(str)
    part = random.choice(["train", "validation", "test"], 150, p=[0.7, 0.1, 0.2]).repeat(2)
    return pd.DataFrame({"image_id": np.arange(300).astype(str), "lesion_id": lesion, "label": label, "part": part})


def test_a_split_by_image_keeps_the_counts_and_separates_siblings():
    table = many()
    dealt = split_by_image(table, 1)
    counts = ["label", "part"]
    assert dealt.groupby(counts).size().equals(table.groupby(counts).size())
    assert dealt.drop(columns="part").equals(table.drop(columns="part"))
    assert (audit_split(table, table)["kind"] == "none").all()
    assert (audit_split(table, dealt)["kind"] == "sibling").mean() > 0.3
    assert dealt.equals(split_by_image(table, 1)) and not dealt.equals(split_by_image(table, 2))


def test_oversampling_makes_labels_equal_and_copies_of_the_rare():
    drawn = oversample(many(), 0)
    assert drawn["label"].value_counts().eq(100).all()
    uses = drawn.groupby("image_id").size()
    rare, frequent = (drawn.loc[drawn["label"] == label, "image_id"] for label in ("df", "nv"))
    assert uses[rare].eq(5).all() and frequent.is_unique
    assert drawn.groupby("image_id")["copy"].apply(lambda copy: sorted(copy) == list(range(len(copy)))).all()
    copies = audit_split(many(), split_by_image(drawn, 0)).query("part == 'test' and kind == 'copy'")
    assert len(copies) > 10


def test_copies_become_separate_images():
    table = pd.DataFrame({"image_id": ["a", "b", "a"], "lesion_id": "l", "label": "nv", "copy": [0, 0, 1]})
    cache = PixelCache(np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3), np.array(["b", "unused", "a"], object))
    plain, same = add_altered_copies(cache, table)
    assert plain["image_id"].tolist() == ["a", "b", "a#1"] and plain["source"].tolist() == ["a", "b", "a"]
    assert sorted(same.image_ids) == ["a", "a#1", "b"] and same.pixels.dtype == np.uint8
    assert np.array_equal(same.pixels[same.rows(["a#1", "b"])], cache.pixels[[2, 0]])
    _, changed = add_altered_copies(cache, table, lambda images: 255 - images)
    assert np.array_equal(changed.pixels[changed.rows(["a#1", "a"])], [255 - cache.pixels[2], cache.pixels[2]])
    assert same.fingerprint == add_altered_copies(cache, table)[1].fingerprint != changed.fingerprint


def test_copies_are_changed_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(leakage, "BLOCK", 2)
    table = pd.DataFrame({"image_id": "a", "copy": range(6)})
    cache, sizes = PixelCache(np.zeros((1, 2, 2, 3), np.uint8), np.array(["a"], object)), []

    def change(images):
        sizes.append(len(images))
        return images + np.uint8(len(sizes))

    _, changed = add_altered_copies(cache, table, change)
    assert sizes == [2, 2, 1] and changed.pixels[:, 0, 0, 0].tolist() == [0, 1, 1, 2, 2, 3]


def test_oversampling_grows_a_collection():
    drawn = oversample(many(), 0, size=2.0)
    assert drawn["label"].value_counts().eq(200).all() and drawn["copy"].max() == 9


def test_a_study_that_chooses_on_its_test_part_validates_on_it():
    chosen = choose_on(many(), "test")
    parts = {part: set(table["image_id"]) for part, table in chosen.groupby("part")}
    assert parts["validation"] == parts["test"] and parts["train"] == set(many().query("part == 'train'")["image_id"])


def test_copies_are_audited_by_their_source():
    table = pd.DataFrame({"image_id": ["a", "a#1", "b"], "source": ["a", "a", "b"], "part": ["train", "mine", "other"]})
    lesions = pd.DataFrame({"image_id": ["a", "b"], "lesion_id": ["x", "x"]})
    assert audit_protocol(lesions, table, {"train": "train", "mine": "claimed"})["kind"].tolist() == ["copy", "copy"]
    assert audit_protocol(lesions, table, {"mine": "claimed", "other": "train"})["kind"].tolist() == ["sibling"] * 2


def test_inflation_is_claimed_minus_true_and_compared_with_the_first_protocol():
    """Accuracies by hand: claimed 3/4, 4/4 and 2/4, true 2/4, 1/4 and 2/4."""
    claims = {"by lesion": answers([1, 1, 1, 0], list("abcd")), "leaking": answers([1, 1, 1, 1], list("efgh"))}
    claims["same part"] = answers([1, 0, 1, 0], list("abcd"))
    truths = dict.fromkeys(claims, answers([1, 1, 0, 0], list("ijkl")))
    truths["leaking"] = answers([1, 0, 0, 0], list("ijkl"))
    table = measure_inflation(claims, truths, "accuracy", bootstrap=Bootstrap(200))
    found = table["value"].unstack()[list(INFLATION)]
    assert found.loc["by lesion"].tolist() == [0.75, 0.5, 0.25, 0, 0, 0]
    assert found.loc["leaking"].tolist() == [1, 0.25, 0.75, 0.25, -0.25, 0.5]
    assert found.loc["same part"].tolist() == [0.5, 0.5, 0, -0.25, 0, -0.25]
    beyond = table.xs("beyond", level="what")
    assert beyond.loc["by lesion", ["low", "high"]].tolist() == [0, 0]
    # Where the answers on unseen lesions are the same, what these vary by drops out: the claimed lesions are left.
    assert beyond.loc["leaking", "low"] == 0 and beyond.loc["same part", "high"] == 0
    changes = table.xs("true_change", level="what")
    assert changes.loc["leaking", "high"] == 0 and changes.loc["same part", ["low", "high"]].tolist() == [0, 0]
