"""Train, validation and test parts, and five folds, with all images of a lesion in the same part."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.reading import read_csv, read_json
from helpers.records import describe_split, write_csv, write_json
from helpers.study import StudyError

FOLDS = 5  # fold 0 is the test part, one fifth of the images
VALIDATION_SHARE = 1 / 8  # of the images outside the test part, that is, one tenth of all images
PARTS = ("train", "validation", "test")
COLUMNS = ("image_id", "lesion_id", "label", "part", "fold")


def make_split(lesions: pd.DataFrame, groups: np.ndarray, seed: int) -> pd.DataFrame:
    """The split table: image_id, lesion_id, label, part and fold (0 to 4), sorted by image_id.

    Within each diagnosis, whole groups are assigned to five folds with about the same number of images. Fold 0 is the
    test part. The other groups are assigned to validation and train in the ratio 1 to 7. The order of the rows does not
    matter. groups: group of each image, str [n], see `duplicate_groups`. Raises StudyError if a diagnosis has fewer
    groups than there are folds.
    """
    table = lesions[["image_id", "lesion_id", "label"]].assign(group=groups).sort_values("image_id", ignore_index=True)
    dealt = [_deal_label(label, members, seed + 7919 * k) for k, (label, members) in enumerate(_groups_by_label(table))]
    return table.join(pd.concat(dealt), on="group").drop(columns="group")


def fold_split(split: pd.DataFrame, fold: int, groups: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
    """The split with another fold as test part, for cross-validation. Fold 0 gives the split itself.

    Validation is drawn again from the other folds, in whole groups as in `make_split`. The rest is training. groups:
    group of each row, str [n], see `duplicate_groups`. Raises StudyError if there is no such fold.
    """
    if fold not in range(FOLDS):
        raise StudyError(f"fold is {fold}; it must be between 0 and {FOLDS - 1}.")
    if fold == 0:
        return split
    part = np.where(split["fold"] == fold, "test", "train").astype(object)
    rest = split.assign(group=groups)[split["fold"] != fold]
    for number, (_, members) in enumerate(_groups_by_label(rest)):
        members = _shuffle_by_size(members, np.random.default_rng([seed, fold, number]))
        dealt = _deal(members["images"].to_numpy(), np.array([1 - VALIDATION_SHARE, VALIDATION_SHARE]))
        part[np.isin(groups, members.index[dealt == 1])] = "validation"
    return split.assign(part=part)


def save_split(split: pd.DataFrame, path: Path) -> None:
    """Write a split table as csv, and its checksum and the sizes of its parts as json with the same name."""
    write_csv(path, split)
    write_json(Path(path).with_suffix(".json"), describe_split(split))


def read_split(path: Path, lesions: pd.DataFrame) -> pd.DataFrame:
    """Read a split table written by `save_split` for the images of the `lesions` table.

    Raises StudyError if a file is missing or is not the one written, if a lesion is in two parts, and unless each image
    of `lesions` is there exactly once.
    """
    remedy = "Run `make 02_preprocessing STUDY=…`, which splits the lesions again."
    split = read_csv(path, remedy, dtype=dict.fromkeys(COLUMNS[:4], str))
    recorded = read_json(Path(path).with_suffix(".json"), remedy)
    if fault := _find_fault(split, lesions):
        raise StudyError(f"{path}: {fault}. {remedy}")
    if describe_split(split) != recorded:
        raise StudyError(f"{path}: it is not the split that 02_preprocessing wrote; its checksum differs. {remedy}")
    return split


def training_subset(split: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """The split with only a fraction of the training lesions of each label; validation and test stay complete.

    Each label keeps at least one lesion. With the same seed, a smaller subset is contained in a larger one. Raises
    StudyError for a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise StudyError(f"The fraction of training lesions is {fraction}; it must be above 0 and at most 1.")
    training = split[split["part"] == "train"]
    kept = []
    for _, lesions in training.groupby("label")["lesion_id"]:
        names = np.random.default_rng(seed).permutation(np.unique(lesions))
        kept.extend(names[: max(1, round(fraction * len(names)))])
    return split[(split["part"] != "train") | split["lesion_id"].isin(kept)]


def _find_fault(split: pd.DataFrame, lesions: pd.DataFrame) -> str:
    """What makes a table useless as a split of these images, in words; empty if nothing does."""
    if missing := set(COLUMNS) - set(split.columns):
        return f"column {', '.join(sorted(missing))} is missing"
    listed, known = set(split["image_id"]), set(lesions["image_id"])
    torn = split.groupby("lesion_id")["part"].nunique() > 1
    faults = {
        "have no part of the split": split.loc[~split["part"].isin(PARTS), "image_id"],
        "are listed twice": split.loc[split["image_id"].duplicated(), "image_id"],
        "are in two parts": torn.index[torn],
        "are in lesions.csv, but not in the split": sorted(known - listed),
        "are in the split, but not in lesions.csv": sorted(listed - known),
    }
    found = ((words, list(names)) for words, names in faults.items() if len(names))
    return next((f"{len(names)} ids {words}, the first is {names[0]}" for words, names in found), "")


def _groups_by_label(table: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """The groups of each label, with their numbers of images. A group counts for its most frequent label."""

    def most_frequent(labels: pd.Series) -> str:
        return labels.value_counts().sort_index().idxmax()  # ties go to the first in alphabetical order

    groups = table.groupby("group").agg(label=("label", most_frequent), images=("label", "size"))
    return groups.groupby("label")


def _shuffle_by_size(members: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Groups in random order, but large ones first, so that the small ones can balance the parts."""
    order = random.permutation(len(members))
    return members.iloc[order].sort_values("images", ascending=False, kind="stable")


def _deal_label(label: str, members: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fold and part of each group of one diagnosis, indexed by group."""
    if len(members) < FOLDS:
        raise StudyError(f"Diagnosis {label} has {len(members)} lesions, but each of {FOLDS} folds needs one.")
    random = np.random.default_rng(seed)
    members = _shuffle_by_size(members, random)
    images = members["images"].to_numpy()
    fold = random.permutation(FOLDS)[_deal(images, np.full(FOLDS, 1 / FOLDS))]
    part = np.full(len(members), "test", dtype=object)
    rest = fold != 0
    dealt = _deal(images[rest], np.array([1 - VALIDATION_SHARE, VALIDATION_SHARE]))
    part[rest] = np.array(["train", "validation"], dtype=object)[dealt]
    return pd.DataFrame({"part": part, "fold": fold}, index=members.index)


def _deal(sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Assign each item, in order, to the pile that is furthest below its share: int64 [items]."""
    piles = np.zeros(len(shares))
    chosen = np.empty(len(sizes), dtype=np.int64)
    for item, size in enumerate(sizes):
        chosen[item] = np.argmin(piles / shares)
        piles[chosen[item]] += size
    return chosen
