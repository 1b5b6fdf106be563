"""The node beside Orthanc: an archive that routes its images to the node gets the reports back, in the same study."""

import json
import urllib.request
from functools import partial

import numpy as np
import pytest
from clinical import by_brightness, deployment, free_ports, orthanc, secret_object, wait_for
from conftest import picture

from clinic.example import as_bytes

pytestmark = pytest.mark.needs("Orthanc", "pynetdicom")
HOST = "127.0.0.1"


def ask(address, data=None):
    """The decoded answer of the archive's web interface."""
    content = data if isinstance(data, bytes | None) else json.dumps(data).encode()
    with urllib.request.urlopen(urllib.request.Request(address, content), timeout=60) as answer:
        return json.load(answer)


def reported(root):
    """The study of each report in the archive, sorted."""
    query = {"Level": "Series", "Query": {"Modality": "SR", "StudyInstanceUID": ""}, "Expand": True}
    series = ask(f"{root}/tools/find", query)
    studies = [ask(f"{root}/series/{one['ID']}/study")["MainDicomTags"]["StudyInstanceUID"] for one in series]
    return sorted(study for study, one in zip(studies, series, strict=True) for _ in one["Instances"])


@pytest.fixture
def archive(tmp_path):
    """Orthanc: its address, its port for DICOM, and the port at which it looks for the node."""
    web, dicom, node = free_ports(3)
    with orthanc(tmp_path, web, dicom, {"node": ["SKINLESION", HOST, node]}):
        yield f"http://{HOST}:{web}", dicom, node


def test_reports_come_back_into_the_study_of_their_images(archive, tmp_path):
    from clinic.node.network import Node, Peer, send
    from clinic.node.reports import Reports
    from clinic.node.spool import Spool
    from clinic.node.work import Work

    root, dicom, port = archive
    spools = Spool(tmp_path / "images"), Spool(tmp_path / "reports")
    with (
        Reports(deployment(abstention_threshold=-9.0), by_brightness) as answer,
        Work(*spools, answer, partial(send, Peer("ORTHANC", HOST, dicom)), wait=0.2) as work,
        Node((HOST, port), spools[0], ["ORTHANC"], partial(work.wake, "answer")),
    ):
        sent = [secret_object(np.asarray(picture(seed, 48))) for seed in range(5)]
        ids = [ask(f"{root}/instances", as_bytes(one))["ID"] for one in sent]
        assert ask(f"{root}/modalities/node/store", {"Resources": ids})["FailedInstancesCount"] == 0
        wait_for(lambda: reported(root) == sorted(one.StudyInstanceUID for one in sent))
    assert not any(spool.waiting() for spool in spools)
