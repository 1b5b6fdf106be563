"""Tests of the clinic that need programs of others: skipped without them, unless all of them are asked for."""

from types import SimpleNamespace

import pytest
from conftest import pytest_runtest_setup


def make_test(*names: str):
    return SimpleNamespace(iter_markers=lambda kind: [pytest.mark.needs(*names).mark] if kind == "needs" else [])


def test_a_test_whose_programs_are_there_runs():
    pytest_runtest_setup(make_test("python3", "numpy"))
    pytest_runtest_setup(make_test())


@pytest.mark.parametrize(("asked", "end"), [("", pytest.skip), ("all", pytest.fail)])
def test_a_test_whose_programs_are_missing_is_skipped_or_fails(monkeypatch, asked, end):
    monkeypatch.setenv("CLINIC_TOOLS", asked)
    with pytest.raises(end.Exception, match="^not installed: absent-program$"):
        pytest_runtest_setup(make_test("numpy", "absent-program"))
