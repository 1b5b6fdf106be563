"""The splits and resamplings by which published work lets lesions leak from training into test."""

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from helpers.data.pixels import PixelCache, gather

BLOCK = 128  # images that are changed at a time


def split_by_image(split: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A split of the same rows that deals out images instead of lesions: parts change places within each label.

    Every part keeps as many images of each label as it had, so that nothing but the lesions' homes differs.
    """
    random = np.random.default_rng(seed)
    parts = split.groupby("label")["part"].transform(lambda own: random.permutation(own.to_numpy()))
    return split.assign(part=parts)


def oversample(split: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A split of about as many rows, as many of each label, each label in the same shares of the parts.

    Images of a rare label are there again and again, in whatever part; a column `copy` numbers the uses of an image
    from 0. Images of a frequent label are left out at random instead.
    """
    random = np.random.default_rng(seed)
    wanted = len(split) // split["label"].nunique()
    shares = split["part"].value_counts(normalize=True).sort_index()
    edges = np.round(shares.cumsum() * wanted).astype(int).to_numpy()
    parts = shares.index.to_numpy()[np.searchsorted(edges, np.arange(wanted), "right")]
    drawn = []
    for _, own in split.groupby("label"):
        order = random.permutation(len(own))
        again = np.arange(wanted) // len(own)
        drawn.append(own.iloc[np.resize(order, wanted)].assign(copy=again, part=random.permutation(parts)))
    return pd.concat(drawn, ignore_index=True)


def add_altered_copies(
    cache: PixelCache, drawn: pd.DataFrame, change: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[pd.DataFrame, PixelCache]:
    """A split whose repeated uses (`copy` above 0) are images of their own, `<image_id>#<copy>`, and its pixels alone.

    change: what is done to the repeated uses, uint8 [n, side, side, 3] to the same, at most BLOCK at a time; nothing by
    default. The split gets a column `source`, the image that each row was made of.
    """
    again = drawn["copy"].to_numpy() > 0
    names = drawn["image_id"].where(~again, drawn["image_id"] + "#" + drawn["copy"].astype(str))
    pixels = gather(cache.pixels, cache.rows(drawn["image_id"]))
    if change is not None:
        places = np.flatnonzero(again)
        for block in np.split(places, range(BLOCK, len(places), BLOCK)):
            pixels[block] = change(pixels[block])
    fingerprint = hashlib.sha256(pixels)
    fingerprint.update("\n".join(names).encode())
    copies = PixelCache(pixels, names.to_numpy(object), fingerprint.hexdigest())
    return drawn.assign(source=drawn["image_id"], image_id=names), copies
