"""The judgement of one model for its record: what is chosen on validation, and every figure on test."""

from collections.abc import Iterable, Mapping

import pandas as pd

from helpers.evaluation.calibration import temperature
from helpers.evaluation.malignancy import operating_threshold
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import evaluate


def judge(
    table: pd.DataFrame, classes: Iterable, lesions: Mapping[str, str], sensitivity: float, resamples: int = 2000
) -> dict:
    """`judge_parts` of the contract's table of predictions for validation and test.

    classes: objects with `code` and `malignant`, such as `datasets.Diagnosis`; lesions: lesion id by image id.
    """
    codes, malignant = [diagnosis.code for diagnosis in classes], [diagnosis.malignant for diagnosis in classes]
    validation, test = (
        Predictions.from_table(table[table["part"] == part], codes, malignant, lesions)
        for part in ("validation", "test")
    )
    return judge_parts(validation, test, sensitivity, resamples)


def judge_parts(validation: Predictions, test: Predictions, sensitivity: float, resamples: int = 2000) -> dict:
    """The judgement of one model for its record: what is chosen on validation, and what `evaluate` says of each part.

    `threshold` and `temperature` are chosen on validation; the figures are those of the probabilities as they are, so
    not divided by the temperature. sensitivity: share of the malignant validation images that the threshold finds.
    """
    threshold = operating_threshold(validation, sensitivity)
    chosen = {"threshold": threshold, "temperature": temperature(validation)}
    judged = evaluate(validation, threshold, resamples)["test"]
    return {**chosen, "validation": judged, **evaluate(test, threshold, resamples)}
