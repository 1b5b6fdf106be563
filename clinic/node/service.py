"""Runs the node: `python -m clinic serve`."""

import logging
import threading
from functools import partial

from clinic import DISCLAIMER
from clinic.answering.deployment import Deployment
from clinic.answering.network import Predict
from clinic.node.network import Node, Peer, send
from clinic.node.reports import Reports
from clinic.node.spool import Spool
from clinic.node.work import Work

LOG = logging.getLogger("clinic.node")


def serve(model: tuple[Deployment, Predict], destination: Peer, node: Node, ended: threading.Event) -> None:
    """Answer what a node accepts and send the reports to a destination, until `ended` is set.

    Reports wait beside the folder of the node's spool. Raises StudyError before the first image is accepted.
    """
    reports = Spool(node.spool.folder.with_name("reports"))
    with Reports(*model) as answer, Work(node.spool, reports, answer, partial(send, destination)) as work:
        node.accepted = partial(work.wake, "answer")
        with node:
            LOG.info("listening on %s:%d. %s", *node.address, DISCLAIMER)
            ended.wait()
