"""Independent jobs, such as folds and trials: one after another, in parallel on this machine, or on a Ray cluster."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import joblib

from helpers.backend import visible_gpus
from helpers.processes import end_with_parent
from helpers.records import TRIAL
from helpers.study import StudyError

PARALLEL = ("none", "processes", "ray")
PASSED_ON = ("KERAS_BACKEND", "BUILD_DIR", "RESULTS_DIR", "DATA_DIR", "PRETRAINED_DIR", TRIAL)  # environment variables
# A notebook and its workers may share a GPU, so each takes only the memory that it needs.
SHARING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_claimed = []  # the lock on this process's GPU, held until it ends


def run_jobs(function: Callable, jobs: Sequence[dict], parallel: str = "none", workers: int = 1) -> list:
    """The results of function(**job) for all jobs, in their order. Workers import the function from its module.

    parallel: `none`, one after another in this process; `processes`, `workers` at a time on this machine, each with its
    share of the cores and, if there are GPUs, with a GPU of its own; `ray`, `workers` at a time on the cluster at
    RAY_ADDRESS, or on one that is started here. The machines of a cluster must share the folders of the study.
    Raises StudyError for any other value, for fewer than two workers, for more workers than GPUs, and without Ray.
    """
    if parallel not in PARALLEL:
        raise StudyError(f"parallel {parallel!r}: choose one of {', '.join(PARALLEL)}.")
    if parallel == "none":
        return [function(**job) for job in jobs]
    if workers < 2:  # joblib would run the jobs in this process
        raise StudyError(f"workers is {workers}: {parallel} takes 2 or more. For one at a time set `parallel: none`.")
    os.environ.update(SHARING)
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    named = function.__module__, function.__qualname__
    settings, threads, gpus = _on_ray(workers) if parallel == "ray" else _on_this_machine(workers)
    with joblib.parallel_config(**settings):
        shared = {"passed": passed, "threads": threads, "gpus": gpus}
        shared["parent"] = os.getpid() if parallel == "processes" else None  # Ray ends its workers itself
        tasks = [joblib.delayed(_in_worker)(*named, job, shared=shared) for job in jobs]
        return joblib.Parallel(batch_size=1)(tasks)


def claim_gpu(gpus: Sequence[str], folder: Path) -> str:
    """Claim a GPU that no other process has, until this process ends; returns its name.

    folder: of the locks, shared by all users of the machine. A lock ends with its process; its file stays. Raises
    StudyError if all GPUs are taken.
    """
    files = [Path(folder) / f"skin-lesion-study-gpu-{name}.lock" for name in gpus]
    for name, file in zip(gpus, files, strict=True):
        try:
            if not file.exists():
                file.touch()
                file.chmod(0o644)  # whatever the umask, so that other users can lock it too
            lock = file.open()  # for reading, which is enough for a lock, and all that another user's file allows
        except PermissionError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _claimed.append(lock)
        return name
    remedy = f"Use fewer workers, or delete those of these files that nobody uses: {', '.join(map(str, files))}"
    raise StudyError(f"All {len(gpus)} GPUs are taken by other jobs. {remedy}")


def _on_this_machine(workers: int) -> tuple[dict, int, list[str]]:
    """Joblib's settings for processes, the threads of each, and the GPUs that they may claim."""
    gpus = visible_gpus()
    _check_gpus(len(gpus), workers)
    return {"backend": "loky", "n_jobs": workers}, max(1, joblib.cpu_count() // workers), gpus


def _on_ray(workers: int) -> tuple[dict, int, list[str]]:
    """The same for Ray, from the resources of its cluster. Ray assigns GPUs itself."""
    if find_spec("ray") is None:
        raise StudyError("parallel is ray, and Ray is not installed: pip install -r requirements-ray.txt")
    import ray
    from ray.util.joblib import register_ray

    if not ray.is_initialized():
        ray.init()  # at RAY_ADDRESS, or on this machine
    register_ray()
    resources = ray.cluster_resources()
    _check_gpus(int(resources.get("GPU", 0)), workers)
    # Reserve only one core per job: a job that asks for more than any machine has would wait forever.
    reserved = {"num_cpus": 1, "num_gpus": int("GPU" in resources)}
    settings = {"backend": "ray", "n_jobs": workers, "ray_remote_args": reserved}
    return settings, max(1, int(resources["CPU"] // workers)), []


def _check_gpus(count: int, workers: int) -> None:
    if 0 < count < workers:
        raise StudyError(f"workers is {workers}, but there are {count} GPUs: each worker needs one to itself.")


_watch = cache(end_with_parent)  # a worker runs several jobs, but watches its parent once


def _in_worker(module: str, name: str, job: dict, *, shared: dict):
    """Run one job in its own process. The environment has to be complete before Keras is imported."""
    passed, threads, gpus = shared["passed"], shared["threads"], shared["gpus"]
    if shared["parent"]:
        _watch(shared["parent"])
    os.environ.update(passed | SHARING | {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)})
    if gpus and not _claimed:
        os.environ["CUDA_VISIBLE_DEVICES"] = claim_gpu(gpus, Path(tempfile.gettempdir()))
    return getattr(import_module(module), name)(**job)
