"""What a model says of new images: probabilities, malignancy at the operating point, or that it had better not answer.

Files come in and answers go out in one stream, so that a folder of any size takes the memory of a few batches. While
one batch is read and another answered and written, the network is busy with the one between them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clinic.answering.answers import Answer, answer
from clinic.answering.deployment import Deployment
from clinic.answering.network import BATCH, BATCH_SHOWN, Logits, Network
from clinic.reading.intake import Arrival, Found, Reader, read_ahead
from clinic.reading.pictures import Picture

if TYPE_CHECKING:
    import keras

AHEAD = 2  # batches that are read while one is predicted


@dataclass(frozen=True)
class Outcome:
    """What became of a file: its pictures with their answers, or the fault in `arrival`."""

    arrival: Arrival
    answers: tuple[Answer, ...] = ()

    @property
    def pairs(self) -> list[tuple[Picture, Answer]]:
        """Each picture with its answer."""
        return list(zip(self.arrival.pictures, self.answers, strict=True))


def predict_files(files: Sequence[Found], reader: Reader, deployment: Deployment, logits: Logits) -> Iterator[Outcome]:
    """What becomes of each file, in their order. Raises StudyError for a model whose answers are no numbers.

    logits: called by one thread, which is never the caller's. Whoever leaves before the end should close the iterator,
    which ends the threads.
    """
    size = BATCH_SHOWN if reader.wanted.preview else BATCH
    with (
        closing(read_ahead(files, reader, AHEAD * size)) as arrivals,
        closing(_asked_ahead(_batches(arrivals, size), logits)) as asked,
    ):
        for batch, given in asked:
            pictures = [picture for arrival in batch for picture in arrival.pictures]
            answers = iter(answer(deployment, given, pictures) if pictures else [])
            for arrival in batch:
                yield Outcome(arrival, tuple(next(answers) for _ in arrival.pictures))


def _asked_ahead(batches: Iterable[list[Arrival]], logits: Logits) -> Iterator[tuple[list[Arrival], np.ndarray | None]]:
    """Each batch with the logits of its pictures, None where it has none; meanwhile the next one is being asked."""
    former = None
    pool = ThreadPoolExecutor(1)
    try:
        for batch in batches:
            squares = [picture.square for arrival in batch for picture in arrival.pictures]
            asked = pool.submit(logits, np.stack(squares)) if squares else None
            if former:
                yield _with_result(*former)
            former = batch, asked
        if former:
            yield _with_result(*former)
    finally:
        pool.shutdown(cancel_futures=True)


def _with_result(batch: list[Arrival], asked: Future | None) -> tuple[list[Arrival], np.ndarray | None]:
    return batch, None if asked is None else asked.result()


def _batches(arrivals: Iterable[Arrival], size: int) -> Iterator[list[Arrival]]:
    """Files with `size` pictures together, or a few more, and the rest; the first ones come soon, with BATCH_SHOWN."""
    batch, count, wanted = [], 0, min(size, BATCH_SHOWN)
    for arrival in arrivals:
        batch.append(arrival)
        count += max(1, len(arrival.pictures))
        if count >= wanted:
            yield batch
            batch, count, wanted = [], 0, size
    if batch:
        yield batch


def speeds(
    files: Sequence[Found], deployment: Deployment, model: "keras.Model", network: Network, rounds: int = 3
) -> dict[str, float]:
    """Images a second, the median of `rounds` turns, and how the first two compare within a turn.

    `bare`: of the network asked about images in memory; `files`: from files to its answers; `keras`: of Keras' own
    `predict` with the model, in memory. Each turn measures all three, one after the other, with the same images.
    `least share`, `share` and `largest share`: least, median and largest of the turns' files / bare. network: of model.
    """
    with Reader(deployment.wanted()) as reader:
        read = [picture.square for arrival in read_ahead(files, reader, AHEAD) for picture in arrival.pictures]
        images = np.stack(read)
        ways = {
            "bare": lambda: network(images),
            "files": lambda: list(predict_files(files, reader, deployment, network)),
            "keras": lambda: model.predict(images, BATCH, verbose=0),
        }
        turns = [{name: _seconds(way) for name, way in ways.items()} for _ in range(rounds + 1)]
    taken = pd.DataFrame(turns[1:])  # the first time, they are compiled
    share = taken["bare"] / taken["files"]
    named = {"least share": share.min(), "share": share.median(), "largest share": share.max()}
    return {name: float(value) for name, value in ((len(images) / taken.median()).to_dict() | named).items()}


def _seconds(way: Callable[[], object]) -> float:
    """How long a way takes."""
    started = time.perf_counter()
    way()
    return time.perf_counter() - started
