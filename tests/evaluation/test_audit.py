import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.evaluation.audit import audit_split, count_leaks, main, merge_duplicates
from helpers.study import StudyError

LESIONS = pd.DataFrame({"image_id": ["a1", "a2", "b1", "c1", "c2", "d1"], "lesion_id": ["a", "a", "b", "c", "c", None]})


def split(**parts: str) -> pd.DataFrame:
    rows = [(image, part) for part, images in parts.items() for image in images.split()]
    return pd.DataFrame(rows, columns=["image_id", "part"])


def test_siblings_and_copies_in_other_parts_are_found():
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


def test_counts_by_part():
    found = count_leaks(audit_split(LESIONS, split(train="a1 b1 d1", test="a2 b1 c1 c2")))
    assert found.loc["test"].to_dict() == {"images": 4, "copies": 1, "siblings": 1, "share": 0.5}
    assert found.loc["train", "share"] == pytest.approx(2 / 3)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["train", "validation", "test"]), min_size=6, max_size=6))
def test_clean_means_that_every_lesion_has_one_part(parts):
    table = pd.concat([LESIONS.assign(part=parts)] * 2)  # an image that is used twice in one part leaks nothing
    homes = table.fillna({"lesion_id": "d"}).groupby("lesion_id")["part"].nunique()
    assert (audit_split(LESIONS, table)["kind"] == "none").all() == (homes == 1).all()


def test_unknown_and_ambiguous_images_are_refused():
    with pytest.raises(StudyError, match="1 images of the split are not in the table of lesions; the first is x"):
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


def test_the_command_line_has_three_exit_codes(tmp_path, capsys):
    LESIONS.to_csv(tmp_path / "metadata.csv", index=False)
    paths = {}
    for name, parts in (("clean", {"train": "a1 a2", "test": "b1 d1"}), ("leaking", {"train": "a1", "test": "a2 b1"})):
        paths[name] = str(tmp_path / f"{name}.csv")
        split(**parts).to_csv(paths[name], index=False)
    lesions = ["--lesions", str(tmp_path / "metadata.csv")]
    assert main([*lesions, paths["clean"]]) == 0
    assert "Clean" in capsys.readouterr().out
    assert main([*lesions, paths["leaking"], "--list", str(tmp_path / "list.csv")]) == 1
    assert "test: 2 images; 0 are also in another part, 1 more" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "list.csv")["image_id"].tolist() == ["a1", "a2"]
    assert main([*lesions, str(tmp_path / "nowhere.csv")]) == 2
    assert "nowhere.csv" in capsys.readouterr().err
    (tmp_path / "pairs.csv").write_text("image_a,image_b\na1,b1\n")
    assert main([*lesions, paths["clean"], "--duplicates", str(tmp_path / "pairs.csv")]) == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image_id,role\na1,x\na2,y\n", "there is only one part"),
        ("image_id,part\n", "it names no images"),
        ("image_id,part\na1,train\na2,\n", "1 rows of the split have no part, the first is a2"),
    ],
)
def test_a_misread_split_is_not_called_clean_or_leaking(tmp_path, capsys, text, fault):
    LESIONS.to_csv(tmp_path / "metadata.csv", index=False)
    (tmp_path / "split.csv").write_text(text)
    assert main(["--lesions", str(tmp_path / "metadata.csv"), str(tmp_path / "split.csv")]) == 2
    printed = capsys.readouterr()
    assert fault in printed.err and "Clean" not in printed.out


def test_altered_copies_are_found_by_the_id_in_their_names(tmp_path, capsys):
    LESIONS.to_csv(tmp_path / "metadata.csv", index=False)
    (tmp_path / "train.csv").write_text("file\naug_0_a1.jpg\nb1.jpg\n")
    (tmp_path / "test.csv").write_text("file\na1.jpg\n")
    words = ["--lesions", *(str(tmp_path / f"{name}.csv") for name in ("metadata", "train", "test"))]
    assert main(words) == 2 and "the first is aug_0_a1" in capsys.readouterr().err
    assert main([*words, "--id-pattern", "[a-d][0-9]"]) == 1
    assert "test: 1 images; 1 are also in another part" in capsys.readouterr().out
    assert main([*words, "--id-pattern", "a[0-9]"]) == 2 and "names do not match, such as b1" in capsys.readouterr().err
    assert main([*words, "--id-pattern", "["]) == 2 and "not a regular expression" in capsys.readouterr().err


def test_never_more_than_ten_names_are_printed(tmp_path, capsys):
    images = [f"i{number}" for number in range(40)]
    lesions = pd.DataFrame({"image": images, "lesion": [f"l{number // 2}" for number in range(30)] + ["unknown"] * 10})
    lesions.to_csv(tmp_path / "metadata.csv", index=False)
    words = ["--lesions", str(tmp_path / "metadata.csv"), str(tmp_path / "split.csv")]
    pd.DataFrame({"image": images, "fold": images}).to_csv(tmp_path / "split.csv", index=False)
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert "and 30 more parts" in printed and "l9 and 5 more" in printed and len(printed.splitlines()) == 14
    assert "10 images have no lesion id; each counts as its own lesion" in printed
    pd.DataFrame([range(40)], columns=[f"column {number}" for number in range(40)]).to_csv(words[-1], index=False)
    assert main(words) == 2 and "column 9 and 30 more" in capsys.readouterr().err
