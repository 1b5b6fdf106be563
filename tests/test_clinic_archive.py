"""An archive as hospitals have them, started for the test: an image goes in, its results come back into its study."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from clinical import by_brightness, deployment, secret_object
from conftest import picture

from helpers.clinic.example import as_bytes
from helpers.clinic.intake import Reader, find_files
from helpers.clinic.outputs import Outputs
from helpers.clinic.prediction import predict_files

ORTHANC = shutil.which("Orthanc")
PATIENCE = 60  # seconds until the archive answers
needs_orthanc = pytest.mark.skipif(ORTHANC is None, reason="Orthanc is not installed (Debian: orthanc)")


class Archive:
    """Orthanc's web interface on this machine."""

    def __init__(self, port: int):
        self.root = f"http://127.0.0.1:{port}"

    def ask(self, place: str, data: bytes | None = None):
        """What it answers: to data if there are some, decoded if it is JSON."""
        with urllib.request.urlopen(urllib.request.Request(self.root + place, data), timeout=30) as answer:
            content = answer.read()
            return json.loads(content) if "json" in answer.headers["Content-Type"] else content


@pytest.fixture
def archive(tmp_path):
    """An archive that listens on this machine alone, keeps its files in a temporary folder and ends with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "StorageDirectory": str(tmp_path / "storage"),
        "IndexDirectory": str(tmp_path / "storage"),
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [ORTHANC, tmp_path / "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        own, end = Archive(port), time.monotonic() + PATIENCE
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


def maps_of_the_middle(_, images):
    maps = np.zeros(images.shape[:3], np.float32)
    maps[:, 12:20, 12:20] = 1
    return maps


@needs_orthanc
@pytest.mark.parametrize("jpeg", [False, True])
def test_results_come_back_into_the_study_of_the_image(tmp_path, archive, jpeg):
    source = secret_object(np.asarray(picture(5, 64)), jpeg=jpeg)
    sent = archive.ask("/instances", as_bytes(source))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(archive.ask(f"/instances/{sent['ID']}/file"))
    deployed = deployment(silence=-9.0)
    outputs = Outputs(tmp_path / "out", deployed, dicom=True, draw_map=maps_of_the_middle)
    with Reader(deployed.wanted(outputs.preview)) as reader:
        for outcome in predict_files(find_files([tmp_path / "in"]), reader, deployed, by_brightness):
            assert outputs.write(outcome) == []
    for path in sorted((tmp_path / "out" / "dicom").iterdir()):
        back = archive.ask("/instances", path.read_bytes())
        assert back["Status"] == "Success" and back["ParentStudy"] == sent["ParentStudy"]
    assert len(archive.ask("/studies")) == len(archive.ask("/patients")) == 1
    series = archive.ask(f"/studies/{sent['ParentStudy']}/series")
    assert sorted(one["MainDicomTags"]["Modality"] for one in series) == ["DMS", "OT", "SR"]
    check_report(archive, source)
    (capture,) = found(archive, {"Modality": "OT"})
    assert archive.ask(f"/instances/{capture}/preview")[:4] == b"\x89PNG"


def found(archive: Archive, query: dict) -> list[str]:
    """Instances that the archive finds by what stands in them."""
    return archive.ask("/tools/find", json.dumps({"Level": "Instance", "Query": query}).encode())


def check_report(archive: Archive, source) -> None:
    """The archive finds a report by the patient's number, and in it the image that it is about."""
    (report,) = found(archive, {"PatientID": "P-17", "Modality": "SR"})
    tags = archive.ask(f"/instances/{report}/simplified-tags")
    assert tags["StudyInstanceUID"] == source.StudyInstanceUID
    (evidence,) = tags["CurrentRequestedProcedureEvidenceSequence"]
    (referenced,) = evidence["ReferencedSeriesSequence"][0]["ReferencedSOPSequence"]
    assert referenced["ReferencedSOPInstanceUID"] == source.SOPInstanceUID
