"""Reports on finished runs: the site, the tables of README.md, model cards, and references for the tests.

`python -m helpers.running.report readme` writes the tables of README.md from the run records. With `--check` it only
says whether they are up to date. `python -m helpers.running.report verify` compares a fresh run of a study with its
published records.
"""

import argparse
import sys
from pathlib import Path

import nbformat

from helpers.records import atomic_path, write_text
from helpers.running.model_card import write_card
from helpers.running.site import build_site
from helpers.running.tables import first_screen, headline, question_index
from helpers.running.verification import print_verification
from helpers.study import ROOT, StudyError, exit_code

README = ROOT / "README.md"
REFERENCES = ROOT / "tests" / "references"
# The parts of README.md that are written from the results, by what stands in the comments around them.
WRITTEN = {"findings": first_screen, "results": headline, "index": question_index}


def write_readme(check: bool = False) -> bool:
    """Update the tables of README.md; returns whether they were already up to date. With `check`, write nothing."""
    text = fresh = README.read_text(encoding="utf-8")
    for name, table in WRITTEN.items():
        begin, end = f"<!-- {name}: written by `make report`, do not edit -->", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise StudyError(f"{README}: the lines {begin!r} and {end!r} around a table are missing. Put them back.")
        head, _, rest = fresh.partition(begin)
        old, _, rest = rest.partition(end)
        new = table(ROOT / "results")
        fresh = head + begin + (old if new is None else f"\n\n{new}\n\n") + end + rest
    if fresh != text and not check:
        write_text(README, fresh)
    return fresh == text


def write_references(executed: Path) -> None:
    """Copy executed demo notebooks to the test references, without images, which are not compared."""
    for path in sorted(Path(executed).glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
        for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
            output.get("data", {}).pop("image/png", None)
        with atomic_path(REFERENCES / path.name) as temporary:
            nbformat.write(notebook, temporary)


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.running.report", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pages", help="the site, with a study").add_argument("--study", default="demo")
    commands.add_parser("readme", help="the tables of README.md").add_argument("--check", action="store_true")
    commands.add_parser("card", help="the model card of a study").add_argument("--study", default="demo")
    verify = commands.add_parser("verify", help="a fresh run compared with the published records of a study")
    verify.add_argument("fresh", type=Path, help="results folder of the fresh run")
    verify.add_argument("--study", default="ham10000")
    commands.add_parser("references", help="references of the tests").add_argument("folder", type=Path)
    return parser


def run(options: argparse.Namespace) -> bool:
    """Do what the command line asks for; returns False if a fresh run does not reproduce the published figures."""
    if options.command == "pages":
        print(f"The report: {build_site(options.study)}")
    elif options.command == "card":
        print(f"The model card: {write_card(options.study)}")
    elif options.command == "references":
        write_references(options.folder)
    elif options.command == "verify":
        return print_verification(options.study, options.fresh)
    elif not write_readme(options.check) and options.check:
        raise StudyError("The tables of README.md are stale. Run `make report`.")
    return True


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = command_line().parse_args(arguments)
    return exit_code(lambda: not run(options))


if __name__ == "__main__":
    sys.exit(main())
