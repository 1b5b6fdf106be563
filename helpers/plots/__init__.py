"""Every figure of the report. Each function takes plain tables and returns a matplotlib figure."""

from helpers.plots.comparison import (
    confusion_matrices,
    forest,
    forest_panels,
    grouped_forest,
    recall_heatmap,
)
from helpers.plots.cost import throughput
from helpers.plots.curves import (
    decision_curves,
    deletion_insertion,
    reliability,
    risk_coverage,
    robustness,
    roc_panels,
)
from helpers.plots.data import ages, class_counts, flow, gallery, outline, overlay, share_heatmap
from helpers.plots.rows import dot_rows
from helpers.plots.style import NEUTRAL, class_colours, model_styles
from helpers.plots.training import claims_by_epoch, learning_curves, training_size
from helpers.plots.tuning import folds, search_history

__all__ = [
    "NEUTRAL",
    "ages",
    "claims_by_epoch",
    "class_colours",
    "class_counts",
    "confusion_matrices",
    "decision_curves",
    "deletion_insertion",
    "dot_rows",
    "flow",
    "folds",
    "forest",
    "forest_panels",
    "gallery",
    "grouped_forest",
    "learning_curves",
    "model_styles",
    "outline",
    "overlay",
    "recall_heatmap",
    "reliability",
    "risk_coverage",
    "robustness",
    "roc_panels",
    "search_history",
    "share_heatmap",
    "throughput",
    "training_size",
]
