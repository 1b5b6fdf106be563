import numpy as np
import pytest
from made_up import HAM10000, make, random_predictions
from sklearn import metrics as sk

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.curves import confusion, curves, malignant_curve, reliability
from helpers.evaluation.scores import evaluate


def test_confusion_has_the_truth_in_rows():
    counts = np.array([[3, 1, 0], [1, 2, 1], [0, 0, 0]])
    labels, predicted = np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0).T
    assert confusion(make(labels, np.eye(3)[predicted])).tolist() == counts.tolist()


def test_curves_hold_points_areas_and_intervals():
    p, bootstrap = random_predictions(400, 9), Bootstrap(200)
    found, judged = curves(p, bootstrap), evaluate(p, 0.5, bootstrap)
    assert list(found) == [*HAM10000, "malignant"]
    for name, curve in found.items():
        auc = judged["test"]["malignant_auc"] if name == "malignant" else judged["per_class"][name]["auc"]
        assert (curve["auc"], *curve["auc_interval"]) == tuple(auc.values())
        assert sk.auc(curve["false_positive_rate"], curve["true_positive_rate"]) == pytest.approx(curve["auc"])
        low, high = curve["average_precision_interval"]
        assert low < curve["average_precision"] < high
    average_precision = sk.average_precision_score(p.labels == 4, p.probabilities[:, 4])
    assert found["mel"]["average_precision"] == pytest.approx(average_precision)
    for name, numbers in malignant_curve(p, bootstrap).items():
        assert np.array_equal(numbers, found["malignant"][name])
    assert curves(make([1, 1], [[0.2, 0.8], [0.6, 0.4]])) == {}


def test_reliability_by_hand():
    confidence, right = np.array([0.6, 0.55, 0.9, 0.9, 0.9]), np.array([1, 0, 1, 1, 0])
    table = reliability(make(1 - right, np.c_[confidence, 1 - confidence], lesions=["a", "b", "c", "c", "d"]))
    assert table["images"].to_dict() == {**dict.fromkeys(range(15), 0), 8: 2, 13: 3}
    row = table.loc[13, ["above", "up_to", "lesions", "confidence", "accuracy"]].tolist()
    assert row == pytest.approx([13 / 15, 14 / 15, 2, 0.9, 2 / 3])
    assert table.loc[0, ["confidence", "accuracy", "low", "high"]].isna().all()


@pytest.mark.parametrize(("lesions", "count"), [(range(10), 10), ([0] * 5 + [1] * 5, 2)])
def test_reliability_interval_is_wilsons_by_lesion(lesions, count):
    table = reliability(make([0] * 10, [[1, 0]] * 10, lesions=lesions))
    assert table.loc[14, ["low", "high"]].tolist() == pytest.approx([count / (count + 1.959964**2), 1], abs=1e-6)
