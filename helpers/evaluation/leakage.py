"""Ways of splitting and resampling, used in published work, that leak lesions from training into test."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from helpers.data.pixels import PixelCache
from helpers.evaluation.audit import audit_split
from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate
from helpers.evaluation.comparison import resampled_scores
from helpers.evaluation.predictions import Predictions

INFLATION = ("claimed", "true", "inflation", "claimed_change", "true_change", "beyond")  # see `measure_inflation`
BLOCK = 128  # images changed at a time, to limit memory


def split_by_image(split: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same rows split by image instead of by lesion, by permuting the parts within each label.

    Each part keeps its number of images per label, so only the distribution of lesions changes.
    """
    random = np.random.default_rng(seed)
    parts = split.groupby("label")["part"].transform(lambda column: random.permutation(column.to_numpy()))
    return split.assign(part=parts)


def choose_on(split: pd.DataFrame, part: str) -> pd.DataFrame:
    """The split of a study that chooses its epoch on `part`: the images of that part are also its validation images."""
    return pd.concat([split[split["part"] != "validation"], split[split["part"] == part].assign(part="validation")])


def oversample(split: pd.DataFrame, seed: int, size: float = 1.0) -> pd.DataFrame:
    """A split with equally many rows per label, each divided among the parts in the same way.

    size: its number of rows, relative to the original split.

    Images of rare labels are repeated, possibly in several parts. The column `copy` counts the uses of an image from 0.
    Images of frequent labels are left out at random.
    """
    random = np.random.default_rng(seed)
    rows = int(size * len(split)) // split["label"].nunique()
    shares = split["part"].value_counts(normalize=True).sort_index()
    edges = np.round(shares.cumsum() * rows).astype(int).to_numpy()
    parts = shares.index.to_numpy()[np.searchsorted(edges, np.arange(rows), "right")]
    drawn = []
    for _, images in split.groupby("label"):
        order, copy = random.permutation(len(images)), np.arange(rows) // len(images)
        drawn.append(images.iloc[np.resize(order, rows)].assign(copy=copy, part=random.permutation(parts)))
    return pd.concat(drawn, ignore_index=True)


def add_altered_copies(
    cache: PixelCache, drawn: pd.DataFrame, change: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[pd.DataFrame, PixelCache]:
    """A split in which repeated uses (`copy` above 0) are new images, `<image_id>#<copy>`, and the cache of its pixels.

    change: a function from uint8 [n, side, side, 3] to the same shape, applied to the repeated uses, at most BLOCK at a
    time. With None they stay as they are. The new column `source` names the image that each row was made from.
    """
    again = drawn["copy"].to_numpy() > 0
    names = drawn["image_id"].where(~again, drawn["image_id"] + "#" + drawn["copy"].astype(str))
    pixels = cache.pixels[cache.rows(drawn["image_id"])]
    if change is not None:
        places = np.flatnonzero(again)
        for block in np.split(places, range(BLOCK, len(places), BLOCK)):
            pixels[block] = change(pixels[block])
    fingerprint = hashlib.sha256(pixels)
    fingerprint.update("\n".join(names).encode())
    copies = PixelCache(pixels, names.to_numpy(object), fingerprint.hexdigest())
    return drawn.assign(source=drawn["image_id"], image_id=names), copies


def audit_protocol(lesions: pd.DataFrame, split: pd.DataFrame, parts: Mapping[str, str]) -> pd.DataFrame:
    """`audit_split` of a split whose rows may be copies (column `source`). parts: new names; others are left out."""
    used = split.assign(image_id=split.get("source", split["image_id"]), part=split["part"].map(parts))
    return audit_split(lesions, used.dropna(subset="part"))


def measure_inflation(
    claims: Mapping[str, Predictions],
    truths: Mapping[str, Predictions],
    metric: str,
    *,
    bootstrap: Bootstrap = STANDARD,
) -> pd.DataFrame:
    """How much a protocol's own test part flatters its network, which is also judged on lesions that no protocol used.

    claims, truths: by protocol; the truths are of the same images. Index: protocol, then claimed, true, inflation
    (claimed minus true), the changes of claimed and true from the first protocol, and beyond, the change of the
    inflation, which removes what is easier about the first protocol's lesions. Columns: value, low and high (95 %).
    The unseen lesions are resampled together for all protocols. Claimed parts are resampled independently, unless they
    hold the same images.
    """
    claimed, first = {}, next(iter(claims.values()))
    for name, seen in claims.items():
        same = np.array_equal(seen.lesions, first.lesions)
        resampling = bootstrap if same else replace(bootstrap, seed=bootstrap.seed + 2)
        (claimed[name],) = resampled_scores([seen], metric, resampling)
    true = dict(zip(truths, resampled_scores(truths.values(), metric, bootstrap.independent()), strict=True))
    start, rows = next(iter(claims)), {}
    for name in claims:
        changes = claimed[name] - claimed[start], true[name] - true[start]
        drawn = (claimed[name], true[name], claimed[name] - true[name], *changes, np.subtract(*changes))
        rows |= {(name, what): estimate(one) for what, one in zip(INFLATION, drawn, strict=True)}
    return pd.DataFrame(rows).T.rename_axis(["protocol", "what"]).astype(float)
