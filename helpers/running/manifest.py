"""What a finished step has left: a manifest names each file with its checksum, so that damage is noticed.

A step is one notebook of one study. Its manifest, build/<study>/steps/<notebook>.json, is written last. It says what
the step was made from and what it left. The step is complete while all of this is unchanged. Times of files do not
matter, with one exception: before it runs, make trusts the checksum of a file of more than 50 MB whose size, time and
inode are those of the last look. `make check` reads every file, and make then repairs what it has found.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

from helpers.data.external import EXTERNAL, external_folder
from helpers.data.layouts import find_images
from helpers.data.lesions import dataset_folder, originals_folder
from helpers.data.pixels import cache_path
from helpers.reading import read_note
from helpers.records import file_sha256, write_json
from helpers.running.notebooks import ELSEWHERE, NOTEBOOKS, effective_parameters, read_notebooks, study_dataset
from helpers.running.preflight import chosen_backend
from helpers.study import ROOT, StudyError, build_folder, notebook_cells, results_folder

TABLES = ("HAM10000_metadata*", "ISIC2018_Task3_Training_*.csv", "ISIC_2019_Training_*.csv")  # of the publishers
TABLES += ("ISIC2018_Task3_Test_GroundTruth.csv", "PH2_dataset.txt", "metadata.csv")
SOURCES = {"code": "code of the study", "originals": "publisher's files"}
LARGE = 50_000_000  # bytes; the checksum of such a file is remembered


def manifest_path(study: str, notebook: str) -> Path:
    """Path of the manifest of a step."""
    return build_folder(study) / "steps" / f"{notebook}.json"


def write_manifest(study: str, notebook: str, origin: dict) -> None:
    """Record that a step is finished. origin: `made_from` as it was before the step ran."""
    files = {name: _known_sha256(study, path) for name, path in step_files(study, notebook).items()}
    write_json(manifest_path(study, notebook), {"made_from": origin, "files": files})


def read_manifest(study: str, notebook: str) -> dict | None:
    """The manifest of a step, or None if there is none or it is damaged."""
    manifest = read_note(manifest_path(study, notebook))
    return manifest if {"made_from", "files"} <= manifest.keys() else None


def faults(study: str, notebook: str, *, reread: bool = False) -> list[str]:
    """Why a step is not complete: a sentence for each fault, with the path or parameter. Empty if it is complete.

    reread: read large files as well, see the top of this module.
    """
    manifest = read_manifest(study, notebook)
    if manifest is None:
        return [f"{manifest_path(study, notebook)} is missing or damaged, so it has to run."]
    changed = _changes(manifest["made_from"], made_from(study, notebook))
    for path in damaged_files(study, notebook, reread=reread):
        state = "was changed or damaged" if path.is_file() else "is missing"
        changed.append(f"{path} {state} after {notebook} wrote it.")
    return changed


def damaged_files(study: str, notebook: str, *, reread: bool = False) -> list[Path]:
    """The files of a finished step that are missing or no longer have their checksums."""
    manifest, places = read_manifest(study, notebook) or {"files": {}}, step_roots(study)
    found = []
    for name, checksum in manifest["files"].items():
        root, _, relative = name.partition("/")
        path = places[root] / relative
        if not path.is_file() or _known_sha256(study, path, reread) != checksum:
            found.append(path)
    return found


def step_roots(study: str) -> dict[str, Path]:
    """The folders that the names in a manifest are relative to, so that a checkout can be moved."""
    cached = dataset_folder(study_dataset(study)) / "cache"
    return {"results": results_folder(study), "build": build_folder(study), "cache": cached}


def step_files(study: str, notebook: str) -> dict[str, Path]:
    """The files that a step has left, by their names in the manifest."""
    roots = step_roots(study)
    paths = {"results": [roots["results"] / "notebooks" / f"{notebook}.ipynb"], "build": [], "cache": []}
    paths["results"] += (roots["results"] / notebook).rglob("*")
    paths["build"] += (roots["build"] / "variants" / notebook).rglob("*")
    if notebook == "02_preprocessing":
        p = effective_parameters(study, notebook)
        pixels = cache_path(roots["cache"], p["side"], p["colour_constancy"])
        lesions = roots["cache"] / "lesions.csv"
        paths["results"] += [roots["results"] / "split.csv", roots["results"] / "split.json"]
        paths["cache"] += [lesions, lesions.with_suffix(".json"), pixels, pixels.with_suffix(".json")]
    return {
        f"{root}/{path.relative_to(roots[root]).as_posix()}": path
        for root, found in paths.items()
        for path in sorted(found)
        if path.is_file() and not path.name.startswith(".")
    }


def made_from(study: str, notebook: str) -> dict:
    """What a step depends on: its parameters and the backend, and checksums of all that it reads.

    That is the notebook, the code, the originals, pretrained weights, and what the steps before it have left. For
    errors see `study_parameters`.
    """
    p, reads = effective_parameters(study, notebook), read_notebooks(notebook)
    packages = ("helpers", "clinic") if notebook == "13_prediction" else ("helpers",)
    code = {package: code_sha256(package) for package in packages}
    content = {"parameters": p, "notebook": _notebook_sha256(notebook), "code": code}
    if "precision" in p:  # it computes with networks
        content["backend"] = chosen_backend()
    if (weights := ROOT / Path(p.get("pretrained", "")).expanduser()).is_file():
        content["pretrained weights"] = file_sha256(weights)
    if not reads and p.get("dataset", "demo") != "demo" and (folder := originals_folder(p["dataset"])).is_dir():
        content["originals"] = _originals_sha256(folder)
    if notebook == ELSEWHERE and study_dataset(study) != "demo":
        content |= {f"images in {key}": _originals_sha256(external_folder() / key) for key in EXTERNAL}
    return content | {"steps": {name: _left_sha256(study, name) for name in reads}}


@cache
def code_sha256(package: str) -> str:
    """SHA-256 of what a package does: its files, of Python only the syntax without comments and docstrings."""
    digest = hashlib.sha256()
    paths = sorted(path for path in (ROOT / package).rglob("[!.]*") if path.is_file() and path.suffix != ".pyc")
    for path in paths:
        text = _syntax(path).encode() if path.suffix == ".py" else file_sha256(path).encode()
        digest.update(f"{path.relative_to(ROOT)} ".encode() + text)
    return digest.hexdigest()


def _syntax(path: Path) -> str:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise StudyError(f"{path}, line {error.lineno}: {error.msg}. Correct it.") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _notebook_sha256(notebook: str) -> str:
    """SHA-256 of the cells of a notebook, without their outputs."""
    sources = [[cell["cell_type"], cell["source"]] for cell in notebook_cells(NOTEBOOKS / f"{notebook}.ipynb")]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _originals_sha256(folder: Path) -> str:
    """SHA-256 of the publisher's tables, and of the names and sizes of the images."""
    digest = hashlib.sha256()
    tables = [path for name in TABLES for pattern in (name, f"*/{name}") for path in folder.glob(pattern)]
    for path in sorted(path for path in tables if path.is_file()):
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    for path in (Path(path) for found in find_images(folder) for paths in found.values() for path in paths):
        digest.update(f"{path.name} {path.stat().st_size if path.exists() else None}\n".encode())
    return digest.hexdigest()


def _left_sha256(study: str, notebook: str) -> str | None:
    """One checksum of what a finished step has left for others: its results and caches."""
    manifest = read_manifest(study, notebook)
    if manifest is None:
        return None
    aside = ("build/", "results/notebooks/")
    left = {name: checksum for name, checksum in manifest["files"].items() if not name.startswith(aside)}
    return hashlib.sha256(json.dumps(left, sort_keys=True).encode()).hexdigest()


def _known_sha256(study: str, path: Path, reread: bool = False) -> str:
    """SHA-256 of a file. That of a large one is remembered: see the top of this module."""
    status = path.stat()
    if status.st_size < LARGE:
        return file_sha256(path)
    memory = build_folder(study) / "steps" / "large_files" / f"{hashlib.sha256(str(path).encode()).hexdigest()}.json"
    seen = [status.st_size, status.st_mtime_ns, status.st_ino]
    known = read_note(memory)
    if reread or known.get("seen") != seen:
        known = {"seen": seen, "sha256": file_sha256(path)}
        write_json(memory, known)
    return known["sha256"]


def _changes(before: dict, now: dict) -> list[str]:
    """A sentence for each thing that a step was made from and that has changed."""
    old, new = before["parameters"], now["parameters"]
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    sentences = [f"The parameter {name} was {old.get(name)!r} and is {new.get(name)!r}." for name in changed]
    others = sorted(now.keys() - {"parameters", "steps"})  # without a disk that is not connected now
    sentences += [f"The {SOURCES.get(name, name)} changed." for name in others if before.get(name) != now.get(name)]
    steps = before["steps"]
    return sentences + [f"{name} has new results." for name, left in now["steps"].items() if steps.get(name) != left]
