"""Every dataset as one tidy table of lesions, with the same columns for all publishers."""

import os
from functools import partial
from pathlib import Path

import pandas as pd

from helpers.data.diagnoses import HAM10000, ISIC2019, Diagnosis
from helpers.data.layouts import (
    HOW_TO_GET,
    check_ids,
    choose_file,
    find_images,
    is_there,
    known_ids,
    read_ham10000,
    read_isic2019,
    refuse,
)
from helpers.reading import read_csv, read_json
from helpers.records import write_csv, write_json
from helpers.study import ROOT, StudyError, check_choice

COLUMNS = ["image_id", "lesion_id", "label", "malignant", "age", "sex", "site", "reference", "path", "mask_path"]
TEXT = ["image_id", "lesion_id", "label", "reference", "path", "mask_path", "date", "source"]
PATHS = ["path", "mask_path"]
OPTIONAL = ["date", "source"]  # columns that only some publishers provide


CREDIT = {
    "demo": "Pictures: drawn by helpers.demo; no patients.",
    "ham10000": "Images: HAM10000, Tschandl, Rosendahl and Kittler, Sci. Data 5:180161 (2018), CC BY-NC 4.0.",
    "isic2019": "Images: ISIC 2019, whose sources data/README.md names, CC BY-NC 4.0.",
}
COLLECTIONS = {"isic2019": ("HAM10000", "BCN_20000", "MSK")}  # that a dataset is made of
BENIGN_OR_MALIGNANT = (Diagnosis("benign", "benign", False), Diagnosis("malignant", "malignant", True))
TASKS = ("diagnosis", "malignancy")
DIAGNOSES = {"demo": HAM10000, "ham10000": HAM10000, "isic2019": ISIC2019}


def diagnoses(dataset: str) -> tuple[Diagnosis, ...]:
    """The classes of a dataset, in the order of all tables and figures. Raises StudyError for an unknown name."""
    check_choice("dataset", dataset, DIAGNOSES)
    return DIAGNOSES[dataset]


def classes(dataset: str, task: str) -> tuple[Diagnosis, ...]:
    """The classes of a task: all diagnoses for `diagnosis`, or benign and malignant for `malignancy`.

    Raises StudyError for an unknown dataset or task.
    """
    check_choice("task", task, TASKS)
    return diagnoses(dataset) if task == "diagnosis" else BENIGN_OR_MALIGNANT


def dataset_folder(dataset: str) -> Path:
    """Folder with a dataset's files and pixel cache: data/<dataset>/."""
    return ROOT / "data" / dataset


def originals_folder(dataset: str) -> Path:
    """Folder with the original files: the environment variable DATA_DIR if set, otherwise data/<dataset>/.

    The demo data are drawn into data/demo/ if they do not exist yet. Raises StudyError for an unknown dataset.
    """
    diagnoses(dataset)
    if dataset == "demo":
        from helpers.demo.generate import generate  # here, since SciPy takes a second to load

        return generate(dataset_folder("demo"))
    return Path(os.environ.get("DATA_DIR") or dataset_folder(dataset)).expanduser()


def load_lesions(name: str, folder: Path, *, allow_missing_images: bool = False) -> pd.DataFrame:
    """The `lesions` table of a dataset: one row per image, sorted by image_id.

    Columns: image_id, lesion_id (the image_id if it is unknown), label (class code), malignant (bool), age (years, NaN
    if unknown), sex and site (category, `unknown` allowed), reference (how the diagnosis was made), path, mask_path
    (None if there is none) and, if known, date (of the photograph, such as 2017-05-31) and source (collection or
    clinic). Missing images are an error unless `allow_missing_images`, which leaves out their rows;
    `attrs["missing_images"]` is their number, `attrs["folder"]` the folder. Raises StudyError with file and row if the
    files are wrong.
    """
    folder = Path(folder)
    classes = diagnoses(name)
    if not folder.is_dir():
        raise StudyError(f"{folder}: no such folder. {HOW_TO_GET}")
    codes = [diagnosis.code for diagnosis in classes]
    source, table = (read_isic2019 if name == "isic2019" else read_ham10000)(folder, codes)
    check_ids(source, table)
    table = table.assign(lesion_id=known_ids(table["lesion_id"]).fillna(table["image_id"]))
    _check_labels(source, table, codes)
    table = _attach_images(source, table, folder, allow_missing=allow_missing_images)
    table.attrs["folder"] = str(folder)
    table["malignant"] = table["label"].map({diagnosis.code: diagnosis.malignant for diagnosis in classes}).astype(bool)
    return _tidy(source, table)


def save_lesions(lesions: pd.DataFrame, path: Path) -> None:
    """Write a `lesions` table to <dataset folder>/cache/, and its `attrs` as json with the same name.

    The paths of images and masks are written relative to the folder of the originals. This folder is written relative
    to the table if it is the dataset's own, so that a checkout can be moved.
    """
    home = Path(path).absolute().parent.parent
    folder = Path(lesions.attrs.get("folder", home)).absolute()
    relative = {name: lesions[name].map(partial(os.path.relpath, start=folder), na_action="ignore") for name in PATHS}
    write_csv(path, lesions.assign(**relative))
    folder = ".." if folder == home else str(folder)
    write_json(Path(path).with_suffix(".json"), {"missing_images": 0} | lesions.attrs | {"folder": folder})


def read_lesions(path: Path) -> pd.DataFrame:
    """Read a `lesions` table written by `save_lesions`, with its `attrs`. Raises StudyError if it is missing or cut."""
    remedy = "Run `make 02_preprocessing STUDY=…`, which writes it again."
    types = dict.fromkeys(TEXT, object) | {"sex": "category", "site": "category"}
    lesions = read_csv(path, remedy, dtype=types)
    lesions.attrs.update(read_json(Path(path).with_suffix(".json"), remedy))
    folder = os.path.normpath(Path(path).parent / lesions.attrs.get("folder", ".."))
    for name in PATHS:
        whole = lesions[name].map(partial(os.path.join, folder), na_action="ignore")
        lesions[name] = whole.astype(object).where(whole.notna(), None)
    lesions.attrs["folder"] = folder
    return lesions


def completeness(lesions: pd.DataFrame) -> str:
    """Says whether all images in the publisher's table are available, and how many have no lesion id."""
    there = f"All **{len(lesions):,} images** that the publisher's table lists are here."
    if count := lesions.attrs["missing_images"]:
        missing = f"**{count:,} images that the publisher's table lists are missing here**"
        there = f"{missing}; all results are for the other {len(lesions):,}."
    alone = int((lesions["lesion_id"] == lesions["image_id"]).sum())
    return f"{there} {alone:,} images have no lesion id; each counts as its own lesion." if alone else there


def _check_labels(source: Path, table: pd.DataFrame, codes: list[str]) -> None:
    """Raise StudyError for an unknown diagnosis, or for a lesion with two diagnoses."""
    unknown, known = ~table["label"].isin(codes), f"Known diagnoses: {', '.join(codes)}."
    refuse(source, table, unknown, fault="unknown diagnosis {label!r}", remedy=known)
    table = table.assign(first=table.groupby("lesion_id")["label"].transform("first"))
    fault = "lesion {lesion_id} has two diagnoses, {first} in an earlier row and {label} here"
    refuse(source, table, table["first"] != table["label"], fault=fault, remedy="Correct one of them.")


def _attach_images(source: Path, table: pd.DataFrame, folder: Path, *, allow_missing: bool) -> pd.DataFrame:
    """Add path and mask_path, and leave out rows without an image if the study allows that."""
    images, masks = find_images(folder)
    ids = table["image_id"]
    found = ids.map(images).fillna((ids + "_downsampled").map(images))
    path = found.map(choose_file, na_action="ignore")
    absent = ~path.map(is_there, na_action="ignore").eq(True)
    count = int(absent.sum())
    if not allow_missing:
        link = path.map("{} is only a link; fetch its file".format, na_action="ignore")
        table["fault"] = link.fillna("there is no image file with this name")
        remedy = f"Below {folder}, {count} of {len(table)} are missing: add them, or set allow_missing_images: true."
        refuse(source, table, absent, fault="{fault}", remedy=remedy)
    if count == len(table):
        raise StudyError(f"{folder}: none of the {count} images listed in {source.name} was found. {HOW_TO_GET}")
    masks = ids.map(masks).map(choose_file, na_action="ignore")
    table = table.assign(path=path, mask_path=masks).loc[~absent].copy()
    table.attrs["missing_images"] = count
    return table


def _tidy(source: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Set the types and order of the `lesions` table. Raises StudyError for an invalid age or date."""
    age = table["age"].astype("string").str.replace(",", ".")  # a European spreadsheet writes 45,0
    age = pd.to_numeric(age.astype(object), errors="coerce")
    wrong = (age.isna() & table["age"].notna() & (table["age"] != "unknown")) | (age < 0) | (age > 120)
    refuse(source, table, wrong, fault="age {age!r} is not an age in years", remedy="Correct it or leave it empty.")
    if "date" in table:
        day = pd.to_datetime(table["date"], errors="coerce", format="ISO8601")
        wrong, fault = day.isna() & table["date"].notna(), "date {date!r} is not a date such as 2017-05-31"
        refuse(source, table, wrong, fault=fault, remedy="Correct it or leave it empty.")
        table["date"] = day.dt.strftime("%Y-%m-%d")
    table["age"], table["reference"] = age.astype(float), table["reference"].fillna("unknown")
    for column in ("sex", "site"):
        table[column] = table[column].fillna("unknown").str.lower().astype("category")
    table = table.astype({name: object for name in TEXT if name in table}).sort_values("image_id", ignore_index=True)
    table["mask_path"] = table["mask_path"].where(table["mask_path"].notna(), None)
    return table[[*COLUMNS, *(name for name in OPTIONAL if name in table)]]
