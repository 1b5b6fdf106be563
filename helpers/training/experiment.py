"""The variants of a notebook: models trained on one split, each once, judged alike, and left as its run record."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from helpers.backend import set_seed
from helpers.data.duplicates import duplicate_groups
from helpers.data.lesions import classes, completeness, dataset_folder, diagnoses, read_lesions
from helpers.data.pixels import PixelCache, open_cache
from helpers.data.samples import Samples, part_samples
from helpers.data.split import PARTS, read_split, training_subset
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.judge import judge
from helpers.evaluation.predictions import Predictions
from helpers.models.recipe import Recipe
from helpers.records import Run, atomic_path, file_sha256, write_csv, write_json
from helpers.sentences import say
from helpers.study import StudyError, build_folder
from helpers.training.device import share_batches
from helpers.training.fit import fit_stages, save_model
from helpers.training.predict import predict, predictions_table

TRAINING_VERSION = (
    1  # counts changes of the training code that change its numbers: what was trained before is out of date
)
_OPENED: dict[str, PixelCache] = {}  # one object for the experiments of a notebook: the device then holds it once


@dataclass(frozen=True)
class Variant:
    """A judged model: its short name, its `metrics.json` entry, and the predictions behind it.

    history: one row an epoch, and folder: where its model.keras lies; both None for what was not trained in epochs.
    """

    key: str
    entry: dict
    predictions: pd.DataFrame
    history: pd.DataFrame | None = None
    folder: Path | None = None

    def model(self) -> keras.Model:
        """The trained network, with the weights of its best epoch."""
        return keras.models.load_model(self.folder / "model.keras")


class Experiment:
    """What the variants of one notebook share: images, split, classes, and the way they are judged.

    run: its parameters say which dataset, task, side, colour_constancy, sensitivity, resamples, precision,
    devices and seed.
    classes, codes: of the task; split: image_id, lesion_id, label (of the task), part, fold; samples: `Samples` by
    part; lesion_of: lesion id by image id; lesions: the table of lesions by image id; missing_images: how many images
    the publisher lists besides; judged: the parts whose predictions a record holds. task: instead of the run's own.
    """

    def __init__(self, run: Run, task: str = ""):
        p = run.parameters
        self.run, self.task = run, task or p["task"]
        self.classes = classes(p["dataset"], self.task)
        self.codes = [one.code for one in self.classes]
        folder = dataset_folder(p["dataset"]) / "cache"
        table = read_lesions(folder / "lesions.csv")
        self.missing_images, self.lesions = table.attrs["missing_images"], table.set_index("image_id")
        if self.missing_images:
            say(completeness(table))
        self.original = read_split(run.folder.parent / "split.csv")
        cache = open_cache(folder, p["side"], p["colour_constancy"])
        self._take(self.original, _OPENED.setdefault(cache.fingerprint, cache))
        self._set_up_keras()

    def on(self, split: pd.DataFrame, cache: PixelCache | None = None, unknown: Sequence[str] = ()) -> "Experiment":
        """The same on another split: what it has besides train, validation and test is predicted as well.

        cache: the pixels of the split's images, by default those of the study. unknown: classes that the networks do
        not know; their images may only be in parts other than train, validation and test. Raises StudyError if there is
        no such class.
        """
        if strange := set(unknown) - set(self.codes):
            raise StudyError(f"unknown {sorted(strange)[0]!r}: choose from {', '.join(self.codes)}.")
        other = copy(self)
        other.classes = tuple(one for one in self.classes if one.code not in unknown)
        other.codes = [one.code for one in other.classes]
        other._take(split, cache or self.cache)
        return other

    def groups(self) -> np.ndarray:
        """The lesion of each row of `original`, one for all whose images are duplicates of each other, str [n]."""
        found = pd.read_csv(self.run.folder.parent / "02_preprocessing" / "duplicates.csv")
        return duplicate_groups(self.original, found)

    def fraction(self, share: float) -> Samples:
        """Training images of a share of the training lesions, see `splits.training_subset`."""
        return self._samples(training_subset(self.split, share, self.run.parameters["seed"]), "train")

    def train(
        self,
        key: str,
        name: str,
        build: Callable[[], keras.Model],
        stages: list[Recipe],
        train: Samples | None = None,
        weights_sha256: str | None = None,
        **about,
    ) -> Variant:
        """The variant `key`, trained in `stages` and judged; one that is finished is read back, not trained again.

        name: as in tables; build: gives the untrained network, called after the seed was set, so that a variant does not
        depend on those before it; train: training images, by default all; weights_sha256: of the pretrained weights
        that `build` loads; about: more for its `metrics.json` entry.
        Finished is a variant of the same network, initial weights, stages, images, task and code.
        """
        train = self.samples["train"] if train is None else train
        self.start_anew(stages[0].seed)
        model = build()
        folder = build_folder(self.run.study) / "variants" / self.run.notebook / key
        wanted = self._fingerprint(model, stages, train)
        if _finished(folder) == wanted:
            print(f"{name}: trained before, read back")
        else:
            self._train(folder, model, stages, train, name)
            write_json(folder / "finished.json", {"fingerprint": wanted})
        record = json.loads((folder / "training.json").read_text())
        predictions = pd.read_csv(folder / "predictions.csv")
        entry = self._entry(name, predictions, record, weights_sha256) | about
        return Variant(key, entry, predictions, pd.read_csv(folder / "history.csv"), folder)

    def judge(
        self,
        key: str,
        name: str,
        probabilities: Callable[[str], np.ndarray],
        training: dict | None = None,
        weights_sha256: str | None = None,
    ) -> Variant:
        """A variant that is not trained here; probabilities: gives those of a part, float [n, classes]."""
        predictions = self._table({part: probabilities(part) for part in self.judged})
        return Variant(key, self._entry(name, predictions, training, weights_sha256), predictions)

    def seen(self, predictions: pd.DataFrame, part: str = "test") -> Predictions:
        """One part of a predictions table, ready for `metrics`."""
        malignant = [one.malignant for one in self.classes]
        rows = predictions[predictions["part"] == part]
        return Predictions.from_table(rows, self.codes, malignant, lesions=self.lesion_of)

    def write(self, main: Variant, variants: list[Variant]) -> None:
        """Leave the notebook's record: of `main` with its history, and of `variants` below it.

        The model file of `main` is left as well if it stands for comparison. What has `views` is another reading of
        that file, and names its checksum too.
        """
        checksum = self._leave_model(main) if main.history is not None and main.entry.get("compared", True) else {}
        entries = {variant.key: variant.entry | (checksum if "views" in variant.entry else {}) for variant in variants}
        for variant in variants:
            self.run.write_record(entries[variant.key], variant.predictions, variant.key)
            if variant.history is not None:
                write_csv(self.run.folder / "variants" / variant.key / "history.csv", variant.history)
        if main.history is not None:
            write_csv(self.run.folder / "history.csv", main.history)
        self.run.write_record(main.entry | {"variants": entries} | checksum, main.predictions)

    def _leave_model(self, main: Variant) -> dict[str, str]:
        """The checksum tells whoever loads the model whether it is the one that the record's figures are about."""
        with atomic_path(self.run.folder / "model.keras") as temporary:
            temporary.write_bytes((main.folder / "model.keras").read_bytes())
        return {"model_sha256": file_sha256(self.run.folder / "model.keras")}

    def start_anew(self, seed: int) -> None:
        """Forget the networks before, so that layers are named as in every other variant, and seed the next one."""
        keras.utils.clear_session()
        self._set_up_keras()
        set_seed(seed)

    def _set_up_keras(self) -> None:
        """Precision and devices of the run, which Keras forgets in `clear_session`."""
        keras.config.set_dtype_policy(self.run.parameters["precision"])
        share_batches(self.run.parameters["devices"])

    def _take(self, split: pd.DataFrame, cache: PixelCache) -> None:
        self.cache, self.split = cache, self._relabelled(split)
        self.lesion_of = self.split.drop_duplicates("image_id").set_index("image_id")["lesion_id"]
        parts = list(dict.fromkeys([*PARTS, *self.split["part"]]))
        self.samples = {part: self._samples(self.split, part) for part in parts}
        self.judged = tuple(part for part in parts if part != "train")

    def _relabelled(self, split: pd.DataFrame) -> pd.DataFrame:
        if self.task == "diagnosis":
            return split
        malignant = [one.code for one in diagnoses(self.run.parameters["dataset"]) if one.malignant]
        return split.assign(label=np.where(split["label"].isin([*malignant, "malignant"]), "malignant", "benign"))

    def _samples(self, split: pd.DataFrame, part: str) -> Samples:
        return part_samples(split, self.cache, self.codes, part=part)

    def _train(self, folder: Path, model: keras.Model, stages: list[Recipe], train: Samples, name: str) -> None:
        (folder / "finished.json").unlink(missing_ok=True)
        fitted = fit_stages(model, train, self.samples["validation"], stages, name)
        save_model(model, folder / "model.keras")
        started = time.perf_counter()
        answers = {part: predict(model, self.samples[part]) for part in self.judged}
        speed = sum(map(len, answers.values())) / (time.perf_counter() - started)
        write_csv(folder / "predictions.csv", self._table(answers))
        write_csv(folder / "history.csv", fitted.history)
        cost = {"prediction_images_per_second": round(speed, 1), "training_images": len(train)}
        cost["model_bytes"] = (folder / "model.keras").stat().st_size
        write_json(folder / "training.json", fitted.training | cost)

    def _table(self, probabilities: dict[str, np.ndarray]) -> pd.DataFrame:
        tables = [predictions_table(self.split, part, answers, self.codes) for part, answers in probabilities.items()]
        return pd.concat(tables, ignore_index=True)

    def _entry(self, name: str, predictions: pd.DataFrame, record: dict | None, weights_sha256: str | None) -> dict:
        p = self.run.parameters
        how = {"sensitivity": p["sensitivity"], "bootstrap": Bootstrap(p["resamples"])}
        judged = judge(predictions, self.classes, self.lesion_of, **how)
        entry = self.run.entry(name, self.task, self.original, weights_sha256=weights_sha256)
        return entry | {"training": record} | judged | {"missing_images": self.missing_images}

    def _fingerprint(self, model: keras.Model, stages: list[Recipe], train: Samples) -> str:
        weights = hashlib.sha256(b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights()))
        content = {
            "network": model.get_config(),
            "weights": weights.hexdigest(),
            "stages": [asdict(stage) for stage in stages],
            "images": [
                hashlib.sha256(part.rows.tobytes() + part.labels.tobytes()).hexdigest()
                for part in (train, *map(self.samples.get, self.judged))
            ],
            "cache": self.cache.fingerprint,
            "codes": self.codes,
            "keras": [keras.__version__, keras.config.backend(), keras.config.dtype_policy().name],
            "version": TRAINING_VERSION,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _finished(folder: Path) -> str | None:
    """The fingerprint that a finished variant was trained with; None if there is none."""
    path = folder / "finished.json"
    return json.loads(path.read_text())["fingerprint"] if path.is_file() else None
