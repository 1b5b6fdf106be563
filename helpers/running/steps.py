"""Runs the notebooks of a study that are not complete: `python -m helpers.running.steps run all --study demo`.

`run` executes the named notebooks and those that they read. With parameters (-p) it runs one notebook as a trial.
`data` fetches or draws the images. One process at a time works on a study.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from helpers.data.external import external_folder
from helpers.data.lesions import dataset_folder, originals_folder
from helpers.records import write_text
from helpers.running.clean import sweep
from helpers.running.graph import in_order, process_for
from helpers.running.lock import dataset_lock, study_lock
from helpers.running.manifest import damaged_files, faults, made_from, manifest_path, step_roots, write_manifest
from helpers.running.notebooks import all_notebooks, possible_notebooks, read_notebooks, study_dataset, study_parameters
from helpers.running.preflight import check_environment
from helpers.running.trials import trial_folder
from helpers.study import ROOT, StudyError, build_folder, exit_code, parse_value, results_folder

RUNNER = "helpers.running.runner"
AT_A_TIME = {"demo": 3}  # notebooks; those of the demo use about one core each, others all cores


def steps_behind(notebooks: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The notebooks and all that they read, directly or not, each with those that it reads.

    Raises StudyError for a notebook that does not exist.
    """
    graph, names = {}, list(notebooks)
    while names:
        name = names.pop()
        graph[name] = read_notebooks(name)
        names += [read for read in graph[name] if read not in graph]
    return dict(sorted(graph.items()))


def run_study(study: str, notebooks: Iterable[str], jobs: int | None = None) -> None:
    """Run these notebooks of a study and those that they read, each unless it is complete, `jobs` at a time.

    Raises StudyError if a notebook fails, and if the study's file is edited meanwhile.
    """
    source = ROOT / "studies" / f"{study}.yaml"
    content = source.read_bytes()

    def begin(notebook: str) -> BaseProcess | None:
        if source.read_bytes() != content:
            raise StudyError(f"{source} was edited while its notebooks ran. Run the same command again.")
        return begin_step(study, notebook)

    jobs = jobs or AT_A_TIME.get(study_dataset(study), 1)
    if failed := in_order(steps_behind(notebooks), begin, jobs=jobs):
        raise StudyError(f"Study {study} is not complete, because {', '.join(failed)} failed. See above.")


def begin_step(study: str, notebook: str) -> BaseProcess | None:
    """Start the process that runs a notebook and writes its manifest, or return None if the step is complete."""
    reasons = faults(study, notebook)
    if not reasons:
        return None
    if manifest_path(study, notebook).is_file():
        print(f"{notebook} runs again. {' '.join(reasons[:3])}", flush=True)
    for path in damaged_files(study, notebook):
        if path.is_relative_to(step_roots(study)["cache"]):
            path.unlink(missing_ok=True)  # so that it is built again
    manifest_path(study, notebook).unlink(missing_ok=True)
    finish = partial(write_manifest, study, notebook, made_from(study, notebook))
    return process_for(run_words, [notebook, "--study", study], finish, preload=RUNNER)


def run_words(words: list[str], finish: Callable[[], None] | None = None) -> None:
    """Call the runner with these words and then, if the notebook ran, `finish`. Ends the process with the exit code."""
    from helpers.running import runner

    sys.exit(runner.main(words) or (exit_code(finish) if finish else 0))


def run_trial(study: str, notebook: str, values: Sequence[Sequence[str]], *, name: str) -> Path:
    """Run a notebook with other parameters, after those that it reads; returns the folder of the trial.

    values: names and values of the parameters, as typed. Raises StudyError if one or `name` is wrong, or if it fails.
    """
    given = {parameter: parse_value(text) for parameter, text in values}
    study_parameters(study, notebook, given)  # a mistake ends here, before anything runs
    folder = results_folder(study) / trial_folder(notebook, given, name)
    run_study(study, read_notebooks(notebook))
    words = [notebook, "--study", study, "--name", name, *(word for pair in values for word in ("-p", *pair))]
    if in_order({notebook: ()}, lambda _: process_for(run_words, words, preload=RUNNER), jobs=1):
        raise StudyError(f"The trial of {notebook} failed. See above.")
    return folder


def prepare(study: str) -> None:
    """Remove what killed runs left, remember DATA_DIR, and draw the images of the demo."""
    for folder in (results_folder(study), build_folder(study)):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise StudyError(f"{folder}: you may not write here. Ask its owner, or set RESULTS_DIR and BUILD_DIR.")
    remember_originals(study)
    sweep(study)
    if study_dataset(study) == "demo":
        with dataset_lock("demo"):
            print("Demo data:", os.path.relpath(originals_folder("demo")), flush=True)


def remember_originals(study: str) -> None:
    """Keep the folder in DATA_DIR for later runs of the study, in build/<study>/data_dir, where make reads it."""
    if folder := os.environ.get("DATA_DIR"):
        write_text(build_folder(study) / "data_dir", f"{Path(folder).expanduser().absolute()}\n")


def get_data(study: str) -> int:
    """Fetch the originals of a study, or draw those of the demo; returns the exit code."""
    dataset = study_dataset(study)
    remember_originals(study)
    if dataset == "demo":
        prepare(study)
        return 0
    from helpers.data import download

    return download.main([dataset, "--folder", os.environ.get("DATA_DIR") or str(dataset_folder(dataset))])


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.running.steps", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run what is not complete")
    run.add_argument("notebooks", nargs="+", metavar="NOTEBOOK", help="all, or names such as 03_cnn_baseline")
    run.add_argument("--jobs", type=int, help="notebooks at a time (default: 3 for the demo, otherwise 1)")
    run.add_argument("--no-wait", action="store_true", help="give up if another process works on the study")
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a trial's parameter")
    run.add_argument("--name", default="", help="name of the trial (default: its parameters)")
    run.add_argument("--into", type=Path, help="another folder for all results, instead of results/ and build/")
    for command in (run, commands.add_parser("data", help="fetch or draw the images")):
        command.add_argument("--study", default="demo", help="name of a file in studies/, without suffix")
    return parser


def choose_notebooks(study: str, named: Sequence[str]) -> Sequence[str]:
    """The notebooks that are named; for `all`, those that can run, and a line on those that cannot."""
    if list(named) != ["all"]:
        return named
    possible = possible_notebooks(study)
    for name in set(all_notebooks()) - set(possible):
        print(f"{name} is left out: no images of other clinics are in {external_folder()}. See data/README.md.")
    return possible


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit code."""
    study = options.study
    if options.command == "data":
        return get_data(study)
    if options.into:
        os.environ |= {"BUILD_DIR": f"{options.into.absolute()}", "RESULTS_DIR": f"{options.into.absolute()}/results"}
    names = choose_notebooks(study, options.notebooks)
    is_trial = bool(options.p or options.name)
    if is_trial and len(names) > 1:
        raise StudyError('Parameters are for one notebook: name it, as in `make 03_cnn_baseline ARGS="-p epochs 5"`.')
    steps_behind(names), study_dataset(study)  # an unknown notebook or study ends here
    check_environment()
    with study_lock(study, wait=not options.no_wait):
        prepare(study)
        if is_trial:
            folder = run_trial(study, *names, options.p, name=options.name)
            print(f"The trial is in {os.path.relpath(folder)}/; the results of study {study} are as they were.")
            return 0
        run_study(study, names, options.jobs)
    what = f"Study {study}" if options.notebooks == ["all"] else f"{', '.join(names)} of study {study}"
    folder = os.path.relpath(results_folder(study))
    print(f"{what} is complete: figures and metrics are in {folder}/, the notebooks in {folder}/notebooks/.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = command_line().parse_args(arguments)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
