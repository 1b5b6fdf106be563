"""Independent jobs, such as folds and trials: one after another, side by side on this machine, or on a Ray cluster."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import joblib

from helpers.study import StudyError

PARALLEL = ("none", "processes", "ray")
PASSED_ON = ("KERAS_BACKEND", "BUILD_DIR", "RESULTS_DIR", "DATA_DIR", "PRETRAINED_DIR")  # environment that jobs need
# Of a GPU that several processes share, such as a notebook and its workers, each takes what it needs and no more.
SHARING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_claimed = []  # the lock on this process's GPU, held until it ends


def run_jobs(function: Callable, jobs: Sequence[dict], parallel: str = "none", workers: int = 1) -> list:
    """What function(**job) gives for each job, in their order. function: of a module, from which workers import it.

    parallel: `none`, one after another in this process; `processes`, so many `workers` on this machine, each with its
    share of the cores and, where there are GPUs, one of them to itself; `ray`, so many on the cluster whose address
    RAY_ADDRESS holds, or on one that is started here, with the folders of the study shared by all its machines.
    Raises StudyError for another word, for fewer than two workers or more than there are GPUs, and without Ray.
    """
    if parallel not in PARALLEL:
        raise StudyError(f"parallel {parallel!r}: choose one of {', '.join(PARALLEL)}.")
    if parallel == "none":
        return [function(**job) for job in jobs]
    if workers < 2:  # joblib would run the jobs in this process, whatever it was asked for
        raise StudyError(f"workers is {workers}: {parallel} takes 2 or more. One job at a time is `parallel: none`.")
    os.environ.update(SHARING)
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    named = function.__module__, function.__qualname__
    settings, threads, gpus = _on_ray(workers) if parallel == "ray" else _on_this_machine(workers)
    with joblib.parallel_config(**settings):
        tasks = [joblib.delayed(_in_worker)(*named, job, passed, threads, gpus) for job in jobs]
        return joblib.Parallel(batch_size=1)(tasks)


def visible_gpus() -> list[str]:
    """The machine's GPUs of NVIDIA that this process may use, by number, or as CUDA_VISIBLE_DEVICES names them.

    A cluster's scheduler names some only, by number or by UUID.
    """
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    numbers = [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]
    named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(numbers)) if numbers else ""
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]  # both mean none


def claim_gpu(gpus: Sequence[str], folder: Path) -> str:
    """That of the GPUs which no other process has claimed; it is claimed until this process ends.

    folder: of the locks, which all processes of the machine share. Raises StudyError if all are taken.
    """
    for name in gpus:
        try:
            lock = (Path(folder) / f"skin-lesion-study-gpu-{name}.lock").open("a")
        except PermissionError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _claimed.append(lock)
        return name
    raise StudyError(f"All {len(gpus)} GPUs are taken by other jobs; try fewer workers.")


def _on_this_machine(workers: int) -> tuple[dict, int, list[str]]:
    """Settings of joblib for processes, the threads of each, and the GPUs that they deal out among themselves."""
    gpus = visible_gpus()
    _check_gpus(len(gpus), workers)
    return {"backend": "loky", "n_jobs": workers}, max(1, (os.cpu_count() or 1) // workers), gpus


def _on_ray(workers: int) -> tuple[dict, int, list[str]]:
    """The same for Ray, by what the cluster has, whatever this machine has; Ray deals out GPUs itself."""
    if find_spec("ray") is None:
        raise StudyError("parallel is ray, and Ray is not installed: pip install -r requirements-ray.txt")
    import ray
    from ray.util.joblib import register_ray

    if not ray.is_initialized():
        ray.init()  # the cluster whose address RAY_ADDRESS holds, or one of this machine
    register_ray()
    held = ray.cluster_resources()
    _check_gpus(int(held.get("GPU", 0)), workers)
    # One processor is reserved for each job, so that none waits for a machine that the cluster does not have.
    reserved = {"num_cpus": 1, "num_gpus": int("GPU" in held)}
    return {"backend": "ray", "n_jobs": workers, "ray_remote_args": reserved}, max(1, int(held["CPU"] // workers)), []


def _check_gpus(count: int, workers: int) -> None:
    if 0 < count < workers:
        raise StudyError(f"workers is {workers}, and there {'is one GPU' if count == 1 else f'are {count} GPUs'}.")


def _in_worker(module: str, name: str, job: dict, passed: dict[str, str], threads: int, gpus: Sequence[str]):
    """One job in a process of its own. Keras may be imported only when the environment stands."""
    os.environ.update(passed | SHARING | {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)})
    if gpus and not _claimed:
        os.environ["CUDA_VISIBLE_DEVICES"] = claim_gpu(gpus, Path(tempfile.gettempdir()))
    return getattr(import_module(module), name)(**job)
