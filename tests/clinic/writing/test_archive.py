"""Results in an archive like those of hospitals, started for the test: they join the study of their image."""

import json
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from clinical import free_ports, install_made_up_model, orthanc, secret_object
from conftest import picture

from clinic.command import DONE, main
from clinic.example import as_bytes

HOST = "127.0.0.1"


class Archive:
    """Orthanc on this machine: its web interface, and its port for DICOM."""

    def __init__(self, web: int, dicom: int):
        self.root, self.dicom = f"http://{HOST}:{web}", dicom

    def ask(self, path: str, data: bytes | None = None):
        """The answer to a request, with data or without; decoded if it is JSON."""
        with urllib.request.urlopen(urllib.request.Request(self.root + path, data), timeout=30) as answer:
            content = answer.read()
            return json.loads(content) if "json" in answer.headers["Content-Type"] else content

    def find(self, level: str, **query: str) -> list[dict]:
        """The studies, series or instances with these values."""
        request = {"Level": level, "Query": query, "Expand": True}
        return self.ask("/tools/find", json.dumps(request).encode())

    def send(self, folder: Path) -> None:
        """Send the objects of a folder by DICOM, as README.md says; those of a camera may be compressed."""
        words = ["storescu", "--required", "--propose-jpeg8", "+sd", HOST, str(self.dicom), folder]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def archive(tmp_path):
    """An archive for this machine alone, with its files in a temporary folder; it ends with the test."""
    web, dicom = free_ports(2)
    sender = {"sender": ["STORESCU", HOST, 104]}  # how storescu calls itself
    with orthanc(tmp_path, web, dicom, sender, DicomAlwaysAllowStore=False, DicomCheckModalityHost=True):
        yield Archive(web, dicom)


@pytest.mark.needs("Orthanc", "storescu")  # Debian: orthanc, dcmtk
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
