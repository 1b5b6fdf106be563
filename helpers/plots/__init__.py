"""Every figure of the report. Each function takes plain tables and returns a matplotlib figure."""

# ruff: noqa: F401, notebooks take the figures from here

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
from helpers.plots.diagrams import protocol_diagram, reading_diagram
from helpers.plots.rows import dot_rows
from helpers.plots.style import NEUTRAL, class_colours, model_styles
from helpers.plots.training import claims_by_epoch, learning_curves, training_size
from helpers.plots.tuning import folds, search_history
