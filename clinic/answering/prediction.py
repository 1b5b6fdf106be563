"""Answers a stream of files, so that a folder of any size needs only the memory of a few batches.

While the network predicts one batch, the next one is read and the previous one is answered and written.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from clinic.answering.answers import Answer, answer_pictures
from clinic.answering.deployment import Deployment
from clinic.answering.network import Predict, Prediction
from clinic.reading.files import InputFile
from clinic.reading.pictures import Picture

BATCH = 16  # pictures that are predicted together: larger batches are not faster, and answers come later


@dataclass(frozen=True)
class Outcome:
    """The outcome for a file: an answer for each of its pictures, or none if it has a fault."""

    file: InputFile
    answers: tuple[Answer, ...] = ()

    @property
    def pairs(self) -> list[tuple[Picture, Answer]]:
        """Each picture with its answer."""
        return list(zip(self.file.pictures, self.answers, strict=True))


def answer_files(files: Iterable[InputFile], deployment: Deployment, predict: Predict) -> Iterator[Outcome]:
    """The outcome for each file that was read, in order. Raises StudyError for numbers that are not finite.

    predict: called by one thread, which is never the caller's. A caller that stops early should close the iterator,
    which ends the thread.
    """
    with closing(_predict_ahead(_batches(files), predict)) as predicted:
        for batch, said in predicted:
            pictures = [picture for file in batch for picture in file.pictures]
            answers = iter(answer_pictures(pictures, said, deployment) if pictures else [])
            for file in batch:
                yield Outcome(file, tuple(next(answers) for _ in file.pictures))


def _predict_ahead(
    batches: Iterable[list[InputFile]], predict: Predict
) -> Iterator[tuple[list[InputFile], Prediction | None]]:
    """Each batch with what is predicted of its pictures, None if it has none, while the next one is being predicted."""
    former = None
    pool = ThreadPoolExecutor(1)
    try:
        for batch in batches:
            squares = [picture.square for file in batch for picture in file.pictures]
            current = batch, pool.submit(predict, np.stack(squares)) if squares else None
            if former:
                yield _with_result(*former)
            former = current
        if former:
            yield _with_result(*former)
    finally:
        pool.shutdown(cancel_futures=True)


def _with_result(batch: list[InputFile], future: Future | None) -> tuple[list[InputFile], Prediction | None]:
    return batch, None if future is None else future.result()


def _batches(files: Iterable[InputFile]) -> Iterator[list[InputFile]]:
    """Groups of files that together have about BATCH pictures."""
    batch, count = [], 0
    for file in files:
        batch.append(file)
        count += max(1, len(file.pictures))
        if count >= BATCH:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch
