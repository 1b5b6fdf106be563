"""The figure of the benchmark: images per second."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from helpers.plots.style import error_bars, model_styles, panel_row


def throughput(table: pd.DataFrame) -> Figure:
    """Images per second of each network and way of running it, one panel each for training and prediction.

    The axes are logarithmic. table: one row per network, way and `what`, with median, low, high, and columns about the
    run; see benchmarks/throughput.py.
    """
    whats, names, ways = (list(table[column].unique()) for column in ("what", "network", "way"))
    figure, row = panel_row(len(whats), 5, 3.6)
    styles = model_styles(ways)
    for axes, what in zip(row, whats, strict=True):
        for place, way in enumerate(ways):
            rows = table[(table["what"] == what) & (table["way"] == way)].rename(columns={"median": "value"})
            down = [names.index(name) + 0.12 * (place - (len(ways) - 1) / 2) for name in rows["network"]]
            style = styles[way] | {"linestyle": "none"}
            axes.errorbar(rows["value"], down, xerr=error_bars(rows), label=way, capsize=2, **style)
        axes.set(xscale="log", title=what, xlabel="images per second: median and range")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    row[0].set_yticks(range(len(names)), names)
    row[0].invert_yaxis()
    row[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    run = table.iloc[0]
    size = f"{run['images']:,} images of {run['side']} px in batches of {run['batch']}, {run['rounds']} rounds"
    figure.suptitle(f"{size}; {run['backend']} on {run['device']}")
    return figure
