import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.data.pixels import PixelCache
from helpers.evaluation import leakage
from helpers.evaluation.audit import audit_split, leaks, main, merge_duplicates, read_audited, read_lesion_numbers
from helpers.evaluation.leakage import add_altered_copies, oversample, split_by_image
from helpers.study import ROOT, StudyError

LESIONS = pd.DataFrame({"image_id": ["a1", "a2", "b1", "c1", "c2", "d1"], "lesion_id": ["a", "a", "b", "c", "c", None]})


def split(**parts: str) -> pd.DataFrame:
    rows = [(image, part) for part, images in parts.items() for image in images.split()]
    return pd.DataFrame(rows, columns=["image_id", "part"])


def test_a_clean_split():
    audit = audit_split(LESIONS, split(train="a1 a2 d1", test="b1 c1 c2"))
    assert (audit["kind"] == "none").all() and (audit["elsewhere"] == "").all()
    assert audit["lesion_id"].nunique() == 4


def test_siblings_and_copies():
    audit = audit_split(LESIONS, split(train="a1 b1 c1 d1", validation="c2", test="a2 b1")).set_index(
        ["part", "image_id"]
    )
    assert audit["kind"].to_dict() == {
        ("train", "a1"): "sibling",
        ("train", "b1"): "copy",
        ("train", "c1"): "sibling",
        ("train", "d1"): "none",
        ("validation", "c2"): "sibling",
        ("test", "a2"): "sibling",
        ("test", "b1"): "copy",
    }
    assert audit.loc[("validation", "c2"), "elsewhere"] == "train"


def test_an_image_used_twice_in_one_part_leaks_nothing():
    audit = audit_split(LESIONS, split(train="a1 a1 a2", test="b1"))
    assert len(audit) == 4 and (audit["kind"] == "none").all()


def test_counts_by_part():
    found = leaks(audit_split(LESIONS, split(train="a1 b1 d1", test="a2 b1 c1 c2")))
    assert found.loc["test"].to_dict() == {"images": 4, "copies": 1, "siblings": 1, "share": 0.5}
    assert found.loc["train", "share"] == pytest.approx(2 / 3)


@given(st.lists(st.sampled_from(["train", "validation", "test"]), min_size=6, max_size=6))
def test_clean_means_that_every_lesion_has_one_part(parts):
    table = LESIONS.assign(part=parts)
    homes = table.fillna({"lesion_id": "d"}).groupby("lesion_id")["part"].nunique()
    assert (audit_split(LESIONS, table)["kind"] == "none").all() == (homes == 1).all()


def test_unknown_and_ambiguous_images():
    with pytest.raises(StudyError, match="1 images of the split are not among the lesions, x first"):
        audit_split(LESIONS, split(train="a1 x"))
    twice = pd.concat([LESIONS, pd.DataFrame({"image_id": ["a1"], "lesion_id": ["b"]})])
    with pytest.raises(StudyError, match="two lesions"):
        audit_split(twice, split(train="a1"))


def test_duplicates_make_one_lesion_of_two():
    pairs = pd.DataFrame({"image_a": ["b1", "a1"], "image_b": ["d1", "nowhere"]})
    merged = merge_duplicates(LESIONS, pairs)
    assert (audit_split(LESIONS, split(train="b1", test="d1"))["kind"] == "none").all()
    assert (audit_split(merged, split(train="b1", test="d1"))["kind"] == "sibling").all()
    assert (audit_split(merged, split(train="a1 a2", test="c1"))["kind"] == "none").all()
    with pytest.raises(StudyError, match="no column image_b"):
        merge_duplicates(LESIONS, pairs.drop(columns="image_b"))


def many(seed: int = 0) -> pd.DataFrame:
    """300 images of 150 lesions, of three labels, in the shares of a study's parts."""
    random = np.random.default_rng(seed)
    label = np.repeat(["nv", "mel", "df"], [100, 40, 10]).repeat(2)
    lesion = np.arange(150).repeat(2).astype(str)
    part = random.choice(["train", "validation", "test"], 150, p=[0.7, 0.1, 0.2]).repeat(2)
    return pd.DataFrame({"image_id": np.arange(300).astype(str), "lesion_id": lesion, "label": label, "part": part})


def test_by_image_keeps_the_counts_and_parts_siblings():
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
    assert drawn.groupby("image_id")["copy"].apply(lambda own: sorted(own) == list(range(len(own)))).all()
    copies = audit_split(many(), split_by_image(drawn, 0)).query("part == 'test' and kind == 'copy'")
    assert len(copies) > 10


def test_copies_become_images_of_their_own():
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


def test_files_as_others_keep_them(tmp_path):
    (tmp_path / "train.csv").write_text("filename\nimages/a1.jpg\nb1.PNG\n")
    (tmp_path / "test.csv").write_text("filename\na2.jpg\n")
    table = read_audited([tmp_path / "train.csv", tmp_path / "test.csv"])
    assert table.values.tolist() == [["a1", "train"], ["b1", "train"], ["a2", "test"]]
    (tmp_path / "split.csv").write_text("image,set\na1,1\na2,2\n")
    assert read_audited([tmp_path / "split.csv"]).values.tolist() == [["a1", "1"], ["a2", "2"]]
    (tmp_path / "metadata.csv").write_text("image,lesion_id,sex\na1,a,male\nd1,,male\n")
    assert read_lesion_numbers(tmp_path / "metadata.csv")["lesion_id"].isna().tolist() == [False, True]
    (tmp_path / "metadata.tab").write_text("lesion_id\timage_id\na\ta1\n")
    assert read_lesion_numbers(tmp_path / "metadata.tab").values.tolist() == [["a1", "a"]]


@pytest.mark.parametrize(("name", "text", "fault"), [("split", "x,y\n1,2\n", "no column of images"), ("gone", "", "")])
def test_unusable_files(tmp_path, name, text, fault):
    if text:
        (tmp_path / f"{name}.csv").write_text(text)
    with pytest.raises(StudyError, match=fault or "cannot be read"):
        read_audited([tmp_path / f"{name}.csv"])
    with pytest.raises(StudyError, match="no column image_id, lesion_id" if text else "cannot be read"):
        read_lesion_numbers(tmp_path / f"{name}.csv")


def test_the_command_line(tmp_path, capsys):
    LESIONS.to_csv(tmp_path / "metadata.csv", index=False)
    paths = {}
    for name, parts in (("clean", {"train": "a1 a2", "test": "b1 d1"}), ("leaking", {"train": "a1", "test": "a2 b1"})):
        paths[name] = str(tmp_path / f"{name}.csv")
        split(**parts).to_csv(paths[name], index=False)
    lesions = ["--lesions", str(tmp_path / "metadata.csv")]
    assert main([*lesions, paths["clean"]]) == 0
    assert "Clean" in capsys.readouterr().out
    assert main([*lesions, paths["leaking"], "--list", str(tmp_path / "list.csv")]) == 1
    assert "test: 2 images; 0 are in another part themselves, 1 more" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "list.csv")["image_id"].tolist() == ["a1", "a2"]
    assert main([*lesions, str(tmp_path / "nowhere.csv")]) == 2
    assert "nowhere.csv" in capsys.readouterr().err
    (tmp_path / "pairs.csv").write_text("image_a,image_b\na1,b1\n")
    assert main([*lesions, paths["clean"], "--duplicates", str(tmp_path / "pairs.csv")]) == 1


@pytest.mark.parametrize("name", ["Split", "partition", "usage", " PART "])
def test_a_column_of_parts_by_another_name_is_found(tmp_path, name):
    (tmp_path / "split.csv").write_text(f"Image_ID,{name}\na1,train\na2,test\n")
    assert read_audited([tmp_path / "split.csv"]).values.tolist() == [["a1", "train"], ["a2", "test"]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image_id,role\na1,x\na2,y\n", "all of it is one"),
        ("image_id,part\n", "no images in it"),
        ("image_id,part\na1,train\na2,\n", "1 rows of the split name no part, that of a2 first"),
    ],
)
def test_what_is_not_understood_as_a_split_is_not_called_clean_or_leaking(tmp_path, capsys, text, fault):
    LESIONS.to_csv(tmp_path / "metadata.csv", index=False)
    (tmp_path / "split.csv").write_text(text)
    assert main(["--lesions", str(tmp_path / "metadata.csv"), str(tmp_path / "split.csv")]) == 2
    told = capsys.readouterr()
    assert fault in told.err and "Clean" not in told.out


def test_altered_copies_are_found_by_the_id_in_their_names(tmp_path, capsys):
    LESIONS.to_csv(tmp_path / "metadata.csv", index=False)
    (tmp_path / "train.csv").write_text("file\naug_0_a1.jpg\nb1.jpg\n")
    (tmp_path / "test.csv").write_text("file\na1.jpg\n")
    words = ["--lesions", *(str(tmp_path / f"{name}.csv") for name in ("metadata", "train", "test"))]
    assert main(words) == 2 and "aug_0_a1 first" in capsys.readouterr().err
    assert main([*words, "--id-pattern", "[a-d][0-9]"]) == 1
    assert "test: 1 images; 1 are in another part themselves" in capsys.readouterr().out
    assert main([*words, "--id-pattern", "a[0-9]"]) == 2 and "not in 1 names of images, b1" in capsys.readouterr().err
    assert main([*words, "--id-pattern", "["]) == 2 and "no regular expression" in capsys.readouterr().err


def test_the_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "helpers.evaluation.audit", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "lesion" in done.stdout
