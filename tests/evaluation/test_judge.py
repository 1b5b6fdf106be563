from types import SimpleNamespace

import numpy as np
import pandas as pd
from made_up import HAM10000, MALIGNANT, random_predictions

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.calibration import fit_temperature
from helpers.evaluation.judge import judge
from helpers.evaluation.malignancy import threshold_for_sensitivity
from helpers.evaluation.scores import evaluate


def test_threshold_and_temperature_are_chosen_on_validation():
    p, bootstrap = random_predictions(300, 15), Bootstrap(50)
    table = pd.DataFrame(p.probabilities, columns=HAM10000)
    table["image_id"] = [f"ISIC_{i}" for i in range(300)]
    table["part"], table["label"] = np.repeat(["validation", "test", "train"], 100), np.array(HAM10000)[p.labels]
    classes = [SimpleNamespace(code=code, malignant=m) for code, m in zip(HAM10000, MALIGNANT, strict=True)]
    lesions = dict(zip(table["image_id"], p.lesions, strict=True))
    validation, test = (p.subset(np.arange(start, start + 100)) for start in (0, 100))
    threshold = threshold_for_sensitivity(validation, 0.8)
    chosen = {"threshold": threshold, "temperature": fit_temperature(validation)}
    found = {"validation": evaluate(validation, threshold, bootstrap)["test"], **evaluate(test, threshold, bootstrap)}
    assert judge(table, classes, lesions, sensitivity=0.8, bootstrap=bootstrap) == chosen | found
