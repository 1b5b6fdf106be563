"""The three external sets in their publishers' layouts, drawn, and the demo's second clinic."""

import numpy as np
import pandas as pd
import pytest
from conftest import picture

from helpers.data.external import EXTERNAL, SECOND_CLINIC_IMAGES, load_all_external, load_external
from helpers.demo.generate import generate
from helpers.demo.plan import CLINICS, plan_pictures
from helpers.study import StudyError

TRUTH = "ISIC2018_Task3_Test_GroundTruth/ISIC2018_Task3_Test_GroundTruth.csv"
PH2_ROWS = """||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry ||
|| IMD003 ||                        ||                  0 ||         0 ||
|| IMD009 || Compound nevus         ||                  1 ||         0 ||
|| IMD058 || Melanoma               ||                  2 ||         2 ||


Legends for Clinical Diagnosis:
   0 - Common Nevus;
"""


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(1).save(path)


@pytest.fixture
def sets(tmp_path):
    """The three sets in one folder, as their publishers ship them; of each, one listed image is missing."""
    codes = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    truth = pd.DataFrame(np.eye(7), columns=codes)
    truth.insert(0, "image", [f"ISIC_003452{k}" for k in range(7)])
    (tmp_path / "isic2018_test" / TRUTH).parent.mkdir(parents=True)
    truth.to_csv(tmp_path / "isic2018_test" / TRUTH, index=False)
    for image in truth["image"][:6]:
        draw(tmp_path / "isic2018_test" / "ISIC2018_Task3_Test_Input" / f"{image}.jpg")
    (tmp_path / "ph2").mkdir()
    (tmp_path / "ph2" / "PH2_dataset.txt").write_text(PH2_ROWS, encoding="latin-1")
    for name, ending in (("IMD003", "bmp"), ("IMD058", "jpg")):
        folder = tmp_path / "ph2" / "PH2 Dataset images" / name
        draw(folder / f"{name}_Dermoscopic_Image" / f"{name}.{ending}")
        draw(folder / f"{name}_lesion" / f"{name}_lesion.bmp")
    rows = zip("abcdefg", ["BCC", "SCC", "MEL", "ACK", "SEK", "NEV", "NEV"], [1, 1, 2, 3, 4, 5, 6], strict=True)
    rows = [(f"PAT_{patient}_{k}.png", code, f"PAT_{patient}", str(patient < 3)) for k, code, patient in rows]
    metadata = pd.DataFrame(rows, columns=["img_id", "diagnostic", "patient_id", "biopsed"])
    (tmp_path / "pad_ufes_20").mkdir()
    metadata.to_csv(tmp_path / "pad_ufes_20" / "metadata.csv", index=False)
    for part, image in enumerate(metadata["img_id"][:6]):
        draw(tmp_path / "pad_ufes_20" / "images" / f"imgs_part_{part % 3 + 1}" / image)
    return tmp_path


def test_the_test_of_isic_2018_maps_one_to_one(sets):
    table = load_external("isic2018_test", sets / "isic2018_test", "ham10000")
    assert table["label"].tolist() == ["mel", "nv", "bcc", "akiec", "bkl", "df"]
    assert table["malignant"].tolist() == [True, False, True, True, False, False]
    assert table["unit"].tolist() == table["image_id"].tolist() and table.attrs["missing_images"] == 1
    assert load_external("isic2018_test", sets / "isic2018_test", "isic2019")["label"].tolist()[3] == ""


def test_ph2_has_nevi_and_melanomas_in_either_format(sets):
    table = load_external("ph2", sets / "ph2", "ham10000")
    assert table["image_id"].tolist() == ["IMD003", "IMD058"] and table.attrs["missing_images"] == 1
    assert table["diagnosis"].tolist() == ["common nevus", "melanoma"] and table["label"].tolist() == ["nv", "mel"]
    assert table["reference"].tolist() == ["clinical", "histo"] and table["malignant"].tolist() == [False, True]
    assert table["path"].str.contains("Dermoscopic").all()


def test_of_pad_ufes_20_scc_is_malignant_and_no_class_of_ham10000(sets):
    table = load_external("pad_ufes_20", sets / "pad_ufes_20", "ham10000").set_index("diagnosis")
    assert table["label"].to_dict() == {
        "BCC": "bcc", "SCC": "", "MEL": "mel", "ACK": "akiec", "SEK": "bkl", "NEV": "nv",
    }  # fmt: skip
    assert table.index[table["malignant"]].tolist() == ["BCC", "SCC", "MEL"]
    assert table["unit"].tolist()[:3] == ["PAT_1", "PAT_1", "PAT_2"]
    assert table["reference"].tolist() == ["histo"] * 3 + ["clinical"] * 3
    other = load_external("pad_ufes_20", sets / "pad_ufes_20", "isic2019").set_index("diagnosis")["label"]
    assert other["SCC"] == "SCC" and other["ACK"] == "AK"


def test_sets_that_are_missing_are_left_out(sets, monkeypatch):
    monkeypatch.setenv("EXTERNAL_DIR", str(sets))
    assert list(load_all_external("ham10000")) == list(EXTERNAL)
    (sets / "ph2").rename(sets / "elsewhere")
    found = load_all_external("ham10000")
    assert list(found) == ["isic2018_test", "pad_ufes_20"]
    assert found["pad_ufes_20"].attrs["name"] == "PAD-UFES-20" and found["pad_ufes_20"].attrs["unit"] == "patient"


def test_without_any_set_it_says_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("EXTERNAL_DIR", str(tmp_path))
    with pytest.raises(StudyError, match="(?s)no external data set.*challenge.isic-archive.com.*data/README.md"):
        load_all_external("ham10000")


@pytest.mark.parametrize(
    ("key", "name", "old", "new", "message"),
    [
        ("isic2018_test", TRUTH, "ISIC_0034521,0.0,1.0", "ISIC_0034521,1.0,1.0", "row 3 .*exactly one 1"),
        ("isic2018_test", TRUTH, "MEL,", "", "column MEL is missing"),
        ("isic2018_test", TRUTH, "ISIC_0034521", "ISIC_0034520", "row 3 .*earlier row"),
        ("ph2", "PH2_dataset.txt", "                  2 ||", "                  7 ||", "row 4 .*'7'.*0, 1, 2"),
        ("ph2", "PH2_dataset.txt", "|| IMD", "|| XYZ", "no rows"),
        ("pad_ufes_20", "metadata.csv", "SEK", "SEX", "row 6 .*unknown diagnosis 'SEX'.*BCC"),
        ("pad_ufes_20", "metadata.csv", ",PAT_4,", ",,", "row 6 .*patient is missing"),
    ],
)
def test_bad_tables_are_refused_with_file_and_row(sets, key, name, old, new, message):
    path = sets / key / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(StudyError, match=message) as caught:
        load_external(key, sets / key, "ham10000")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("key", EXTERNAL)
def test_a_set_without_table_or_images_is_refused(sets, key):
    for image in [path for path in (sets / key).rglob("*.*") if path.suffix in (".jpg", ".png", ".bmp")]:
        image.unlink()
    with pytest.raises(StudyError, match="none of the [37] images"):
        load_external(key, sets / key, "ham10000")
    with pytest.raises(StudyError, match=f"contains no .*(?s:.*){EXTERNAL[key].page}"):
        load_external(key, sets / "empty", "ham10000")


def test_the_second_clinic_has_its_own_patients_and_mix(tmp_path):
    here, there = plan_pictures(700, 0), plan_pictures(SECOND_CLINIC_IMAGES, 0, True)
    malignant = [np.mean([one.row["dx"] in ("akiec", "bcc", "mel") for one in plan]) for plan in (here, there)]
    assert malignant[0] < 0.3 < 0.4 < malignant[1]
    assert {one.row["dataset"] for one in there} == {CLINICS[1]} and {one.gain for one in there} == {1.0}
    first, second = (generate(tmp_path / name, 40, 32, elsewhere=flag) for name, flag in (("a", False), ("b", True)))
    pictures = [{path.read_bytes() for path in folder.glob("*/*.jpg")} for folder in (first, second)]
    assert len(pictures[1]) == 40 and not pictures[0] & pictures[1]
    assert generate(second, 40, 32, elsewhere=True) == second
