"""A tiny study that is killed, damaged, moved and run twice at once ends with the bytes of an undisturbed one.

CHAOS_ROUNDS=100 makes it longer; CHAOS_SEED chooses other disturbances.
"""

import os
import random
import shutil
import signal
import time

import pytest
from house import build_house, fingerprint, make, processes_of, start

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))
SEED = os.environ.get("CHAOS_SEED", "0")
DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zero": lambda content: bytes(len(content)),
    "append": lambda content: content + content[-20:],
    "flip": lambda content: content[:-1] + bytes([content[-1] ^ 1]) if content else b"x",
}


def files_of(house):
    """The files that a run of the study leaves, with their manifests."""
    folders = [house / name for name in ("results/tiny", "build/tiny", "data/ham10000/cache")]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def damage(house, chance):
    """Damage or delete up to four files, or delete all that is trained, or all results."""
    for path in chance.sample(files := files_of(house), min(len(files), chance.randint(1, 4))):
        what = chance.choice([*DAMAGES, "delete"])
        content, times = path.read_bytes(), (path.stat().st_atime, path.stat().st_mtime)
        path.unlink() if what == "delete" else path.write_bytes(DAMAGES[what](content))
        if what != "delete":
            os.utime(path, times)
    if chance.random() < 0.2:
        shutil.rmtree(house / chance.choice(["results/tiny", "build/tiny", "data/ham10000/cache"]))
    return house


def move(house, chance):
    return house.rename(house.with_name(f"house & {chance.randint(0, 10**6)} ü"))


def kill(house, chance, seconds):
    """Kill everything in the middle of a run."""
    process = start(house, "all")
    time.sleep(chance.uniform(0, seconds))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return house


def double(house, chance, seconds):
    """Start two runs at once, and interrupt or kill one of them."""
    processes = [start(house, "all"), start(house, "all")]
    chance.shuffle(processes)
    time.sleep(chance.uniform(0, seconds))
    os.killpg(processes[0].pid, chance.choice([signal.SIGKILL, signal.SIGINT]))
    for process in processes:
        process.communicate(timeout=300)
    return house


def test_the_bytes_are_those_of_an_undisturbed_run(tmp_path):
    chance, house = random.Random(SEED), build_house(tmp_path / "house")
    started = time.monotonic()
    make(house, "all")
    seconds, undisturbed = time.monotonic() - started, fingerprint(house)
    assert undisturbed
    for number in range(ROUNDS):
        house = damage(house, chance)
        house = move(house, chance)
        house = kill(house, chance, seconds) if number % 2 else double(house, chance, seconds)
        make(house, "all")
        assert fingerprint(house) == undisturbed, f"round {number} of seed {SEED}"
        assert "is complete" in make(house, "check") and not list(house.glob("data/.ham10000-*"))
    while processes_of(house):
        time.sleep(0.1)
