"""Data sets of other clinics, to judge finished models on. Nothing is trained or chosen on them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.layouts import (
    check_ids,
    choose_file,
    find_file,
    find_images,
    is_there,
    read_columns,
    read_one_hot,
    refuse,
)
from helpers.data.lesions import dataset_folder, load_lesions
from helpers.sentences import percent
from helpers.study import ROOT, StudyError

COLUMNS = ["image_id", "unit", "diagnosis", "label", "malignant", "reference", "path"]
SECOND_CLINIC_IMAGES = 140
# What each diagnosis of a publisher is in HAM10000 and in ISIC 2019, and whether it is malignant. Empty: no such class.
ISIC2018 = {
    "MEL": ("mel", "MEL", True),
    "NV": ("nv", "NV", False),
    "BCC": ("bcc", "BCC", True),
    "AKIEC": ("akiec", "", True),  # ISIC 2019 has two classes for it
    "BKL": ("bkl", "BKL", False),
    "DF": ("df", "DF", False),
    "VASC": ("vasc", "VASC", False),
}
PH2 = {
    "common nevus": ("nv", "NV", False),
    "atypical nevus": ("nv", "NV", False),
    "melanoma": ("mel", "MEL", True),
}
# SCC is invasive carcinoma and Bowen's disease together, so no class of HAM10000. The publisher counts ACK as benign.
PAD_UFES_20 = {
    "BCC": ("bcc", "BCC", True),
    "SCC": ("", "SCC", True),
    "MEL": ("mel", "MEL", True),
    "ACK": ("akiec", "AK", False),
    "SEK": ("bkl", "BKL", False),
    "NEV": ("nv", "NV", False),
}
PH2_DIAGNOSES = {str(code): name for code, name in enumerate(PH2)}


@dataclass(frozen=True)
class External:
    """A data set of another clinic.

    name: as in tables; page: where to get it; images: in the publisher's table; unit: what is resampled; note: what a
    reader of its figures has to know; classes: see ISIC2018; read: returns the path of that table, and the table.
    """

    name: str
    page: str
    images: int
    unit: str
    note: str
    classes: dict[str, tuple[str, str, bool]]
    read: Callable[[Path], tuple[Path, pd.DataFrame]]


def load_external(key: str, folder: Path, dataset: str) -> pd.DataFrame:
    """One set of EXTERNAL as a table, one row per image that is there, sorted by image_id.

    folder: of this set; dataset: the study's, whose classes `label` names. Columns: image_id, unit (patient or image,
    which is resampled), diagnosis (the publisher's), label (empty if the study has no such class), malignant (bool),
    reference (`histo`, `clinical` or `unknown`), path. Its attrs are name, unit and note of the set, and
    missing_images, the number of listed images that are not there. Raises StudyError with file and row if the files are
    wrong.
    """
    external, folder = EXTERNAL[key], Path(folder)
    source, table = external.read(folder)
    check_ids(source, table)
    known = f"Known diagnoses: {', '.join(external.classes)}."
    unknown = ~table["diagnosis"].isin(external.classes)
    refuse(source, table, unknown, fault="unknown diagnosis {diagnosis!r}", remedy=known)
    refuse(source, table, table["unit"].isna(), fault=f"the {external.unit} is missing", remedy="Correct the row.")
    column = int(dataset == "isic2019")
    table["label"] = [external.classes[name][column] for name in table["diagnosis"]]
    table["malignant"] = [external.classes[name][2] for name in table["diagnosis"]]
    table = _attach_images(source, table, folder)
    table.attrs |= {"name": external.name, "unit": external.unit, "note": external.note}
    return table


def load_second_clinic() -> pd.DataFrame:
    """The demo's external set, a table as from `load_external`: other lesions, all from the second clinic.

    They are drawn into data/second_clinic/ if they do not exist yet.
    """
    from helpers.demo.generate import generate  # here, since SciPy takes a second to load

    lesions = load_lesions("demo", generate(dataset_folder("second_clinic"), SECOND_CLINIC_IMAGES, elsewhere=True))
    table = lesions.assign(unit=lesions["lesion_id"], diagnosis=lesions["label"])[COLUMNS]
    table.attrs |= {"name": "clinic b", "unit": "lesion", "note": "drawn pictures", "missing_images": 0}
    return table


def external_folder() -> Path:
    """The folder that holds the external sets: the environment variable EXTERNAL_DIR if set, else data/external/."""
    return Path(os.environ.get("EXTERNAL_DIR") or ROOT / "data" / "external").expanduser()


def load_all_external(dataset: str) -> dict[str, pd.DataFrame]:
    """The tables of all external sets that are there, by key; for the demo, its second clinic.

    `external_folder` holds a folder for each key of EXTERNAL. Raises StudyError if it holds none.
    """
    if dataset == "demo":
        return {"second_clinic": load_second_clinic()}
    folder = external_folder()
    found = {key: load_external(key, folder / key, dataset) for key in EXTERNAL if (folder / key).is_dir()}
    if not found:
        raise StudyError(f"{folder}: no external data set is there. Get one or more by hand:\n{how_to_get(*EXTERNAL)}")
    return found


def describe_external(sets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What each set is, as text: one row per set. sets: tables from `load_external`, by name."""
    rows = {}
    for name, table in sets.items():
        units, listed = table["unit"].nunique(), len(table) + table.attrs["missing_images"]
        histology = percent((table["reference"] == "histo").mean())
        rows[name] = {
            "images": f"{len(table):,} of {listed:,}",
            "resampled": f"{units:,} {table.attrs['unit']}s",
            "malignant": percent(table["malignant"].mean()),
            "histology": "not published" if (table["reference"] == "unknown").all() else histology,
            "note": table.attrs["note"],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def how_to_get(*keys: str) -> str:
    """One line per set: where it is, and into which folder it goes."""
    lines = [f"  {EXTERNAL[key].name}: {EXTERNAL[key].page}, into the folder {key}/" for key in keys]
    return "\n".join([*lines, "EXTERNAL_DIR=… names the folder that holds these folders; see data/README.md."])


def _read_isic2018(folder: Path) -> tuple[Path, pd.DataFrame]:
    source = _find(folder, "ISIC2018_Task3_Test_GroundTruth.csv", "isic2018_test")
    table = read_one_hot(source, list(ISIC2018)).rename(columns={"label": "diagnosis"})
    return source, table.assign(unit=table["image_id"], reference="unknown")


def _read_ph2(folder: Path) -> tuple[Path, pd.DataFrame]:
    source = _find(folder, "PH2_dataset.txt", "ph2")
    lines = source.read_text(encoding="latin-1").splitlines()
    # A row begins and ends with ||. Its first three fields are the name, the histology and the clinical diagnosis.
    cells = {row: [cell.strip() for cell in line.split("||")[1:4]] for row, line in enumerate(lines, 1) if "||" in line}
    rows = [(*fields, row) for row, fields in cells.items() if fields[0].startswith("IMD") and len(fields) == 3]
    table = pd.DataFrame(rows, columns=["image_id", "histology", "code", "row"])
    wrong, remedy = ~table["code"].isin(PH2_DIAGNOSES), f"Known codes: {', '.join(PH2_DIAGNOSES)}."
    refuse(source, table, wrong, fault="unknown clinical diagnosis {code!r}", remedy=remedy)
    reference = np.where(table["histology"] == "", "clinical", "histo")
    return source, table.assign(unit=table["image_id"], diagnosis=table["code"].map(PH2_DIAGNOSES), reference=reference)


def _read_pad_ufes_20(folder: Path) -> tuple[Path, pd.DataFrame]:
    source = _find(folder, "metadata.csv", "pad_ufes_20")
    table = read_columns(source, ["img_id", "diagnostic", "patient_id", "biopsed"])
    names = table["img_id"].str.replace(r"\.\w+$", "", regex=True)
    reference = np.where(table["biopsed"].str.lower() == "true", "histo", "clinical")
    return source, table.assign(
        image_id=names, unit=table["patient_id"], diagnosis=table["diagnostic"], reference=reference
    )


def _find(folder: Path, name: str, key: str) -> Path:
    """The publisher's table, in the set's folder or below. Raises StudyError if it is not there."""
    if path := find_file(folder, name):
        return path
    raise StudyError(f"{folder}: contains no {name}. Get it by hand:\n{how_to_get(key)}")


def _attach_images(source: Path, table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add the paths, and leave out the rows whose image is not there. Raises StudyError if no image is."""
    images, _ = find_images(folder)
    path = table["image_id"].map(images).map(choose_file, na_action="ignore")
    table = table.assign(path=path).sort_values("image_id", ignore_index=True)
    there = table["path"].map(is_there, na_action="ignore").eq(True)
    if not there.any():
        remedy = "Unpack the publisher's images into this folder, with their names unchanged."
        raise StudyError(f"{folder}: none of the {len(table):,} images listed in {source.name} is there. {remedy}")
    found = table.loc[there, COLUMNS].reset_index(drop=True)
    found.attrs["missing_images"] = int((~there).sum())
    return found


EXTERNAL = {
    "isic2018_test": External(
        "ISIC 2018 test",
        "https://challenge.isic-archive.com/data/#2018",
        1512,
        "image",
        "no lesion ids are published, so images are resampled",
        ISIC2018,
        _read_isic2018,
    ),
    "ph2": External(
        "PH2",
        "https://www.fc.up.pt/addi/ph2%20database.html",
        200,
        "image",
        "nevi and melanomas only; most nevi without histology",
        PH2,
        _read_ph2,
    ),
    "pad_ufes_20": External(
        "PAD-UFES-20",
        "https://data.mendeley.com/datasets/zr7vgbcyr2/1",
        2298,
        "patient",
        "photographs by smartphone, not dermatoscopic; skin types V and VI are almost absent",
        PAD_UFES_20,
        _read_pad_ufes_20,
    ),
}
