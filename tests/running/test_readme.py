"""The commands of README.md and docs/, as a reader copies them into a terminal after a fresh clone."""

import re
import shlex

import pytest

from clinic.answering.deployment import find_deployment
from clinic.command import arguments
from helpers.records import file_sha256, write_json, write_text
from helpers.running.notebooks import all_notebooks
from helpers.running.tables import (
    FIRST,
    LAST_TABLE,
    LEAD,
    first_findings,
    first_screen,
    published_studies,
    question_index,
)
from helpers.study import ROOT

README = (ROOT / "README.md").read_text()
CLINIC = (ROOT / "docs" / "clinic.md").read_text()
TEXTS = README + "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))

ROWS = re.findall(r"^\| (.+) \| `(.+)` \|$", CLINIC, re.MULTILINE)
COMMANDS = re.findall(r"^(?:\| .+ \| `)?(python -m clinic [^`\n]+)", TEXTS, re.MULTILINE)


def test_the_table_has_a_command_for_each_use():
    assert len(ROWS) >= 6 and len(COMMANDS) >= 8
    asked = " ".join(COMMANDS)
    assert all(f" {option}" in asked for option in ("--pages", "--dicom", "--deidentify", "--patients", "--spool"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_program_takes_them_and_each_names_its_study(command):
    python, module, program, *words = shlex.split(command)
    assert (python, module, program) == ("python", "-m", "clinic")
    given = arguments().parse_args(words)
    assert given.study and (given.command == "serve" or (given.out and given.input))


def test_two_commands_lead_to_the_first_answer():
    install, predict = re.search(r"```\n(.+)\n(.+)\n```", CLINIC).groups()
    (folder,) = re.findall(r"python3 -m venv (\S+) && \1/bin/pip install -r requirements-clinic.txt", install)
    python, *words = shlex.split(predict)
    assert python == f"{folder}/bin/python" and arguments().parse_args(words[2:]).input


def test_the_study_that_they_name_comes_prepared():
    (study,) = {arguments().parse_args(shlex.split(command)[3:]).study for command in COMMANDS}
    deployment, model = find_deployment(study)
    assert file_sha256(model) == deployment.model_sha256


def test_what_they_and_make_are_given_is_there():
    files = re.findall(r"-r (requirements[a-z-]*\.txt)", TEXTS)
    assert files and all((ROOT / name).is_file() for name in files)
    targets = {command.split()[1] for command in re.findall(r"^make .+|(?<=`)make [^`]+", TEXTS, re.MULTILINE)}
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets <= {*made, *(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))}


def test_it_begins_with_answers_as_soon_as_all_are_there(tmp_path):
    study = tmp_path / "ham10000_cpu"
    write_text(study / LAST_TABLE, "")
    names = [name for name in all_notebooks() if name.partition("_")[2] in FIRST]
    for number, name in enumerate(names):
        assert first_findings(tmp_path) is None and len(names) == len(FIRST)
        write_json(study / name / "findings.json", {"answer": f"Answer {number} | 1 (0.5 [0.4, 0.6]) (CNN)."})
    found = first_findings(tmp_path).splitlines()
    assert len(found) == len(FIRST) and all(line.startswith("- **") and "?** Answer " in line for line in found)
    assert all(" | 1 (CNN). (" in line for line in found)
    assert "(results/ham10000_cpu/notebooks/" in found[0] and "Answer 0 \\| 1 (0.5" in question_index(tmp_path)


def test_what_the_first_study_did_not_run_is_answered_by_the_next(tmp_path):
    names, (leakage,) = all_notebooks(), [name for name in all_notebooks() if name.endswith("_leakage")]
    for study, run in (("ham10000", [name for name in names if name != leakage]), ("ham10000_cpu", names)):
        write_text(tmp_path / study / LAST_TABLE, "")
        for name in run:
            write_json(tmp_path / study / name / "findings.json", {"answer": f"Answer of {study}."})
            write_text(tmp_path / study / "notebooks" / f"{name}.ipynb", "")
    assert published_studies(tmp_path) == {"HAM10000": "ham10000", "HAM10000 at 112 px": "ham10000_cpu"}
    rows = {row.split("|")[1].split("]")[0].strip(" ["): row for row in question_index(tmp_path).splitlines()[2:]}
    assert "Answer of ham10000_cpu." in rows[leakage] and "(results/ham10000/" not in rows[leakage]
    others = [row for name, row in rows.items() if name != leakage]
    assert all("Answer of ham10000." in row and "(results/ham10000_cpu/" not in row for row in others)
    found = {line.rpartition("[")[2].partition("]")[0]: line for line in first_findings(tmp_path).splitlines()}
    assert all(("ham10000_cpu/" in line) == (name == leakage) for name, line in found.items())
    assert all(line.endswith(", at 112 px)") == (name == leakage) for name, line in found.items())
    *_, figure, _, answer = first_screen(tmp_path).splitlines()
    assert figure.endswith(f"(results/ham10000/{LEAD})") and answer.startswith("Answer of ham10000. ([07_model_")
    assert first_screen(tmp_path / "none") is None
