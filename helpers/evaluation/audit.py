"""Does a split keep the images of a lesion in one part?

`python -m helpers.evaluation.audit --lesions HAM10000_metadata.csv train.csv test.csv` audits any split, see
`audit_split`. The exit code is 0 for a clean split, 1 for a leaking split, and 2 if the files are not a readable split.
With `--id-pattern "ISIC_[0-9]+"`, altered copies are matched to their original by the id in their names.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.duplicates import duplicate_groups
from helpers.study import StudyError

KINDS = ("none", "sibling", "copy")  # in another part: nothing, another image of the same lesion, the same image
IMAGE_NAMES = ("image_id", "image", "isic_id", "filename", "file")  # common names of these columns
LESION_NAMES = ("lesion_id", "lesion")
PART_NAMES = ("part", "partition", "split", "set", "subset", "usage", "fold")


def audit_split(lesions: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """For each row of a split, whether the same image or lesion is also in another part.

    lesions: image_id and lesion_id; an image without a lesion_id is its own lesion. split: image_id and part, with any
    number of parts and one row per use, so an oversampled image has several rows. Returns the rows of the split with
    lesion_id, `kind` (the most serious of KINDS) and `elsewhere` (the other parts with this lesion, joined by commas).
    A split is clean if every kind is `none`. Raises StudyError for a row without a part, for an image that is not in
    `lesions`, and for an image with two lesions.
    """
    if len(nowhere := split.loc[split["part"].isna(), "image_id"]):
        remedy = "Fill in their part, or remove these rows"
        raise StudyError(f"{len(nowhere)} rows of the split have no part, the first is {nowhere.iloc[0]}. {remedy}.")
    table = split[["image_id", "part"]].astype(str).reset_index(drop=True)
    table["lesion_id"] = _lesion_of(lesions, table["image_id"]).to_numpy()
    parts_of_lesion = table["lesion_id"].map(table.groupby("lesion_id")["part"].agg(lambda parts: sorted(set(parts))))
    pairs = zip(parts_of_lesion, table["part"], strict=True)
    table["elsewhere"] = [", ".join(part for part in parts if part != here) for parts, here in pairs]
    copied = table.groupby("image_id")["part"].transform("nunique") > 1
    table.insert(3, "kind", np.select([copied, table["elsewhere"] != ""], ["copy", "sibling"], "none"))
    return table


def count_leaks(audit: pd.DataFrame) -> pd.DataFrame:
    """For each part of an audited split: images, copies and siblings (see KINDS), and the proportion of both."""
    counts = pd.crosstab(audit["part"], audit["kind"]).reindex(columns=list(KINDS), fill_value=0)
    table = pd.DataFrame({"images": counts.sum(axis=1), "copies": counts["copy"], "siblings": counts["sibling"]})
    return table.assign(share=1 - counts["none"] / table["images"]).rename_axis(None)


def read_split_files(paths: list[Path], id_pattern: str = "") -> pd.DataFrame:
    """Read a split (image_id and part) from one csv with a column of parts, or from one csv per part.

    A file without such a column is one part, named after the file. Image names may include folders and a suffix such as
    .jpg. id_pattern: a regular expression for the original's id in the name of an altered copy. Raises StudyError for a
    file without an image column or without rows, for names without an id, and if there is only one part, because a
    misread split would otherwise look clean.
    """
    split = pd.concat([_read_part(Path(path), id_pattern) for path in paths], ignore_index=True)
    if split["part"].nunique(dropna=False) < 2:
        known = f"a column of parts ({', '.join(PART_NAMES)}) or one file per part"
        raise StudyError(f"{', '.join(map(str, paths))}: there is only one part. A split needs {known}.")
    return split


def read_lesion_ids(path: Path) -> pd.DataFrame:
    """Read image_id and lesion_id from a published metadata table. Raises StudyError if a column is missing."""
    table = _read_csv(path)
    found = {"image_id": _column(table, IMAGE_NAMES), "lesion_id": _column(table, LESION_NAMES)}
    if missing := [name for name, column in found.items() if column is None]:
        raise StudyError(f"{path}: no column {', '.join(missing)}. The columns are {', '.join(table)}.")
    return pd.DataFrame({"image_id": _bare(table[found["image_id"]]), "lesion_id": table[found["lesion_id"]]})


def main(words: list[str] | None = None) -> int:
    """Command line: prints the result and returns the exit code."""
    given = _arguments().parse_args(words)
    try:
        lesions = read_lesion_ids(given.lesions)
        lesions = merge_duplicates(lesions, _read_csv(given.duplicates)) if given.duplicates else lesions
        audit = audit_split(lesions, read_split_files(given.split, given.id_pattern))
        leaking = audit[audit["kind"] != "none"]
        if given.list:
            leaking.to_csv(given.list, index=False)
    except (StudyError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(_summary(audit))
    return int(len(leaking) > 0)


def merge_duplicates(lesions: pd.DataFrame, duplicates: pd.DataFrame) -> pd.DataFrame:
    """The table of lesions, where lesions that share duplicate images get one common lesion_id.

    duplicates: columns image_a and image_b. Raises StudyError if one is missing.
    """
    if missing := {"image_a", "image_b"} - set(duplicates):
        raise StudyError(f"The table of duplicates has no column {', '.join(sorted(missing))}.")
    whole = lesions.drop_duplicates().assign(lesion_id=lesions["lesion_id"].fillna(lesions["image_id"]))
    lesion_of = whole.set_index("image_id")["lesion_id"]
    ends = {f"lesion_{end}": duplicates[f"image_{end}"].map(lesion_of) for end in "ab"}
    return whole.assign(lesion_id=duplicate_groups(whole, pd.DataFrame(ends).dropna()))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.evaluation.audit",
        description="Check that a split keeps each lesion in one part.",
    )
    add = parser.add_argument
    add("split", nargs="+", help="one csv with image_id and part, or one csv per part")
    add("--lesions", required=True, help="csv with image_id and lesion_id, as published")
    add("--duplicates", help="csv of duplicate pairs, image_a and image_b, such as 02_preprocessing writes")
    add(
        "--id-pattern",
        default="",
        help="regular expression for the id in names of altered copies: ISIC_[0-9]+",
    )
    add("--list", help="csv to write, listing every image whose lesion is also in another part")
    return parser


def _summary(audit: pd.DataFrame) -> str:
    counts = count_leaks(audit)
    lines = [f"{len(audit):,} images of {audit['lesion_id'].nunique():,} lesions in {len(counts)} parts"]
    for part, row in counts.iterrows():
        lines.append(
            f"  {part}: {row.images:,.0f} images; {row.copies:,.0f} are also in another part, "
            f"{row.siblings:,.0f} more share a lesion with another part ({row.share:.1%} together)"
        )
    crossing = audit.loc[audit["kind"] != "none", "lesion_id"]
    if crossing.empty:
        return "\n".join([*lines, "Clean: no lesion is in two parts."])
    return "\n".join(
        [*lines, f"Leak: {crossing.nunique():,} lesions are in two or more parts; the first is {crossing.iloc[0]}."]
    )


def _lesion_of(lesions: pd.DataFrame, images: pd.Series) -> pd.Series:
    """Lesion id of each image, or `image <image id>` where the lesion is unknown."""
    known = lesions[["image_id", "lesion_id"]].drop_duplicates().astype(object)
    known["image_id"] = known["image_id"].astype(str)
    twice = known.loc[known["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise StudyError(f"{len(twice)} images have two lesions in the table of lesions; the first is {twice.iloc[0]}.")
    strange = images[~images.isin(known["image_id"])]
    if len(strange):
        raise StudyError(
            f"{len(strange)} images of the split are not in the table of lesions; the first is {strange.iloc[0]}."
        )
    lesion = images.map(known.set_index("image_id")["lesion_id"])
    return lesion.where(lesion.notna(), "image " + images).astype(str)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            separator = "\t" if "\t" in file.readline() else ","
        return pd.read_csv(path, dtype=str, sep=separator, encoding="utf-8-sig")
    except (OSError, ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise StudyError(f"{path}: cannot be read as csv ({error}).") from error


def _read_part(path: Path, id_pattern: str) -> pd.DataFrame:
    """image_id and part from one file, see `read_split_files`."""
    table = _read_csv(path)
    images, parts = _column(table, IMAGE_NAMES), _column(table, PART_NAMES)
    if images is None:
        raise StudyError(f"{path}: no column of images. Name it {IMAGE_NAMES[0]}. The columns are {', '.join(table)}.")
    if table.empty:
        raise StudyError(f"{path}: it has a header but no rows.")
    names = _bare(table[images])
    names = _original(names, id_pattern) if id_pattern else names
    return pd.DataFrame({"image_id": names, "part": table[parts] if parts else path.stem})


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    """The table's column for the first of `names` that it has, ignoring case; None if it has none."""
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
        raise StudyError(
            f"--id-pattern {pattern!r}: {len(strange)} image names do not match, such as {strange.iloc[0]}."
        )
    return found.map(lambda match: match.group())


def _bare(images: pd.Series) -> pd.Series:
    """Names of images without folder and suffix."""
    return images.astype(str).str.replace(r"^.*[/\\]|\.(jpe?g|png|bmp|tiff?)$", "", regex=True, case=False)


if __name__ == "__main__":
    sys.exit(main())
