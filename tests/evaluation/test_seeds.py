"""Repeated trainings of one network: which records belong together, their mean, and their ensemble."""

import numpy as np
import pandas as pd
import pytest

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.seeds import METRICS, TABLE, seed_figures, seed_runs, seed_table, trainings
from helpers.records import write_csv, write_json
from helpers.training.experiment import repeat

CODES = np.array(["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"])
IMAGES = [f"image_{number}" for number in range(70)]
LESIONS = dict(zip(IMAGES, IMAGES, strict=True))


def write_predictions(folder, wrong):
    """Ten images of each class, of which the first `wrong` are taken for the next class, with 0.6 or else 0.9."""
    labels, mistaken = np.repeat(np.arange(7), 10), np.tile(np.arange(10) < wrong, 7)
    sure = np.where(mistaken, 0.6, 0.9)[:, None]
    values = sure * np.eye(7)[np.where(mistaken, labels + 1, labels) % 7] + (1 - sure) / 7
    table = pd.DataFrame(values, columns=CODES).assign(image_id=IMAGES, label=CODES[labels])
    write_csv(folder / "predictions.csv", pd.concat([table.assign(part=part) for part in ("validation", "test")]))


def entry(name, notebook="03_cnn_baseline", **about):
    about |= {"split": {"sha256": "the same"}, "parameters": {"dataset": "ham10000"}, "temperature": 1.0}
    return {"name": name, "notebook": notebook, "task": "diagnosis"} | about


@pytest.fixture
def runs(tmp_path):
    """A CNN that was trained twice, with 4 and 2 of 10 images wrong, and a CNN-LSTM that was trained once."""
    (key, name), about = repeat("cnn", "CNN", 1, first=0)
    main, again = tmp_path / "03_cnn_baseline", entry(name, **about)
    other = entry("majority class")
    write_json(main / "metrics.json", entry("CNN", variants={key: again, "majority": other}))
    write_json(tmp_path / "04_cnn_lstm" / "metrics.json", entry("CNN-LSTM", "04_cnn_lstm"))
    for folder, wrong in ((main, 4), (main / "variants" / key, 2), (tmp_path / "04_cnn_lstm", 5)):
        write_predictions(folder, wrong)
    return seed_runs(tmp_path)


def test_repeats_stand_behind_the_compared_training(runs, tmp_path):
    assert [[one["name"] for one in trainings(tmp_path, name)] for name in ("03_cnn_baseline", "04_cnn_lstm")] == [
        ["CNN", "CNN, seed 1"],
        ["CNN-LSTM"],
    ]
    assert {name: [record["name"] for record in records] for name, records in runs.items()} == {
        "CNN": ["CNN", "CNN, seed 1"]
    }
    assert repeat("cnn", "CNN", 0, first=0) == (("cnn", "CNN"), {"seed": 0})


def test_repeats_that_were_written_are_read_as_figures(runs, tmp_path):
    assert seed_figures(tmp_path) == {}
    write_csv(tmp_path / TABLE, seed_table(runs, LESIONS, Bootstrap(200)))
    figures = seed_figures(tmp_path)
    assert list(figures) == [("CNN", "mean"), ("CNN", "ensemble")]
    assert figures["CNN", "mean"]["accuracy"]["value"] == pytest.approx(0.7) and figures["CNN", "mean"]["runs"] == 2


def test_the_headline_is_the_mean_over_seeds_with_an_interval_over_both(runs):
    table = seed_table(runs, LESIONS, Bootstrap(200)).set_index(["kind", "metric"])
    mean = table.loc["mean", "balanced_accuracy"]
    assert list(mean[["lowest", "value", "highest"]]) == pytest.approx([0.6, 0.7, 0.8]) and mean.runs == 2
    only_lesions = seed_table({"CNN": runs["CNN"][:1]}, LESIONS, Bootstrap(200)).iloc[0]
    assert mean.high - mean.low > only_lesions.high - only_lesions.low
    # Where the trainings differ, the more confident one is right, so their ensemble is as good as the better one.
    assert table.loc["ensemble", "accuracy"].value == pytest.approx(0.8)
    assert set(table.index) == {(kind, metric) for kind in ("mean", "ensemble") for metric in METRICS}
