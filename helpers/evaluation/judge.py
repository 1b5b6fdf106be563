"""Evaluation of one model for its record: settings chosen on validation, scores on test."""

from collections.abc import Iterable, Mapping

import pandas as pd

from helpers.evaluation.bootstrap import STANDARD, Bootstrap
from helpers.evaluation.calibration import fit_temperature
from helpers.evaluation.malignancy import threshold_for_sensitivity
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import evaluate


def judge(
    table: pd.DataFrame,
    classes: Iterable,
    lesions: Mapping[str, str],
    *,
    sensitivity: float,
    bootstrap: Bootstrap = STANDARD,
) -> dict:
    """`judge_parts` for a table of predictions on validation and test.

    classes: objects with `code` and `malignant`, such as `lesions.Diagnosis`; lesions: lesion id by image id.
    """
    codes, malignant = zip(*((one.code, one.malignant) for one in classes), strict=True)
    parts = [table[table["part"] == part] for part in ("validation", "test")]
    validation, test = (Predictions.from_table(part, codes, malignant, lesions=lesions) for part in parts)
    return judge_parts(validation, test, sensitivity=sensitivity, bootstrap=bootstrap)


def judge_parts(
    validation: Predictions, test: Predictions, *, sensitivity: float, bootstrap: Bootstrap = STANDARD
) -> dict:
    """A model's threshold and temperature, chosen on validation, and its scores on both parts.

    sensitivity: the sensitivity that the threshold reaches on validation. The scores use the model's uncalibrated
    probabilities, before temperature scaling.
    """
    threshold = threshold_for_sensitivity(validation, sensitivity)
    return {
        "threshold": threshold,
        "temperature": fit_temperature(validation),
        "validation": evaluate(validation, threshold, bootstrap)["test"],
        **evaluate(test, threshold, bootstrap),
    }
