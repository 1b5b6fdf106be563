"""Prepares a deployment for 13_prediction, with measurements of what gets no answer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clinic.answering.answers import answer_pictures
from clinic.answering.appearance import Appearance, Look
from clinic.answering.deployment import ABSTENTION, DIFFERENCE, MALIGNANT, Deployment
from clinic.answering.network import Predict, Prediction
from clinic.answering.strangers import FAULTS
from clinic.reading.pictures import ImageFormat, Picture, from_array
from clinic.reading.quality import MEASURES, measures
from helpers.data.diagnoses import MELANOMA, Diagnosis
from helpers.evaluation.bootstrap import STANDARD, Bootstrap
from helpers.study import StudyError

if TYPE_CHECKING:
    import pandas as pd

    from helpers.evaluation.predictions import Predictions


def prepare(
    record: Mapping,
    classes: Sequence[Diagnosis],
    appearance: Appearance,
    *,
    chosen: Mapping,
    measured: Mapping[str, dict],
) -> Deployment:
    """The deployment of a model with a run record.

    chosen: temperature, biases, suspicious_from, confidence and abstention_threshold, set on validation. measured: by
    `measure_abstention`. Raises StudyError for a record without the checksum of its model.
    """
    if not record.get("model_sha256"):
        raise StudyError(f"The record of {record['name']} has no checksum. Run {record['notebook']} again.")
    commit, plus, changes = (record["environment"]["commit"] or "unknown").partition("+")
    return Deployment(
        **{name: record[name] for name in ("name", "study", "notebook", "model_sha256")},
        **{name: float(chosen[name]) for name in ("temperature", "suspicious_from", "abstention_threshold")},
        **{name: record["parameters"][name] for name in ("side", "colour_constancy")},
        biases=tuple(map(float, chosen["biases"])),
        confidence=chosen["confidence"],
        version=commit[:12] + plus + changes,
        classes=tuple(classes),
        abstention={name: measured[name] for name in ABSTENTION},
        malignant={name: measured[name] for name in MALIGNANT},
        appearance=appearance,
        missing_images=record.get("missing_images", 0),
    )


def looks_spoilt(predict: Predict, images: np.ndarray, image_format: ImageFormat) -> list[Look]:
    """How images uint8 [n, side, side, 3] look with each of FAULTS, for `learn_appearance`."""
    looks = []
    for spoil in FAULTS.values():
        pictures, found = _read_and_predict(predict, [spoil(image) for image in images], image_format)
        looks.append((np.array([one.measures for one in pictures]), found.features))
    return looks


def _read_and_predict(
    predict: Predict, images: Iterable[np.ndarray], image_format: ImageFormat
) -> tuple[list[Picture], Prediction]:
    """Images uint8 [side, side, 3] as if they had been read from files, and what the network says of them."""
    pictures = [from_array(np.ascontiguousarray(image), image_format) for image in images]
    return pictures, predict(np.stack([one.square for one in pictures]))


def answer_images(predict: Predict, images: Iterable[np.ndarray], deployment: Deployment) -> "pd.DataFrame":
    """The answers about images uint8 [side, side, 3], one row per image with the fields of `Answer`."""
    import pandas as pd

    pictures, found = _read_and_predict(predict, images, deployment.image_format())
    return pd.DataFrame(vars(answer) for answer in answer_pictures(pictures, found, deployment))


def measure_abstention(
    predictions: "Predictions", answered: np.ndarray, threshold: float, *, bootstrap: Bootstrap = STANDARD
) -> dict[str, dict]:
    """Measure the costs and benefits of abstention: the figures of ABSTENTION and MALIGNANT.

    Each is {"value", "low", "high", "images"}, None where undefined; images: how many the figure is based on.
    predictions: calibrated. answered: bool [n], the images on which the model does not abstain. threshold: the
    operating point. Sensitivity and specificity are on the answered images. Of the malignant images, `missed` are
    answered and not suspicious, and likewise of the melanomas. Raises StudyError if the model would abstain on all
    images.
    """
    from helpers.evaluation.means import mean_differences, proportion
    from helpers.evaluation.scores import measure

    p, wrong, malignant = predictions, ~predictions.is_right, predictions.is_malignant
    suspicious, every = answered & (p.malignant_score >= threshold), np.ones(len(p), bool)
    options, answers = {"threshold": threshold, "bootstrap": bootstrap}, p.subset(answered)
    measured = {f"{name}": measure(answers, f"malignant_{name}", **options) for name in MALIGNANT[:2]}
    difference = mean_differences({DIFFERENCE: wrong}, ~answered, p.lesions, bootstrap=bootstrap).astype(object)
    measured[DIFFERENCE] = difference.where(difference.notna(), None).loc[DIFFERENCE].to_dict()
    benign, melanoma = answered & ~suspicious, np.char.lower(p.classes)[p.labels] == MELANOMA
    events = (answered, wrong, wrong, wrong, ~answered, benign, benign, malignant, malignant, malignant)
    rows = (every, every, answered, ~answered, malignant, malignant, melanoma, suspicious, benign, every)
    names = (*ABSTENTION[:-1], *MALIGNANT[2:])
    for name, event, among in zip(names, events, rows, strict=True):
        measured[name] = proportion(event[among], p.lesions[among], bootstrap)
    images = dict(zip(names, rows, strict=True)) | {DIFFERENCE: every}
    images |= {"sensitivity": answered & malignant, "specificity": answered & ~malignant}
    return {name: measured[name] | {"images": int(images[name].sum())} for name in (*ABSTENTION, *MALIGNANT)}


def compare_rules(
    predict: Predict, appearance: Appearance, validation: np.ndarray, *, shown: Mapping[str, np.ndarray], unlike: float
) -> "pd.DataFrame":
    """The share of each set of images that each rule leaves without an answer, one row per set and one column per rule.

    Each rule has the limit that the share `unlike` of the validation images does not pass. Images are uint8 [n, side,
    side, 3].
    """
    import pandas as pd

    limits = {name: np.quantile(one, 1 - unlike) for name, one in _rule_scores(predict, appearance, validation).items()}
    rows = {
        name: {rule: (one > limits[rule]).mean() for rule, one in _rule_scores(predict, appearance, images).items()}
        for name, images in shown.items()
    }
    return pd.DataFrame(rows).T


def _rule_scores(predict: Predict, appearance: Appearance, images: np.ndarray) -> dict[str, np.ndarray]:
    """How far each image is from being answered under each rule, float [n]; the rule of a deployment is the first."""
    from helpers.evaluation.abstention import confidence_scores

    found = predict(images)
    whitened = appearance.whiten(np.array(list(map(measures, images))), found.features)
    # The matrix that whitens is triangular, so the measures are whitened by themselves.
    rules = {"distance in the network": whitened, "distance by colours": whitened[:, : len(MEASURES)]}
    distances = {name: np.linalg.norm(numbers, axis=1) for name, numbers in rules.items()}
    return distances | {f"low {name}": -score for name, score in confidence_scores(found.logits).items()}


def measure_spoilt(
    answers: "pd.DataFrame", unspoilt: "Predictions", *, bootstrap: Bootstrap = STANDARD
) -> "pd.DataFrame":
    """How the answers about spoilt images differ from those about the same images before, as shares of the images.

    answers: the fields of `Answer`, one row per image; unspoilt: the former predictions. Of the answered images,
    `warning` is the share with one; of the malignant ones, `missed` are called benign without one. One row per share:
    value, low, high (by lesion) and images, of which it is the share.
    """
    import pandas as pd

    from helpers.evaluation.means import proportion

    abstains, warns = (answers["reason"] != "").to_numpy(), answers["warnings"].astype(bool).to_numpy()
    missed = ~abstains & ~warns & answers["suspicious"].eq(False).to_numpy()
    changed, every = np.stack(answers["probabilities"]).argmax(axis=1) != unspoilt.predicted, np.ones_like(abstains)
    shares = {
        "answers change": (changed, every),
        "no answer": (abstains, every),
        "warning": (warns, ~abstains),
        "missed": (missed, unspoilt.is_malignant),
    }
    rows = {
        name: proportion(event[among], unspoilt.lesions[among], bootstrap) | {"images": int(among.sum())}
        for name, (event, among) in shares.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
