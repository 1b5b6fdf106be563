"""Prepares a deployment for 12_prediction, with measurements of the model's abstention on test."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clinic.answering.deployment import ABSTENTION, DIFFERENCE, MALIGNANT, Deployment
from clinic.reading.quality import Profile
from helpers.data.lesions import Diagnosis
from helpers.evaluation.bootstrap import STANDARD, Bootstrap
from helpers.study import StudyError

if TYPE_CHECKING:
    from helpers.evaluation.predictions import Predictions


def prepare(
    record: Mapping, classes: Sequence[Diagnosis], profile: Profile, *, chosen: Mapping, measured: Mapping[str, dict]
) -> Deployment:
    """The deployment of a model with a run record.

    chosen: temperature, biases and abstention_threshold, set on validation. measured: by `measure_abstention`. Raises
    StudyError for a record without the checksum of its model.
    """
    if not record.get("model_sha256"):
        raise StudyError(f"The record of {record['name']} has no checksum. Run {record['notebook']} again.")
    commit, plus, changes = (record["environment"]["commit"] or "unknown").partition("+")
    return Deployment(
        **{name: record[name] for name in ("name", "study", "notebook", "model_sha256", "threshold")},
        **{name: chosen[name] for name in ("temperature", "abstention_threshold")},
        **{name: record["parameters"][name] for name in ("side", "colour_constancy")},
        biases=tuple(map(float, chosen["biases"])),
        version=commit[:12] + plus + changes,
        classes=tuple(classes),
        abstention={name: measured[name] for name in ABSTENTION},
        malignant={name: measured[name] for name in MALIGNANT},
        profile=profile,
        missing_images=record.get("missing_images", 0),
    )


def measure_abstention(
    predictions: "Predictions", energy: np.ndarray, limits: tuple[float, float], *, bootstrap: Bootstrap = STANDARD
) -> dict[str, dict]:
    """Measure the costs and benefits of abstention: the figures of ABSTENTION and MALIGNANT.

    Each is {"value", "low", "high", "images"}, None where undefined; images: how many the figure is based on. energy:
    float [n], of the images of `predictions`. limits: the abstention threshold, and the operating point of the
    malignancy score. Raises StudyError if the model would abstain on all images.
    """
    from helpers.evaluation.means import mean_differences, proportion
    from helpers.evaluation.scores import measure

    (lowest, threshold), p = limits, predictions
    answered, wrong, malignant = energy >= lowest, ~p.is_right, p.is_malignant
    every = np.ones(len(p), bool)
    events = ((answered, every), (wrong, every), (wrong, answered), (wrong, ~answered))
    figures = [proportion(event[rows], p.lesions[rows], bootstrap) for event, rows in events]
    difference = mean_differences({DIFFERENCE: wrong}, ~answered, p.lesions, bootstrap=bootstrap).astype(object)
    figures.append(difference.where(difference.notna(), None).loc[DIFFERENCE].to_dict())
    options, answers = {"threshold": threshold, "bootstrap": bootstrap}, p.subset(answered)
    figures += [measure(answers, f"malignant_{name}", **options) for name in MALIGNANT[:2]]
    figures.append(proportion(~answered[malignant], p.lesions[malignant], bootstrap))
    rows = (every, every, answered, ~answered, every, answered & malignant, answered & ~malignant, malignant)
    named = zip((*ABSTENTION, *MALIGNANT), figures, rows, strict=True)
    return {name: figure | {"images": int(about.sum())} for name, figure, about in named}
