"""Datasets as people really have them: other layouts, tables of spreadsheets, links, copies, ids that say unknown."""

import shutil

import pandas as pd
import pytest
from conftest import COLUMNS, ROWS, picture

from helpers.data.lesions import completeness, load_lesions
from helpers.data.pixels import read_square
from helpers.study import StudyError

METADATA = "HAM10000_metadata.csv"
UPPER = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]


@pytest.fixture
def challenge(ham10000):
    """The images as the ISIC challenge of 2018 published them: one-hot ground truth and lesion groupings."""
    ham10000.joinpath(METADATA).unlink()
    truth = pd.DataFrame([{"image": row[1]} | {code: float(row[2].upper() == code) for code in UPPER} for row in ROWS])
    (ham10000 / "ISIC2018_Task3_Training_GroundTruth").mkdir()
    name = "ISIC2018_Task3_Training_GroundTruth"
    truth.to_csv(ham10000 / name / f"{name}.csv", index=False)
    groupings = pd.DataFrame(ROWS, columns=COLUMNS)[["image_id", "lesion_id", "dx_type"]]
    groupings.columns = ["image", "lesion_id", "diagnosis_confirm_type"]
    groupings.to_csv(ham10000 / "ISIC2018_Task3_Training_LesionGroupings.csv", index=False)
    return ham10000


def test_the_challenge_of_2018_is_read_as_ham10000(challenge):
    lesions = load_lesions("ham10000", challenge)
    columns = ["image_id", "lesion_id", "label", "reference"]
    assert lesions[columns].values.tolist() == [[row[1], row[0], row[2], row[3]] for row in ROWS]
    assert lesions.age.isna().all() and (lesions.sex == "unknown").all()
    (challenge / "ISIC2018_Task3_Training_LesionGroupings.csv").unlink()
    with pytest.raises(StudyError, match="which images are of one lesion. Add ISIC2018_Task3_Training_LesionGroupings"):
        load_lesions("ham10000", challenge)


def test_an_export_of_the_isic_archive_is_called_one(ham10000):
    (ham10000 / METADATA).rename(ham10000 / "metadata.csv").write_text("isic_id,diagnosis_1,lesion_id\na,Benign,b\n")
    with pytest.raises(StudyError, match="metadata.csv: an export of the ISIC archive.*Put HAM10000_metadata.csv"):
        load_lesions("ham10000", ham10000)


@pytest.mark.parametrize(
    ("ending", "encoding", "separator", "first"),
    [
        (".csv", "utf-8-sig", ";", ""),
        (".txt", "utf-16", "\t", ""),
        (".tab", "utf-8", "\t", ""),  # as Dataverse serves it
        ("", "utf-8", ",", "sep=,\r\n"),
        (".csv", "utf-8", ";", "sep=;\n"),
    ],
)
def test_tables_saved_by_spreadsheets_give_the_same_lesions(ham10000, ending, encoding, separator, first):
    path = ham10000 / f"HAM10000_metadata{ending}"
    expected = load_lesions("ham10000", ham10000)
    text = pd.read_csv(ham10000 / METADATA, dtype=str).to_csv(sep=separator, index=False, lineterminator="\r\n")
    text = first + (text.replace("45.0", "45,0") if separator == ";" else text)
    (ham10000 / METADATA).rename(path).write_bytes(text.encode(encoding))
    pd.testing.assert_frame_equal(load_lesions("ham10000", ham10000), expected)
    path.write_bytes(text.replace("mel", "x").encode(encoding))
    with pytest.raises(StudyError, match=f"row {5 if first else 4} .image ISIC_0000003.: unknown diagnosis 'x'"):
        load_lesions("ham10000", ham10000)


@pytest.mark.parametrize("word", ["unknown", "- -", " n/a ", "#N/A", "None", "?", "", " ", "Not known", "(UNK)"])
def test_an_id_that_says_unknown_is_none(ham10000, word):
    table = pd.read_csv(ham10000 / METADATA, dtype=str)
    table.loc[[0, 1], "lesion_id"] = word
    table.to_csv(ham10000 / METADATA, index=False)
    lesions = load_lesions("ham10000", ham10000)
    assert lesions.lesion_id.tolist() == ["ISIC_0000001", "ISIC_0000002", "HAM_0000002", "HAM_0000003"]
    assert "2 images have no lesion id; each counts as its own lesion" in completeness(lesions)


def test_folders_in_folders_and_copies_are_read_but_caches_are_not(ham10000):
    part = ham10000 / "HAM10000_images_part_1"
    shutil.copytree(part, ham10000 / "twice" / part.name)  # as on Kaggle
    shutil.move(ham10000 / "HAM10000_images_part_2", part / "inner")
    (part / "circle").symlink_to(ham10000)
    (ham10000 / "cache").mkdir()
    picture(9).save(ham10000 / "cache" / "ISIC_0000001.jpg")
    lesions = load_lesions("ham10000", ham10000)
    assert [len(read_square(path, 8)) for path in lesions.path] == [8] * 4
    assert lesions.path[1] == str(part / "inner" / "ISIC_0000002.jpg")


@pytest.mark.parametrize("name", ["GroundTruth/ISIC_0000001.png", "thumbnails/ISIC_0000001.JPG"])
def test_another_file_of_the_same_name_is_never_taken_for_the_image(ham10000, name):
    (ham10000 / name).parent.mkdir()
    picture(9, 20).save(ham10000 / name)
    with pytest.raises(StudyError, match=r"ISIC_0000001.* and .*ISIC_0000001.*: two different files for one image"):
        load_lesions("ham10000", ham10000)


@pytest.mark.parametrize(
    "content", [None, b"../../../.git/annex/objects/x.jpg", b"version https://git-lfs.github.com/spec/v1\noid"]
)
def test_links_to_nowhere_are_missing_images(ham10000, content):
    path = ham10000 / "HAM10000_images_part_1" / "ISIC_0000001.jpg"
    path.unlink()
    path.symlink_to("nowhere.jpg") if content is None else path.write_bytes(content)
    with pytest.raises(StudyError, match=r"ISIC_0000001.jpg is only a link; fetch its file. Below .*, 1 of 4 are miss"):
        load_lesions("ham10000", ham10000)
    assert load_lesions("ham10000", ham10000, allow_missing_images=True).attrs["missing_images"] == 1
