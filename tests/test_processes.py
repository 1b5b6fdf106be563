"""Workers end with the process that started them, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.study import ROOT

DRAWING = """
import os, time
from helpers.demo.generate import _map_processes
def note(number):
    open(f"{os.environ['NOTES']}/{os.getpid()}", "w").close()
    time.sleep(1000)
if __name__ == "__main__":
    list(_map_processes(note, list(range(20))))
"""
JOBS = """
import os, time
from helpers.running.jobs import run_jobs
from test_processes import note
run_jobs(note, [{"folder": os.environ["NOTES"]}] * 2, "processes", workers=2)
"""


def note(folder):
    """Leave the id of this process in `folder`, and work for long."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(1000)


def is_running(process):
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at /proc")
@pytest.mark.parametrize("code", [DRAWING, JOBS], ids=["drawing", "jobs"])
def test_workers_end_with_a_killed_parent(tmp_path, code):
    (tmp_path / "program.py").write_text(code)
    (tmp_path / "notes").mkdir()
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    variables = os.environ | {"PYTHONPATH": path, "NOTES": str(tmp_path / "notes")}
    program = subprocess.Popen([sys.executable, str(tmp_path / "program.py")], env=variables)
    while not (workers := [int(path.name) for path in (tmp_path / "notes").iterdir()]):
        assert program.poll() is None
        time.sleep(0.05)
    assert program.pid not in workers
    program.send_signal(signal.SIGKILL)
    program.wait()
    for _ in range(600):
        if not any(map(is_running, workers)):
            return
        time.sleep(0.1)
    pytest.fail("workers outlived their parent")
