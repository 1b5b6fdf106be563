"""The commands of README.md and docs/, as a reader copies them into a terminal after a fresh clone."""

import re
import shlex

import pytest

from clinic.answering.deployment import find_deployment
from clinic.command import arguments
from helpers.records import file_sha256, write_json, write_text
from helpers.running.notebooks import all_notebooks
from helpers.running.tables import FIRST, LAST_TABLE, first_findings, question_index
from helpers.study import ROOT

README = (ROOT / "README.md").read_text()
CLINIC = (ROOT / "docs" / "clinic.md").read_text()
TEXTS = README + CLINIC + (ROOT / "docs" / "running.md").read_text()

ROWS = re.findall(r"^\| (.+) \| `(.+)` \|$", CLINIC, re.MULTILINE)
COMMANDS = [command for _, command in ROWS if command.startswith("python")]


def test_the_table_has_a_command_for_each_use():
    assert len(ROWS) >= 6 and len(COMMANDS) >= 5
    asked = " ".join(COMMANDS)
    assert all(f" {option}" in asked for option in ("--pages", "--dicom", "--fhir", "--deidentify"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_program_takes_them_and_each_names_its_study(command):
    python, module, program, *words = shlex.split(command)
    assert (python, module, program) == ("python", "-m", "clinic")
    given = arguments().parse_args(words)
    assert "--study" in words and given.study and given.out and given.input


def test_the_environment_is_made_and_entered_before_they_are_used():
    before = CLINIC[: CLINIC.index("| to get |")]
    assert before.index("\nmake env") < before.index("\n. .venv/bin/activate")


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
        write_json(study / name / "findings.json", {"answer": f"Answer {number} | 1."})
    found = first_findings(tmp_path).splitlines()
    assert len(found) == len(FIRST) and all(line.startswith("- **") and "?** Answer " in line for line in found)
    assert "(results/ham10000_cpu/notebooks/" in found[0] and "Answer 0 \\| 1." in question_index(tmp_path)
