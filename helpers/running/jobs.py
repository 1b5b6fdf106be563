"""Independent jobs, such as folds and trials: one after another or in parallel on this machine."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from pathlib import Path

import joblib

from helpers.backend import visible_gpus
from helpers.processes import end_with_parent
from helpers.records import TRIAL
from helpers.study import StudyError, check_choice

PASSED_ON = ("KERAS_BACKEND", "BUILD_DIR", "RESULTS_DIR", "DATA_DIR", "PRETRAINED_DIR", TRIAL)  # environment variables
# A notebook and its workers may share a GPU, so each takes only the memory that it needs.
SHARING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_claimed = []  # the lock on this process's GPU, held until it ends
_locks = cache(tempfile.TemporaryDirectory)  # of the workers of this process


def run_jobs(function: Callable, jobs: Sequence[dict], parallel: str = "none", *, workers: int = 1) -> list:
    """The results of function(**job) for all jobs, in their order. Workers import the function from its module.

    parallel: `none`, one after another in this process; `processes`, `workers` at a time on this machine, each with its
    share of the cores and, if there are GPUs, with a GPU of its own. Raises StudyError for any other value, for fewer
    than two workers, and for more workers than GPUs.
    """
    check_choice("parallel", parallel, ("none", "processes"))
    if parallel == "none":
        return [function(**job) for job in jobs]
    if workers < 2:  # joblib would run the jobs in this process
        raise StudyError(f"workers is {workers}: {parallel} takes 2 or more. For one at a time set `parallel: none`.")
    gpus = visible_gpus()
    if 0 < len(gpus) < workers:
        raise StudyError(f"workers is {workers}, but there are {len(gpus)} GPUs: each worker needs one to itself.")
    os.environ.update(SHARING)
    threads = str(max(1, joblib.cpu_count() // workers))
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | SHARING
    environment |= {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    named = function.__module__, function.__qualname__
    claim = partial(claim_gpu, gpus, _locks().name) if gpus else None
    worker = partial(_in_worker, named, parent=os.getpid(), environment=environment, claim=claim)
    return joblib.Parallel(workers, backend="loky", batch_size=1)(joblib.delayed(worker)(job) for job in jobs)


def claim_gpu(gpus: Sequence[str], folder: Path) -> str:
    """Claim a GPU that no other worker has, until this process ends; returns its name. folder: of their locks."""
    for name in gpus:
        lock = (Path(folder) / name).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _claimed.append(lock)
        return name
    raise StudyError(f"All {len(gpus)} GPUs are taken by other workers. Use fewer workers.")


_watch = cache(end_with_parent)  # a worker runs several jobs, but watches its parent once


def _in_worker(named: tuple[str, str], job: dict, *, parent: int, environment: dict, claim: Callable[[], str] | None):
    """Run one job in its own process. The environment has to be complete before Keras is imported."""
    _watch(parent)
    os.environ.update(environment)
    if claim and not _claimed:
        os.environ["CUDA_VISIBLE_DEVICES"] = claim()
    module, name = named
    return getattr(import_module(module), name)(**job)
