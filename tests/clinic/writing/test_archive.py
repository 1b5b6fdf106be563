"""An archive as hospitals have them, started for the test: an image goes in, its results come back into its study."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from clinical import free_ports, install_made_up_model, secret_object
from conftest import picture

from clinic.command import DONE, main
from clinic.example import as_bytes

ORTHANC, SENDER = shutil.which("Orthanc"), shutil.which("storescu")
HOST = "127.0.0.1"
PATIENCE = 60  # seconds until the archive answers
needs_orthanc, needs_sender = (pytest.mark.needs(name) for name in ("Orthanc", "storescu"))  # Debian: orthanc, dcmtk


class Archive:
    """Orthanc on this machine: its web interface, and its port for DICOM."""

    def __init__(self, web: int, dicom: int):
        self.root, self.dicom = f"http://{HOST}:{web}", dicom

    def ask(self, place: str, data: bytes | None = None):
        """What it answers: to data if there are some, decoded if it is JSON."""
        with urllib.request.urlopen(urllib.request.Request(self.root + place, data), timeout=30) as answer:
            content = answer.read()
            return json.loads(content) if "json" in answer.headers["Content-Type"] else content

    def find(self, level: str, **query: str) -> list[dict]:
        """The studies, series or instances that it finds by what stands in them."""
        asked = {"Level": level, "Query": query, "Expand": True}
        return self.ask("/tools/find", json.dumps(asked).encode())

    def put(self, folder: Path) -> None:
        """Give it the objects of a folder by its web interface."""
        for path in folder.iterdir():
            assert self.ask("/instances", path.read_bytes())["Status"] == "Success"

    def send(self, folder: Path) -> None:
        """The same by DICOM, as README.md says; a camera's own objects may be compressed, and newer than the sender."""
        command = [SENDER, "--required", "--propose-jpeg8", "+sd", HOST, str(self.dicom), folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def archive(tmp_path):
    """An archive that listens to this machine alone, keeps its files in a temporary folder and ends with the test."""
    web, dicom = free_ports(2)
    settings = {
        "HttpPort": web,
        "RemoteAccessAllowed": False,
        "DicomPort": dicom,
        "DicomServerEnabled": True,
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": {"sender": ["STORESCU", HOST, 104]},  # the name that storescu gives itself
        "StorageDirectory": str(tmp_path / "storage"),
        "IndexDirectory": str(tmp_path / "storage"),
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [ORTHANC, tmp_path / "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        own, end = Archive(web, dicom), time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                own.ask("/system")
                break
            assert process.poll() is None and time.monotonic() < end, "the archive does not start"
            time.sleep(0.2)
        yield own
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@needs_orthanc
@pytest.mark.parametrize("jpeg", [False, True])
@pytest.mark.parametrize("way", ["put", pytest.param("send", marks=needs_sender)])
def test_results_come_back_into_the_study_of_the_image(tmp_path, archive, monkeypatch, jpeg, way):
    """Into the archive, through the command line and back; the results are then found by the UID of the study."""
    source = secret_object(np.asarray(picture(5, 64)), jpeg=jpeg)
    for name in ("camera", "in"):
        (tmp_path / name).mkdir()
    (tmp_path / "camera" / "a.dcm").write_bytes(as_bytes(source))
    getattr(archive, way)(tmp_path / "camera")
    (sent,) = archive.find("Instance", SOPInstanceUID=str(source.SOPInstanceUID))
    (study,) = archive.ask("/studies")
    (tmp_path / "in" / "a.dcm").write_bytes(archive.ask(f"/instances/{sent['ID']}/file"))
    known = install_made_up_model(monkeypatch, tmp_path)
    assert main(["predict", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *known, "--dicom"]) == DONE
    getattr(archive, way)(tmp_path / "out" / "dicom")
    series = archive.find("Series", StudyInstanceUID=str(source.StudyInstanceUID))
    assert sorted(one["MainDicomTags"]["Modality"] for one in series) == ["DMS", "OT", "SR"]
    assert {one["ParentStudy"] for one in series} == {study}
    assert len(archive.ask("/studies")) == len(archive.ask("/patients")) == 1
    check_report(archive, source)
    (capture,) = archive.find("Instance", Modality="OT")
    assert archive.ask(f"/instances/{capture['ID']}/preview")[:4] == b"\x89PNG"


def check_report(archive: Archive, source) -> None:
    """The archive finds a report by the patient's number, and in it the image that it is about."""
    (report,) = archive.find("Instance", PatientID="P-17", Modality="SR")
    tags = archive.ask(f"/instances/{report['ID']}/simplified-tags")
    assert tags["StudyInstanceUID"] == source.StudyInstanceUID
    (evidence,) = tags["CurrentRequestedProcedureEvidenceSequence"]
    (referenced,) = evidence["ReferencedSeriesSequence"][0]["ReferencedSOPSequence"]
    assert referenced["ReferencedSOPInstanceUID"] == source.SOPInstanceUID
