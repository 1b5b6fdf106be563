"""A small page to try a model: upload an image, see what the model says. `python -m clinic.app --study demo`.

Voilà serves the page only to this machine, at an address with a token. An upload stays in memory until the next one
replaces it.
"""

import argparse
import html
import io
import os
import secrets
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clinic import DISCLAIMER
from clinic.answering.answers import Answer, answer_pictures
from clinic.answering.deployment import Deployment, find_deployment, load
from clinic.answering.maps import grad_cam
from clinic.answering.network import Network
from clinic.reading.pictures import Unreadable, decode, ignore_warnings
from clinic.writing.overlays import PREVIEW, overlays
from clinic.writing.pages import DOTS, Page
from clinic.writing.sentences import describe_answer, describe_maps
from helpers.study import ROOT, StudyError

if TYPE_CHECKING:
    import ipywidgets as widgets

WORKING = '<p role="status">The model is looking at the image …</p>'
NO_ANSWER = '<p role="alert">The program failed: there is no answer for this image.</p>'
LARGEST = 8 * 2**20  # bytes of an upload
STUDY = "CLINIC_STUDY"  # environment variable that names the study of the page's model
HOST, PORT = "127.0.0.1", 8866
NEEDED = "The page needs Voilà and ipywidgets: pip install -r requirements-app.txt"


class Desk:
    """The model of a study, ready to answer. Raises StudyError if the study has no deployment."""

    def __init__(self, study: str):
        deployment, file = find_deployment(study)
        self.model, self.deployment = load(deployment, file)
        self.network, self.draw_maps = Network(self.model), partial(grad_cam, self.model)

    def respond(self, data: bytes) -> tuple[str, bytes]:
        """The result for an uploaded JPEG or PNG: text as HTML, and a page as PNG, empty if there is none."""
        try:
            if len(data) > LARGEST:
                raise Unreadable(f"larger than {LARGEST // 2**20} MiB")
            picture = decode(data, self.deployment.image_format(PREVIEW))
        except Unreadable as fault:
            return f'<p role="alert">This file cannot be read: {html.escape(str(fault))}.</p>', b""
        (answer,) = answer_pictures([picture], self.network(picture.square[None]), self.deployment)
        overlay = None if answer.abstained else overlays(self.draw_maps, [picture])[0]
        with io.BytesIO() as file:
            page = Page("upload", picture, answer, self.deployment, overlay)
            page.draw().savefig(file, dpi=DOTS, facecolor="white")
            return as_html(answer, self.deployment), file.getvalue()


def as_html(answer: Answer, deployment: Deployment) -> str:
    """The answer, the warnings and the calibrated probabilities as text, for screen readers and for copying."""
    text = f'<p id="answer"><b>{html.escape(describe_answer(answer, deployment))}</b></p>'
    text += "".join(f"<p>Warning: {html.escape(warning)}.</p>" for warning in answer.warnings)
    if answer.abstained:
        return text
    rows = "".join(
        f"<tr><td>{html.escape(one.name)}</td><td>{100 * share:.1f} %</td></tr>"
        for one, share in zip(deployment.classes, answer.calibrated, strict=True)
    )
    head = "<tr><th>class</th><th>calibrated probability</th></tr>"
    table = f"<details><summary>In numbers</summary><table>{head}{rows}</table></details>"
    return f"{text}{table}<p>{html.escape(describe_maps(deployment))}</p>"


def show() -> None:
    """Build the page in the notebook that Voilà serves."""
    import ipywidgets as widgets
    from IPython.display import display

    ignore_warnings()
    desk = Desk(os.environ.get(STUDY, "demo"))
    upload = widgets.FileUpload(accept=".jpg,.jpeg,.png", description="Choose an image", layout={"width": "200px"})
    text, page = widgets.HTML(), widgets.Image(format="png", layout={"display": "none", "max_width": "900px"})

    def respond(change: dict) -> None:
        if not change["new"]:
            return
        data = bytes(change["new"][0]["content"])
        upload.value = ()  # the file is not kept
        answer_upload(desk, data, text, page)

    upload.observe(respond, "value")
    heading = f"<h1>What does the model say?</h1><p><b>{DISCLAIMER}</b></p>"
    limits = f"<p>JPEG or PNG, up to {LARGEST // 2**20} MiB. The file stays in memory and is not kept.</p>"
    display(widgets.VBox([widgets.HTML(heading + limits), upload, text, page]))


def answer_upload(desk: Desk, data: bytes, text: "widgets.HTML", page: "widgets.Image") -> None:
    """Show the answer to an upload. The previous answer disappears first, so it is never shown after a failure."""
    text.value, page.value, page.layout.display = WORKING, b"", "none"
    try:
        text.value, page.value = desk.respond(data)
    except Exception:  # its message could quote the file
        text.value = NO_ANSWER
    page.layout.display = "block" if page.value else "none"


def serve(study: str, port: int, token: str, browser: bool) -> None:
    """Serve the page until it is interrupted. Raises StudyError if there is no model to show, or no Voilà."""
    find_deployment(study)
    try:
        import ipywidgets  # noqa: F401, the page needs it, in a process of its own
        import nbformat
        from traitlets.config import Config
        from voila.app import Voila
    except ImportError as error:
        raise StudyError(NEEDED) from error
    os.environ |= {
        STUDY: study,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.ipynb"
        code = nbformat.v4.new_code_cell("from clinic.app import show\n\nshow()")
        nbformat.write(nbformat.v4.new_notebook(cells=[code]), page)
        print(f"http://{HOST}:{port}/?token={token}  (end with Ctrl-C)", flush=True)
        Voila.launch_instance([str(page)], config=Config(_settings(port, token, browser)))


def _settings(port: int, token: str, browser: bool) -> dict:
    """Voilà's settings: only this machine, only with the token, and only the page.

    Messages may be larger than the largest upload, so that the page can report an upload that is too large.
    """
    server = {"ip": HOST, "port": port, "port_retries": 0, "token": token, "open_browser": browser, "log_level": "WARN"}
    return {
        "Voila": server | {"tornado_settings": {"websocket_max_message_size": 4 * LARGEST}},
        "VoilaConfiguration": {"file_allowlist": [], "show_tracebacks": False},
    }


def main(words: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m clinic.app", description=DISCLAIMER)
    parser.add_argument("--study", default="demo", help="study whose 12_prediction prepared the model (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port on this machine (%(default)s)")
    parser.add_argument("--token", default="", help="secret part of the address; random by default")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    given = parser.parse_args(words)
    try:
        serve(given.study, given.port, given.token or secrets.token_urlsafe(16), not given.no_browser)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
