import json

import pytest

from helpers.findings import Findings
from helpers.records import Run
from helpers.study import ROOT, StudyError, asked_question, declared_parameters

NOTEBOOK = ROOT / "notebooks" / "07_model_comparison.ipynb"


@pytest.fixture
def findings(monkeypatch, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    return Findings(Run(NOTEBOOK.stem, declared_parameters(NOTEBOOK)))


def test_findings_are_written_with_the_question_of_the_opening_cell(findings):
    findings.add("MobileNet beats the CNN by 0.1 [0.0, 0.2].")
    findings.add("All models miss 2 of 9 images.")
    findings.write("MobileNet.")
    written = json.loads((findings.run.folder / "findings.json").read_text())
    assert written["question"] == asked_question(NOTEBOOK) and written["question"].endswith("?")
    assert written["notebook"] == NOTEBOOK.stem and written["answer"] == "MobileNet."
    assert written["findings"] == ["MobileNet beats the CNN by 0.1 [0.0, 0.2].", "All models miss 2 of 9 images."]


@pytest.mark.parametrize("sentence", ["No number.", "No full stop: 0.5", "Said before: 1."])
def test_a_finding_is_a_new_sentence_with_a_number(findings, sentence):
    findings.add("Said before: 1.")
    with pytest.raises(ValueError, match="not a new sentence"):
        findings.add(sentence)


@pytest.mark.parametrize("count", [0, 1, 6])
def test_a_notebook_has_two_to_five_findings(findings, count):
    for number in range(count):
        findings.add(f"Finding {number}.")
    with pytest.raises(ValueError, match="two to five"):
        findings.write("None.")
    assert not (findings.run.folder / "findings.json").exists()


def test_a_notebook_without_a_question_is_refused(tmp_path):
    (tmp_path / "x.ipynb").write_text('{"cells": [{"source": ["# 99"]}]}')
    with pytest.raises(StudyError, match="no question"):
        asked_question(tmp_path / "x.ipynb")
