"""A copy of the code with a tiny study: six pictures, and three notebooks that only write files."""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from PIL import Image

from helpers.study import ROOT

BEFORE = """import hashlib, json, time
from pathlib import Path
from helpers.records import Run, atomic_path, write_csv, write_json
"""
PREPROCESSING = """
from helpers.data.lesions import dataset_folder, load_lesions, originals_folder, save_lesions
from helpers.data.pixels import build_cache
from helpers.data.split import save_split
run = Run("02_preprocessing", globals())
lesions = load_lesions(dataset, originals_folder(dataset))
build_cache(lesions, side, dataset_folder(dataset) / "cache", colour_constancy=colour_constancy)
save_lesions(lesions, run.shared_path(dataset_folder(dataset) / "cache" / "lesions.csv"))
split = lesions[["image_id", "lesion_id", "label"]].assign(part="train", fold=1)
save_split(split, run.shared_path(run.results / "split.csv"))
"""
TRAINING = """
run = Run("03_cnn_baseline", globals())
split = (run.results / "split.csv").read_bytes()
folder = run.work / "variants" / run.notebook / "cnn"
for epoch in range(epochs):
    with atomic_path(folder / "model.keras") as temporary:
        temporary.write_bytes(hashlib.sha256(split + bytes([epoch])).digest() * 5000)
    while Path("hold").exists():  # as long as a test wishes
        time.sleep(0.02)
write_json(folder / "training.json", {"seconds": 60.0, "epochs": epochs})
write_json(run.folder / "metrics.json", {"score": hashlib.sha256(split).hexdigest(), "epochs": epochs})
print("finished", epochs)
"""
COMPARISON = """
run = Run("07_model_comparison", globals())
record = json.loads((run.results / "03_cnn_baseline" / "metrics.json").read_text())
write_json(run.folder / "comparison.json", {"of": record["score"]})
"""
SHARED = 'study = "tiny"\ndataset = "ham10000"\n'
NOTEBOOKS = {
    "02_preprocessing": ((), SHARED + 'side = 16\ncolour_constancy = "none"', PREPROCESSING),
    "03_cnn_baseline": (("02_preprocessing",), SHARED + "epochs = 3", TRAINING),
    "07_model_comparison": (("02_preprocessing", "03_cnn_baseline"), SHARED, COMPARISON),
}


def build_house(folder: Path) -> Path:
    """A house in `folder`, which does not exist yet."""
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    return furnish(folder)


def furnish(folder: Path) -> Path:
    """The tiny study alone: its notebooks, its file and its data."""
    for name in ("notebooks", "studies", "data"):
        (folder / name).mkdir()
    for name, (reads, parameters, code) in NOTEBOOKS.items():
        write_notebook(folder, name, reads, parameters, code)
    (folder / "studies" / "tiny.yaml").write_text("study: tiny\ndataset: ham10000  # six pictures\n")
    draw_originals(folder / "data" / "ham10000")
    return folder


def write_notebook(folder: Path, name: str, reads: tuple[str, ...], parameters: str, code: str) -> None:
    linked = ", ".join(f"[{read}]({read}.ipynb)" for read in reads) or "the originals"
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    opening = nbformat.v4.new_markdown_cell(f"**Reads** {linked}. **Writes** a little.", id="opening")
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}, id="parameters")
    notebook.cells = [opening, tagged, nbformat.v4.new_code_cell(BEFORE + code, id="code")]
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


def draw_originals(folder: Path, side: int = 20) -> None:
    """Six pictures of three lesions in the layout of HAM10000."""
    (folder / "HAM10000_images_part_1").mkdir(parents=True)
    rows = []
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "HAM10000_images_part_1" / f"ISIC_{number}.png")
        rows.append((f"HAM_{number // 2}", f"ISIC_{number}", "nv", "histo", 50, "male", "back", "vidir"))
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "HAM10000_metadata.csv", index=False)


def start(
    house: Path, *words: str, largest: int | None = None, ordinary: bool = False, **environment: str
) -> subprocess.Popen:
    """Start make in a house, as the leader of a process group.

    largest: bytes of a file that it can write; ordinary: root, too, may only write where permissions let its owner.
    """
    ours = ("MAKE", "MFLAGS", "DATA_DIR", "STUDY", "JOBS", "WAIT", "RESULTS_DIR", "BUILD_DIR", "REQUIREMENTS")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    variables = kept | {"PYTHONPATH": str(house)} | environment
    command = ["make", "-s", f"PYTHON={sys.executable}", "STUDY=tiny", *words]
    if largest:
        command = ["bash", "-c", f'ulimit -f {largest // 1024}; exec "$@"', "bash", *command]
    if ordinary and os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=house, env=variables, start_new_session=True, **pipes)


def make(house: Path, *words: str, status: int = 0, **options) -> str:
    """Run make in a house to its end; returns what it printed. Fails unless its exit code is 0, or another if `status`.

    options: of `start`.
    """
    process = start(house, *words, **options)
    output, _ = process.communicate(timeout=120)
    assert (process.returncode != 0) == (status != 0), output
    return output


def fingerprint(house: Path) -> dict[str, str]:
    """SHA-256 of every file of the study but manifests and notes on checks, by its relative path."""
    folders = [house / name for name in ("results/tiny", "build/tiny/variants", "data/ham10000/cache")]
    paths = sorted(
        path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".checked"
    )
    return {path.relative_to(house).as_posix(): sha256(path.read_bytes()).hexdigest() for path in paths}


def processes_of(house: Path) -> list[int]:
    """The running processes that work in a house."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == house and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
