"""Find duplicate photographs by perceptual hash and correlation."""

import imagehash
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from helpers.data.pixels import map_threads, read_grey
from helpers.records import file_sha256

GREY_SIDE = 64  # side of the compared thumbnails, pixels
# Chosen on HAM10000 by looking at pairs on both sides of each limit. Small moles on plain skin can have the same hash,
# so the hash only proposes pairs. The thumbnails must also agree, as a whole and in fine detail. When in doubt, pairs
# are merged: treating two lesions as one does no harm, but treating one lesion as two leaks it into the test part.
MOST_BITS, LEAST_CORRELATION, LEAST_DETAIL = 72, 0.93, 0.75
SHIFT = 8  # thumbnails may be shifted by fewer pixels than this to align their detail
HASHES_AT_ONCE, PAIRS_AT_ONCE = 512, 2048  # processed at a time, to limit memory


def find_duplicates(lesions: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images in a `lesions` table that are duplicates of each other.

    Candidates are pairs whose 256-bit perceptual hashes (imagehash.phash, Zauner 2010) differ in at most MOST_BITS
    bits. A pair is kept if its grey thumbnails correlate by at least LEAST_CORRELATION and their fine detail by at
    least LEAST_DETAIL. Mirrored and rotated copies are not found.
    Columns: image_a, image_b, lesion_a, lesion_b, label_a, label_b, kind (`exact`: the same bytes; `near`),
    bits, correlation, detail.
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
    """The group of each image, str [n]. A group holds all images of its lesions and all their duplicates.

    A group is named after the first of its lesions in alphabetical order.
    """
    names, lesion = np.unique(lesions["lesion_id"].to_numpy(str), return_inverse=True)
    ends = [np.searchsorted(names, duplicates[column].to_numpy(str)) for column in ("lesion_a", "lesion_b")]
    links = coo_array((np.ones(len(duplicates)), tuple(ends)), shape=(len(names), len(names)))
    _, component = connected_components(links, directed=False)
    _, first = np.unique(component, return_index=True)
    return names[first[component]][lesion]


def _hash_and_thumbnail(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Perceptual hash uint64 [4] and grey thumbnail uint8 [64, 64] of one file."""
    thumbnail = read_grey(path, GREY_SIDE)
    bits = imagehash.phash(thumbnail, hash_size=16).hash
    return np.packbits(bits).view(np.uint64), np.asarray(thumbnail)


def _close_hashes(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs a < b of rows of uint64 [n, 4] that differ in at most MOST_BITS bits, and the number of differing bits."""
    pairs = []
    for start in range(0, len(hashes), HASHES_AT_ONCE):
        rows = hashes[start : start + HASHES_AT_ONCE]
        bits = sum(np.bitwise_count(rows[:, None, word] ^ hashes[None, :, word]).astype(np.int16) for word in range(4))
        a, b = np.nonzero(bits <= MOST_BITS)
        upper = a + start < b
        pairs.append(np.stack([a[upper] + start, b[upper], bits[a[upper], b[upper]]]))
    return tuple(np.concatenate(pairs, axis=1))


def _unit(images: np.ndarray) -> np.ndarray:
    """Images [n, h, w] with mean 0 and norm 1 each."""
    images = images - images.mean(axis=(1, 2), keepdims=True)
    return images / np.maximum(np.linalg.norm(images, axis=(1, 2), keepdims=True), 1e-6)


def _correlation(grey: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation float32 [pairs] of whole thumbnails."""
    unit = _unit(grey)
    return np.einsum("phw,phw->p", unit[a], unit[b])


def _detail_correlation(grey: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation float32 [pairs] of the fine detail of thumbnails, at the best shift of less than SHIFT pixels.

    Detail is what a Gaussian blur of 2 pixels removes. The shift is found by cross-correlation in Fourier space.
    """
    edge = SHIFT // 2
    detail = (grey - gaussian_filter(grey, (0, 2, 2)))[:, edge:-edge, edge:-edge]
    window = np.hanning(detail.shape[1])
    spectrum = np.fft.rfft2(_unit(_unit(detail) * np.outer(window, window).astype(np.float32)))
    best = [np.zeros(0, np.float32)]
    for start in range(0, len(a), PAIRS_AT_ONCE):
        block = slice(start, start + PAIRS_AT_ONCE)
        product = spectrum[a[block]] * spectrum[b[block]].conj()
        surface = np.roll(np.fft.irfft2(product, s=detail.shape[1:]), (SHIFT - 1, SHIFT - 1), axis=(1, 2))
        best.append(surface[:, : 2 * SHIFT - 1, : 2 * SHIFT - 1].max(axis=(1, 2)))
    return np.concatenate(best)


def _pair_table(lesions: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """Ids, labels and kind of the pairs of rows `a` and `b`."""
    first, second = lesions.iloc[a].reset_index(), lesions.iloc[b].reset_index()
    same = [file_sha256(one) == file_sha256(other) for one, other in zip(first["path"], second["path"], strict=True)]
    columns = {"image_a": first["image_id"], "lesion_a": first["lesion_id"]}
    columns |= {"image_b": second["image_id"], "lesion_b": second["lesion_id"]}
    columns |= {"label_a": first["label"], "label_b": second["label"]}
    return pd.DataFrame(columns | {"kind": np.where(same, "exact", "near").astype(object)})
