import re
from importlib.metadata import PackageNotFoundError, version

import yaml

from helpers.study import ROOT


def pins(name):
    """Requirement lines of a file without comments: {package: (version, marker)}."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found = {}
    for line in lines:
        if line and line != "-e .":
            match = re.fullmatch(r"([A-Za-z0-9_.-]+)(\[[a-z0-9,-]+\])?==([0-9.]+)(?:; (.+))?", line)
            assert match, f"{name}: not an exact version: {line}"
            found[match[1] + (match[2] or "")] = match[3]
    return found


def test_every_version_is_exact_and_all_files_agree():
    cpu, gpu, jax = (pins(f"requirements{kind}.txt") for kind in ("", "-gpu", "-jax"))
    assert cpu.pop("tensorflow-cpu") == cpu.pop("tensorflow") == gpu.pop("tensorflow[and-cuda]")
    assert f"jax=={jax.pop('jax[cuda12]')}" in (ROOT / ".ci" / "run").read_text()
    assert cpu == gpu == jax


def test_optional_packages_have_the_same_versions():
    needed = pins("requirements.txt")
    for name in ("requirements-clinic.txt", "requirements-docs.txt", "requirements-export.txt"):
        optional = pins(name)
        assert optional and all(needed.get(package, version) == version for package, version in optional.items())


def test_each_way_of_installing_reads_these_files_and_installs_the_study():
    for name in ("requirements.txt", "requirements-gpu.txt", "requirements-jax.txt"):
        assert "\n-e ." in (ROOT / name).read_text()
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert "pip" in environment and {"pip": ["-r requirements.txt"]} in environment


def test_the_installed_versions_are_those_of_the_file():
    for package, wanted in pins("requirements.txt").items():
        try:
            assert version(package) == wanted, package
        except PackageNotFoundError:
            assert package in ("tensorflow", "tensorflow-cpu"), package
