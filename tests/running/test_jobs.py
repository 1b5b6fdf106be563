import os
import time
from pathlib import Path

import pytest

from helpers.backend import visible_gpus
from helpers.running import jobs
from helpers.running.jobs import SHARING, claim_gpu, run_jobs
from helpers.study import StudyError


def environment_variable(name: str) -> str | None:
    return os.environ.get(name)


def power(base: int, exponent: int) -> int:
    return base**exponent


TASKS = [{"base": 2, "exponent": exponent} for exponent in range(4)]


def test_one_after_another():
    assert run_jobs(power, TASKS) == [1, 2, 4, 8]


def wait_for_another(folder: str, number: int) -> tuple[int, int]:
    """The number and this process, once another process has come to the same folder as well."""
    (Path(folder) / str(os.getpid())).touch()
    until = time.monotonic() + 120
    while len(list(Path(folder).iterdir())) < 2:
        assert time.monotonic() < until, "no other process came"
        time.sleep(0.05)
    return number, os.getpid()


def test_two_processes_at_a_time_and_answers_in_order(tmp_path):
    tasks = [{"folder": str(tmp_path), "number": number} for number in range(3)]
    found = run_jobs(wait_for_another, tasks, "processes", workers=2)
    assert [number for number, _ in found] == [0, 1, 2]
    processes = {process for _, process in found}
    assert len(processes) == 2 and os.getpid() not in processes


def test_workers_have_the_environment_that_they_need(monkeypatch):
    names = ["BUILD_DIR", "TF_NUM_INTRAOP_THREADS", *SHARING]
    for name in names:
        monkeypatch.setenv(name, "before")
    found = run_jobs(environment_variable, [{"name": name} for name in names], "processes", workers=2)
    assert found == ["before", str(max(1, os.cpu_count() // 2)), *SHARING.values()]
    # The notebook shares the GPU as well, and keeps all its threads.
    assert [environment_variable(name) for name in names[1:]] == ["before", *SHARING.values()]


def test_each_process_claims_a_gpu_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_claimed", [])
    assert [claim_gpu("01", tmp_path), claim_gpu("01", tmp_path)] == ["0", "1"]
    with pytest.raises(StudyError, match="All 2 GPUs are taken"):
        claim_gpu("01", tmp_path)
    jobs._claimed.pop(0).close()
    assert claim_gpu("01", tmp_path) == "0"


def test_the_gpus_that_may_be_used(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # on a machine that has none
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'GPU 0: H200 (UUID: a)'\necho 'GPU 1: H200 (UUID: b)'\n")
    listing.chmod(0o755)
    assert visible_gpus() == ["0", "1"]
    with pytest.raises(StudyError, match="workers is 3, but there are 2 GPUs"):
        run_jobs(power, TASKS, "processes", workers=3)
    for named, found in (("2, 3", ["2", "3"]), ("GPU-a", ["GPU-a"]), ("", []), ("-1", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert visible_gpus() == found


def test_impossible_requests_are_refused():
    with pytest.raises(StudyError, match="choose one of none, processes"):
        run_jobs(power, TASKS, "dask")
    with pytest.raises(StudyError, match="workers is 1: processes takes 2 or more"):
        run_jobs(power, TASKS, "processes", workers=1)
