"""`python -m helpers.export --study ham10000_cpu`: export the deployed network of a study."""

import argparse
import os
import sys

from helpers.sentences import markdown_table
from helpers.study import StudyError


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.export", description=__doc__)
    parser.add_argument("--study", default="demo", help="study whose 13_prediction deployed a model (%(default)s)")
    study = parser.parse_args(arguments).study
    # One thread, since milliseconds are measured on one core. TensorFlow reads this when it is imported.
    os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from helpers.export.study import export_study

        table = export_study(study).round(4)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 1
    print(markdown_table(table.columns, table.to_numpy()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
