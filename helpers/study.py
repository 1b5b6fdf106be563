"""A study's parameters, where its files live, its seed, and the record that a run leaves behind."""

import ast
import difflib
import hashlib
import json
import logging
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 3e-4 for text; this loader takes it for the number that it is in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class StudyError(Exception):
    """A mistake that the user can mend: says what is wrong, where, and what to do."""


def build_folder(study: str) -> Path:
    """Folder of a study's unfinished work, ignored by git; the environment variable BUILD_DIR moves all of it."""
    return Path(os.environ.get("BUILD_DIR", ROOT / "build")) / study


def results_folder(study: str) -> Path:
    """Folder of a study's results; the environment variable RESULTS_DIR moves all results elsewhere."""
    return Path(os.environ.get("RESULTS_DIR", ROOT / "results")) / study


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` and rename it to `target` when the block succeeds.

    Parent folders are made. If the block raises, `target` is left as it was and the temporary file goes.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict) -> None:
    """Write `content` as indented JSON, atomically. Not-a-number is refused: JSON has none."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as csv without its index, atomically, with the same line ends on every machine."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_study(path: Path) -> dict:
    """A study file's parameters. Raises StudyError unless it is a flat mapping that names itself after the file."""
    path = Path(path)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in (ROOT / "studies").glob("*.yaml")))
        raise StudyError(f"{path}: no such study file. Known studies: {known}.")
    try:
        parameters = parse_value(path.read_text())
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    if not isinstance(parameters, dict) or any(isinstance(value, dict) for value in parameters.values()):
        raise StudyError(f"{path}: a study file is a flat list of `name: value` lines.")
    if parameters.get("study") != path.stem:
        raise StudyError(f"{path}: `study` is {parameters.get('study')!r}; it has to be the file's name, {path.stem}.")
    return parameters


def parse_value(text: str) -> object:
    """A value as YAML understands it: `5`, `3e-4`, `true`, `[16, 32]`, or text. Raises StudyError if it is none."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise StudyError(f"not valid YAML: {error}") from error


def declared_parameters(notebook: Path) -> dict:
    """Names and default values in a notebook's cell tagged `parameters`. Raises StudyError if there is no such cell."""
    if not Path(notebook).is_file():
        known = ", ".join(sorted(file.stem for file in (ROOT / "notebooks").glob("*.ipynb")))
        raise StudyError(f"{notebook}: no such notebook. Known notebooks: {known}.")
    cells = json.loads(Path(notebook).read_text())["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise StudyError(f"{notebook}: {len(tagged)} cells are tagged `parameters`; there has to be one.")
    assignments = [line for line in ast.parse(tagged[0]).body if isinstance(line, ast.Assign)]
    return {line.targets[0].id: ast.literal_eval(line.value) for line in assignments}


def check_parameters(given: dict, declared: dict, where: str) -> None:
    """Raise StudyError for a parameter that is not declared or whose value is of another type than its default.

    An int passes for a float; the elements of a list are held against those of the default list.
    """
    for name, value in given.items():
        if name not in declared:
            near = difflib.get_close_matches(name, declared, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(sorted(declared))}."
            raise StudyError(f"{where}: unknown parameter {name!r}. {hint}")
        if not _same_type(value, declared[name]):
            wanted = f"{type(declared[name]).__name__}, like {declared[name]!r}"
            raise StudyError(f"{where}: parameter {name} is {value!r}; it has to be {wanted}.")


def _same_type(value: object, default: object) -> bool:
    if isinstance(default, list):
        return isinstance(value, list) and all(_same_type(item, default[0]) for item in value if default)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and the Keras backend, so that two runs on one machine give the same numbers."""
    import keras

    keras.utils.set_random_seed(seed)
    if tensorflow_gpus():
        import tensorflow

        # On processors TensorFlow's numbers repeat without it, and with it training takes twice as long.
        tensorflow.config.experimental.enable_op_determinism()


def tensorflow_gpus() -> list:
    """The GPUs that TensorFlow computes on; none under another backend."""
    import keras

    if keras.config.backend() != "tensorflow":
        return []
    import tensorflow

    return tensorflow.config.list_physical_devices("GPU")


def with_interval(figure: dict, digits: int = 3) -> str:
    """A figure of a record with its 95 % interval, `0.652 [0.610, 0.694]`; a dash for what is undefined.

    A minus before a zero stays: it says on which side of zero an end of the interval lies.
    """
    if pd.isna(figure["value"]) or pd.isna(figure["low"]):
        return "–" if pd.isna(figure["value"]) else f"{figure['value']:.{digits}f} [–]"
    return "{value:.{d}f} [{low:.{d}f}, {high:.{d}f}]".format(d=digits, **figure)


def verdict(figure: Mapping) -> str:
    """Whether a difference with its interval, as of a record, leaves out zero, in words."""
    if pd.isna(figure["value"]) or pd.isna(figure["low"]):
        return "not known"
    if figure["low"] <= 0 <= figure["high"]:
        return "no clear difference"
    return "clearly more" if figure["value"] > 0 else "clearly less"


def say(text: str) -> None:
    """Show a sentence made from the study's own numbers as prose."""
    from IPython.display import Markdown, display

    display(Markdown(text))


class Run:
    """One execution of one notebook: its parameters and the folder its record goes to.

    notebook: name without suffix, e.g. `03_cnn_baseline`; values: the notebook's `globals()`, from which the declared
    parameters are taken, `study` and `seed` among them. Raises StudyError if one was set to a value of another type.
    """

    def __init__(self, notebook: str, values: dict):
        declared = declared_parameters(ROOT / "notebooks" / f"{notebook}.ipynb")
        self.notebook = notebook
        self.parameters = {name: values[name] for name in declared}
        check_parameters(self.parameters, declared, notebook)
        self.study = self.parameters["study"]
        self.folder = results_folder(self.study) / notebook
        # TensorFlow warns of a function that is traced anew; a notebook that asks several networks does so by design.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)

    def figure(self, figure, name: str) -> None:
        """Save a matplotlib figure as figures/<name>.png, 150 dots an inch, on white."""
        with atomic_path(self.folder / "figures" / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=150, bbox_inches="tight", facecolor="white")

    def entry(
        self,
        name: str,
        task: str,
        split: pd.DataFrame,
        judged: dict,
        training: dict | None,
        weights_sha256: str | None = None,
    ) -> dict:
        """A `metrics.json` entry: which model, run how, on which split, and what `metrics.judge` said of it (`judged`).

        name: what the model is called in tables; task: one of `datasets.TASKS`; training: what `training.fit` says of
        it, or None for what is not trained in epochs; weights_sha256: of the file of pretrained weights that it started
        from. The environment is added here.
        """
        return {
            "name": name,
            "study": self.study,
            "notebook": self.notebook,
            "task": task,
            "split": describe_split(split),
            "parameters": self.parameters,
            "seed": self.parameters["seed"],
            "environment": environment() | {"weights_sha256": weights_sha256},
            "training": training,
            **judged,
        }

    def write_record(self, entry: dict, predictions: pd.DataFrame, arm: str = "") -> None:
        """Write predictions.csv and metrics.json, of the notebook or, under arms/<arm>/, of one of its arms."""
        folder = self.folder / "arms" / arm if arm else self.folder
        write_csv(folder / "predictions.csv", predictions)
        write_json(folder / "metrics.json", entry)


def read_records(folder: Path, compared: bool = False, notebook: str = "*") -> list[dict]:
    """The `metrics.json` entries below a study's results, arms as entries of their own, each with its `folder`.

    compared: only those of models that stand for comparison. The others may be of an earlier split: their notebooks
    run anew only after some of those that read the records. notebook: whose alone are read, by default those of all.
    Raises StudyError if there is no record, or if they were not all judged on the same split.
    """
    records = []
    for path in sorted(folder.glob(f"{notebook}/metrics.json")):
        record = json.loads(path.read_text())
        records.append(record | {"folder": path.parent})
        records += [arm | {"folder": path.parent / "arms" / name} for name, arm in record.get("arms", {}).items()]
    records = [record for record in records if not compared or record.get("compared", True)]
    if not records:
        raise StudyError(f"{folder}: no run records. Run the model notebooks of this study first.")
    splits = {record["split"]["sha256"] for record in records}
    if len(splits) > 1:
        raise StudyError(f"{folder}: its records stand on {len(splits)} different splits. Run `make all` again.")
    return records


def network_of(record: dict) -> tuple[Path, int]:
    """Which network a record of `read_records` is about, and in how many views of each image it was asked.

    The network is named by the folder of the record that it was trained for. An arm with an entry `views` was not
    trained: it is the network of its notebook, asked in so many views.
    """
    folder = record["folder"]
    return (folder.parent.parent, record["views"]) if "views" in record else (folder, 1)


def describe_split(split: pd.DataFrame) -> dict:
    """SHA-256 of a split table's csv and how many images each part has."""
    text = split.to_csv(index=False, lineterminator="\n")
    parts = split["part"].value_counts()
    counts = {part: int(parts.get(part, 0)) for part in ("train", "validation", "test")}
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), **counts}


def environment() -> dict:
    """Versions, device and commit of this process, for the record."""
    import keras

    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.config.backend(),
        "device": device_name(),
        "commit": _commit(),
    }


def device_name() -> str:
    """What the numbers are computed on: the accelerator's name where the backend has one, else the processor's."""
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow

        details = tensorflow.config.experimental.get_device_details
        names = [details(device).get("device_name") for device in tensorflow_gpus()]
    elif keras.config.backend() == "jax":
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        names = []
    return f"{len(names)} x {names[0]}" if names else f"CPU, {os.cpu_count()} cores ({_processor()})"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the code, with `+changes` if what a result depends on was edited since; None outside git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "helpers", "notebooks", "studies", "requirements.txt")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
