"""Does a split keep the images of a lesion in one part?

`python -m helpers.evaluation.audit --lesions HAM10000_metadata.csv train.csv test.csv` audits any split, given as
tables, lists, JSON or folders of images, see `split_files` and `audit_split`. The exit code is 0 for a clean split, 1
for a leaking split, and 2 if the files are not a readable split. With `--id-pattern "ISIC_[0-9]+"`, altered copies are
matched to their original by the id in their names.
"""

import argparse
import sys

import numpy as np
import pandas as pd

from helpers.data.duplicates import duplicate_groups
from helpers.evaluation.split_files import first_ten, read_lesion_ids, read_split_files
from helpers.reading import read_table
from helpers.sentences import percent
from helpers.study import StudyError

DUPLICATES = "Give the table of duplicates that 02_preprocessing writes."
KINDS = ("none", "sibling", "copy")  # in another part: nothing, another image of the same lesion, the same image


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


def main(words: list[str] | None = None) -> int:
    """Command line: prints the result and returns the exit code."""
    given = _arguments().parse_args(words)
    try:
        lesions = read_lesion_ids(given.lesions)
        lesions = merge_duplicates(lesions, read_table(given.duplicates, DUPLICATES)) if given.duplicates else lesions
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
    whole = lesions.drop_duplicates().assign(lesion_id=lesions["lesion_id"].fillna("image " + lesions["image_id"]))
    lesion_of = whole.set_index("image_id")["lesion_id"]
    ends = {f"lesion_{end}": duplicates[f"image_{end}"].map(lesion_of) for end in "ab"}
    return whole.assign(lesion_id=duplicate_groups(whole, pd.DataFrame(ends).dropna()))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.evaluation.audit",
        description="Check that a split keeps each lesion in one part.",
    )
    add = parser.add_argument
    add("split", nargs="+", help="one table, JSON or folder with all parts, or one table, list or folder per part")
    add("--lesions", required=True, help="csv with image_id and lesion_id, as published")
    add("--duplicates", help="csv of duplicate pairs, image_a and image_b, such as 02_preprocessing writes")
    add("--id-pattern", default="", help="regular expression for the id in names of altered copies: ISIC_[0-9]+")
    add("--list", help="csv to write, listing every image whose lesion is also in another part")
    return parser


def _summary(audit: pd.DataFrame) -> str:
    counts = count_leaks(audit)
    lines = [f"{len(audit):,} images of {audit['lesion_id'].nunique():,} lesions in {len(counts):,} parts"]
    for part, row in counts.head(10).iterrows():
        lines.append(
            f"  {part}: {row.images:,.0f} images; {row.copies:,.0f} are also in another part, "
            f"{row.siblings:,.0f} more share a lesion with another part ({percent(row.share, 1)} together)"
        )
    if len(counts) > 10:
        lines.append(f"  and {len(counts) - 10:,} more parts")
    if alone := int((audit["lesion_id"] == "image " + audit["image_id"]).sum()):
        lines.append(f"{alone:,} images have no lesion id; each counts as its own lesion.")
    crossing = audit.loc[audit["kind"] != "none", "lesion_id"].unique()
    leak = f"Leak: {len(crossing):,} lesions are in two or more parts: {first_ten(crossing)}."
    return "\n".join([*lines, leak if len(crossing) else "Clean: no lesion is in two parts."])


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


if __name__ == "__main__":
    sys.exit(main())
