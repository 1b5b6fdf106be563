"""What is noticed before anything runs: packages, Keras' settings, and the kernel of notebooks."""

import ast
import json
import sys
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers.running import preflight
from helpers.running.preflight import check_environment, keras_faults, kernel_faults, unmet_requirements
from helpers.study import ROOT, StudyError, notebook_cells


@pytest.fixture
def requirements(tmp_path, monkeypatch):
    """A function that writes requirements into a file and returns its path."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)

    def write(*lines):
        (tmp_path / "requirements.txt").write_text("\n".join(["# a comment", "-e .", *lines]))
        return tmp_path / "requirements.txt"

    return write


def test_versions_and_missing_packages_are_named(requirements):
    path = requirements(
        "numpy==1.0.0  # old", "no-such-package==2.0", "pandas>=1", "ruff==0.0.1", "x==1; python_version<'3'"
    )
    numpy, other = unmet_requirements(path)
    assert numpy.startswith("numpy==1.0.0 (installed: 2.") and other == "no-such-package==2.0 (installed: none)"


@pytest.mark.parametrize(
    ("backend", "unmet"), [("jax", []), ("torch", ["torch (installed: none)"]), ("", ["tensorflow==0.1 (installed: "])]
)
def test_the_chosen_backend_takes_the_place_of_tensorflow(requirements, monkeypatch, backend, unmet):
    found = {"jax": "0.1", "tensorflow-cpu": "2.0"}
    monkeypatch.setattr(preflight, "_find", found.get)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    named = unmet_requirements(requirements("tensorflow==0.1"))
    assert len(named) == len(unmet) and all(one.startswith(start) for one, start in zip(named, unmet, strict=True))


def packages_of(lines):
    """The packages that requirements name, and those that they need themselves."""
    found, names = set(), [Requirement(line).name for line in lines if line and not line.startswith("-")]
    while names:
        name = canonicalize_name(names.pop())
        if name not in found:
            found.add(name)
            needed = map(Requirement, requires(name) or []) if preflight._find(name) else []
            names += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def imported_modules():
    codes = [path.read_text() for package in ("helpers", "clinic") for path in (ROOT / package).rglob("*.py")]
    cells = [cell for path in ROOT.glob("notebooks/*.ipynb") for cell in notebook_cells(path)]
    for code in [*codes, *(cell["source"] for cell in cells if cell["cell_type"] == "code")]:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            if isinstance(node, ast.ImportFrom):
                yield node.module


def test_every_package_that_the_code_imports_is_required():
    """So that its absence is noticed before a notebook needs it."""
    texts = [path.read_text() for path in ROOT.glob("requirements*.txt")]
    required = packages_of(line.partition("#")[0].strip() for text in texts for line in text.splitlines())
    modules = {name.partition(".")[0] for name in imported_modules()} - set(sys.stdlib_module_names)
    known = packages_distributions()
    for module in modules - {"helpers", "clinic"}:
        assert any(canonicalize_name(name) in required for name in known.get(module, [module])), module


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"image_data_format": "channels_first"}, "image_data_format to 'channels_first'"),
        ({"floatx": "float16"}, "floatx to 'float16'"),
        ({"floatx": "float32", "epsilon": 1e-7}, ""),
    ],
)
def test_settings_of_keras_that_change_the_numbers_are_named(tmp_path, monkeypatch, settings, named):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert keras_faults() == []
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    faults = keras_faults()
    assert len(faults) == bool(named)
    assert all(str(tmp_path / "keras.json") in one and named in one and "Remove" in one for one in faults)


def test_another_kernel_of_the_same_name_is_named(tmp_path, monkeypatch):
    assert kernel_faults() == []
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/sh", "-c"], "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    (fault,) = kernel_faults()
    assert str(spec) in fault and "/bin/sh" in fault and sys.executable in fault and "JUPYTER_PATH" in fault


def test_all_faults_stop_a_run_at_once(tmp_path, monkeypatch):
    check_environment()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"floatx": "float16"}')
    (tmp_path / "wanted.txt").write_text("numpy==1.0\n")
    monkeypatch.setenv("REQUIREMENTS", str(tmp_path / "wanted.txt"))
    with pytest.raises(StudyError, match="does not have numpy==1.0(?s:.*)make env(?s:.*)float16"):
        check_environment()
