"""Published models asked about images of other clinics."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax

from helpers.data.look import changes
from helpers.data.pixels import build_cache
from helpers.data.samples import all_images
from helpers.evaluation.abstention import abstention_threshold, confidence_scores, least_risky
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.comparison import paired_difference
from helpers.evaluation.external import INTERNAL, binary
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import measure
from helpers.models.published import load_network
from helpers.records import network_of, read_predictions
from helpers.study import StudyError, build_folder
from helpers.training.experiment import Experiment
from helpers.training.features import logits
from helpers.training.predict import predict

CHECKED = 100  # test images that a model answers again before it is asked about others
SAME = {"float32": 1e-4, "mixed_bfloat16": 0.02}  # largest difference of a probability that counts as the same answer


def read_squares(sets: Mapping[str, pd.DataFrame], experiment: Experiment) -> dict[str, np.ndarray]:
    """The images of external sets, tables from `load_external` by name, cut and resized like the study's: uint8."""
    p, folder = experiment.run.parameters, build_folder(experiment.run.study) / "external"
    options = {"colour_constancy": p["colour_constancy"]}
    return {name: build_cache(table, p["side"], folder / name, **options).pixels for name, table in sets.items()}


def ask_published(
    known: Mapping[str, dict], experiment: Experiment, squares: Mapping[str, np.ndarray]
) -> dict[tuple[str, str], pd.DataFrame]:
    """The probabilities that published models give to images of other clinics, one column per class, by model and set.

    known: records by name, from `published_models`; squares: from `read_squares`. Raises StudyError unless each model
    gives the first CHECKED test images of the study the same answers as in its record.
    """
    test, answers = experiment.samples["test"], {}
    first = test.pixels[test.rows[:CHECKED]]
    for model, record in known.items():
        network, (_, views) = load_network(record), network_of(record)
        recorded = read_predictions(record["folder"]).query("part == 'test'")[experiment.codes]
        difference = np.abs(predict(network, all_images(first), views) - recorded[:CHECKED].to_numpy()).max()
        if difference > SAME[experiment.run.parameters["precision"]]:
            fault = f"{model}: a probability differs by {difference:.4f} from its record"
            raise StudyError(f"{fault}. Run {record['notebook']} again, or use the precision that it was trained with.")
        for name, images in squares.items():
            given = predict(network, all_images(images), views).astype(np.float64).round(6)
            answers[model, name] = pd.DataFrame(given, columns=experiment.codes)
    return answers


def abstentions(
    network: keras.Model,
    experiment: Experiment,
    squares: Mapping[str, np.ndarray],
    *,
    setting: tuple[float, np.ndarray],
    coverage: float,
) -> dict[str, np.ndarray]:
    """The images on which a network abstains, bool [n], by set, the internal test first.

    It does so by the confidence score that avoids most errors of the most probable class on validation. setting: the
    network's temperature and biases. coverage: the share of the validation images that it answers, which sets the
    limit.
    """
    samples = {INTERNAL: experiment.samples["test"]} | {name: all_images(images) for name, images in squares.items()}
    temperature, biases = setting

    def scores(values: np.ndarray) -> dict[str, np.ndarray]:
        return confidence_scores(values, softmax(values / temperature + biases, axis=1))

    known = logits(network, experiment.samples["validation"])
    wrong = (known / temperature + biases).argmax(axis=1) != experiment.samples["validation"].labels
    chosen = least_risky(scores(known), wrong)
    limit = abstention_threshold(scores(known)[chosen], coverage)
    return {name: scores(logits(network, one))[chosen] < limit for name, one in samples.items()}


def effects_of_changes(
    network: keras.Model,
    squares: Mapping[str, np.ndarray],
    truth: Mapping[str, Predictions],
    *,
    zooms: Sequence[float],
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """The AUC for malignancy after each of `look.changes`, which make images look more like those of INTERNAL.

    truth: predictions of the images of each set, of which the malignant classes are those of the network. Columns: set,
    change, value, low and high, and gain_value, gain_low and gain_high, paired with the images as they are.
    """
    rows = []
    for name, images in squares.items():
        labels, flags = truth[name], np.array(truth[INTERNAL].malignant)
        versions = {}
        for change, changed in changes(images, squares[INTERNAL], zooms).items():
            score = np.where(flags, predict(network, all_images(changed)), 0).sum(axis=1)
            versions[change] = binary(score, labels.is_malignant, labels.lesions)
            auc = measure(versions[change], "malignant_auc", bootstrap=bootstrap)
            gain = paired_difference(versions[change], versions["as they are"], "malignant_auc", bootstrap=bootstrap)
            rows.append({"set": name, "change": change} | auc | {f"gain_{end}": gain[end] for end in gain})
    return pd.DataFrame(rows)
