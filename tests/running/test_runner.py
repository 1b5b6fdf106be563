import errno
import json
import logging
import os
import re
import sys

import nbformat
import pytest

from helpers.records import TRIAL
from helpers.running import notebooks, report, runner, tables
from helpers.study import ROOT, declared_parameters

PARAMETERS = "study = 'tiny'  # a name\nseed = 0  # a number\nrate = 0.5  # another"


def notebook_of(*cells):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    return notebook


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A study with one notebook, in folders of its own."""
    for name in ("notebooks", "studies"):
        (tmp_path / name).mkdir()
    (tmp_path / "studies" / "tiny.yaml").write_text("study: tiny\nseed: 3\n")
    nbformat.write(
        notebook_of("import sys\nprint(seed, rate)\nprint('noise', file=sys.stderr)"),
        tmp_path / "notebooks" / "01_a.ipynb",
    )
    for module in (runner, notebooks):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setenv(TRIAL, "")
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    return tmp_path


def texts(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_a_notebook_runs_with_the_study_and_the_command_line(tiny, capsys):
    assert runner.main(["01_a", "--study", "tiny"]) == 0
    executed = tiny / "results" / "tiny" / "notebooks" / "01_a.ipynb"
    assert texts(executed) == "3 0.5\n"  # nothing of what went to standard error
    assert re.search(r"01_a: done in \d+ s", capsys.readouterr().out)
    assert "papermill" not in json.loads(executed.read_text())["metadata"]
    assert not (tiny / "build" / "tiny" / "01_a.partial.ipynb").exists()


def test_each_kernel_has_sockets_of_its_own_that_no_other_process_can_take(tiny):
    cell = "from ipykernel.connect import get_connection_info\nprint(get_connection_info())"
    nbformat.write(notebook_of(cell), tiny / "notebooks" / "01_a.ipynb")
    found = []
    for _ in range(2):
        assert runner.main(["01_a", "--study", "tiny"]) == 0
        found.append(json.loads(texts(tiny / "results" / "tiny" / "notebooks" / "01_a.ipynb")))
    assert [one["transport"] for one in found] == ["ipc", "ipc"]
    assert found[0]["ip"] != found[1]["ip"]


def test_with_other_parameters_it_is_a_trial_beside_the_results(tiny):
    assert runner.main(["01_a", "--study", "tiny", "-p", "rate", "3e-4"]) == 0
    assert texts(tiny / "results" / "tiny" / "trials" / "01_a" / "rate=0.0003" / "01_a.ipynb") == "3 0.0003\n"
    assert not (tiny / "results" / "tiny" / "notebooks").exists()


def test_a_failing_cell_keeps_the_old_result_and_names_the_place(tiny, capsys):
    assert runner.main(["01_a", "--study", "tiny"]) == 0
    nbformat.write(notebook_of("print('before')", "1 / 0"), tiny / "notebooks" / "01_a.ipynb")
    assert runner.main(["01_a", "--study", "tiny"]) == 1
    message = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in message and "cell 4 of 01_a" in message
    partial = tiny / "build" / "tiny" / "01_a.partial.ipynb"
    assert str(partial) in message and "before" in texts(partial)
    assert texts(tiny / "results" / "tiny" / "notebooks" / "01_a.ipynb") == "3 0.5\n"


def test_a_process_that_dies_and_a_missing_notebook_are_reported(tiny, capsys):
    nbformat.write(notebook_of("import os\nos._exit(9)"), tiny / "notebooks" / "01_a.ipynb")
    assert runner.main(["01_a", "--study", "tiny"]) == 1
    message = capsys.readouterr().err
    assert "the Python process of 01_a died" in message and "01_a.partial.log" in message
    assert runner.main(["09_b", "--study", "tiny"]) == 1
    assert "09_b.ipynb: no such notebook" in capsys.readouterr().err


def test_a_disk_that_is_full_while_cells_are_saved_is_named(tiny, capsys, monkeypatch):
    def fill_disk(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runner.papermill, "execute_notebook", fill_disk)
    assert runner.main(["01_a", "--study", "tiny"]) == 1
    message = capsys.readouterr().err
    assert "01_a.partial.ipynb cannot be written (No space left on device). Free space on this disk" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "sed", "4"], "command line: unknown parameter 'sed'. Did you mean 'seed'"),
        (["-p", "seed", "four"], "parameter seed is 'four'; it must be int"),
        (["-p", "seed", "[1"], "not valid YAML"),
        (["-p", "study", "other"], "choose the study with --study"),
        (["--study", "absent"], "absent.yaml: no such study file"),
        (["--study", "odd"], "odd.yaml: unknown parameter 'epoch'"),
    ],
)
def test_bad_parameters_stop_before_anything_runs(tiny, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(runner.papermill, "execute_notebook", lambda *_, **__: pytest.fail("it ran"))
    (tiny / "studies" / "odd.yaml").write_text("study: odd\nepoch: 3\n")
    assert runner.main(["01_a", "--study", "tiny", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_progress_shows_the_last_line_of_a_bar_now_and_then(capsys):
    handler = runner.Progress("03_x", sys.stderr)
    for text in ("training: 10%\rtraining: 20%", "training: 30%"):
        handler.emit(logging.LogRecord("papermill", logging.WARNING, "", 0, text, (), None))
    assert capsys.readouterr().err == "  03_x | training: 20%\n"
    news = ["CNN: resumed at epoch 7 of 20", "LSTM: trained before, read back"]
    handler.emit(logging.LogRecord("papermill", logging.WARNING, "", 0, "\n".join([*news, "CNN: 30%"]), (), None))
    assert capsys.readouterr().err == "".join(f"  03_x | {line}\n" for line in news)


def entry(name, value, split="abc", **about):
    figure = {"value": value, "low": value - 0.1, "high": value + 0.1}
    test = dict.fromkeys(tables.COLUMNS.values(), figure)
    known = {"name": name, "notebook": "03_x", "task": "diagnosis", "split": {"sha256": split, "test": 2003}}
    return known | {"test": test} | about


def publish(study, record):
    """The results folder of a study with one record, which has come to the comparison of its models."""
    comparison = study / tables.LAST_TABLE
    for folder in (study / "03_x" / "variants" / "colour", comparison.parent):
        folder.mkdir(parents=True)
    row = "".join(f",{value}" for _ in tables.COLUMNS for value in (0.5, 0.4, 0.6))
    columns = "".join(f",{name},{name}_low,{name}_high" for name in tables.COLUMNS.values())
    comparison.write_text(f"model{columns}\nCNN{row}\nensemble{row}\n")
    (study / "03_x" / "metrics.json").write_text(json.dumps(record))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one published study of two models of diagnosis, one of malignancy, and a control."""
    variants = {"colour": entry("colour", 0.7), "binary": entry("binary", 0.9, task="malignancy")}
    variants["control"] = entry("control", 0.8, compared=False)
    publish(tmp_path / "results" / "ham10000_cpu", entry("CNN", 0.6, variants=variants))
    blocks = [
        f"<!-- {name}: written by `make report`, do not edit -->\nold {name}\n<!-- end of {name} -->\n"
        for name in report.WRITTEN
    ]
    (tmp_path / "README.md").write_text(f"# Title\n{''.join(blocks)}rest\n")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    return tmp_path


def test_the_readme_table_comes_from_the_records(repository, capsys):
    assert report.main(["readme", "--check"]) == 1 and "stale" in capsys.readouterr().err
    assert "old" in (repository / "README.md").read_text()
    assert report.main(["readme"]) == 0 and report.main(["readme", "--check"]) == 0
    text = (repository / "README.md").read_text()
    assert text.startswith("# Title\n") and text.endswith("\nrest\n") and "old results" not in text
    assert "old findings" in text  # until all of them were answered
    assert text.index("colour") < text.index("CNN") and "0.600 [0.500, 0.700]" in text and "2,003 test images" in text
    assert "binary" not in text and "control" not in text
    assert text.index("CNN") < text.index("[ensemble of all networks]") and "0.500 [0.400, 0.600]" in text
    record = repository / "results" / "ham10000_cpu" / "03_x" / "metrics.json"
    record.write_text(json.dumps(entry("CNN", 0.61)))
    assert report.main(["readme", "--check"]) == 1


def test_every_dataset_has_a_table_which_says_what_was_missing(repository):
    publish(repository / "results" / "isic2019_cpu", entry("CNN", 0.4, split="def", missing_images=12723))
    first, second = tables.results_tables(repository / "results").split("| ISIC 2019 |")
    assert first.startswith("| HAM10000 |") and "missing" not in first
    assert "0.400 [0.300, 0.500]" in second and "12,723 images that the publisher lists were missing" in second


def test_the_larger_study_is_shown_once_its_models_were_compared(repository):
    larger = repository / "results" / "ham10000"
    publish(larger, entry("CNN", 0.85))
    assert "0.850" in tables.results_tables(larger.parent)
    (larger / tables.LAST_TABLE).unlink()
    text = tables.results_tables(larger.parent)
    assert "0.850" not in text and "0.600" in text


def test_without_its_marks_or_results_the_readme_has_no_table(repository, capsys):
    (repository / "README.md").write_text("nothing here\n")
    assert report.main(["readme"]) == 1 and "Put them back" in capsys.readouterr().err
    (repository / "results").rename(repository / "elsewhere")
    assert tables.results_tables(repository / "results") == "No results are published yet."


def test_references_keep_text_and_drop_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "REFERENCES", tmp_path / "references")
    notebook = notebook_of("draw()")
    picture = nbformat.v4.new_output("display_data", {"image/png": "AAAA", "text/plain": "<Figure>"})
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="kept\n"), picture]
    nbformat.write(notebook, tmp_path / "01_a.ipynb")
    assert report.main(["references", str(tmp_path)]) == 0
    outputs = nbformat.read(tmp_path / "references" / "01_a.ipynb", as_version=4).cells[1].outputs
    assert outputs[0].text == "kept\n" and outputs[1].data == {"text/plain": "<Figure>"}


def test_the_table_of_this_readme_is_fresh():
    assert report.write_readme(check=True)


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_file_suits_the_notebooks(path):
    """Its names and types; the same for all notebooks, see the next test."""
    assert notebooks.study_parameters(path.stem, "01_eda", {})["study"] == path.stem


def test_shared_parameters_have_one_default():
    seen = {}
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for name, value in declared_parameters(notebook).items():
            assert seen.setdefault(name, value) == value, f"{notebook.name}: {name}"
