"""The model variants of a notebook: each is trained once on one split, evaluated in the same way, and recorded."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from helpers.backend import restart_seeds, set_seed, set_threads
from helpers.data.duplicates import duplicate_groups
from helpers.data.lesions import classes, completeness, dataset_folder, diagnoses, read_lesions
from helpers.data.pixels import PixelCache, open_cache
from helpers.data.samples import Samples, part_samples
from helpers.data.split import PARTS, read_split, training_subset
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.judge import judge
from helpers.evaluation.predictions import Predictions
from helpers.models.recipe import Recipe
from helpers.reading import read_csv, read_json
from helpers.records import RESTORE, Run, atomic_path, file_sha256, read_predictions, write_csv, write_json
from helpers.sentences import say
from helpers.study import StudyError, check_choice
from helpers.training.checkpoint import Checkpoint, is_finished, mark_finished
from helpers.training.device import share_batches
from helpers.training.fit import ProgressBar, Watch, fit_stages, save_model
from helpers.training.predict import predict, predictions_table

# Increase it when the training code changes its numbers: models trained before then count as out of date.
TRAINING_VERSION = 1
PRECISIONS = ("float32", "mixed_bfloat16")  # in float16 the gradients of these networks overflow
_OPENED: dict[str, PixelCache] = {}  # one array for all experiments of a notebook, so that the device holds it once


@dataclass(frozen=True)
class Variant:
    """An evaluated model: its short name, its `metrics.json` entry, and its predictions.

    history: one row per epoch; folder: where its model.keras is. Both are None for a model not trained in epochs.
    """

    key: str
    entry: dict
    predictions: pd.DataFrame
    history: pd.DataFrame | None = None
    folder: Path | None = None

    def model(self) -> keras.Model:
        """The trained network, with the weights of its best epoch."""
        return keras.models.load_model(self.folder / "model.keras")


def repeat(key: str, name: str, seed: int, *, first: int) -> tuple[tuple[str, str], dict]:
    """Key and name of a variant that is trained from `seed`, and items for its entry.

    Only the training from the seed `first` is compared with other models; the others are its repeats.
    """
    if seed == first:
        return (key, name), {"seed": seed}
    return (f"{key}-seed{seed}", f"{name}, seed {seed}"), {"seed": seed, "compared": False, "repeats": name}


class Experiment:
    """What the variants of one notebook have in common: images, split, classes and evaluation.

    run: its parameters include dataset, task, side, colour_constancy, sensitivity, resamples, precision, devices and
    seed. task: replaces the run's task.
    classes, codes: of the task; original: the study's split; split: image_id, lesion_id, label (of the task), part,
    fold; samples: `Samples` by part; lesion_of: lesion id by image id; lesions: the table of lesions by image id;
    missing_images: how many of the publisher's images are missing; predicted: the parts that are predicted.
    """

    def __init__(self, run: Run, task: str = ""):
        p = run.parameters
        self.run, self.task, self.watched = run, task or p["task"], ()
        set_threads(int(p["dataset"] == "demo"))  # its networks are small, and its notebooks run side by side
        check_choice("precision", p["precision"], PRECISIONS)
        self.classes = classes(p["dataset"], self.task)
        folder = dataset_folder(p["dataset"]) / "cache"
        table = read_lesions(folder / "lesions.csv")
        self.missing_images, self.lesions = table.attrs["missing_images"], table.set_index("image_id")
        if self.missing_images:
            say(completeness(table))
        self.original = read_split(run.results / "split.csv", table)
        images = int((self.original["part"] == "train").sum())
        if p.get("batch_size", 1) > images:
            raise StudyError(f"batch_size is {p['batch_size']}; it must be at most {images}, the training images.")
        cache = open_cache(folder, p["side"], p["colour_constancy"])
        self._set_data(self.original, _OPENED.setdefault(cache.fingerprint, cache))
        keras.config.set_dtype_policy(p["precision"])
        share_batches(p["devices"])
        set_seed(p["seed"])

    def on(
        self,
        split: pd.DataFrame,
        cache: PixelCache | None = None,
        *,
        unknown: Sequence[str] = (),
        watched: Sequence[str] = (),
    ) -> "Experiment":
        """The same experiment on another split. Parts besides train, validation and test are predicted too.

        cache: the pixels of the split's images, by default those of the study. unknown: classes that the networks are
        not trained on; their images must not be in train, validation or test. watched: parts that the history of a
        training run scores after each epoch. Raises StudyError for a class that does not exist.
        """
        if strange := set(unknown) - set(self.codes):
            raise StudyError(f"unknown {sorted(strange)[0]!r}: choose from {', '.join(self.codes)}.")
        other = copy(self)
        other.watched = tuple(watched)
        other.classes = tuple(one for one in self.classes if one.code not in unknown)
        other._set_data(split, cache or self.cache)
        return other

    def on_fraction(self, fraction: float) -> "Experiment":
        """The same experiment with a fraction of the training lesions, see `training_subset`."""
        return self.on(training_subset(self.split, fraction, self.run.parameters["seed"]))

    def groups(self) -> np.ndarray:
        """The lesion of each row of `original`, str [n]; lesions with duplicate images count as one lesion."""
        path = self.run.results / "02_preprocessing" / "duplicates.csv"
        found = read_csv(path, "Run `make 02_preprocessing`, or restore the file with `git checkout`.")
        return duplicate_groups(self.original, found)

    def train(
        self, key: str, name: str, build: Callable[[], keras.Model], *, stages: Sequence[Recipe], **about
    ) -> Variant:
        """Train the variant `key` in `stages` and evaluate it, or read it back if it is already finished.

        name: as in tables; build: returns the untrained network; it is called after the seed is set, so that a variant
        does not depend on those before it; about: `weights_sha256` of the pretrained weights that `build` loads, and
        more items for its `metrics.json` entry.
        A finished variant is read back if its network, initial weights, stages, images, task and TRAINING_VERSION are
        the same and its files are unchanged. A killed one resumes after its last finished epoch.
        """
        restart_seeds(stages[0].seed)
        model = build()
        folder = self.run.work / "variants" / self.run.notebook / key
        fingerprint = self._fingerprint(model, stages)
        if is_finished(folder, fingerprint):
            print(f"{name}: trained before, read back", file=sys.stderr)  # which the finished notebook leaves out
        else:
            checkpoint = Checkpoint(folder / "state.npz", fingerprint)
            self._train(folder, model, stages, name=name, checkpoint=checkpoint)
            mark_finished(folder, fingerprint)
            checkpoint.remove()
        record, predictions = read_json(folder / "training.json", RESTORE), read_predictions(folder)
        entry = self._entry(name, predictions, record, weights_sha256=about.pop("weights_sha256", None)) | about
        return Variant(key, entry, predictions, read_csv(folder / "history.csv", RESTORE), folder)

    def judge(
        self,
        key: str,
        name: str,
        probabilities: Callable[[str], np.ndarray],
        *,
        training: dict | None = None,
        weights_sha256: str | None = None,
        **about,
    ) -> Variant:
        """Evaluate a variant that is not trained here; probabilities: returns those of a part, float [n, classes].

        about: more items for its `metrics.json` entry.
        """
        predictions = self._table({part: probabilities(part) for part in self.predicted})
        entry = self._entry(name, predictions, training, weights_sha256=weights_sha256) | about
        return Variant(key, entry, predictions)

    def part(self, table: pd.DataFrame, part: str = "test") -> Predictions:
        """One part of a table of predictions, ready for the scores of `evaluation`."""
        malignant = [one.malignant for one in self.classes]
        rows = table[table["part"] == part]
        return Predictions.from_table(rows, self.codes, malignant, lesions=self.lesion_of)

    def sample(self, part: str, count: int) -> tuple[Samples, Predictions]:
        """Up to `count` images of a part, drawn with the run's seed, and the predictions of one who is always right.

        A model's own probabilities can replace those: `replace(predictions, probabilities=...)`.
        """
        images = self.samples[part]
        chosen = np.random.default_rng(self.run.parameters["seed"]).permutation(len(images))[:count]
        drawn = Samples(images.pixels, images.rows[chosen], images.labels[chosen])
        lesions = self.split["lesion_id"][self.split["part"] == part].to_numpy()[chosen]
        malignant = tuple(one.malignant for one in self.classes)
        right = np.eye(len(self.codes))[drawn.labels]
        return drawn, Predictions(drawn.labels, right, lesions, tuple(self.codes), malignant)

    def write(self, main: Variant, variants: Sequence[Variant]) -> None:
        """Write the record of `main` with its history, and below it those of the other `variants`.

        The model file of `main` is published too if it takes part in the comparison. A compared variant with `views`
        uses the same model file, so its record has the same checksum.
        """
        checksum = {}
        if main.history is not None and main.entry.get("compared", True):
            with atomic_path(self.run.folder / "model.keras") as temporary:
                temporary.write_bytes((main.folder / "model.keras").read_bytes())
            # With it, a reader can check that the record belongs to this model file.
            checksum = {"model_sha256": file_sha256(self.run.folder / "model.keras")}
        entries = {variant.key: dict(variant.entry) for variant in variants}
        for entry in entries.values():
            if "views" in entry and entry.get("compared", True):
                entry |= checksum
        for variant in variants:
            self.run.write_record(entries[variant.key], variant.predictions, variant.key)
            if variant.history is not None:
                write_csv(self.run.folder / "variants" / variant.key / "history.csv", variant.history)
        if main.history is not None:
            write_csv(self.run.folder / "history.csv", main.history)
        self.run.write_record(main.entry | {"variants": entries} | checksum, main.predictions)

    def _set_data(self, split: pd.DataFrame, cache: PixelCache) -> None:
        if self.task == "malignancy":
            malignant = [one.code for one in diagnoses(self.run.parameters["dataset"]) if one.malignant]
            is_malignant = split["label"].isin([*malignant, "malignant"])
            split = split.assign(label=np.where(is_malignant, "malignant", "benign"))
        self.cache, self.split = cache, split
        self.codes = [one.code for one in self.classes]
        self.lesion_of = split.drop_duplicates("image_id").set_index("image_id")["lesion_id"]
        parts = list(dict.fromkeys([*PARTS, *split["part"]]))
        self.samples = {part: part_samples(split, cache, self.codes, part=part) for part in parts}
        self.predicted = tuple(part for part in parts if part != "train")

    def _train(
        self, folder: Path, model: keras.Model, stages: Sequence[Recipe], *, name: str, checkpoint: Checkpoint
    ) -> None:
        watch = Watch(model, {part: self.samples[part] for part in self.watched})
        bar = ProgressBar(name, len(stages), len(checkpoint.finished))
        fitted = fit_stages(model, self.samples, stages=stages, callbacks=[watch, bar], checkpoint=checkpoint)
        save_model(model, folder / "model.keras")
        started = time.perf_counter()
        probabilities = {part: predict(model, self.samples[part]) for part in self.predicted}
        speed = sum(map(len, probabilities.values())) / (time.perf_counter() - started)
        write_csv(folder / "predictions.csv", self._table(probabilities))
        write_csv(folder / "history.csv", fitted.history)
        cost = {"prediction_images_per_second": round(speed, 1), "training_images": len(self.samples["train"])}
        cost["model_bytes"] = (folder / "model.keras").stat().st_size
        write_json(folder / "training.json", fitted.training | cost)

    def _table(self, probabilities: dict[str, np.ndarray]) -> pd.DataFrame:
        tables = [
            predictions_table(self.split, part, values, codes=self.codes) for part, values in probabilities.items()
        ]
        return pd.concat(tables, ignore_index=True)

    def _entry(self, name: str, predictions: pd.DataFrame, record: dict | None, *, weights_sha256: str | None) -> dict:
        p = self.run.parameters
        how = {"sensitivity": p["sensitivity"], "bootstrap": Bootstrap.of(p)}
        judged = judge(predictions, self.classes, self.lesion_of, **how)
        entry = self.run.entry(name, self.task, self.original, weights_sha256=weights_sha256)
        return entry | {"training": record} | judged | {"missing_images": self.missing_images}

    def _fingerprint(self, model: keras.Model, stages: Sequence[Recipe]) -> str:
        weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights())
        images = [self.samples[part] for part in ("train", *self.predicted)]
        settings = [asdict(stage) for stage in stages]
        shrinks = [stage.pop("shrink") for stage in settings]
        content = {
            "network": model.get_config(),
            "weights": hashlib.sha256(weights).hexdigest(),
            "stages": settings,
            "images": [hashlib.sha256(part.rows.tobytes() + part.labels.tobytes()).hexdigest() for part in images],
            "cache": self.cache.fingerprint,
            "codes": self.codes,
            "keras": [keras.__version__, keras.config.backend(), keras.config.dtype_policy().name],
            "version": TRAINING_VERSION,
        }
        if self.watched:
            content["watched"] = self.watched
        if max(shrinks) > 1:
            content["shrink"] = shrinks
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
