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
    gpus = count_gpus()
    if parallel == "processes" and 0 < gpus < workers:
        raise StudyError(f"workers is {workers}, and there {'is one GPU' if gpus == 1 else f'are {gpus} GPUs'}.")
    os.environ.update(SHARING)
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    named = function.__module__, function.__qualname__
    threads = max(1, (os.cpu_count() or 1) // workers)
    with joblib.parallel_config(**_backend(parallel, workers, gpus)):
        tasks = [joblib.delayed(_in_worker)(*named, job, passed, threads, parallel, gpus) for job in jobs]
        return joblib.Parallel(batch_size=1)(tasks)


def count_gpus() -> int:
    """How many GPUs of NVIDIA this machine has."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def claim_gpu(count: int, folder: Path) -> int:
    """The number of a GPU that no other process has claimed, which is claimed until this process ends.

    Raises StudyError if all are taken.
    """
    for number in range(count):
        lock = (Path(folder) / f"skin-lesion-study-gpu-{number}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _claimed.append(lock)
        return number
    raise StudyError(f"All {count} GPUs are taken by other jobs; try fewer workers.")


def _backend(parallel: str, workers: int, gpus: int) -> dict:
    """Settings of joblib."""
    if parallel == "processes":
        return {"backend": "loky", "n_jobs": workers}
    if find_spec("ray") is None:
        raise StudyError("parallel is ray, and Ray is not installed: pip install -r requirements-ray.txt")
    from ray.util.joblib import register_ray

    register_ray()
    return {"backend": "ray", "n_jobs": workers, "ray_remote_args": {"num_cpus": 1, "num_gpus": int(gpus > 0)}}


def _in_worker(module: str, name: str, job: dict, passed: dict[str, str], threads: int, parallel: str, gpus: int):
    """One job in a process of its own. Keras may be imported only when the environment stands."""
    os.environ.update(passed | SHARING | {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)})
    if parallel == "processes" and gpus and not _claimed:  # Ray deals out GPUs itself
        given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        names = given or [str(number) for number in range(gpus)]  # a cluster's scheduler may have given us some only
        os.environ["CUDA_VISIBLE_DEVICES"] = names[claim_gpu(len(names), Path(tempfile.gettempdir()))]
    return getattr(import_module(module), name)(**job)
