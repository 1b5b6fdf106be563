"""The random seed, and the devices, threads and versions that results are computed with."""

import os
import platform
import random
import subprocess
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
from joblib import cpu_count

from helpers.study import ROOT


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and the Keras backend, so that two runs on one machine give the same numbers."""
    import keras

    keras.utils.set_random_seed(seed)
    if tensorflow_gpus():
        import tensorflow

        # Not set on CPUs: TensorFlow is reproducible there without it, and trains twice as fast.
        tensorflow.config.experimental.enable_op_determinism()


def restart_seeds(seed: int) -> None:
    """Seed Python and NumPy again, from which Keras draws the seeds of layers and weights.

    `set_seed` does so too, but it also makes TensorFlow prepare everything again that it has compiled.
    """
    random.seed(seed)
    np.random.seed(seed)


def set_threads(count: int = 0) -> None:
    """Let TensorFlow compute with `count` threads, or 0 for as many as this process has cores.

    Call it before the first computation, when TensorFlow reads TF_NUM_INTRAOP_THREADS; a value that is already set is
    kept. TensorFlow itself does not know the quota of a container. The number of threads changes results slightly.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(count or cpu_count()))


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use: numbers, or what CUDA_VISIBLE_DEVICES lists (numbers or UUIDs)."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    numbers = [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]
    named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(numbers)) if numbers else ""
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]  # both mean none


def tensorflow_gpus() -> list:
    """The GPUs that TensorFlow uses. Empty under another backend."""
    import keras

    if keras.config.backend() != "tensorflow":
        return []
    import tensorflow

    return tensorflow.config.list_physical_devices("GPU")


def environment() -> dict:
    """Versions, device, number of threads and commit of this process, for a run record."""
    import keras

    name = keras.config.backend()
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": name,
        "backend_version": import_module(name).__version__,
        **{package: version(package) for package in ("numpy", "scikit-learn", "pandas")},
        "threads": int(name == "tensorflow" and os.environ.get("TF_NUM_INTRAOP_THREADS") or cpu_count()),
        "device": device_name(),
        "commit": _commit(),
    }


def device_name() -> str:
    """Number and name of the accelerators that the backend uses, or the name of the processor if it uses none."""
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow

        details = tensorflow.config.experimental.get_device_details
        names = [details(device).get("device_name") for device in tensorflow_gpus()]
    elif keras.config.backend() == "jax":
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        names = []
    return f"{len(names)} x {names[0]}" if names else f"CPU, {cpu_count()} cores ({_processor()})"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the code. Ends in `+changes` if files that affect results were edited since; None outside git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "helpers", "notebooks", "studies", "requirements.txt")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
