"""Splits as others write them: tables, lists of names, JSON, and folders of images."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from helpers.data.layouts import IMAGE_SUFFIXES, known_ids
from helpers.reading import read_json, read_table
from helpers.study import StudyError

IMAGE_NAMES = ("image_id", "image", "isic_id", "filename", "file_name", "file", "path", "name")  # common column names
LESION_NAMES = ("lesion_id", "lesion")
PART_NAMES = ("part", "partition", "split", "set", "subset", "usage", "fold")
SUFFIXES = {*IMAGE_SUFFIXES, ".bmp", ".tif", ".tiff", ".webp", ".dcm"}
UNREADABLE = "Give a folder, a table, a list of image names, or JSON."


def read_split_files(paths: list[Path], id_pattern: str = "") -> pd.DataFrame:
    """Read a split, image_id and part, from one file or folder for all parts, or from one for each part.

    A table may have a column of parts (PART_NAMES), JSON may name the parts or give one for each image, and the folders
    of a single folder are its parts. Any other file or folder is one part of its name. Image names may include folders
    and a suffix. id_pattern: a regular expression for the original's id in the name of an altered copy. Raises
    StudyError if no images are found, for names without an id, and if there is only one part, because a misread split
    would otherwise look clean.
    """
    paths = [Path(path) for path in paths]
    split = pd.concat([_read_part(path, alone=len(paths) == 1) for path in paths], ignore_index=True)
    split["image_id"] = _bare(split["image_id"])
    if id_pattern:
        split["image_id"] = _original(split["image_id"], id_pattern)
    if split["part"].nunique(dropna=False) < 2:
        known = f"a column of parts ({', '.join(PART_NAMES)}), or one file or folder per part"
        raise StudyError(f"{first_ten(paths)}: there is only one part. A split needs {known}.")
    return split


def read_lesion_ids(path: Path) -> pd.DataFrame:
    """Read image_id and lesion_id (NaN if unknown) from a published table. Raises StudyError if a column is missing."""
    table = read_table(path, "Give the published table.")
    found = {"image_id": _column(table, IMAGE_NAMES), "lesion_id": _column(table, LESION_NAMES)}
    if missing := [name for name, column in found.items() if column is None]:
        raise StudyError(f"{path}: no column {', '.join(missing)}. The columns are {first_ten(table)}.")
    return pd.DataFrame(
        {"image_id": _bare(table[found["image_id"]]), "lesion_id": known_ids(table[found["lesion_id"]])}
    )


def first_ten(names: Iterable) -> str:
    """At most ten names, joined by commas, and how many more there are."""
    names = [str(name)[:100] for name in names]
    return ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


def _read_part(path: Path, *, alone: bool) -> pd.DataFrame:
    """Image names and part from one file or folder, see `read_split_files`."""
    if path.is_dir():
        rows = _list_folder(path, alone=alone)
    elif path.suffix.lower() == ".json":
        rows = _list_json(read_json(path, UNREADABLE), path.stem)
    else:
        rows = _list_table(read_table(path, UNREADABLE), path)
    if not rows:
        raise StudyError(f"{path}: it names no images. {UNREADABLE}")
    return pd.DataFrame(rows, columns=["image_id", "part"])


def _list_folder(path: Path, *, alone: bool) -> list[tuple]:
    files = [file.relative_to(path) for file in sorted(path.rglob("[!.]*")) if file.suffix.lower() in SUFFIXES]
    files = [file for file in files if not file.stem.endswith("_segmentation")]  # masks
    return [(file.name, file.parts[0] if alone and len(file.parts) > 1 else path.name) for file in files]


def _list_json(content: object, stem: str) -> list[tuple]:
    if isinstance(content, dict) and isinstance(content.get("images"), list):  # as in COCO
        content = content["images"]
    if isinstance(content, dict):
        pairs = [(one, part) for part, listed in content.items() if isinstance(listed, list) for one in listed]
        return [(_name(one), part) for one, part in pairs] or list(content.items())
    content = content if isinstance(content, list) else []
    return [(_name(one), one.get(_column(one, PART_NAMES), stem) if isinstance(one, dict) else stem) for one in content]


def _name(image: object) -> str:
    if not isinstance(image, dict):
        return str(image)
    if column := _column(image, IMAGE_NAMES):
        return str(image[column])
    raise StudyError(f"JSON entries with {first_ten(image)}: none of them is {', '.join(IMAGE_NAMES)}. {UNREADABLE}")


def _list_table(table: pd.DataFrame, path: Path) -> list[tuple]:
    images, parts = _column(table, IMAGE_NAMES), _column(table, PART_NAMES)
    if images is None and len(table.columns) == 1:  # a list without a header, perhaps with a number behind each name
        names = [str(table.columns[0]), *table.iloc[:, 0].dropna()]
        return [(re.sub(r"\s+\d+$", "", name), path.stem) for name in names]
    if images is None:
        raise StudyError(f"{path}: no column of images. Name it {IMAGE_NAMES[0]}. The columns are {first_ten(table)}.")
    table = table.dropna(how="all")
    return list(zip(table[images], table[parts] if parts else [path.stem] * len(table), strict=True))


def _column(table: Iterable, names: tuple[str, ...]) -> str | None:
    """The column (or key) for the first of `names` that there is, ignoring case; None if there is none."""
    columns = {str(column).strip().lower(): column for column in table}
    return next((columns[name] for name in names if name in columns), None)


def _original(names: pd.Series, pattern: str) -> pd.Series:
    """The part of each name that a regular expression matches."""
    try:
        found = names.map(re.compile(pattern).search)
    except re.error as error:
        raise StudyError(f"--id-pattern {pattern!r}: not a regular expression ({error}).") from error
    strange = names[found.isna()]
    if len(strange):
        fault = f"{len(strange)} image names do not match, such as {strange.iloc[0]}"
        raise StudyError(f"--id-pattern {pattern!r}: {fault}.")
    return found.map(lambda match: match.group())


def _bare(images: pd.Series) -> pd.Series:
    """Names of images without folder and suffix."""
    ends = "|".join(re.escape(suffix) for suffix in SUFFIXES)
    return images.astype(str).str.strip().str.replace(rf"^.*[/\\]|({ends})$", "", regex=True, case=False)
