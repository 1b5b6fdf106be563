"""Variants on a tiny made-up study: judged alike, kept when they are finished, trained again when anything changed."""

import hashlib
import json
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
from tiny import CODES, make_study, small_cnn

from helpers.models.head import Common
from helpers.models.networks import Convolutions, cnn
from helpers.models.recipe import Recipe
from helpers.records import Run, describe_split, read_records
from helpers.study import StudyError
from helpers.training import experiment as experiment_module
from helpers.training.experiment import Experiment
from helpers.training.fit import Fitted

RECIPE = Recipe(2, 8, 1e-2, 1e-4, "none", 2, 0)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run of 05_mobilenet on the tiny study, in temporary folders."""
    return make_study(tmp_path, monkeypatch, "05_mobilenet")


def train(experiment, key="small", stages=(RECIPE,), filters=(4, 8), **options):
    build = partial(small_cnn, classes=len(experiment.codes), filters=filters)
    return experiment.train(key, f"{key} network", build, stages=stages, **options)


@pytest.fixture
def trainings(monkeypatch) -> list:
    """Grows by one whenever a network would be trained; it is left as it is, to save time."""
    done = []
    history = pd.DataFrame({"epoch": [1], "loss": [1.0], "stage": [1]})
    cost = {"epochs": 1, "best_epoch": 1, "seconds": 0.1, "images_per_second": 10.0, "weights": 1}
    monkeypatch.setattr(experiment_module, "fit_stages", lambda *_, **__: done.append(1) or Fitted(history, cost))
    return done


def test_every_variant_has_the_precision_of_the_run(run, trainings):
    run.parameters["precision"] = "mixed_bfloat16"
    experiment, build = Experiment(run), partial(cnn, Common(16, 7), Convolutions([4]))
    try:
        for key in ("one", "two"):
            layers = experiment.train(key, key, build, stages=[RECIPE]).model().layers
            assert {layer.dtype_policy.name for layer in layers if layer.name.startswith("conv")} == {"mixed_bfloat16"}
            assert layers[-1].dtype_policy.name == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_precision_that_overflows_is_refused(run):
    run.parameters["precision"] = "mixed_float16"
    with pytest.raises(StudyError, match="precision 'mixed_float16': choose one of float32, mixed_bfloat16"):
        Experiment(run)


def test_a_variant_is_judged_and_leaves_what_the_contract_asks_for(run):
    experiment = Experiment(run)
    variant = train(experiment, compared=False, weights_sha256="abc")
    assert variant.entry["environment"]["weights_sha256"] == "abc"
    assert set(variant.entry["training"]) == {
        "epochs", "best_epoch", "seconds", "images_per_second", "weights",
        "prediction_images_per_second", "training_images", "model_bytes",
    }  # fmt: skip
    assert (
        variant.entry["compared"] is False
        and variant.entry["task"] == "diagnosis"
        and variant.entry["name"] == "small network"
    )
    assert variant.entry["training"]["model_bytes"] == (variant.folder / "model.keras").stat().st_size
    assert list(variant.predictions) == ["image_id", "part", "label", *CODES]
    assert variant.predictions["part"].value_counts().to_dict() == {"test": 28, "validation": 14}
    assert (
        len(experiment.part(variant.predictions)) == 28
        and len(experiment.part(variant.predictions, "validation")) == 14
    )
    answers = variant.model().predict(experiment.samples["test"].pixels[experiment.samples["test"].rows], verbose=0)
    assert np.allclose(answers, experiment.part(variant.predictions).probabilities, atol=1e-5)


def test_missing_images_are_reported_and_recorded(run, trainings, capsys, tmp_path):
    assert train(Experiment(run)).entry["missing_images"] == 0 and "missing" not in capsys.readouterr().out
    (tmp_path / "cache" / "lesions.json").write_text('{"missing_images": 1234, "folder": ".."}')
    sentences = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_module, "say", sentences.append)
        assert train(Experiment(run)).entry["missing_images"] == 1234
    assert sentences == [
        "**1,234 images that the publisher's table lists are missing here**; all results are for the other 84."
    ]


def test_a_finished_variant_is_read_back_with_the_same_numbers(run, trainings, capsys):
    first, again = (train(Experiment(run)) for _ in range(2))
    said = capsys.readouterr()
    assert len(trainings) == 1 and "small network: trained before" in said.err and said.out == ""
    assert first.entry == again.entry and first.history.equals(again.history)
    assert first.predictions.equals(again.predictions)


@pytest.mark.parametrize(
    "change",
    [
        lambda run, _: train(Experiment(run), filters=(4, 12)),
        lambda run, _: train(Experiment(run), stages=[Recipe(2, 8, 2e-2, 1e-4, "none", 2, 0)]),
        lambda run, _: train(Experiment(run), stages=[RECIPE, RECIPE]),
        lambda run, _: train(Experiment(run).on_fraction(0.5)),
        lambda run, _: train(Experiment(run, "malignancy")),
        lambda run, patch: patch.setattr(experiment_module, "TRAINING_VERSION", 0) or train(Experiment(run)),
    ],
    ids=["network", "recipe", "stages", "images", "task", "version"],
)
def test_what_changes_a_variant_trains_it_again(run, trainings, change, monkeypatch):
    train(Experiment(run))
    change(run, monkeypatch)
    assert len(trainings) == 2


def test_an_interrupted_variant_is_not_taken_for_finished(run, trainings, monkeypatch):
    train(Experiment(run))

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(experiment_module, "write_csv", interrupt)
        train(Experiment(run), filters=(4, 12))
    train(Experiment(run))
    assert len(trainings) == 3  # the second training began by taking the first one's place


def test_malignancy_has_two_classes_on_the_same_split(run, trainings):
    diagnosis, binary = Experiment(run), Experiment(run, "malignancy")
    assert binary.codes == ["benign", "malignant"] and set(binary.split["label"]) == {"benign", "malignant"}
    malignant = diagnosis.lesions["malignant"].reindex(diagnosis.split["image_id"]).to_numpy()
    assert ((binary.split["label"] == "malignant").to_numpy() == malignant).all()
    variant = train(binary, "binary", counterpart="small network")
    assert list(variant.predictions)[2:] == ["label", "benign", "malignant"]
    assert variant.entry["task"] == "malignancy" and variant.entry["counterpart"] == "small network"
    assert variant.entry["split"] == train(diagnosis).entry["split"]
    assert variant.entry["test"]["malignant_auc"] == pytest.approx(variant.entry["test"]["macro_auc"])


def test_a_fraction_of_the_lesions_is_stratified_and_nested(run):
    experiment = Experiment(run)
    shares = {share: set(experiment.on_fraction(share).samples["train"].rows) for share in (0.1, 0.4, 0.7, 1.0)}
    # Of each label at least one lesion of two images.
    assert [len(rows) for rows in shares.values()] == [14, 14, 28, 42]
    assert shares[0.1] <= shares[0.4] <= shares[0.7] <= shares[1.0] == set(experiment.samples["train"].rows)
    labels = experiment.on_fraction(0.4).samples["train"].labels
    assert (np.bincount(labels, minlength=7) == 2).all()
    with pytest.raises(StudyError, match=r"fraction of training lesions is 0"):
        experiment.on_fraction(0)


def test_the_record_holds_the_main_model_and_its_variants(run, trainings):
    experiment = Experiment(run)
    main, other = train(experiment, "main"), train(experiment, "other", filters=(4, 4), compared=False)
    prior = np.full(7, 1 / 7)
    prior_only = lambda part: np.tile(prior, (len(experiment.samples[part]), 1))  # noqa: E731
    experiment.write(main, [other, experiment.judge("majority", "no look", prior_only)])
    records = {record["name"]: record for record in read_records(run.results)}
    assert set(records) == {"main network", "other network", "no look"}
    assert records["no look"]["training"] is None and records["no look"]["test"]["balanced_accuracy"]["value"] == 1 / 7
    assert (run.folder / "model.keras").read_bytes() == (main.folder / "model.keras").read_bytes()
    assert pd.read_csv(run.folder / "variants" / "other" / "history.csv").equals(other.history)
    assert not (run.folder / "variants" / "other" / "model.keras").exists()
    saved = json.loads((run.folder / "metrics.json").read_text())
    assert set(saved["variants"]) == {"other", "majority"} and saved["parameters"]["side"] == 16
    assert saved["model_sha256"] == hashlib.sha256((run.folder / "model.keras").read_bytes()).hexdigest()


def test_another_split_with_a_part_of_its_own(run, trainings):
    """As for a cross-validation, and for a protocol whose claimed part is predicted beside test."""
    experiment = Experiment(run)
    split = experiment.original
    other = split.assign(part=split["part"].where(split["image_id"] != "image_00", "claimed"))
    changed = experiment.on(other)
    assert changed.predicted == ("validation", "test", "claimed") and experiment.predicted == ("validation", "test")
    assert len(changed.samples["train"]) == len(experiment.samples["train"]) - 1
    variant = changed.judge("even", "even", lambda part: np.full((len(changed.samples[part]), 7), 1 / 7))
    assert variant.predictions["part"].value_counts()["claimed"] == 1
    assert changed.part(variant.predictions, "claimed").lesions.tolist() == ["lesion_00"]
    assert variant.entry["split"] == describe_split(split)  # the study's own, which all records have to share
    train(experiment), train(changed)
    assert len(trainings) == 2  # other images: another variant


def test_a_batch_larger_than_the_training_part_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    run = make_study(tmp_path, monkeypatch, "03_cnn_baseline", batch_size=43)
    with pytest.raises(StudyError, match="batch_size is 43; it must be at most 42, the training images"):
        Experiment(run)


def test_a_sample_comes_with_the_answers_of_one_who_is_always_right(run):
    experiment = Experiment(run)
    drawn, right = experiment.sample("test", 3)
    again, _ = experiment.sample("test", 3)
    everything, _ = experiment.sample("test", 10**6)
    assert len(drawn) == len(right) == 3 and right.is_right.all() and drawn.rows.tolist() == again.rows.tolist()
    rows = experiment.samples["test"].rows.tolist()
    assert sorted(everything.rows.tolist()) == sorted(rows) and set(drawn.rows.tolist()) <= set(rows)
    lesions = [experiment.lesion_of[experiment.cache.image_ids[row]] for row in drawn.rows]
    assert right.lesions.tolist() == lesions
