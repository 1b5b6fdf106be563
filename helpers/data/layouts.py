"""The files of a dataset as their publishers, and those who pass them on, lay them out."""

import filecmp
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.reading import read_table
from helpers.study import StudyError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
SKIPPED = {"cache", "download", "__MACOSX"}  # folders that hold no originals
HOW_TO_GET = "Run `make data STUDY=…`, or set DATA_DIR=… to the folder with the files; see data/README.md."
NO_ID = ["", "na", "nan", "nil", "no", "none", "null", "missing", "undefined", "unk", "unknown", "unspecified"]
NO_ID += [f"not{word}" for word in ("applicable", "available", "given", "known", "recorded", "specified", "stated")]


def read_ham10000(folder: Path, codes: Sequence[str]) -> tuple[Path, pd.DataFrame]:
    """HAM10000's table and its path, with the column names of the `lesions` table and `row`, the line in the file.

    The table is that of the publisher, or the ground truth and lesion groupings of the ISIC challenge of 2018.
    """
    source = find_file(folder, *(f"HAM10000_metadata{suffix}" for suffix in (".csv", "", ".tab", ".tsv", ".txt")))
    truth = find_file(folder, "ISIC2018_Task3_Training_GroundTruth.csv")
    if source:
        table = read_columns(source, ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"])
        names = {"dx": "label", "dx_type": "reference", "localization": "site", "dataset": "source"}
        return source, table.rename(columns=names)
    if not truth:
        raise StudyError(_explain_absence(folder, "HAM10000_metadata.csv"))
    groupings = find_file(folder, "ISIC2018_Task3_Training_LesionGroupings.csv")
    if not groupings:
        remedy = "Add ISIC2018_Task3_Training_LesionGroupings.csv, which the challenge of 2018 published later"
        raise StudyError(f"{truth}: this table does not say which images are of one lesion. {remedy}.")
    described = read_columns(groupings, ["image", "lesion_id", "diagnosis_confirm_type"])
    table = _join(truth, groupings, described, codes=[code.upper() for code in codes])
    table["label"] = table["label"].str.lower()
    return truth, table.rename(columns={"diagnosis_confirm_type": "reference"}).assign(age=None, sex=None, site=None)


def read_isic2019(folder: Path, codes: Sequence[str]) -> tuple[Path, pd.DataFrame]:
    """ISIC 2019's ground truth and metadata as one table, and the path of the first, as `read_ham10000`."""
    names = "ISIC_2019_Training_GroundTruth.csv", "ISIC_2019_Training_Metadata.csv"
    source, metadata = (find_file(folder, name) for name in names)
    if not (source and metadata):
        raise StudyError(_explain_absence(folder, names[bool(source)]))
    described = read_columns(metadata, ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"])
    table = _join(source, metadata, described, codes=codes)
    # Lesion ids begin with their collection. All images outside the two large collections are from MSK.
    collection = table["lesion_id"].str.extract(r"^(HAM|BCN)", expand=False)
    collection = collection.map({"HAM": "HAM10000", "BCN": "BCN_20000"}).fillna("MSK")
    table = table.rename(columns={"age_approx": "age", "anatom_site_general": "site"})
    return source, table.assign(reference="unknown", source=collection)


def known_ids(ids: pd.Series) -> pd.Series:
    """Ids of lesions without blanks around them, and NaN for words such as `unknown` or `-`, however written."""
    ids = ids.astype("string").str.strip()
    letters = ids.str.lower().str.replace(r"[\W_]+", "", regex=True)
    return ids.mask(letters.isin(NO_ID)).astype(object).where(lambda known: known.notna(), np.nan)


def find_images(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Paths of images and of masks by image id, from the folder and all folders in it except SKIPPED."""
    images, masks = {}, {}
    seen = set()  # a link to a folder may lead in a circle
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(one for one in folders if one not in SKIPPED and not one.startswith("."))
        if (real := os.path.realpath(place)) in seen:
            folders[:], names = [], []
        seen.add(real)
        for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                files = masks if path.stem.endswith("_segmentation") else images
                files.setdefault(path.stem.removesuffix("_segmentation"), []).append(str(path))
    return images, masks


def is_there(path: str) -> bool:
    """Whether a file is there, and is neither a link to nowhere nor the pointer that git-annex and Git LFS leave."""
    if not Path(path).is_file():
        return False
    small = Path(path).stat().st_size < 1024
    return not (small and re.match(rb"version https://git-lfs|\S*/annex/|\.\./\S+$|/\S+$", Path(path).read_bytes()))


def choose_file(paths: list[str]) -> str:
    """The first of several files of one name. Raises StudyError unless all have the same content."""
    there = [path for path in paths if is_there(path)]
    for other in there[1:]:
        if not filecmp.cmp(there[0], other):
            remedy = "Move those that are not the image, such as masks or thumbnails, out of this folder"
            raise StudyError(f"{there[0]} and {other}: two different files for one image. {remedy}.")
    return (there or paths)[0]


def refuse(source: Path, table: pd.DataFrame, wrong: pd.Series, *, fault: str, remedy: str) -> None:
    """Raise StudyError for the first row that is `wrong`, bool [rows]. `fault` may contain column names, as {age}."""
    for row in table[np.asarray(wrong, bool)].head(1).to_dict("records"):
        place = f"{source}, row {row['row']} (image {row['image_id']})"
        raise StudyError(f"{place}: {fault.format(**row)}. {remedy}")


def check_ids(source: Path, table: pd.DataFrame) -> None:
    """Raise StudyError unless every row has a different image id."""
    if table.empty:
        raise StudyError(f"{source}: it has no rows. Download it again.")
    ids = table["image_id"]
    refuse(source, table, ids.isna(), fault="the image id is missing", remedy="Correct or remove the row.")
    refuse(source, table, ids.duplicated(), fault="this image id is in an earlier row", remedy="Keep only one row.")


def find_file(folder: Path, *names: str) -> Path | None:
    """The first file of these names in a folder or in the folders in it, or None."""
    places = [folder / name for name in names] + [path for name in names for path in sorted(folder.glob(f"*/{name}"))]
    return next((path for path in places if path.is_file()), None)


def read_one_hot(source: Path, codes: Sequence[str]) -> pd.DataFrame:
    """A one-hot ground truth as image_id, row and label. Raises StudyError unless each row has exactly one 1."""
    table = read_columns(source, ["image", *codes])
    hot = table[list(codes)].apply(pd.to_numeric, errors="coerce").to_numpy()
    fault = f"there is not exactly one 1 in {' '.join(codes)}"
    refuse(source, table, (hot == 1).sum(axis=1) != 1, fault=fault, remedy="Correct the row.")
    return table[["image_id", "row"]].assign(label=np.array(codes, object)[hot.argmax(axis=1)])


def read_columns(path: Path, columns: list[str]) -> pd.DataFrame:
    """A table with these columns, `image` renamed image_id, and with `row`, the line number in the file."""
    table = read_table(path, "Download it again.")
    if missing := [column for column in columns if column not in table.columns]:
        fault = f"{path}: column {', '.join(missing)} is missing"
        raise StudyError(f"{fault}; it has {', '.join(list(table)[:10])}. Download it again.")
    table["row"] = np.arange(len(table)) + table.attrs.pop("first_row")
    return table.dropna(how="all", subset=columns).rename(columns={"image": "image_id"})


def _explain_absence(folder: Path, name: str) -> str:
    """Why there is no table of this name: perhaps the folder is an export of the ISIC archive."""
    exported = find_file(folder, "metadata.csv")
    if exported and "isic_id" in read_table(exported, "Download it again."):
        fault = f"{exported}: an export of the ISIC archive, whose diagnoses are not the classes of this dataset"
        return f"{fault}. Put {name} beside the images, with the images' names unchanged. {HOW_TO_GET}"
    return f"{folder}: contains no {name}. {HOW_TO_GET}"


def _join(truth: Path, other: Path, described: pd.DataFrame, *, codes: Sequence[str]) -> pd.DataFrame:
    """A one-hot ground truth as `label`, with the columns that another table has for its images."""
    table = read_one_hot(truth, codes)
    check_ids(other, described)
    absent, fault = ~table["image_id"].isin(described["image_id"]), f"no row for this image in {other.name}"
    refuse(truth, table, absent, fault=fault, remedy="Download both files again.")
    return table.merge(described.drop(columns="row"), on="image_id", how="left")
