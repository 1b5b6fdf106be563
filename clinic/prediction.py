"""What a model says of new images: probabilities, malignancy at the operating point, or that it had better not answer.

Files come in and answers go out in one stream, so that a folder of any size takes the memory of a few batches. While
one batch is read and another answered and written, the network is busy with the one between them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import logsumexp, softmax

from clinic import DISCLAIMER
from clinic.codes import SILENT, level
from clinic.deployment import Deployment, software_version
from clinic.intake import Arrival, Found, Reader, read_ahead
from clinic.pictures import Picture
from helpers.records import write_csv, write_json
from helpers.study import StudyError

if TYPE_CHECKING:  # tables and pages need no backend
    import keras

# Images at a time; fewer where each is also kept to be shown. No others: each further size is compiled anew.
BATCH, BATCH_SHOWN = 128, 16
AHEAD = 2  # batches that are read while one is predicted
DIGITS = 6
MARKED = "its file says that text is burned into the image"

Logits = Callable[[np.ndarray], np.ndarray]  # images uint8 [n, side, side, 3] to float64 [n, classes]


@dataclass(frozen=True)
class Answer:
    """What the model says of one image.

    probabilities, calibrated: float64 [classes], as they are, of which the highest is the answer, and calibrated by
    the deployment's temperature and biases; malignancy, calibrated_malignancy: the sum of either over the malignant
    classes; the first is a score, on which the operating point was set, and only the second is to be told as a
    probability; energy: of the logits; silent: whether the model gives no answer, since the energy is below its limit;
    suspicious: whether malignancy reaches the operating point, None where the model is silent; warnings: what is
    doubtful about the image.
    """

    probabilities: np.ndarray
    calibrated: np.ndarray
    malignancy: float
    calibrated_malignancy: float
    energy: float
    silent: bool
    suspicious: bool | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a file: its pictures with their answers, or the fault in `arrival`."""

    arrival: Arrival
    answers: tuple[Answer, ...] = ()

    @property
    def pairs(self) -> list[tuple[Picture, Answer]]:
        """Each picture with its answer."""
        return list(zip(self.arrival.pictures, self.answers, strict=True))


class Network:
    """A model of the study as the clinic asks it: for its logits, batch by batch, by the fastest kernels there are.

    Raises StudyError for a network without the last layer of those of `models`.
    """

    def __init__(self, model: "keras.Model"):
        import keras

        from helpers.training.compiled import SharedNetwork
        from helpers.training.features import logit_weights

        try:
            own = SharedNetwork(model).network
            own.set_weights(model.get_weights())
            self._backbone = keras.Model(own.inputs, own.get_layer("head_softmax").input)
            self._kernel, self._bias = logit_weights(own)
        except (ValueError, AttributeError) as error:
            raise StudyError(
                "The model has no dense layer head_softmax to take logits from, as the study's do."
            ) from error

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits float64 [n, classes] of images uint8 [n, side, side, 3]."""
        blocks, start = [], 0
        while start < len(images):
            # The rest goes in small batches: filled up to a large one, most of that would be predicted for nothing.
            size = BATCH if len(images) - start > BATCH - BATCH_SHOWN else BATCH_SHOWN
            blocks.append(self._batch(images[start : start + size], size))
            start += size
        return np.concatenate(blocks)

    def _batch(self, images: np.ndarray, size: int) -> np.ndarray:
        # Not `predict`: for a batch at a time, most of what it does takes longer than the network.
        seen = self._backbone.predict_on_batch(np.resize(images, (size, *images.shape[1:])))[: len(images)]
        return np.float64(seen) @ self._kernel + self._bias


def answer(deployment: Deployment, logits: np.ndarray, pictures: Sequence[Picture]) -> list[Answer]:
    """What logits float [n, classes] mean for n pictures, by the limits of the deployment. Raises StudyError."""
    if not np.isfinite(logits).all():
        raise StudyError(f"{deployment.name}: its answers are no finite numbers, so its file is not what it should be.")
    malignant = np.array([one.malignant for one in deployment.classes])
    probabilities = softmax(logits, axis=1)
    calibrated = softmax(logits / deployment.temperature + np.array(deployment.biases), axis=1)
    scores, energies = probabilities[:, malignant].sum(axis=1), logsumexp(logits, axis=1)
    silent, reached = energies < deployment.silence, scores >= deployment.threshold
    columns = (
        probabilities,
        calibrated,
        scores.tolist(),
        calibrated[:, malignant].sum(axis=1).tolist(),
        energies.tolist(),
        silent.tolist(),
        np.where(silent, None, reached).tolist(),
        warnings(deployment, pictures),
    )
    return [Answer(*own) for own in zip(*columns, strict=True)]


def warnings(deployment: Deployment, pictures: Sequence[Picture]) -> list[tuple[str, ...]]:
    """What is doubtful about each picture, in words."""
    if not pictures:
        return []
    measured, sizes = [own.measures for own in pictures], [(own.width, own.height) for own in pictures]
    doubts = deployment.profile.doubts(np.array(measured), sizes, deployment.side)
    return [(*own, MARKED) if shown.marked else own for own, shown in zip(doubts, pictures, strict=True)]


def verdict(own: Answer, deployment: Deployment) -> str:
    """What the model says of an image, in words."""
    if own.silent:
        return f"{SILENT.meaning} (energy {own.energy:.2f}, below {deployment.silence:.2f}). Show it to a person."
    answered, likeliest = int(own.probabilities.argmax()), int(own.calibrated.argmax())
    name = deployment.classes[answered].name
    # A network that was trained to answer rare diagnoses as readily as common ones may not answer the most probable.
    other = f"{deployment.classes[likeliest].name} {percent(own.calibrated[likeliest])}, "
    told = f"{name} {percent(own.calibrated[answered])}, {other if likeliest != answered else ''}"
    return (
        f"Answer: {name}. Calibrated probabilities: {told}malignant {percent(own.calibrated_malignancy)}. "
        f"{level(own.suspicious).meaning} "
        f"(uncalibrated score {own.malignancy:.3f}, operating point {deployment.threshold:.3f})."
    )


def percent(share: float) -> str:
    """A share from 0 to 1 in whole percent; 0 and 100 % stand for nothing and all alone, not for what is near them."""
    told = f"{share:.0%}"
    if told == "0%" and share > 0:
        return "<1%"
    return ">99%" if told == "100%" and share < 1 else told


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


def rows(outcome: Outcome, deployment: Deployment, named: bool = False) -> list[dict]:
    """The rows of the table for a file, one a picture. named: with the name of the file, which may be a patient's."""
    arrival = outcome.arrival
    return [
        {"file": arrival.found.number, "image": arrival.image, "frame": picture.frame}
        | ({"name": shown_name(arrival.found.path)} if named else {})
        | _told(deployment, own)
        for picture, own in outcome.pairs
    ]


def _told(deployment: Deployment, own: Answer) -> dict:
    codes = deployment.codes
    told = {"answer": "" if own.silent else codes[int(own.probabilities.argmax())]}
    told |= {f"p_{code}": round(float(p), DIGITS) for code, p in zip(codes, own.probabilities, strict=True)}
    told |= {f"calibrated_{code}": round(float(p), DIGITS) for code, p in zip(codes, own.calibrated, strict=True)}
    return told | {
        "malignancy": round(own.malignancy, DIGITS),
        "calibrated_malignancy": round(own.calibrated_malignancy, DIGITS),
        "operating_point": round(deployment.threshold, DIGITS),
        "suspicious": own.suspicious,
        "energy": round(own.energy, DIGITS),
        "silent": own.silent,
        "warnings": "; ".join(own.warnings),
        "model": deployment.name,
        "version": deployment.version,
        "sha256": deployment.model_sha256,
    }


def faults(outcome: Outcome, unwritten: Sequence[str] = (), named: bool = False) -> list[dict]:
    """A row for each thing that went wrong with a file: its number, who it is as far as it could be read, and what.

    unwritten: why results about it could not be written; named: as in `rows`.
    """
    own = outcome.arrival
    about = {"file": own.found.number, "image": own.image}
    name = {"name": shown_name(own.found.path)} if named else {}
    return [about | {"fault": fault} | name for fault in (own.fault, *unwritten) if fault]


def not_reached(found: Found) -> Outcome:
    """What becomes of a file that a run did not come to."""
    return Outcome(Arrival(found, fault="the run ended before this file"))


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


def shown_name(path: Path) -> str:
    """A file's name for a table or a message: only what can be printed, and nothing that a spreadsheet would run."""
    name = "".join(sign if sign.isprintable() else "?" for sign in path.name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def columns(deployment: Deployment) -> list[str]:
    """The columns of a table without a row."""
    nothing = np.zeros(len(deployment.classes))
    blank = Answer(nothing, nothing, 0.0, 0.0, 0.0, silent=True, suspicious=None)
    return ["file", "image", "frame", *_told(deployment, blank)]


def write_tables(folder: Path, deployment: Deployment, table: list[dict], failed: list[dict]) -> None:
    """Write predictions.csv, predictions.json and, for what failed, failed.csv into a folder.

    table, failed: as `rows` and `faults` give them.
    """
    write_csv(folder / "predictions.csv", pd.DataFrame(table, columns=None if table else columns(deployment)))
    if failed:
        write_csv(folder / "failed.csv", pd.DataFrame(failed))
    else:  # nor does that of an earlier state of the run remain
        (folder / "failed.csv").unlink(missing_ok=True)
    about = {
        "disclaimer": DISCLAIMER,
        "model": {name: getattr(deployment, name) for name in ("name", "study", "version", "model_sha256")},
        "software": software_version(),
        "classes": {one.code: {"name": one.name, "malignant": one.malignant} for one in deployment.classes},
        "silence": {"below_energy": deployment.silence, "told": deployment.told(), "trade": deployment.trade},
        "operating_point": {
            "malignancy": deployment.threshold,
            "told": deployment.limit(),
            "on_test": deployment.malignant,
        },
        "maps": {"told": deployment.map_told(), "on_test": deployment.maps},
        "calibration": {
            "temperature": deployment.temperature,
            "biases": dict(zip(deployment.codes, deployment.biases, strict=True)),
        },
    }
    write_json(folder / "predictions.json", about | {"predictions": table, "failed": failed})
