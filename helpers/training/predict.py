"""Probabilities of a network for many images."""

from collections.abc import Iterator
from itertools import islice

import keras
import numpy as np
import pandas as pd

from helpers.data.samples import Samples
from helpers.study import StudyError
from helpers.training.compiled import shared_network

BLOCK = 4096  # images predicted at a time
VIEWS = (1, 8)


def symmetries(images: np.ndarray) -> Iterator[np.ndarray]:
    """The eight rotations and reflections of square images [n, side, side, channels], the images themselves first."""
    for mirrored in (images, images[:, :, ::-1]):
        yield from (np.rot90(mirrored, turns, axes=(1, 2)) for turns in range(4))


def predict(model: keras.Model, samples: Samples, views: int = 1) -> np.ndarray:
    """Probabilities float32 [n, classes] for the images of `samples`, block by block so that memory stays small.

    views: 1, or 8 for the mean over the rotations and reflections of each image (test-time augmentation).
    """
    if views not in VIEWS:
        raise StudyError(f"views is {views}; it has to be 1 or 8.")
    network = shared_network(model)
    blocks = []
    for start in range(0, len(samples), BLOCK):
        images = samples.pixels[samples.rows[start : start + BLOCK]]
        turned = (np.ascontiguousarray(view) for view in islice(symmetries(images), views))
        answers = [network.predict(view) for view in turned]
        blocks.append(np.mean(answers, axis=0, dtype=np.float64).astype(np.float32))
    return np.concatenate(blocks)


def predictions_table(split: pd.DataFrame, part: str, probabilities: np.ndarray, *, codes: list[str]) -> pd.DataFrame:
    """The predictions file of a part: image_id, part, label, and the probability of each class, rounded to 6 digits."""
    rows = split.loc[split["part"] == part, ["image_id", "part", "label"]].reset_index(drop=True)
    return rows.join(pd.DataFrame(np.asarray(probabilities, np.float64).round(6), columns=codes))
