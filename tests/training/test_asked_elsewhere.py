"""Published models of a tiny study asked about images of another clinic."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from tiny import CODES, RECIPE, make_study, small_cnn

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.external import INTERNAL, collection
from helpers.models.published import load_network, published_models
from helpers.study import StudyError
from helpers.training.experiment import Experiment
from helpers.training.external import abstentions, ask_published, effects_of_changes, read_squares


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """The experiment of a tiny study with one published model."""
    experiment = Experiment(make_study(tmp_path, monkeypatch, "05_mobilenet"))
    build = partial(small_cnn, classes=7)
    experiment.write(experiment.train("small", "small", build, stages=[RECIPE]), [])
    return experiment


@pytest.fixture
def models(experiment):
    return published_models(experiment.run.study)


def test_images_of_the_study_get_the_same_answers_elsewhere(experiment, models):
    table = experiment.lesions.reset_index()
    squares = read_squares({"copy": table}, experiment)
    given = ask_published(models, experiment, squares)["small", "copy"]
    assert list(given) == CODES and len(given) == len(table)
    recorded = pd.read_csv(models["small"]["folder"] / "predictions.csv").set_index("image_id")[CODES]
    asked = given.set_axis(table["image_id"]).loc[recorded.index]
    assert np.abs(asked.to_numpy() - recorded.to_numpy()).max() < 1e-4


def test_a_model_whose_answers_have_changed_is_refused(experiment, models):
    path = models["small"]["folder"] / "predictions.csv"
    table = pd.read_csv(path)
    table[CODES] = table[CODES].to_numpy()[:, ::-1]
    table.to_csv(path, index=False)
    with pytest.raises(StudyError, match="small: a probability differs by .* Run 05_mobilenet again"):
        ask_published(models, experiment, {})


def test_abstention_and_changes_of_look(experiment, models):
    network, test = load_network(models["small"]), experiment.samples["test"]
    inside = test.pixels[test.rows]
    options = {"setting": (1.0, np.zeros(len(CODES))), "coverage": 0.9}
    abstains = abstentions(network, experiment, {"away": np.zeros_like(inside)}, **options)
    assert list(abstains) == [INTERNAL, "away"] and len(set(abstains["away"])) == 1  # black images are all alike
    part = collection(experiment.part(pd.read_csv(models["small"]["folder"] / "predictions.csv"))).by_class
    table = effects_of_changes(
        network,
        {INTERNAL: inside, "away": inside},
        {INTERNAL: part, "away": part},
        zooms=[1.0],
        bootstrap=Bootstrap(20),
    )
    same = table.groupby("change")["value"].nunique()
    assert (same == 1).all() and len(table) == 8  # the same images, so the same figures
    unchanged = table[table["change"].isin(["as they are", "colours matched", "sharpness matched"])]
    assert (unchanged["gain_value"] == 0).all()
