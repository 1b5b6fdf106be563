"""Results in an archive like those of hospitals, started for the test: they join the study of their image."""

import json
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from clinical import command_process, free_ports, install_made_up_model, orthanc, secret_object, wait_for
from conftest import picture

from clinic.command import DONE, main
from clinic.example import as_bytes

pytestmark = pytest.mark.needs("Orthanc", "storescu", "pynetdicom")  # Debian: orthanc, dcmtk
HOST = "127.0.0.1"


class Archive:
    """Orthanc on this machine: its web interface, its port for DICOM, and the port at which it looks for the node."""

    def __init__(self, web: int, dicom: int, node: int):
        self.root, self.dicom, self.node = f"http://{HOST}:{web}", dicom, node

    def ask(self, path: str, data: bytes | dict | None = None):
        """The answer to a request, with data or without; decoded if it is JSON."""
        data = json.dumps(data).encode() if isinstance(data, dict) else data
        with urllib.request.urlopen(urllib.request.Request(self.root + path, data), timeout=30) as answer:
            content = answer.read()
            return json.loads(content) if "json" in answer.headers["Content-Type"] else content

    def find(self, level: str, **query: str) -> list[dict]:
        """The studies, series or instances with these values."""
        return self.ask("/tools/find", {"Level": level, "Query": query, "Expand": True})

    def send(self, folder: Path) -> None:
        """Send the objects of a folder by DICOM, as docs/clinic.md says; those of a camera may be compressed."""
        words = ["storescu", "--required", "--propose-jpeg8", "+sd", HOST, str(self.dicom), folder]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def studies_of_reports(self) -> list[str]:
        """The study of each report in the archive, sorted."""
        found = self.find("Instance", Modality="SR")
        tags = [self.ask(f"/instances/{one['ID']}/simplified-tags") for one in found]
        return sorted(one["StudyInstanceUID"] for one in tags)


@pytest.fixture
def archive(tmp_path):
    """An archive for this machine alone, with its files in a temporary folder; it ends with the test."""
    web, dicom, node = free_ports(3)
    known = {"sender": ["STORESCU", HOST, 104], "node": ["SKINLESION", HOST, node]}  # storescu calls itself so
    with orthanc(tmp_path, web, dicom, known, DicomAlwaysAllowStore=False, DicomCheckModalityHost=True):
        yield Archive(web, dicom, node)


@pytest.mark.parametrize("jpeg", [False, True])
def test_results_come_back_into_the_study_of_the_image(tmp_path, archive, monkeypatch, jpeg):
    """The image goes into the archive, through the command line and back; the study then holds its results."""
    source = secret_object(np.asarray(picture(5, 64)), jpeg=jpeg)
    for name in ("camera", "in"):
        (tmp_path / name).mkdir()
    (tmp_path / "camera" / "a.dcm").write_bytes(as_bytes(source))
    archive.send(tmp_path / "camera")
    (sent,) = archive.find("Instance", SOPInstanceUID=str(source.SOPInstanceUID))
    (tmp_path / "in" / "a.dcm").write_bytes(archive.ask(f"/instances/{sent['ID']}/file"))
    model = install_made_up_model(monkeypatch, tmp_path)
    assert main(["predict", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *model, "--dicom"]) == DONE
    archive.send(tmp_path / "out" / "dicom")
    series = archive.find("Series", StudyInstanceUID=str(source.StudyInstanceUID))
    assert sorted(one["MainDicomTags"]["Modality"] for one in series) == ["DMS", "SR"]
    assert len(archive.ask("/studies")) == len(archive.ask("/patients")) == 1
    (report,) = archive.find("Instance", Modality="SR")
    (evidence,) = archive.ask(f"/instances/{report['ID']}/simplified-tags")["CurrentRequestedProcedureEvidenceSequence"]
    (referenced,) = evidence["ReferencedSeriesSequence"][0]["ReferencedSOPSequence"]
    assert referenced["ReferencedSOPInstanceUID"] == source.SOPInstanceUID


def test_what_an_archive_routes_to_the_node_comes_back_as_reports(tmp_path, archive):
    """By the command itself, in a process of its own."""
    words = ("--port", archive.node, "--caller", "ORTHANC", "--spool", tmp_path / "spool")
    sent = [secret_object(np.asarray(picture(seed, 48))) for seed in range(5)]
    with command_process("serve", *words, "--to", f"ORTHANC@{HOST}:{archive.dicom}"):
        ids = [archive.ask("/instances", as_bytes(one))["ID"] for one in sent]
        wait_for(lambda: archive.ask("/modalities/node/echo", {}) == {})
        assert archive.ask("/modalities/node/store", {"Resources": ids})["FailedInstancesCount"] == 0
        wait_for(lambda: archive.studies_of_reports() == sorted(one.StudyInstanceUID for one in sent))
        wait_for(lambda: not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()])
