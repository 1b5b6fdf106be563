from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers import plots
from helpers.data.lesions import diagnoses
from helpers.evaluation import comparison, malignancy
from helpers.evaluation.curves import confusion, curves, reliability
from helpers.evaluation.predictions import Predictions

CODES = ["bcc", "mel", "nv"]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def texts(figure: Figure) -> str:
    """All words of a figure, in one string."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def assert_every_axis_is_labelled(figure: Figure):
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            assert axes.get_xlabel() and axes.get_title(loc="left"), "an axis without a label or a title"


@pytest.fixture
def lesions() -> pd.DataFrame:
    labels = ["bcc"] * 2 + ["mel"] * 3 + ["nv"] * 5
    ids = [f"l{k // 2}" for k in range(10)]
    return pd.DataFrame({"label": labels, "lesion_id": ids, "age": [50.0, None, *range(40, 72, 4)], "sex": "male"})


@pytest.fixture
def predictions() -> Predictions:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    chances = random.dirichlet(np.ones(3), 60) + np.eye(3)[labels]
    lesion = np.array([f"l{k}" for k in range(60)])
    return Predictions(labels, chances / 2, lesion, tuple(CODES), (True, True, False))


@pytest.fixture
def models(predictions) -> dict[str, Predictions]:
    """Three models that answer the same 60 images, each with other luck."""
    order = np.random.default_rng(1).permuted(np.tile(np.arange(3), (60, 1)), axis=1)
    shuffled = np.take_along_axis(predictions.probabilities, order, axis=1)
    parts = predictions.probabilities, shuffled, np.full((60, 3), 1 / 3)
    names = ("CNN", "MobileNet, frozen", "majority class")
    return {name: replace(predictions, probabilities=part) for name, part in zip(names, parts, strict=True)}


def assert_apart(shown: list[matplotlib.text.Text]):
    """No two pieces of text on a figure lie on each other."""
    shown[0].figure.canvas.draw()
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in shown]  # without the line that leads to it
    for k, box in enumerate(boxes):
        for other in range(k):
            assert not box.overlaps(boxes[other]), f"{shown[k].get_text()!r} lies on {shown[other].get_text()!r}"


@pytest.mark.parametrize("dataset", ["ham10000", "isic2019"])
def test_each_class_has_a_colour_of_its_own(dataset):
    colours = plots.class_colours([diagnosis.code for diagnosis in diagnoses(dataset)])
    assert len(set(colours)) == len(colours)


def test_a_diagnosis_has_one_colour_in_both_datasets():
    assert plots.class_colours(["akiec", "bcc", "nv"]) == plots.class_colours(["AK", "BCC", "NV"])


def test_class_counts_show_images_and_lesions(lesions):
    figure = plots.class_counts(lesions, CODES)
    words = texts(figure)
    assert "10 images of 5 lesions" in words and "3 images" in words and "1 lesions" in words
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [2, 3, 5, 1, 2, 3]
    assert_every_axis_is_labelled(figure)


def test_ages_leave_out_the_unknown_and_say_n(lesions):
    words = texts(plots.ages(lesions, CODES))
    assert "bcc\nn = 1" in words and "nv\nn = 5" in words and "age (years)" in words


def test_shares_are_of_the_row(lesions):
    table = pd.DataFrame({"face": [1, 0, 5], "back": [3, 2, 5]}, index=CODES)
    figure = plots.share_heatmap(table, "Site")
    shown = figure.axes[0].collections[0].get_array().reshape(3, 2)
    assert np.allclose(shown, [[25, 75], [0, 100], [50, 50]]) and "bcc (n = 4)" in texts(figure)


def test_a_gallery_names_its_rows_and_its_source():
    rows = [np.zeros((2, 8, 8, 3), np.uint8), np.full((3, 8, 8, 3), 9, np.uint8)]
    figure = plots.gallery(rows, ["mel", "nv"], "Title", "Images: somebody, CC BY", ["first", "second"])
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 0, 1, 1, 1]
    assert all(word in texts(figure) for word in ("mel", "nv", "Title", "Images: somebody, CC BY", "first", "second"))


def test_colour_distributions_draw_each_class_in_each_channel():
    means = np.random.default_rng(0).uniform(0, 255, (30, 3))
    figure = plots.colour_distributions(means, np.repeat(CODES, 10), CODES)
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3]
    assert_every_axis_is_labelled(figure)


def assert_epochs_are_whole(figure):
    assert all(float(tick).is_integer() for axes in figure.axes for tick in axes.get_xticks())


def test_learning_curves_mark_the_kept_epoch():
    columns = ["loss", "val_loss", "accuracy", "val_accuracy", "val_balanced_accuracy"]
    history = pd.DataFrame({"epoch": [1, 2, 3], "stage": 1, **{name: [0.1, 0.2, 0.3] for name in columns}})
    figure = plots.learning_curves(history, 2)
    assert "kept: epoch 2" in texts(figure) and "validation, balanced" in texts(figure)
    assert all(list(axes.lines[-1].get_xdata()) == [2, 2] for axes in figure.axes)
    assert_epochs_are_whole(figure)
    assert_every_axis_is_labelled(figure)


def test_confusion_matrices_show_counts_and_row_shares(predictions):
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]])
    figure = plots.confusion_matrices(counts, CODES, "Test")
    left, right = (axes.collections[0].get_array().reshape(3, 3) for axes in figure.axes[:2])
    assert (left == counts).all() and np.allclose(right[0], [75, 25, 0]) and np.isfinite(right).all()
    assert "nv (n = 2)" in texts(figure)
    assert_every_axis_is_labelled(plots.confusion_matrices(confusion(predictions), CODES, "Test"))


def test_a_forest_has_a_line_a_row_with_its_numbers():
    table = pd.DataFrame({"value": [0.5, 0.7], "low": [0.4, 0.65], "high": [0.6, 0.8]}, index=["one", "other"])
    figure = plots.forest(table, "recall", "Title", floor=(0.1, "chance"))
    assert "0.500 [0.400, 0.600]" in texts(figure) and "chance" in texts(figure)
    assert "other" in texts(figure) and "recall" in texts(figure)
    (bars,) = figure.axes[0].containers
    assert np.allclose(bars.lines[2][0].get_segments()[0][:, 0], [0.4, 0.6])


def test_a_forest_has_room_for_long_names_and_narrow_numbers():
    names = [f"{'a model with a long name, ' * 2}{k}" for k in range(3)]
    table = pd.DataFrame({"value": [-0.1, -0.05, 0.0], "low": -0.154, "high": 0.004}, index=names)
    figure = plots.forest(table, "difference", "Title", floor=(0.0, "nothing added"))
    assert_apart(figure.axes[0].get_xticklabels())
    (floor,) = [text for text in figure.axes[0].texts if text.get_text() == "nothing added"]
    ends = matplotlib.text.Text.get_window_extent(floor)
    assert ends.x1 <= figure.axes[0].get_window_extent().x1


def test_the_learning_curves_titles_stay_above_their_panels():
    columns = ["loss", "val_loss", "accuracy", "val_accuracy", "val_balanced_accuracy"]
    history = pd.DataFrame({"epoch": [1, 2], "stage": 1, **dict.fromkeys(columns, 0.5)})
    figure = plots.learning_curves(history, 1)
    figure.canvas.draw()
    for axes in figure.axes:
        (title,) = [text for text in axes.findobj(matplotlib.text.Text) if text.get_text() == axes.get_title("left")]
        assert title.get_window_extent().x1 <= axes.get_window_extent().x1


def test_a_model_keeps_its_look_in_every_figure(models, predictions):
    looks = plots.model_looks(["another", *models])
    drawn = curves(predictions, 20)["malignant"]
    shown = plots.malignancy_curves(dict.fromkeys(models, drawn), 60, 40, looks).axes[1].lines[:3]
    assert [line.get_color() for line in shown] == [looks[name]["color"] for name in models]
    benefit = {name: malignancy.decision_curve(model, resamples=20) for name, model in models.items()}
    shown = plots.decision_curves({"one": benefit}, 60, looks).axes[0].lines[:3]
    assert [line.get_color() for line in shown] == [looks[name]["color"] for name in models]
    table = pd.DataFrame({"value": 0.5, "low": 0.4, "high": 0.6, "ms": [1.0, 2.0, 3.0]}, index=list(models))
    shown = plots.cost(table, {"ms": "ms"}, "label", "Title", looks).axes[0].containers
    assert [bars.lines[0].get_color() for bars in shown] == [looks[name]["color"] for name in models]


def test_curves_come_with_areas_intervals_and_n(predictions):
    figure = plots.roc_and_precision_recall(curves(predictions, 50), len(predictions))
    words = texts(figure)
    assert "60 test images" in words and "malignant: " in words and words.count("[") > 8
    assert len(figure.axes[0].lines) == 5 and len(figure.axes[1].lines) == 4
    assert_every_axis_is_labelled(figure)


def test_malignancy_has_one_curve_a_model(predictions):
    malignant = curves(predictions, 50)["malignant"]
    figure = plots.malignancy_curves({"CNN": malignant, "floor": malignant}, 60, 40)
    words = texts(figure)
    assert "CNN: " in words and "60 test images, 40 malignant" in words
    assert [len(axes.lines) for axes in figure.axes] == [3, 3]
    assert list(figure.axes[1].lines[-1].get_ydata()) == [40 / 60] * 2  # the precision of calling all malignant
    assert_every_axis_is_labelled(figure)


def test_a_task_of_two_classes_has_colours():
    assert len(set(plots.class_colours(["benign", "malignant"]))) == 2


def test_no_two_models_look_alike():
    looks = plots.model_looks([str(k) for k in range(21)])
    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == 21
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == 21


def test_recall_heatmap_is_in_percent():
    figure = plots.recall_heatmap(pd.DataFrame({"mel": [0.25], "nv": [1.0]}, index=["CNN"]))
    assert figure.axes[0].collections[0].get_array().ravel().tolist() == [25, 100]


def test_reliability_leaves_out_empty_bins(predictions):
    table = reliability(predictions)
    figure = plots.reliability(table, {"value": 0.123, "low": 0.1, "high": 0.2})
    assert "ECE 0.123 [0.100, 0.200]" in texts(figure)
    assert len(figure.axes[1].patches) == (table.images > 0).sum()


def test_reliabilities_stand_side_by_side(predictions):
    panel = (reliability(predictions), {"value": 0.1, "low": 0.05, "high": 0.2})
    figure = plots.reliabilities({"before": panel, "after": panel})
    assert len(figure.axes) == 4 and "before\nECE 0.100 [0.050, 0.200]" in texts(figure)


def test_maps_are_laid_over_their_images_and_masks_around():
    images, maps = np.full((2, 8, 8, 3), 100, np.uint8), np.zeros((2, 8, 8))
    maps[0, 2, 3], maps[1, 5, 5], maps[1, 0] = 4.0, 1e-3, -1.0
    shown = plots.overlaid(images, maps)
    brightest = [np.unravel_index(one[..., :2].sum(axis=2).argmax(), (8, 8)) for one in shown.astype(int)]
    assert shown.dtype == np.uint8 and brightest == [(2, 3), (5, 5)]  # whatever its height, the highest is yellow
    assert np.array_equal(shown[0, 2, 3], shown[1, 5, 5]) and np.array_equal(shown[0, 0, 0], shown[1, 0, 0])
    masks = np.zeros((2, 8, 8), bool)
    masks[0, 1:6, 2:7] = True
    border = (plots.outlined(images, masks) == 255).all(axis=3)
    assert border[0].sum() == 16 and not border[0, 2:5, 3:6].any() and not border[1].any()
    assert plots.outlined(images) is images


def test_curves_of_maps_have_a_line_each_and_a_panel_each():
    curve = pd.DataFrame({"share": [0.0, 0.5, 1.0], "value": [0.9, 0.1, -0.1]})
    curve = curve.assign(low=curve["value"] - 0.1, high=curve["value"] + 0.1)
    for figure, lines in (
        (
            plots.exchange({"Deletion": {"Grad-CAM": curve, "centre blob": curve}, "Insertion": {"Grad-CAM": curve}}),
            [2, 1],
        ),
        (plots.randomisation({"New weights": {"CNN": curve}}), [2]),
    ):
        assert [len(axes.lines) for axes in figure.axes] == lines
        assert figure.axes[0].get_ylim()[0] <= -0.2 and figure.axes[0].get_ylabel()
        assert all(axes.get_xlabel() and axes.get_legend() for axes in figure.axes)


def test_before_and_after_have_a_mark_each():
    before = pd.DataFrame({"value": [0.3, 0.2], "low": [0.2, 0.1], "high": [0.4, 0.3]}, index=["CNN", "floor"])
    figure = plots.before_and_after(before, before / 2, ("as it is", "scaled"), "ECE", "Calibration")
    one, other = figure.axes[0].containers
    assert list(one.lines[0].get_xdata()) == [0.3, 0.2] and list(other.lines[0].get_xdata()) == [0.15, 0.1]
    assert all(word in texts(figure) for word in ("CNN", "as it is", "scaled", "Calibration", "ECE"))


def test_a_pair_shows_column_minus_row_with_its_stars():
    pairs = pd.DataFrame(
        {
            "first": ["a", "a", "b"],
            "second": ["b", "c", "c"],
            "value": [0.05, 0.1, -0.02],
            "low": [0.01, 0.02, -0.1],
            "high": [0.09, 0.2, 0.1],
            "mark": ["*", "†", ""],
        }
    )
    figure = plots.differences(pairs, "points", "Every pair")
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == ["+5.0*", "+10.0†", "-2.0"]
    colours = figure.axes[0].collections[0].get_array().reshape(3, 3)
    assert colours[1, 0] == pytest.approx(5) and colours.mask[0].all()
    assert figure.axes[0].collections[0].get_clim() == pytest.approx((-2, 10))  # no cell is beyond the scale


def test_agreement_is_shown_once_a_pair(models):
    figure = plots.agreement(comparison.agreement(models), 1234)
    assert len(figure.axes[0].texts) == 3 and "Cohen's kappa" in texts(figure) and "1,234 test" in texts(figure)


def test_decision_curves_have_a_panel_each_and_both_simple_rules(models):
    benefit = {name: malignancy.decision_curve(model, resamples=20) for name, model in models.items()}
    figure = plots.decision_curves({"one": benefit, "other": benefit}, 60)
    assert len(figure.axes) == 2 and all(len(axes.lines) == 3 + 2 for axes in figure.axes)
    assert all(word in texts(figure) for word in ("one, 60 test images", "biopsy all", "biopsy none"))
    assert_every_axis_is_labelled(figure)


def test_names_beside_costs_never_collide():
    names = [f"a model with a long name, {k}" for k in range(12)]
    table = pd.DataFrame({"value": 0.7, "ms": np.geomspace(0.1, 90, 12), "weights": 1e5}, index=names)
    table = table.assign(low=table.value - 0.05, high=table.value + 0.05)
    figure = plots.cost(table, {"ms": "ms an image", "weights": "weights"}, "balanced accuracy", "Title")
    words = texts(figure)
    assert all(name in words for name in names) and "ms an image" in words and "balanced accuracy" in words
    assert_apart(figure.axes[1].texts)
    assert_apart([tick for tick in figure.axes[0].get_xticklabels() if 0.1 <= tick.get_position()[0] <= 100])


def test_training_gaps_have_a_panel_a_model():
    history = pd.DataFrame({"epoch": [1, 2, 3], "accuracy": [0.2, 0.5, 0.9], "val_accuracy": [0.2, 0.4, 0.5]})
    figure = plots.training_gaps(dict.fromkeys(("none", "flip", "zoom", "noise", "all five"), history))
    assert len(figure.axes) == 5 and all(len(axes.lines) == 2 for axes in figure.axes)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["none", "flip", "zoom", "noise", "all five"]
    assert "accuracy (share of images)" in texts(figure)
    assert_epochs_are_whole(figure)
    assert_every_axis_is_labelled(figure)


def test_robustness_draws_each_model_with_its_band():
    steps = [(0.0, 0.7, 0.6, 0.8), (0.5, 0.4, 0.3, 0.5)]
    rows = [
        {"corruption": corruption, "model": model, **dict(zip(["strength", "value", "low", "high"], step, strict=True))}
        for corruption in ("darker (share)", "turned (degrees)")
        for model in ("none", "all five")
        for step in steps
    ]
    figure = plots.robustness(pd.DataFrame(rows), "balanced accuracy on test", (0.14, "chance"))
    assert [axes.get_xlabel() for axes in figure.axes] == ["darker (share)", "turned (degrees)"]
    assert all(len(axes.lines) == 3 and len(axes.collections) == 2 for axes in figure.axes)
    assert all(word in texts(figure) for word in ("none", "all five", "chance", "balanced accuracy on test"))
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.7, 0.4]
    assert_every_axis_is_labelled(figure)


def test_throughput_shows_every_way_of_every_network():
    rows = [
        {"network": network, "what": what, "way": way, "median": 10.0 * place, "low": 9.0 * place, "high": 12.0 * place}
        for network in ("CNN", "MobileNet")
        for what in ("training", "prediction")
        for place, way in enumerate(("study", "stock", "one batch"), start=1)
        if (network, way) != ("CNN", "stock")
    ]
    table = pd.DataFrame(rows).assign(images=2000, side=64, batch=32, rounds=5, backend="jax", device="a processor")
    figure = plots.throughput(table)
    assert_every_axis_is_labelled(figure)
    assert all(word in texts(figure) for word in ("CNN", "MobileNet", "study", "stock", "one batch", "64 px"))


def test_folds_show_each_fold_and_all_together():
    points = pd.DataFrame({"kind": ["CNN"] * 5 + ["MobileNet"] * 5, "value": np.linspace(0.4, 0.7, 10)})
    whole = pd.DataFrame({"value": [0.45, 0.6], "low": [0.4, 0.5], "high": [0.5, 0.7]}, index=["CNN", "MobileNet"])
    figure = plots.folds(points, whole, "balanced accuracy", "Five folds")
    assert_every_axis_is_labelled(figure)
    (axes,) = figure.axes
    drawn = [collection for collection in axes.collections if len(collection.get_offsets()) == 5]
    assert len(drawn) == 2
    assert "one fold" in texts(figure) and "all folds together,\nwith 95 % interval" in texts(figure)


def test_a_search_shows_every_trial_and_the_best_so_far():
    scores = [0.3, 0.5, 0.2, 0.6]
    trials = pd.DataFrame({"trial": range(4), "score": scores, "state": ["complete", "complete", "pruned", "complete"]})
    figure = plots.search_history(trials)
    assert_every_axis_is_labelled(figure)
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[0, 0.3], [1, 0.5], [2, 0.5], [3, 0.6]]
    assert "stopped early (1)" in texts(figure)


def test_bars_carry_their_numbers():
    figure = plots.bars(pd.Series({"rate": 0.7, "dropout": 0.3}), "share of the variance", "Importance")
    assert "0.70" in texts(figure) and "rate" in texts(figure)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.7, 0.3]


def test_risk_and_coverage_have_a_panel_for_each_set_of_images():
    curve = pd.DataFrame({"coverage": [0.5, 1.0], "risk": [0.1, 0.3], "low": [0.05, 0.2], "high": [0.2, 0.4]})
    figure = plots.risk_coverage({"known": {"energy": curve, "maximum probability": curve}, "all": {"energy": curve}})
    assert [len(axes.lines) for axes in figure.axes] == [2, 1]
    assert "known" in texts(figure) and "energy" in texts(figure)
    assert all(axes.get_xlabel() for axes in figure.axes) and figure.axes[0].get_ylabel()


def test_training_sizes_have_the_looks_of_models_and_the_numbers():
    rows = [("scratch", 100, 0.2), ("scratch", 700, 0.3), ("fine-tuned", 700, 0.6), ("fine-tuned", 100, 0.5)]
    points = pd.DataFrame(rows, columns=["way", "images", "value"]).assign(low=0.1, high=0.9)
    axes = plots.training_size(points, 1 / 7).axes[0]
    lines = {container.get_label(): container.lines[0] for container in axes.containers}
    assert [line.get_color() for line in lines.values()] == list(plots.MODEL_COLOURS[:2])
    assert lines["fine-tuned"].get_ydata().tolist() == [0.5, 0.6]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "700"]
