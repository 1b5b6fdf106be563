"""The images of one part of a split, ready for a network."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.data.pixels import PixelCache
from helpers.study import StudyError


@dataclass(frozen=True)
class Samples:
    """Images of one part: `rows`, int64 [n], of `pixels`, uint8 [N, side, side, 3], and `labels`, int64 [n]."""

    pixels: np.ndarray
    rows: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def part_samples(split: pd.DataFrame, cache: PixelCache, codes: list[str], *, part: str) -> Samples:
    """The images of one part of the split (`train`, `validation`, `test`), with class indices in the order of `codes`.

    Raises StudyError if the part is empty or an image is not in the cache.
    """
    chosen = split[split["part"] == part]
    if chosen.empty:
        raise StudyError(f"The split has no images in its {part} part. Run the notebook 02_preprocessing again.")
    return Samples(cache.pixels, cache.rows(chosen["image_id"]), pd.Index(codes).get_indexer(chosen["label"]))


def all_images(pixels: np.ndarray) -> Samples:
    """All images of an array, uint8 [n, side, side, 3], whose classes are not known or do not matter."""
    return Samples(pixels, np.arange(len(pixels)), np.zeros(len(pixels), np.int64))
