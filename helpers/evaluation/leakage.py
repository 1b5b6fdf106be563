"""Ways of splitting and resampling, used in published work, that leak lesions from training into test."""

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from helpers.data.pixels import PixelCache

BLOCK = 128  # images changed at a time, to limit memory


def split_by_image(split: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same rows split by image instead of by lesion, by permuting the parts within each label.

    Each part keeps its number of images per label, so only the distribution of lesions changes.
    """
    random = np.random.default_rng(seed)
    parts = split.groupby("label")["part"].transform(lambda column: random.permutation(column.to_numpy()))
    return split.assign(part=parts)


def oversample(split: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A split of about the same size with equally many rows per label, each divided among the parts in the same way.

    Images of rare labels are repeated, possibly in several parts. The column `copy` counts the uses of an image from 0.
    Images of frequent labels are left out at random.
    """
    random = np.random.default_rng(seed)
    rows = len(split) // split["label"].nunique()
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
