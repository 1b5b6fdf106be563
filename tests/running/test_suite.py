"""What `make test` runs, and with which settings."""

import os

from helpers.running import suite
from helpers.running.notebooks import all_notebooks


def test_the_study_of_the_command_line_does_not_reach_the_tests(monkeypatch, capsys, tmp_path):
    for name in suite.NOT_FOR_TESTS:
        monkeypatch.setenv(name, "x")
    seen = {}

    def run_nothing(graph, begin, **options):
        seen.update(graph=graph, environment=dict(os.environ))
        return []

    monkeypatch.setattr(suite, "in_order", run_nothing)
    monkeypatch.setattr(suite, "originals_folder", lambda dataset: tmp_path)
    monkeypatch.setattr(suite, "FOLDER", tmp_path / "test")
    assert suite.main() == 0 and "All tests passed." in capsys.readouterr().out
    assert not set(suite.NOT_FOR_TESTS) & seen["environment"].keys()
    assert seen["graph"].keys() == {suite.UNITS, *all_notebooks()}
    monkeypatch.setattr(suite, "in_order", lambda *_, **__: ["03_cnn_baseline"])
    assert suite.main() == 1 and "Failed: 03_cnn_baseline" in capsys.readouterr().out


def test_coverage_is_asked_for_only_where_no_test_is_skipped(monkeypatch):
    commands = []
    monkeypatch.setattr(suite, "_call", lambda command: commands.append(command) or 0)
    monkeypatch.setattr(suite, "EXTRAS", ("os", "nosuchpackage"))
    assert suite._run_units() == 0 and len(commands) == 1 and "slipcover" not in commands[0]
    monkeypatch.setattr(suite, "EXTRAS", ("os",))
    assert suite._run_units() == 0 and "--fail-under" in commands[-1] and len(commands) == 3
