"""`python -m clinic.node --study ham10000_cpu --spool FOLDER --to ARCHIVE@127.0.0.1:4242`

Answers photographs that arrive by C-STORE with structured reports, which go to the destination by C-STORE. It ends with
Ctrl-C or SIGTERM; what is not answered or not delivered by then stays in the spool for the next start.
"""

import argparse
import logging
import signal
import sys
import threading
from functools import partial
from pathlib import Path

from clinic import DISCLAIMER
from helpers.study import StudyError


def main(words: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = arguments().parse_args(words)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.ERROR)
    logging.getLogger("clinic.node").setLevel(logging.INFO)
    for name in ("pydicom", "highdicom", "PIL", "pynetdicom"):  # their messages could quote files
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        serve(given, ended)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def arguments() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python -m clinic.node", description=DISCLAIMER)
    parser.add_argument("--study", default="demo", help="study whose 13_prediction prepared the model (%(default)s)")
    parser.add_argument("--spool", type=Path, required=True, help="folder for what waits; the node's alone")
    parser.add_argument("--to", required=True, metavar="TITLE@HOST:PORT", help="where the reports are sent")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; only this machine's own by default")
    parser.add_argument("--port", type=int, default=11112, help="port to listen on (%(default)s)")
    parser.add_argument("--caller", action="append", default=[], help="an AE title that may connect; all without one")
    return parser


def serve(given: argparse.Namespace, ended: threading.Event) -> None:
    """Run the node until `ended` is set. Raises StudyError before the first image is accepted."""
    from clinic.answering.runtime import open_model
    from clinic.node.network import Node, Peer, send
    from clinic.node.reports import Reports
    from clinic.node.spool import Spool
    from clinic.node.work import Work

    peer = Peer.parse(given.to)
    deployment, network = open_model(given.study)
    images, reports = Spool(given.spool / "images"), Spool(given.spool / "reports")
    with (
        Reports(deployment, network) as answer,
        Work(images, reports, answer, partial(send, peer)) as work,
        Node((given.host, given.port), images, given.caller, partial(work.wake, "answer")),
    ):
        logging.getLogger("clinic.node").info("listening on %s:%d. %s", given.host, given.port, DISCLAIMER)
        ended.wait()


if __name__ == "__main__":
    sys.exit(main())
