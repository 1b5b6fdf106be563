"""Whether a split keeps lesions apart.

`python -m helpers.evaluation.audit --lesions HAM10000_metadata.csv train.csv test.csv` audits a split of one's own, see
`audit_split`; its exit code is 0 for a clean split, 1 for a leaking one and 2 for files that cannot be read as one.
`--id-pattern "ISIC_[0-9]+"` finds the original in the names of altered copies.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.duplicates import duplicate_groups
from helpers.study import StudyError

KINDS = ("none", "sibling", "copy")  # what another part holds of an image: nothing, its lesion, the image itself
IMAGE_NAMES = ("image_id", "image", "isic_id", "filename", "file")  # what others call these columns
LESION_NAMES = ("lesion_id", "lesion")
PART_NAMES = ("part", "partition", "split", "set", "subset", "usage", "fold")


def audit_split(lesions: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """What of each image of a split is in other parts as well.

    lesions: image_id and lesion_id, which may be missing: then the image is its own lesion; split: image_id and part,
    in any number of parts; a row for each use, so that an image which was oversampled is there several times.
    Returns the split's rows with lesion_id, `kind` (one of KINDS, the gravest) and `elsewhere` (the other parts that
    hold the lesion, joined by commas). A split is clean if every kind is `none`. Raises StudyError for an image of the
    split that is in no part or that the lesions do not have, and for one that they have twice.
    """
    if len(nowhere := split.loc[split["part"].isna(), "image_id"]):
        remedy = "Name their part, or leave these rows out"
        raise StudyError(f"{len(nowhere)} rows of the split name no part, that of {nowhere.iloc[0]} first. {remedy}.")
    table = split[["image_id", "part"]].astype(str).reset_index(drop=True)
    table["lesion_id"] = _lesion_of(lesions, table["image_id"]).to_numpy()
    held = table.groupby("lesion_id")["part"].agg(lambda parts: sorted(set(parts)))
    homes = table["lesion_id"].map(held)
    others = [[part for part in parts if part != own] for parts, own in zip(homes, table["part"], strict=True)]
    twice = table.groupby("image_id")["part"].transform("nunique") > 1
    table["kind"] = np.select([twice, [bool(parts) for parts in others]], ["copy", "sibling"], "none")
    table["elsewhere"] = [", ".join(parts) for parts in others]
    return table


def leaks(audit: pd.DataFrame) -> pd.DataFrame:
    """For each part of an audited split: its images, how many have a copy or only a sibling elsewhere, their share."""
    counts = pd.crosstab(audit["part"], audit["kind"]).reindex(columns=list(KINDS), fill_value=0)
    table = pd.DataFrame({"images": counts.sum(axis=1), "copies": counts["copy"], "siblings": counts["sibling"]})
    return table.assign(share=1 - counts["none"] / table["images"]).rename_axis(None)


def read_audited(paths: list[Path], id_pattern: str = "") -> pd.DataFrame:
    """A split table as others keep it, image_id and part: one csv with a column of parts, or a csv for each part.

    A file without such a column is a part of its own, named as the file. Image names may end in .jpg or .png and have
    folders before them. id_pattern: a regular expression for the id of the original in the name of an altered copy.
    Raises StudyError for a file without a column of images or without rows, for names without an id, and if all is one
    part: a split that was not understood would be found clean.
    """
    split = pd.concat([_read_part(Path(path), id_pattern) for path in paths], ignore_index=True)
    if split["part"].nunique(dropna=False) < 2:
        known = f"a column of parts ({', '.join(PART_NAMES)}) or a file for each part"
        raise StudyError(f"{', '.join(map(str, paths))}: all of it is one part; a split needs {known}.")
    return split


def read_lesion_numbers(path: Path) -> pd.DataFrame:
    """image_id and lesion_id of a publisher's table of metadata. Raises StudyError if a column is not there."""
    table = _read_csv(path)
    names = {own: _column(table, known) for own, known in (("image_id", IMAGE_NAMES), ("lesion_id", LESION_NAMES))}
    if missing := [own for own, name in names.items() if name is None]:
        raise StudyError(f"{path}: no column {', '.join(missing)}. It has {', '.join(table)}.")
    return pd.DataFrame({own: table[name] for own, name in names.items()}).assign(
        image_id=lambda found: _bare(found["image_id"])
    )


def main(words: list[str] | None = None) -> int:
    """The command line: prints what was found, and gives the exit code."""
    given = _arguments().parse_args(words)
    try:
        lesions = read_lesion_numbers(given.lesions)
        lesions = merge_duplicates(lesions, _read_csv(given.duplicates)) if given.duplicates else lesions
        audit = audit_split(lesions, read_audited(given.split, given.id_pattern))
        leaking = audit[audit["kind"] != "none"]
        if given.list:
            leaking.to_csv(given.list, index=False)
    except (StudyError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(_described(audit))
    return int(len(leaking) > 0)


def merge_duplicates(lesions: pd.DataFrame, duplicates: pd.DataFrame) -> pd.DataFrame:
    """The lesions' table with one lesion_id for lesions whose images were found to show the same.

    duplicates: image_a, image_b. Raises StudyError without these columns.
    """
    if missing := {"image_a", "image_b"} - set(duplicates):
        raise StudyError(f"Duplicates have no column {', '.join(sorted(missing))}.")
    whole = lesions.drop_duplicates().assign(lesion_id=lesions["lesion_id"].fillna(lesions["image_id"]))
    lesion_of = whole.set_index("image_id")["lesion_id"]
    ends = {f"lesion_{end}": duplicates[f"image_{end}"].map(lesion_of) for end in "ab"}
    return whole.assign(lesion_id=duplicate_groups(whole, pd.DataFrame(ends).dropna()))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.evaluation.audit", description="Does a split keep the images of a lesion in one part?"
    )
    parser.add_argument("split", nargs="+", help="csv with image_id and part, or a csv for each part")
    parser.add_argument("--lesions", required=True, help="csv with image_id and lesion_id, as the publishers give it")
    parser.add_argument(
        "--duplicates", help="csv of pairs image_a, image_b that show the same; 02_preprocessing has one"
    )
    parser.add_argument(
        "--id-pattern", default="", help="regular expression for the id in the name of an altered copy: ISIC_[0-9]+"
    )
    parser.add_argument("--list", help="csv to write, with every image whose lesion is elsewhere too")
    return parser


def _described(audit: pd.DataFrame) -> str:
    found = leaks(audit)
    lines = [f"{len(audit):,} images of {audit['lesion_id'].nunique():,} lesions in {len(found)} parts"]
    for part, row in found.iterrows():
        lines.append(
            f"  {part}: {row.images:,.0f} images; {row.copies:,.0f} are in another part themselves, "
            f"{row.siblings:,.0f} more through their lesion ({row.share:.1%})"
        )
    crossing = audit.loc[audit["kind"] != "none", "lesion_id"]
    if crossing.empty:
        return "\n".join([*lines, "Clean: no lesion is in two parts."])
    return "\n".join([*lines, f"Leak: {crossing.nunique():,} lesions are in two parts or more, as {crossing.iloc[0]}."])


def _lesion_of(lesions: pd.DataFrame, images: pd.Series) -> pd.Series:
    """Lesion id of each image, by its own name where the lesion is not known."""
    known = lesions[["image_id", "lesion_id"]].drop_duplicates().astype(object)
    known["image_id"] = known["image_id"].astype(str)
    twice = known.loc[known["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise StudyError(f"{len(twice)} images have two lesions in the table of lesions, {twice.iloc[0]} first.")
    strange = images[~images.isin(known["image_id"])]
    if len(strange):
        raise StudyError(f"{len(strange)} images of the split are not among the lesions, {strange.iloc[0]} first.")
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
    """image_id and part of one file, see `read_audited`."""
    table = _read_csv(path)
    images, parts = _column(table, IMAGE_NAMES), _column(table, PART_NAMES)
    if images is None:
        raise StudyError(f"{path}: no column of images; call it {IMAGE_NAMES[0]}. It has {', '.join(table)}.")
    if table.empty:
        raise StudyError(f"{path}: no images in it, only the names of columns.")
    names = _bare(table[images])
    names = _original(names, id_pattern) if id_pattern else names
    return pd.DataFrame({"image_id": names, "part": table[parts] if parts else path.stem})


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    """The column whose name, in small or capital letters, is the first of `names` that there is."""
    own = {str(name).strip().lower(): name for name in table}
    return next((own[name] for name in names if name in own), None)


def _original(names: pd.Series, pattern: str) -> pd.Series:
    """The part of each name that a regular expression matches."""
    try:
        found = names.map(re.compile(pattern).search)
    except re.error as error:
        raise StudyError(f"--id-pattern {pattern!r}: no regular expression ({error}).") from error
    strange = names[found.isna()]
    if len(strange):
        raise StudyError(f"--id-pattern {pattern!r}: not in {len(strange)} names of images, {strange.iloc[0]} first.")
    return found.map(lambda match: match.group())


def _bare(images: pd.Series) -> pd.Series:
    """Names of images without folder and suffix."""
    return images.astype(str).str.replace(r"^.*[/\\]|\.(jpe?g|png|bmp|tiff?)$", "", regex=True, case=False)


if __name__ == "__main__":
    sys.exit(main())
