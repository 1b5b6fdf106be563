"""The node between a sender and an archive, both made of pynetdicom, on this machine."""

import errno
import os
import signal
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from clinical import by_brightness, command_process, deployment, free_ports, secret_object, wait_for
from conftest import picture

pytest.importorskip("pynetdicom", reason="pynetdicom is not installed")
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian  # noqa: E402
from pynetdicom import AE, evt  # noqa: E402
from pynetdicom.sop_class import Verification  # noqa: E402

from clinic.node.network import OUT_OF_RESOURCES, SUCCESS, TITLE, Node, Peer, send  # noqa: E402
from clinic.node.reports import Reports  # noqa: E402
from clinic.node.spool import Spool  # noqa: E402
from clinic.node.work import Work  # noqa: E402
from clinic.reading.place import DERMOSCOPIC  # noqa: E402
from helpers.study import StudyError  # noqa: E402

HOST = "127.0.0.1"
SECRETS = ("Muster", "Erika", "P-17", "19640812", "Elsewhere", "House", "SERIAL-9", "Ward")
PATIENCE = 300  # seconds until a test gives up
IMAGES = int(os.environ.get("CLINIC_NODE_IMAGES", 40))  # sent while the node is killed


class Archive:
    """Receives reports: the UIDs of the images that they are about, in the order of their arrival."""

    def __init__(self):
        (self.port,) = free_ports()
        self.about = []

    @contextmanager
    def open(self):
        entity = AE("ARCHIVE")
        entity.add_supported_context(ComprehensiveSRStorage)
        server = entity.start_server((HOST, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.store)])
        try:
            yield self
        finally:
            server.shutdown()

    def store(self, event):
        report = event.dataset
        (study,) = report.CurrentRequestedProcedureEvidenceSequence
        (item,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
        self.about.append(item.ReferencedSOPInstanceUID)
        assert study.StudyInstanceUID == report.StudyInstanceUID and report.PatientID == "P-17"
        return SUCCESS

    @property
    def peer(self):
        return Peer("ARCHIVE", HOST, self.port)


def images(count):
    return [secret_object(np.asarray(picture(seed, 48))) for seed in range(count)]


def connect(port, title="CAMERA"):
    """An association with the node, or None if the node does not talk to this sender."""
    entity = AE(title)
    entity.dimse_timeout = 10
    entity.add_requested_context(DERMOSCOPIC, ExplicitVRLittleEndian)
    entity.add_requested_context(Verification)
    association = entity.associate(HOST, port, ae_title=TITLE)
    return association if association.is_established else None


def store(port, datasets, title="CAMERA"):
    """Send images; returns the statuses, or none if the node does not talk to this sender."""
    if not (association := connect(port, title)):
        return []
    assert association.send_c_echo().Status == SUCCESS
    statuses = []
    for one in datasets:
        while not (status := association.send_c_store(one)):  # on a busy machine, pynetdicom can miss a reply
            association = connect(port, title)
        statuses.append(status.Status)
    association.release()
    return statuses


@pytest.fixture
def archive():
    return Archive()


@pytest.fixture
def node(tmp_path, archive):
    """A function that starts a node for callers named CAMERA; gives its port and its spools."""

    @contextmanager
    def start(answer=None, **limits):
        (port,) = free_ports()
        spools = Spool(tmp_path / "images", **limits), Spool(tmp_path / "reports")
        with (
            Reports(deployment(abstention_threshold=-9.0), by_brightness) as reports,
            Work(*spools, answer or reports, partial(send, archive.peer), wait=0.2) as work,
            Node((HOST, port), spools[0], ["CAMERA"], partial(work.wake, "answer")),
        ):
            yield port, *spools

    return start


def test_each_image_is_answered_by_a_report_and_nothing_is_left(node, archive, caplog):
    caplog.set_level("INFO")
    sent = images(5)
    with archive.open(), node() as (port, waiting, reports):
        assert store(port, sent) == [SUCCESS] * 5
        wait_for(lambda: len(archive.about) == 5 and not reports.files())
    assert sorted(archive.about) == sorted(one.SOPInstanceUID for one in sent)
    assert not waiting.files()
    assert caplog.text.count(": accepted") == 5 and not [word for word in SECRETS if word in caplog.text]


def test_only_known_callers_are_let_in(node):
    with node() as (port, waiting, _):
        assert store(port, images(1), "STRANGER") == [] and not waiting.files()


def test_a_broken_image_costs_one_message(node, archive, caplog):
    broken = images(1)[0]
    broken.PixelData = broken.PixelData[:100]
    with archive.open(), node() as (port, *spools):
        assert store(port, [broken, *images(1)]) == [SUCCESS] * 2
        wait_for(lambda: len(archive.about) == 1 and not any(spool.files() for spool in spools))
    faults = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(faults) == 1 and not [word for word in SECRETS if word in caplog.text]


def test_reports_wait_for_a_destination_that_cannot_be_reached(node, archive, caplog):
    with node() as (port, waiting, reports):
        store(port, images(2))
        wait_for(lambda: len(reports.files()) == 2 and "2 reports wait" in caplog.text)
        assert not waiting.files()
        with archive.open():
            wait_for(lambda: len(archive.about) == 2 and not reports.files())


def test_a_full_spool_or_disk_refuses_images_and_keeps_what_was_accepted(node, archive, monkeypatch):
    never = threading.Event()

    def wait(files):
        never.wait(PATIENCE)
        return iter(())

    with node(answer=wait, most_files=2) as (port, waiting, _):
        assert store(port, images(3)) == [SUCCESS, SUCCESS, OUT_OF_RESOURCES]
        kept = waiting.files()
        for path in kept[1:]:
            path.unlink()
        full = OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(full))
        assert store(port, images(1)) == [OUT_OF_RESOURCES]
        assert list(waiting.folder.iterdir()) == kept[:1]
        never.set()


def test_what_a_crash_left_half_written_is_removed(tmp_path):
    whole = Spool(tmp_path).put(b"whole")
    (tmp_path / ".half.dcm").write_bytes(b"ha")
    assert Spool(tmp_path).files() == [whole] and list(tmp_path.iterdir()) == [whole]


@pytest.mark.slow
def test_a_killed_node_loses_nothing_that_it_accepted(archive, tmp_path):
    (port,) = free_ports()
    words = "serve", "--spool", tmp_path, "--to", f"ARCHIVE@{HOST}:{archive.port}", "--port", port
    sent = images(IMAGES)
    with archive.open():
        with command_process(*words) as first:
            wait_for(lambda: connect(port)).release()
            assert store(port, sent) == [SUCCESS] * IMAGES
            wait_for(lambda: archive.about)
            first.kill()
        assert len(set(archive.about)) < IMAGES
        with command_process(*words) as second:
            wait_for(lambda: len(set(archive.about)) == IMAGES, PATIENCE)
            second.send_signal(signal.SIGTERM)
            assert second.wait(PATIENCE) == 0
    assert set(archive.about) == {one.SOPInstanceUID for one in sent}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("text", ["ARCHIVE", "@host:104", "ARCHIVE@host", "ARCHIVE@host:x", "A" * 17 + "@host:104"])
def test_a_destination_is_written_as_title_host_and_port(text):
    assert Peer.parse("ARCHIVE@10.0.0.5:104") == Peer("ARCHIVE", "10.0.0.5", 104)
    with pytest.raises(StudyError, match="Write TITLE@HOST:PORT"):
        Peer.parse(text)


def test_a_port_that_is_taken_is_named(tmp_path, archive):
    with archive.open(), pytest.raises(StudyError, match=f"Port {archive.port} cannot be opened"):
        Node((HOST, archive.port), Spool(tmp_path)).__enter__()
