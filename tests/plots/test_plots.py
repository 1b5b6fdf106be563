"""Each picture, drawn once from made-up tables: what it shows, and that it can be read."""

from collections.abc import Iterator
from functools import cache
from inspect import isfunction
from itertools import combinations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from helpers import plots
from helpers.data.lesions import diagnoses
from helpers.plots.style import class_colours, error_bars

CODES = ["bcc", "mel", "nv"]
NAMES = [f"{'a model with a long name, ' * 2}{place}" for place in range(12)]
GREY = np.full((3, 8, 8, 3), 90, np.uint8)


def intervals(values: list[float], names: list[str], reach: float = 0.1) -> pd.DataFrame:
    """Columns value, low and high by name."""
    table = pd.DataFrame({"value": values}, index=names)
    return table.assign(low=table["value"] - reach, high=table["value"] + reach)


def columns(**values) -> pd.DataFrame:
    """A table with its column `value` between low and high."""
    table = pd.DataFrame(values)
    return table.assign(low=table["value"] - 0.1, high=table["value"] + 0.1)


LESIONS = pd.DataFrame(
    {
        "label": ["bcc"] * 2 + ["mel"] * 3 + ["nv"] * 5,
        "lesion_id": [f"l{place // 2}" for place in range(10)],
        "age": [50.0, None, *range(40, 72, 4)],
    }
)
HISTORY = pd.DataFrame({"epoch": [1, 2, 3, 4], "stage": [1, 1, 2, 2], "loss": [1.9, 1.5, 1.1, 0.8]})
HISTORY = HISTORY.assign(val_loss=1.8, accuracy=[0.2, 0.5, 0.7, 0.9], val_accuracy=0.5, val_balanced_accuracy=0.4)
CURVE = {"auc": 0.8, "auc_interval": (0.7, 0.9), "average_precision": 0.6, "average_precision_interval": (0.5, 0.7)}
CURVE |= {"false_positive_rate": [0, 0.1, 1], "true_positive_rate": [0, 0.7, 1]}
CURVE |= {"recall": [1, 0.7, 0], "precision": [0.4, 0.9, 1]}
MODELS = ["CNN", "MobileNet", "majority class"]
BENEFIT = columns(value=[0.3, 0.2, 0.1], all=[0.3, 0.1, -0.4]).set_index(pd.Index([0.1, 0.3, 0.5]))
BINS = columns(confidence=[0.3, 0.6, 0.9], value=[0.3, np.nan, 0.8], images=[5, 0, 7]).rename(
    columns={"value": "accuracy"}
)
RISKS = columns(coverage=[0.5, 1.0], value=[0.1, 0.3]).rename(columns={"value": "risk"})
ALONG = columns(share=[0.0, 0.5, 1.0], value=[0.9, 0.1, -0.1])
WAYS = [("CNN", "study"), ("CNN", "one batch"), ("MobileNet", "study"), ("MobileNet", "stock")]
SPEEDS = pd.DataFrame([(*way, what) for way in WAYS for what in ("training", "prediction")])
SPEEDS = SPEEDS.set_axis(["network", "way", "what"], axis=1).assign(median=20.0, low=9.0, high=90.0, images=2000)
SPEEDS = SPEEDS.assign(side=64, batch=32, rounds=5, backend="jax", device="a processor")
STEPS = [("darker (share)", 0.0), ("darker (share)", 0.5), ("turned (degrees)", 0.0), ("turned (degrees)", 30.0)]
CORRUPTED = pd.DataFrame([(*step, model) for model in MODELS for step in STEPS])
CORRUPTED = CORRUPTED.set_axis(["corruption", "strength", "model"], axis=1).assign(value=0.5, low=0.4, high=0.6)
SIZES = columns(
    way=["scratch", "scratch", "fine-tuned", "fine-tuned"], images=[100, 700, 700, 100], value=[0.2, 0.3, 0.6, 0.5]
)
TRIALS = pd.DataFrame({"trial": range(4), "score": [0.3, 0.5, 0.2, 0.6], "state": ["complete"] * 2 + ["pruned"] * 2})
FOLDS = pd.DataFrame({"kind": ["CNN"] * 5 + ["MobileNet"] * 5, "value": np.linspace(0.4, 0.7, 10)})
ELSEWHERE = columns(row=["home", "home", "away", "away"], series=["a", "b"] * 2, value=[0.9, 0.8, 0.7, np.nan])
CLAIMS = pd.DataFrame({"epoch": [1, 2, 3], "claimed_accuracy": [0.4, 0.6, 0.9], "test_accuracy": [0.4, 0.5, 0.5]})
CLAIMS = CLAIMS.assign(test_balanced_accuracy=0.3, claimed_balanced_accuracy=0.8)
PHOTOGRAPHS = pd.DataFrame({"image_id": list("abcdef"), "lesion_id": [1, 1, 2, 3, 4, 5], "label": "frequent"})
PHOTOGRAPHS = PHOTOGRAPHS.assign(part=["train", "train", "validation", "claimed", "claimed", "test"])
PROTOCOLS = {"apart": PHOTOGRAPHS, "chosen on test": PHOTOGRAPHS.drop(index=2)}
PROTOCOLS["chosen on test"] = pd.concat([PROTOCOLS["chosen on test"], PHOTOGRAPHS[3:5].assign(part="validation")])
PROTOCOLS["copied"] = PHOTOGRAPHS.assign(lesion_id=[1, 3, 1, 1, 3, 5], label="rare", copy=[0, 1, 0, 1, 2, np.nan])

FIGURES = {
    "class_counts": lambda: plots.class_counts(LESIONS, CODES, "10 images"),
    "flow": lambda: plots.flow({"listed": "", "read": "1 missing"}, ["train", "test"]),
    "ages": lambda: plots.ages(LESIONS, CODES, "Age"),
    "share_heatmap": lambda: plots.share_heatmap(
        pd.DataFrame({"face": [1, 0, 5], "back": [3, 2, 5]}, index=CODES), "Site"
    ),
    "gallery": lambda: plots.gallery(
        {"mel": GREY[:2], "nv": GREY}, "Title", "Images: somebody, CC BY", captions=["first", "second"]
    ),
    "learning_curves": lambda: plots.learning_curves(HISTORY, 2, "Epoch 2 was the best"),
    "protocol_diagram": lambda: plots.protocol_diagram(PROTOCOLS, "Five lesions", altered="copied"),
    "reading_diagram": lambda: plots.reading_diagram([[0, 1], [2, 3], [4, 5]], 2, "A map of 3 x 2 cells"),
    "claims_by_epoch": lambda: plots.claims_by_epoch({"by lesion": CLAIMS, "by image": CLAIMS}, 0.94, "Title"),
    "training_size": lambda: plots.training_size(SIZES, 1 / 7, "Training size"),
    "confusion_matrices": lambda: plots.confusion_matrices(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]]), CODES, "Test"),
    "forest": lambda: plots.forest(
        intervals([-0.1, -0.05, 0.0], NAMES[:3], 0.054), "difference", "Title", reference=(0.0, "nothing added")
    ),
    "dot_rows": lambda: plots.dot_rows(
        {"AUC": ELSEWHERE, "sensitivity": ELSEWHERE[:3]}, "Title", rows={"home": "home\n(n = 9)", "away": "away"}
    ),
    "grouped_forest": lambda: plots.grouped_forest(
        {"as trained": intervals([0.3, 0.2], MODELS[:2]), "scaled": intervals([0.1, 0.05], MODELS[:2])}, "ECE", "Title"
    ),
    "forest_panels": lambda: plots.forest_panels(
        dict.fromkeys(["all lesions (n = 9)", "some (n = 5)"], intervals([-0.1, 0.0, 0.1], NAMES[:3])),
        "difference",
        "Title",
        reference=(0, "none"),
    ),
    "recall_heatmap": lambda: plots.recall_heatmap(
        pd.DataFrame({"mel": [0.25], "nv": [1.0]}, index=["CNN"]), "df is hard"
    ),
    "roc_panels": lambda: plots.roc_panels(
        dict.fromkeys(MODELS, CURVE), "ROC", colours=dict.fromkeys(MODELS, "red"), reference="CNN", columns=2
    ),
    "decision_curves": lambda: plots.decision_curves(
        {"one": dict.fromkeys(MODELS, BENEFIT), "other": {"CNN": BENEFIT}}, 60
    ),
    "reliability": lambda: plots.reliability(
        dict.fromkeys(["before", "after"], (BINS, {"value": 0.123, "low": 0.1, "high": 0.2}))
    ),
    "risk_coverage": lambda: plots.risk_coverage(
        {"known": {"energy": RISKS, "probability": RISKS}, "all": {"energy": RISKS}}
    ),
    "deletion_insertion": lambda: plots.deletion_insertion(
        {"Deletion": {"Grad-CAM": ALONG, "centre blob": ALONG}, "Insertion": {"Grad-CAM": ALONG}}
    ),
    "robustness": lambda: plots.robustness(CORRUPTED, "balanced accuracy", reference=(0.14, "chance")),
    "throughput": lambda: plots.throughput(SPEEDS),
    "folds": lambda: plots.folds(FOLDS, intervals([0.45, 0.6], MODELS[:2]), "balanced accuracy", title="Five folds"),
    "search_history": lambda: plots.search_history(TRIALS),
}


@pytest.fixture(autouse=True, scope="module")
def figures_stay_open() -> Iterator[None]:
    with plt.rc_context({"figure.max_open_warning": 0}):
        yield
    plt.close("all")


@cache
def draw(name: str) -> Figure:
    return FIGURES[name]()


def visible_texts(figure: Figure) -> list[Text]:
    """The texts that are drawn, without the labels of ticks beyond the ends of an axis."""
    figure.canvas.draw()
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        beyond |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in beyond]


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_of_a_figure_lies_on_another(name):
    shown = visible_texts(draw(name))
    assert shown
    # An upright box around a slanted text is much larger than the text; that of a name leaves out the line to its mark.
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in shown if text.get_rotation() in (0, 90)]
    assert not [(one, other) for (one, box), (other, beside) in combinations(boxes, 2) if box.overlaps(beside)]


def test_every_figure_is_drawn_here():
    no_figures = {"class_colours", "model_styles", "outline", "overlay"}
    assert FIGURES.keys() == {name for name, one in vars(plots).items() if isfunction(one)} - no_figures


@pytest.mark.parametrize("dataset", ["ham10000", "isic2019"])
def test_each_class_has_a_colour_of_its_own(dataset):
    colours = class_colours([diagnosis.code for diagnosis in diagnoses(dataset)])
    assert len(set(colours)) == len(colours)


def test_a_diagnosis_has_one_colour_in_all_tasks():
    assert class_colours(["akiec", "bcc", "nv", "mel"]) == class_colours(["AK", "BCC", "benign", "malignant"])


def test_no_two_models_share_a_style():
    styles = plots.model_styles([str(place) for place in range(21)]).values()
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 21
    assert len({(style["color"], style["marker"]) for style in styles}) == 21


def cells(figure: Figure, panel: int = 0) -> np.ma.MaskedArray:
    """The numbers behind the colours of a heatmap, row by row."""
    return figure.axes[panel].collections[0].get_array()


def test_heatmaps_show_shares_of_their_row_in_percent():
    assert np.allclose(cells(draw("share_heatmap")), [[25, 75], [0, 100], [50, 50]])
    assert cells(draw("recall_heatmap")).tolist() == [[25, 100]]
    matrices = draw("confusion_matrices")
    assert cells(matrices)[0].tolist() == [3, 1, 0]
    assert cells(matrices, 1).tolist() == [[75, 25, 0], [0, 0, 0], [50, 0, 50]]  # the empty class has no share


def test_bars_are_as_long_as_their_numbers():
    lengths = [bar.get_width() for bar in draw("class_counts").axes[0].patches]
    assert lengths == [2, 3, 5, 1, 2, 3]
    assert len(draw("reliability").axes[2].patches) == 2  # none for the empty bin


def test_intervals_reach_from_low_to_high():
    (bars,) = draw("forest").axes[0].containers
    assert np.allclose(bars.lines[2][0].get_segments()[0][:, 0], [-0.154, -0.046])
    trained, scaled = draw("grouped_forest").axes[0].containers
    assert [list(bars.lines[0].get_xdata()) for bars in (trained, scaled)] == [[0.3, 0.2], [0.1, 0.05]]
    by_size = {
        bars.get_label(): bars.lines[0].get_ydata().tolist() for bars in draw("training_size").axes[0].containers
    }
    assert by_size == {"scratch": [0.2, 0.3], "fine-tuned": [0.5, 0.6]}


def test_a_bound_that_equals_its_value_but_for_rounding_has_no_error_bar():
    table = pd.DataFrame({"value": [0.0, 1.0], "low": [1e-17, 0.9], "high": [0.1, np.nextafter(1, 0)]})
    assert np.allclose(error_bars(table), [[0, 0.1], [0.1, 0]]) and (error_bars(table) >= 0).all()


def test_a_gallery_leaves_places_without_an_image_empty():
    centres = [np.mean(np.reshape(image.get_extent(), (2, 2)), axis=1) for image in draw("gallery").axes[0].images]
    assert np.allclose(centres, [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)])


def test_epochs_are_whole_and_the_kept_one_is_marked():
    ticks = [tick for axes in draw("learning_curves").axes for tick in axes.get_xticks()]
    assert all(float(tick).is_integer() for tick in ticks)
    assert all(list(axes.lines[-2].get_xdata()) == [2, 2] for axes in draw("learning_curves").axes)


def test_a_diagram_says_which_lesions_are_on_both_sides_and_which_part_chooses_the_epoch():
    axes = draw("protocol_diagram").axes[0]
    notes = [label.get_text().split(":\n")[1] for label in axes.get_yticklabels()]
    assert notes == [f"{who} in training and claimed" for who in ("no lesion", "no lesion", "lesions 1 and 3")]
    assert [(line.get_label(), len(line.get_xdata())) for line in axes.lines] == [
        ("photograph, frequent diagnosis", 6),
        ("photograph, frequent diagnosis", 5),
        ("altered copy, rare diagnosis", 3),
        ("photograph, rare diagnosis", 3),
    ]
    (first, second, _), claimed = axes.patches, axes.texts[2].get_position()[0]
    assert first.get_x() < claimed - 0.2 and (first.get_width(), second.get_width()) == (1, 2)
    assert second.get_x() == pytest.approx(claimed - 0.1)


def test_a_map_is_read_in_the_order_of_its_steps():
    axes = draw("reading_diagram").axes[0]
    texts = [text.get_text() for text in axes.texts if text.get_text()]
    assert [text for text in texts if "-" in text] == ["0-1", "2-3", "4-5"] and texts.count("LSTM") == 3
    corners = [(patch.get_x(), patch.get_y()) for patch in axes.patches if hasattr(patch, "get_x")]
    assert corners[:3] == [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5)]


def test_every_panel_has_a_line_for_each_of_its_names():
    expected = {"risk_coverage": [2, 1], "deletion_insertion": [2, 1]}
    expected |= {"robustness": [4, 4], "decision_curves": [5, 3]}  # three models or one, and references
    expected |= {"roc_panels": [3, 3, 3, 0]}  # the reference, chance and a model; the last panel is empty
    assert {name: [len(axes.lines) for axes in draw(name).axes] for name in expected} == expected
    assert draw("deletion_insertion").axes[0].get_ylim()[0] <= -0.2  # room for intervals below zero
    assert [axes.get_visible() for axes in draw("roc_panels").axes] == [True, True, True, False]


def test_the_legend_of_robustness_names_a_model_that_only_one_panel_shows():
    rows = [("darker", "brightness"), ("darker", "none"), ("turned", "rotation"), ("turned", "none")]
    table = pd.DataFrame(rows, columns=["corruption", "model"]).assign(strength=1, value=0.5, low=0.4, high=0.6)
    legend = plots.robustness(table, "score", reference=(0.1, "chance")).legends[0]
    assert {text.get_text() for text in legend.get_texts()} == {"brightness", "rotation", "none", "chance"}


def test_folds_and_trials_are_shown_one_by_one():
    axes = draw("folds").axes[0]
    points = axes.collections[-1].get_offsets()
    assert np.allclose(points[:, 0], FOLDS["value"]) and np.allclose(points[:, 1], [-0.15] * 5 + [0.85] * 5)
    search = draw("search_history").axes[0]
    assert search.lines[0].get_xydata().tolist() == [[0, 0.3], [1, 0.5], [2, 0.5], [3, 0.6]]


def test_maps_are_laid_over_their_images_and_masks_outlined():
    images, maps, masks = GREY[:2], np.zeros((2, 8, 8)), np.zeros((2, 8, 8), bool)
    maps[0, 2, 3], maps[1, 5, 5], maps[1, 0] = 4.0, 1e-3, -1.0
    shown = plots.overlay(images, maps, masks)
    brightest = [np.unravel_index(one[..., :2].sum(axis=2).argmax(), (8, 8)) for one in shown.astype(int)]
    assert shown.dtype == np.uint8 and brightest == [(2, 3), (5, 5)]  # whatever its height, the highest is yellow
    assert np.array_equal(shown[0, 2, 3], shown[1, 5, 5]) and np.array_equal(shown[0, 0, 0], shown[1, 0, 0])
    masks[0, 1:6, 2:7] = True
    border = (plots.outline(images, masks) == 255).all(axis=3)
    assert border[0].sum() == 16 and not border[0, 2:5, 3:6].any() and not border[1].any()
