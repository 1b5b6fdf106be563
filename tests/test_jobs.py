import os
import sys
from importlib.util import find_spec

import pytest

from helpers import jobs
from helpers.jobs import claim_gpu, count_gpus, run_jobs
from helpers.study import StudyError


def squared(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def seen(name: str) -> str | None:
    return os.environ.get(name)


TASKS = [{"number": number} for number in range(4)]


def test_one_after_another():
    assert run_jobs(squared, TASKS) == [(number**2, os.getpid()) for number in range(4)]


def test_in_processes_in_order_and_elsewhere(monkeypatch):
    monkeypatch.setenv("BUILD_DIR", "/somewhere")
    found = run_jobs(squared, TASKS, "processes", 2)
    assert [answer for answer, _ in found] == [0, 1, 4, 9]
    assert os.getpid() not in {process for _, process in found}
    names = [{"name": "BUILD_DIR"}, {"name": "TF_NUM_INTRAOP_THREADS"}]
    assert run_jobs(seen, names, "processes", 1) == ["/somewhere", str(os.cpu_count())]


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_on_a_ray_cluster_of_two_workers(monkeypatch):
    import ray

    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": ":".join(sys.path)}})
    try:
        found = run_jobs(squared, TASKS, "ray", 2)
        assert [answer for answer, _ in found] == [0, 1, 4, 9]
        assert os.getpid() not in {process for _, process in found}
    finally:
        ray.shutdown()


def test_each_process_claims_a_gpu_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_claimed", [])
    assert [claim_gpu(2, tmp_path), claim_gpu(2, tmp_path)] == [0, 1]
    with pytest.raises(StudyError, match="All 2 GPUs are taken"):
        claim_gpu(2, tmp_path)
    jobs._claimed.pop(0).close()
    assert claim_gpu(2, tmp_path) == 0


def test_gpus_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert count_gpus() == 0
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'GPU 0: H200 (UUID: a)'\necho 'GPU 1: H200 (UUID: b)'\n")
    listing.chmod(0o755)
    assert count_gpus() == 2
    with pytest.raises(StudyError, match="workers is 3, and there are 2 GPUs"):
        run_jobs(squared, TASKS, "processes", 3)


def test_what_cannot_be():
    with pytest.raises(StudyError, match="choose one of none, processes, ray"):
        run_jobs(squared, TASKS, "dask")
    with pytest.raises(StudyError, match="workers is 0"):
        run_jobs(squared, TASKS, "processes", 0)


def test_without_ray(monkeypatch):
    monkeypatch.setattr(jobs, "find_spec", lambda name: None)
    with pytest.raises(StudyError, match="requirements-ray.txt"):
        run_jobs(squared, TASKS, "ray", 2)
