"""Checks before anything runs: the installed packages, Keras' own settings, and the kernel that runs notebooks.

`python helpers/running/preflight.py requirements.txt` prints the requirements that are not met. Its exit code is 1
if there are any. Make asks it whether a Python can be used, so it works without any package.
"""

import json
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
ONLY_TO_EDIT = ("pre-commit", "ruff", "nbstripout")  # not needed to run the study


def unmet_requirements(path: Path) -> list[str]:
    """The requirements of a file that this Python does not meet, such as `numpy==2.4.6 (installed: 2.3.0)`.

    The backend named by KERAS_BACKEND, in any version, takes the place of the file's backend.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ["packaging (installed: none)"]
    lines = (line.partition("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    wanted = [Requirement(line) for line in lines if line and not line.startswith("-")]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate()]
    if backend := os.environ.get("KERAS_BACKEND"):
        wanted = [one for one in wanted if not one.name.startswith(BACKENDS) or one.name.startswith(backend)]
        wanted += [] if any(one.name.startswith(backend) for one in wanted) else [Requirement(backend)]
    found = {one: _installed_version(one.name) for one in wanted if one.name.replace("_", "-") not in ONLY_TO_EDIT}
    unmet = {one: has for one, has in found.items() if not (has and one.specifier.contains(has, prereleases=True))}
    return [f"{one.name}{one.specifier} (installed: {has or 'none'})" for one, has in unmet.items()]


def _installed_version(name: str) -> str | None:
    """The installed version of a package. TensorFlow's build for processors is as good as the one for GPUs."""
    same = {"tensorflow", "tensorflow-cpu"}
    return next(filter(None, map(_find, same if name in same else [name])), None)


def _find(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def chosen_backend() -> str:
    """The backend that Keras will use."""
    return os.environ.get("KERAS_BACKEND") or _keras_settings()[1].get("backend", BACKENDS[0])


def keras_faults() -> list[str]:
    """What the user's keras.json sets that the study cannot work with, a sentence for each setting."""
    path, settings = _keras_settings()
    needed = {"image_data_format": "channels_last", "floatx": "float32"}
    return [
        f"{path} sets {name} to {settings[name]!r}, but the study needs {value!r}. Remove this setting from the file."
        for name, value in needed.items()
        if settings.get(name, value) != value
    ]


def _keras_settings() -> tuple[Path, dict]:
    path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    try:
        return path, json.loads(path.read_text())
    except (OSError, ValueError):
        return path, {}


def kernel_faults() -> list[str]:
    """A sentence with file and remedy if Jupyter's kernel `python3` runs another Python than this one."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        kernel = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return [f"Jupyter has no kernel python3. Run `{sys.executable} -m ipykernel install --sys-prefix`."]
    # Jupyter replaces the words `python` and `python3` by the Python that it runs under.
    program = sys.executable if kernel.argv[0] in ("python", "python3") else shutil.which(kernel.argv[0])
    if program and Path(program).absolute() == Path(sys.executable).absolute():
        return []
    place = Path(kernel.resource_dir) / "kernel.json"
    fault = f"{place} makes the kernel python3 run {kernel.argv[0]}, but the study runs under {sys.executable}"
    return [f"{fault}. Remove that file, or unset JUPYTER_PATH."]


def check_environment() -> None:
    """Raise StudyError that names every fault of this Python, of keras.json and of the kernel."""
    from helpers.study import ROOT, StudyError

    unmet = unmet_requirements(ROOT / os.environ.get("REQUIREMENTS", "requirements.txt"))
    remedy = "Delete the folder .venv and run `make env`."
    faults = [f"{sys.executable} does not have {', '.join(unmet)}. {remedy}"] if unmet else []
    if faults := faults + keras_faults() + kernel_faults():
        raise StudyError("\n".join(faults))


if __name__ == "__main__":
    missing = unmet_requirements(Path(sys.argv[1]))
    print("\n".join(missing))
    sys.exit(bool(missing))
