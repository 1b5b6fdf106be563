"""Compares runs of a study: `python -m helpers.running.compare 03_cnn_baseline trials/03_cnn_baseline/epochs=5`.

A run is a folder in results/<study>/ that holds metrics.json and predictions.csv.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

import pandas as pd

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.comparison import paired_difference
from helpers.evaluation.predictions import read_parts
from helpers.evaluation.scores import METRICS
from helpers.reading import read_csv, read_json
from helpers.records import RESTORE
from helpers.sentences import with_interval
from helpers.study import StudyError, exit_code, results_folder

REMEDY = "Name a folder in the results of this study, such as 03_cnn_baseline or trials/…, that was run."


def compare_runs(study: str, names: Sequence[str]) -> str:
    """The parameters in which runs differ from the first, and each figure with its paired difference, as text.

    Raises StudyError for fewer than two runs, a folder without a record, and runs on different splits or tasks.
    """
    if len(names) < 2:
        raise StudyError('Name two runs or more: make compare RUNS="03_cnn_baseline trials/03_cnn_baseline/epochs=5".')
    records = {name: read_json(results_folder(study) / name / "metrics.json", REMEDY) for name in names}
    records = {name: record | {"folder": results_folder(study) / name} for name, record in records.items()}
    for what in ("split", "task"):
        if any(record[what] != records[names[0]][what] for record in records.values()):
            raise StudyError(
                f"The runs {', '.join(names)} differ in their {what}, so their figures cannot be compared."
            )
    split = read_csv(results_folder(study) / "split.csv", RESTORE, dtype=str).set_index("image_id")
    predictions = {name: read_parts(record, split["lesion_id"])[1] for name, record in records.items()}
    tables = [_parameters(records)]
    tables += [_differences(records, predictions, first=names[0], other=other) for other in names[1:]]
    images = len(predictions[names[0]])
    return "\n\n".join(["\n".join(["Parameters", tables[0]]), *tables[1:], f"On {images:,} test images of {study}."])


def _parameters(records: Mapping[str, dict]) -> str:
    """The parameters, of all runs, whose values are not the same."""
    values = pd.DataFrame({name: pd.Series(record["parameters"], dtype=object) for name, record in records.items()})
    differ = values[[len(set(map(repr, row))) > 1 for row in values.itertuples(index=False)]]
    return differ.to_string(na_rep="–") if len(differ) else "All parameters are the same."


def _differences(records: Mapping, predictions: Mapping, *, first: str, other: str) -> str:
    bootstrap = Bootstrap.of(records[first]["parameters"])
    pair = predictions[other], predictions[first]
    thresholds = records[other]["threshold"], records[first]["threshold"]
    rows = {
        metric.replace("_", " "): {
            first: with_interval(records[first]["test"][metric]),
            other: with_interval(records[other]["test"][metric]),
            "difference": with_interval(paired_difference(*pair, metric, bootstrap=bootstrap, thresholds=thresholds)),
        }
        for metric in METRICS
    }
    return f"{other} minus {first}\n{pd.DataFrame(rows).T.to_string()}"


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.running.compare", description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folder in results/<study>/; the others minus the first")
    parser.add_argument("--study", default="demo", help="name of a file in studies/, without suffix")
    options = parser.parse_args(arguments)
    return exit_code(lambda: print(compare_runs(options.study, options.runs)))


if __name__ == "__main__":
    sys.exit(main())
