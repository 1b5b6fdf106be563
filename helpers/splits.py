"""Which images a model learns from, is chosen on, and is judged on: never the same lesion twice."""

from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from helpers.images import map_threads, read_grey
from helpers.study import StudyError, file_sha256, write_csv

FOLDS = 5  # fold 0 is the test part, a fifth of the images
VALIDATION_SHARE = 1 / 8  # of what is left of the data without the test part, so a tenth of all images
PARTS = ("train", "validation", "test")
GREY_SIDE = 64  # pixels of the thumbnails that the duplicate audit compares
# Set on HAM10000 by looking at the pairs on either side. Small moles on plain skin share their perceptual hash, so the
# hash only proposes pairs; the thumbnails must also agree as wholes and in their fine detail. In doubt, merge: two
# lesions taken for one cost nothing, one lesion taken for two leaks into the test part.
MOST_BITS, LEAST_CORRELATION, LEAST_DETAIL = 72, 0.93, 0.75
SHIFT = 8  # pixels by which one of two thumbnails may be moved to make their detail agree


def find_duplicates(lesions: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images that show the same thing, over all images of a `lesions` table.

    Candidates are pairs whose 256-bit perceptual hashes (imagehash.phash, Zauner 2010) differ in at most MOST_BITS
    bits; a pair is kept when its grey thumbnails correlate by LEAST_CORRELATION and their detail by LEAST_DETAIL.
    Columns: image_a, image_b, lesion_a, lesion_b, label_a, label_b, kind (`exact`: the same bytes; `near`),
    bits, correlation, detail. Mirrored and turned copies are not looked for.
    """
    with tqdm(total=len(lesions), desc="perceptual hash", unit="image", mininterval=1) as bar:
        thumbnails = map_threads(_hash_and_thumbnail, lesions["path"], bar)
    hashes = np.stack([bits for bits, _ in thumbnails])
    grey = np.stack([thumbnail for _, thumbnail in thumbnails]).astype(np.float32)
    a, b, bits = _close_hashes(hashes)
    correlation, detail = _correlation(grey, a, b), _detail_correlation(grey, a, b)
    kept = (correlation >= LEAST_CORRELATION) & (detail >= LEAST_DETAIL)
    return _pair_table(lesions, a[kept], b[kept]).assign(
        bits=bits[kept], correlation=correlation[kept].round(3), detail=detail[kept].round(3)
    )


def duplicate_groups(lesions: pd.DataFrame, duplicates: pd.DataFrame) -> np.ndarray:
    """The group of each image, str [n]: images of a lesion and duplicates of each other are in one group.

    A group is named after the first of its lesions in alphabetical order.
    """
    names, lesion = np.unique(lesions["lesion_id"].to_numpy(str), return_inverse=True)
    ends = [np.searchsorted(names, duplicates[column].to_numpy(str)) for column in ("lesion_a", "lesion_b")]
    links = coo_array((np.ones(len(duplicates)), tuple(ends)), shape=(len(names), len(names)))
    _, component = connected_components(links, directed=False)
    _, first = np.unique(component, return_index=True)
    return names[first[component]][lesion]


def make_split(lesions: pd.DataFrame, groups: np.ndarray, seed: int) -> pd.DataFrame:
    """The split table: image_id, lesion_id, label, part and fold (0 to 4), sorted by image_id.

    Per diagnosis, whole groups are dealt to five folds of equally many images; fold 0 is the test part. The other
    groups are dealt to validation and train at 1 to 7. Depends on ids, labels, groups and seed alone, not on row order.
    Raises StudyError if a diagnosis has fewer groups than there are folds.
    """
    table = lesions[["image_id", "lesion_id", "label"]].assign(group=groups).sort_values("image_id", ignore_index=True)
    units = table.groupby("group").agg(label=("label", _most_frequent), images=("label", "size"))
    dealt = [_deal_label(label, members, seed + 7919 * k) for k, (label, members) in enumerate(units.groupby("label"))]
    return table.join(pd.concat(dealt), on="group").drop(columns="group")


def fold_split(split: pd.DataFrame, fold: int, groups: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """The split whose test part is another fold, for cross-validation; fold 0 gives the split itself.

    Validation is dealt anew from the other folds, in the same share, whole groups as in `make_split`; all else is
    training. groups: of each row, str [n], see `duplicate_groups`. Raises StudyError if there is no such fold.
    """
    if fold not in range(FOLDS):
        raise StudyError(f"fold is {fold}; it has to be 0 to {FOLDS - 1}.")
    if fold == 0:
        return split
    part = np.where(split["fold"] == fold, "test", "train").astype(object)
    rest = split.assign(group=groups)[split["fold"] != fold]
    units = rest.groupby("group").agg(label=("label", _most_frequent), images=("label", "size"))
    for number, (_, members) in enumerate(units.groupby("label")):
        order = np.random.default_rng([seed, fold, number]).permutation(len(members))
        members = members.iloc[order].sort_values("images", ascending=False, kind="stable")
        dealt = _deal(members["images"].to_numpy(), np.array([1 - VALIDATION_SHARE, VALIDATION_SHARE]))
        part[np.isin(groups, members.index[dealt == 1])] = "validation"
    return split.assign(part=part)


def write_split(split: pd.DataFrame, path: Path) -> None:
    """Write a split as csv, the same bytes on every machine."""
    write_csv(path, split)


def read_split(path: Path) -> pd.DataFrame:
    """Read a split table. Raises StudyError if it is absent or not a split."""
    if not Path(path).is_file():
        raise StudyError(f"{path}: no split yet. Run the notebook 02_preprocessing of this study first.")
    split = pd.read_csv(path, dtype={"image_id": str, "lesion_id": str, "label": str, "part": str})
    missing = {"image_id", "lesion_id", "label", "part", "fold"} - set(split.columns)
    if missing:
        raise StudyError(f"{path}: column {', '.join(sorted(missing))} is missing. Run 02_preprocessing again.")
    return split


def _hash_and_thumbnail(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Perceptual hash uint64 [4] and grey thumbnail uint8 [64, 64] of one file."""
    thumbnail = read_grey(path, GREY_SIDE)
    bits = imagehash.phash(thumbnail, hash_size=16).hash
    return np.packbits(bits).view(np.uint64), np.asarray(thumbnail)


def _close_hashes(hashes: np.ndarray, block: int = 512) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs a < b of rows of uint64 [n, 4] that differ in at most MOST_BITS bits, and in how many they do."""
    pairs = []
    for start in range(0, len(hashes), block):
        rows = hashes[start : start + block]
        bits = sum(np.bitwise_count(rows[:, None, word] ^ hashes[None, :, word]).astype(np.int16) for word in range(4))
        a, b = np.nonzero(bits <= MOST_BITS)
        upper = a + start < b
        pairs.append(np.stack([a[upper] + start, b[upper], bits[a[upper], b[upper]]]))
    return tuple(np.concatenate(pairs, axis=1))


def training_subset(split: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """The split with only a share of its training lesions, as many of each label; validation and test stay whole.

    A label keeps at least one lesion. With the same seed a smaller share is part of a larger one. Raises StudyError for
    a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise StudyError(f"The fraction of training lesions is {fraction}; it has to be above 0 and at most 1.")
    training = split[split["part"] == "train"]
    kept = []
    for _, lesions in training.groupby("label")["lesion_id"]:
        names = np.random.default_rng(seed).permutation(np.unique(lesions))
        kept.extend(names[: max(1, round(fraction * len(names)))])
    return split[(split["part"] != "train") | split["lesion_id"].isin(kept)]


def _unit(images: np.ndarray) -> np.ndarray:
    """Images [n, h, w] with mean 0 and norm 1 each."""
    images = images - images.mean(axis=(1, 2), keepdims=True)
    return images / np.maximum(np.linalg.norm(images, axis=(1, 2), keepdims=True), 1e-6)


def _correlation(grey: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation float32 [pairs] of whole thumbnails."""
    unit = _unit(grey)
    return np.einsum("phw,phw->p", unit[a], unit[b])


def _detail_correlation(grey: np.ndarray, a: np.ndarray, b: np.ndarray, block: int = 2048) -> np.ndarray:
    """Correlation float32 [pairs] of the fine detail of thumbnails, at the best shift of less than SHIFT pixels.

    Detail is what a Gaussian blur of 2 pixels takes away. The shift is found by cross-correlation in Fourier space.
    """
    edge = SHIFT // 2
    detail = (grey - gaussian_filter(grey, (0, 2, 2)))[:, edge:-edge, edge:-edge]
    window = np.hanning(detail.shape[1])
    spectrum = np.fft.rfft2(_unit(_unit(detail) * np.outer(window, window).astype(np.float32)))
    best = [np.zeros(0, np.float32)]
    for start in range(0, len(a), block):
        product = spectrum[a[start : start + block]] * spectrum[b[start : start + block]].conj()
        surface = np.roll(np.fft.irfft2(product, s=detail.shape[1:]), (SHIFT - 1, SHIFT - 1), axis=(1, 2))
        best.append(surface[:, : 2 * SHIFT - 1, : 2 * SHIFT - 1].max(axis=(1, 2)))
    return np.concatenate(best)


def _pair_table(lesions: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    first, second = lesions.iloc[a].reset_index(), lesions.iloc[b].reset_index()
    exact = [file_sha256(left) == file_sha256(right) for left, right in zip(first["path"], second["path"], strict=True)]
    return pd.DataFrame(
        {
            **{f"{name}_a": first[f"{name}_id"] for name in ("image", "lesion")},
            **{f"{name}_b": second[f"{name}_id"] for name in ("image", "lesion")},
            "label_a": first["label"],
            "label_b": second["label"],
            "kind": np.where(exact, "exact", "near") if exact else np.array([], dtype=object),
        }
    )


def _most_frequent(labels: pd.Series) -> str:
    """The commonest label; of equally common ones the first in alphabetical order."""
    return labels.value_counts().sort_index().idxmax()


def _deal_label(label: str, members: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fold and part of each group of one diagnosis, indexed by group."""
    if len(members) < FOLDS:
        raise StudyError(f"Diagnosis {label} has {len(members)} lesions; {FOLDS} folds need one each.")
    random = np.random.default_rng(seed)
    # Large groups first, so that the small ones can level the folds out.
    members = members.sort_index().iloc[random.permutation(len(members))]
    members = members.sort_values("images", ascending=False, kind="stable")
    images = members["images"].to_numpy()
    fold = random.permutation(FOLDS)[_deal(images, np.full(FOLDS, 1 / FOLDS))]
    part = np.full(len(members), "test", dtype=object)
    rest = fold != 0
    dealt = _deal(images[rest], np.array([1 - VALIDATION_SHARE, VALIDATION_SHARE]))
    part[rest] = np.array(["train", "validation"], dtype=object)[dealt]
    return pd.DataFrame({"part": part, "fold": fold}, index=members.index)


def _deal(sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Give each item, in order, to the pile that lacks the largest part of its share; int64 [items]."""
    piles = np.zeros(len(shares))
    chosen = np.empty(len(sizes), dtype=np.int64)
    for item, size in enumerate(sizes):
        chosen[item] = np.argmin(piles / shares)
        piles[chosen[item]] += size
    return chosen
