"""The node as an application of DICOM: it answers C-ECHO, accepts photographs by C-STORE, and sends reports."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt
from pynetdicom.sop_class import Verification

from clinic.node.spool import Full, Spool
from clinic.reading.dicom import READ
from clinic.reading.files import LARGEST
from helpers.study import StudyError

SUCCESS, OUT_OF_RESOURCES, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000  # DICOM PS3.4, table B.2-1
TITLE = "SKINLESION"
SECONDS = 30  # that a peer may take to answer
LOG = logging.getLogger("clinic.node")


@dataclass(frozen=True)
class Peer:
    """An application of DICOM in the network."""

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Peer":
        """From TITLE@HOST:PORT. Raises StudyError for anything else."""
        title, _, address = text.partition("@")
        host, _, port = address.rpartition(":")
        if not (title and len(title) <= 16 and host and port.isdigit() and 0 < int(port) < 2**16):
            raise StudyError(f"{text!r}: not a DICOM application. Write TITLE@HOST:PORT, such as ARCHIVE@10.0.0.5:104.")
        return cls(title, host, int(port))


@dataclass
class Node:
    """Accepts photographs while it is used in a `with` block.

    address: host and port; spool: where accepted images wait; callers: the AE titles that may connect, or none for all;
    accepted: called after each image; title: its own AE title. Raises StudyError if the port cannot be had.
    """

    address: tuple[str, int]
    spool: Spool
    callers: Sequence[str] = ()
    accepted: Callable[[], None] = lambda: None
    title: str = TITLE

    def __enter__(self) -> "Node":
        entity = AE(self.title)
        entity.require_called_aet, entity.require_calling_aet = True, list(self.callers)
        entity.maximum_associations, entity.network_timeout, entity.acse_timeout = 8, SECONDS, SECONDS
        entity.add_supported_context(Verification)
        for kind in READ:
            entity.add_supported_context(kind, ALL_TRANSFER_SYNTAXES)
        try:
            self._server = entity.start_server(self.address, block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        except OSError as error:
            raise StudyError(
                f"Port {self.address[1]} cannot be opened ({error.strerror}). Choose another one."
            ) from error
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        """Put an image into the spool, as it was sent; returns the status of DICOM."""
        data = event.encoded_dataset()
        if len(data) > LARGEST:
            LOG.warning("an image was refused: larger than %d MiB", LARGEST // 2**20)
            return NOT_UNDERSTOOD
        try:
            path = self.spool.put(data)
        except (Full, OSError) as error:
            LOG.warning("an image was refused: no room for it (%s)", type(error).__name__)
            return OUT_OF_RESOURCES
        LOG.info("image %s: accepted", path.stem)
        self.accepted()
        return SUCCESS


def send(peer: Peer, files: Sequence[Path]) -> Iterator[Path]:
    """Send reports by C-STORE; yields each one that has arrived. None arrives at a peer that cannot be reached."""
    entity = AE(TITLE)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
    entity.add_requested_context(ComprehensiveSRStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    association = entity.associate(peer.host, peer.port, ae_title=peer.title)
    if not association.is_established:
        return
    try:
        for path in files:
            status = association.send_c_store(dcmread(path))
            if status and (status.Status == SUCCESS or status.Status >> 12 == 0xB):  # B…: a warning
                yield path
            elif not association.is_established:
                return
    finally:
        if association.is_established:
            association.release()
