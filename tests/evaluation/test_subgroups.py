import numpy as np
import pandas as pd
import pytest
from made_up import make, random_predictions

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.scores import evaluate, measure
from helpers.evaluation.subgroups import GROUP_METRICS, age_group, group_scores, patient_group_scores
from helpers.study import StudyError


def test_group_scores_count_and_judge_each_group():
    p, bootstrap = random_predictions(300, 16), Bootstrap(100)
    site = pd.Categorical(["back"] * 150 + ["face"] * 135 + ["unknown"] * 15, ["face", "back", "unknown", "never"])
    table = group_scores(p, site, 0.4, bootstrap=bootstrap)
    assert table.index.tolist() == ["face", "back", "unknown"]
    assert table["images"].tolist() == [135, 150, 15]
    assert table.loc["back", "lesions"] == len(set(p.lesions[:150]))
    assert table.loc["back", "malignant_images"] == np.isin(p.labels[:150], [0, 1, 4]).sum()
    alone = evaluate(p.subset(site == "back"), 0.4, bootstrap)["test"]
    for name in GROUP_METRICS:
        figures = table.loc["back", [name, f"{name}_low", f"{name}_high"]].tolist()
        assert figures == pytest.approx(list(alone[name].values()))
    assert table.loc["unknown"].drop(["images", "lesions", "malignant_images"]).isna().all()


def test_scores_of_malignancy_need_ten_malignant_and_ten_benign_lesions():
    labels, chances = [0] * 10 + [1] * 10, np.tile([0.5, 0.5], (20, 1))
    two_views = [*range(9), 8, *range(10, 20)]  # ten malignant images, but of nine lesions
    enough, fewer, none = (
        group_scores(p, ["x"] * 20, 0.5, bootstrap=Bootstrap(20)).loc["x"]
        for p in (make(labels, chances), make(labels, chances, two_views), make([1] * 20, chances))
    )
    assert enough["malignant_auc"] == fewer["accuracy"] == 0.5
    malignant = [name for name in GROUP_METRICS if "malignant" in name]
    assert fewer[malignant].isna().all() and none[malignant].isna().all() and none["accuracy_low"] == 0


def test_patient_groups_are_age_sex_and_site():
    p, bootstrap = random_predictions(100, 17), Bootstrap(20)
    patients = pd.DataFrame({"age": [20.0] * 60 + [np.nan] * 40, "sex": "male", "site": ["ear"] * 50 + ["back"] * 50})
    table = patient_group_scores(p, patients, 0.4, bootstrap=bootstrap)
    ages, sexes, sites = ["age 0-29 (n = 60)", "age missing (n = 40)"], ["sex male (n = 100)"], ["back", "ear"]
    assert table.index.tolist() == [*ages, *sexes, *(f"site {site} (n = 50)" for site in sites)]
    accuracy = measure(p, "accuracy", bootstrap=bootstrap)
    assert table.loc[sexes[0], ["accuracy", "accuracy_low", "accuracy_high"]].tolist() == list(accuracy.values())


@pytest.mark.parametrize("groups", [["a"] * 49, ["a"] * 49 + [None]])
def test_every_image_needs_a_group(groups):
    with pytest.raises(StudyError, match="a group for every image"):
        group_scores(random_predictions(50, 0), groups, 0.5)


def test_age_groups():
    found = age_group(pd.Series([0, 29, 29.9, 30, 44, 45, 60, 74, 75, 85, np.nan]))
    assert found.tolist() == ["0-29"] * 3 + ["30-44"] * 2 + ["45-59"] + ["60-74"] * 2 + ["75+"] * 2 + ["missing"]
    assert found.ordered and found.categories.tolist() == ["0-29", "30-44", "45-59", "60-74", "75+", "missing"]
