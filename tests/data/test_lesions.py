import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COLUMNS

from helpers.data.lesions import COLUMNS as LESION_COLUMNS
from helpers.data.lesions import diagnoses, load_lesions, originals_folder, read_lesions, save_lesions
from helpers.study import StudyError

CODES = ["AK", "BCC", "BKL", "DF", "MEL", "NV", "SCC", "VASC"]


def rewrite(folder, **changes):
    """Replace values of the metadata, `column=(row, value)`."""
    path = folder / "HAM10000_metadata.csv"
    table = pd.read_csv(path, dtype=object)
    for column, (row, value) in changes.items():
        table.loc[row, column] = value
    table.to_csv(path, index=False)


def write_isic2019(folder, images=("ISIC_0000001", "ISIC_0000002_downsampled"), absent=()):
    (folder / "ISIC_2019_Training_Input").mkdir(parents=True)
    ids = [*images, *absent]
    truth = pd.DataFrame(0.0, index=range(len(ids)), columns=["image", *CODES, "UNK"]).astype({"image": object})
    truth["image"], truth["SCC"] = ids, 1.0
    truth.to_csv(folder / "ISIC_2019_Training_GroundTruth.csv", index=False)
    metadata = {"image": ids, "age_approx": 55, "anatom_site_general": None, "lesion_id": None, "sex": "female"}
    pd.DataFrame(metadata).to_csv(folder / "ISIC_2019_Training_Metadata.csv", index=False)
    for name in images:
        (folder / "ISIC_2019_Training_Input" / f"{name}.jpg").write_bytes(b"not read here")
    return folder


def test_ham10000_becomes_the_lesions_table(ham10000):
    lesions = load_lesions("ham10000", ham10000)
    assert list(lesions.columns) == LESION_COLUMNS
    assert lesions.image_id.tolist() == [f"ISIC_000000{k}" for k in (1, 2, 3, 4)]
    assert lesions.lesion_id.tolist() == ["HAM_0000001", "HAM_0000001", "HAM_0000002", "HAM_0000003"]
    assert lesions.malignant.tolist() == [False, False, True, False] and lesions.malignant.dtype == bool
    assert lesions.age.tolist()[:3] == [45, 45, 70] and np.isnan(lesions.age[3])
    assert lesions.sex[3] == "unknown" and lesions.site[3] == "unknown" and lesions.site.dtype == "category"
    assert lesions.path[1].endswith("HAM10000_images_part_2/ISIC_0000002.jpg") and lesions.mask_path.isna().all()


def test_row_order_does_not_matter(ham10000):
    lesions = load_lesions("ham10000", ham10000)
    source = ham10000 / "HAM10000_metadata.csv"
    pd.read_csv(source).iloc[::-1].to_csv(source, index=False)
    pd.testing.assert_frame_equal(load_lesions("ham10000", ham10000), lesions)


def test_images_in_one_folder_and_masks_are_found_among_other_files(ham10000):
    for part in (1, 2):
        for path in (ham10000 / f"HAM10000_images_part_{part}").iterdir():
            path.rename(ham10000 / path.name)
    masks = ham10000 / "HAM10000_segmentations_lesion_tschandl"
    masks.mkdir()
    (masks / "ISIC_0000003_segmentation.png").write_bytes(b"")
    (ham10000 / "ISIC_9999999.jpg").write_bytes(b"not listed")
    (ham10000 / "notes.txt").write_text("extra")
    lesions = load_lesions("ham10000", ham10000)
    assert lesions.mask_path.notna().tolist() == [False, False, True, False]
    assert lesions.mask_path[0] is None


def test_isic2019_becomes_the_lesions_table(tmp_path):
    lesions = load_lesions("isic2019", write_isic2019(tmp_path / "isic"))
    assert lesions.label.tolist() == ["SCC", "SCC"] and lesions.malignant.all()
    assert lesions.lesion_id.tolist() == lesions.image_id.tolist()  # an image without a lesion id is a lesion by itself
    assert (lesions.site == "unknown").all() and lesions.path[1].endswith("ISIC_0000002_downsampled.jpg")


def test_the_suffix_of_downsampled_files_need_not_be_in_the_tables(tmp_path):
    folder = write_isic2019(tmp_path / "isic")
    for name in ("GroundTruth", "Metadata"):
        path = folder / f"ISIC_2019_Training_{name}.csv"
        path.write_text(path.read_text().replace("_downsampled", ""))
    assert load_lesions("isic2019", folder).image_id.tolist() == ["ISIC_0000001", "ISIC_0000002"]


def test_missing_images_only_when_allowed_and_counted(tmp_path):
    folder = write_isic2019(tmp_path / "isic", absent=("ISIC_0000003", "ISIC_0000004"))
    with pytest.raises(StudyError, match=r"row 4 \(image ISIC_0000003\).*2 of 4 are missing.*allow_missing"):
        load_lesions("isic2019", folder)
    lesions = load_lesions("isic2019", folder, allow_missing_images=True)
    assert len(lesions) == 2 and lesions.attrs["missing_images"] == 2
    nothing = write_isic2019(tmp_path / "nothing", images=(), absent=("ISIC_0000003",))
    with pytest.raises(StudyError, match="none of the 1 images"):
        load_lesions("isic2019", nothing, allow_missing_images=True)
    save_lesions(lesions, tmp_path / "lesions.csv")
    assert read_lesions(tmp_path / "lesions.csv").attrs["missing_images"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dx": (2, "melanoma")}, r"HAM10000_metadata.csv, row 4 \(image ISIC_0000003\): unknown diagnosis 'melanoma'"),
        ({"dx": (2, None)}, "unknown diagnosis nan.*Known diagnoses: akiec, bcc"),
        ({"image_id": (1, "ISIC_0000001")}, r"row 3 \(image ISIC_0000001\): this image id is in an earlier row"),
        ({"image_id": (1, None)}, "row 3 .*image id is missing"),
        ({"dx": (1, "mel")}, "row 3 .*lesion HAM_0000001 has two diagnoses, nv in an earlier row and mel here"),
        ({"image_id": (3, "ISIC_0000009")}, r"row 5 \(image ISIC_0000009\): there is no image file with this name"),
        ({"age": (0, "young")}, "row 2 .*age 'young' is not an age in years"),
        ({"age": (0, "-5")}, "row 2 .*age '-5' is not an age in years"),
        ({"date": (0, "spring")}, "row 2 .*'spring' is not a date such as 2017-05-31"),
    ],
)
def test_bad_rows_are_named(ham10000, changes, message):
    rewrite(ham10000, **changes)
    with pytest.raises(StudyError, match=message):
        load_lesions("ham10000", ham10000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (",".join(COLUMNS[1:]), "HAM10000_metadata.csv: column lesion_id is missing"),
        (",".join(COLUMNS) + "\n", "it has no rows"),
        ("", "not a table"),
        (None, "contains no HAM10000_metadata.csv.*make data"),
    ],
)
def test_bad_tables_are_named(ham10000, content, message):
    path = ham10000 / "HAM10000_metadata.csv"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(StudyError, match=message):
        load_lesions("ham10000", ham10000)


def test_wrong_datasets_and_folders_are_named(ham10000, tmp_path):
    with pytest.raises(StudyError, match="nowhere: no such folder.*make data"):
        load_lesions("ham10000", tmp_path / "nowhere")
    with pytest.raises(StudyError, match="dataset 'ham': choose one of demo"):
        load_lesions("ham", ham10000)
    with pytest.raises(StudyError, match="no ISIC_2019_Training_GroundTruth.csv"):
        load_lesions("isic2019", ham10000)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("Metadata", "ISIC_0000002_", "ISIC_0000003_", "row 3 .*ISIC_0000002_.*no row for this image"),
        ("GroundTruth", "1.0", "0.0", "row 2 .*not exactly one 1"),
    ],
)
def test_isic2019_needs_metadata_and_one_diagnosis_for_every_image(tmp_path, name, old, new, message):
    path = write_isic2019(tmp_path / "isic") / f"ISIC_2019_Training_{name}.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(StudyError, match=message):
        load_lesions("isic2019", tmp_path / "isic")


@pytest.mark.parametrize("dates", [{}, {"date": (1, "2017-05-31")}])
def test_saved_lesions_come_back_the_same(ham10000, tmp_path, dates):
    rewrite(ham10000, **dates)
    lesions = load_lesions("ham10000", ham10000)
    assert lesions.get("date", pd.Series()).dropna().tolist() == [date for _, date in dates.values()]
    save_lesions(lesions, tmp_path / "lesions.csv")
    back = read_lesions(tmp_path / "lesions.csv")
    pd.testing.assert_frame_equal(back, lesions, check_categorical=False, check_dtype=False)
    assert back.mask_path[0] is None
    with pytest.raises(StudyError, match="absent.csv: no such file.*make 02_preprocessing"):
        read_lesions(tmp_path / "absent.csv")


def test_a_checkout_can_be_moved(ham10000, tmp_path):
    (ham10000 / "ISIC_0000003_segmentation.png").touch()
    save_lesions(load_lesions("ham10000", ham10000), ham10000 / "cache" / "lesions.csv")
    assert str(tmp_path) not in (ham10000 / "cache" / "lesions.csv").read_text()
    described = json.loads((ham10000 / "cache" / "lesions.json").read_text())
    assert described == {"missing_images": 0, "folder": ".."}
    moved = ham10000.rename(tmp_path / "moved")
    lesions = read_lesions(moved / "cache" / "lesions.csv")
    assert all(Path(path).is_file() for path in [*lesions.path, lesions.mask_path[2]])
    pd.testing.assert_frame_equal(lesions, load_lesions("ham10000", moved), check_categorical=False, check_dtype=False)


def test_the_environment_names_the_folder_of_originals(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert originals_folder("ham10000") == tmp_path
    monkeypatch.setenv("DATA_DIR", "")
    assert originals_folder("ham10000").parts[-2:] == ("data", "ham10000")


def test_the_classes_of_a_dataset_have_a_fixed_order():
    assert [d.code for d in diagnoses("isic2019")] == CODES
    assert [d.code for d in diagnoses("ham10000") if d.malignant] == ["akiec", "bcc", "mel"]
    assert diagnoses("demo") == diagnoses("ham10000")


@pytest.mark.real
def test_the_real_table(real_ham10000):
    lesions = load_lesions("ham10000", real_ham10000)
    assert len(lesions) == 10015 and lesions.lesion_id.nunique() == 7470
    assert lesions.label.value_counts()["mel"] == 1113 and lesions.age.isna().sum() == 57
    assert lesions.mask_path.notna().all()


def test_the_lesion_number_gives_the_source_in_isic2019(tmp_path):
    folder = write_isic2019(tmp_path / "isic", images=[f"ISIC_000000{k}" for k in range(4)])
    path = folder / "ISIC_2019_Training_Metadata.csv"
    table = pd.read_csv(path).assign(lesion_id=["HAM_0000001", "BCN_0000002", "MSK4_0000003", None])
    table.to_csv(path, index=False)
    lesions = load_lesions("isic2019", folder)
    assert lesions["source"].tolist() == ["HAM10000", "BCN_20000", "MSK", "MSK"]
    assert lesions["lesion_id"].tolist()[:3] == ["HAM_0000001", "BCN_0000002", "MSK4_0000003"]
