"""A page in the browser to try a model: upload an image, see what the model says. `python -m clinic.app`.

One process of this machine serves it to this machine alone, at an address with a token. The page fetches nothing from
elsewhere. An upload stays in memory until it is answered.
"""

import argparse
import base64
import html
import io
import secrets
import sys
import threading
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from clinic import DISCLAIMER
from clinic.answering.answers import Answer, answer_pictures
from clinic.answering.deployment import Deployment, find_deployment, load
from clinic.answering.network import Network
from clinic.reading.pictures import Unreadable, decode, ignore_warnings
from clinic.writing.pages import DOTS, PREVIEW, Page
from clinic.writing.sentences import describe_answer
from helpers.study import StudyError

LARGEST = 8 * 2**20  # bytes of an upload
HOST, PORT = "127.0.0.1", 8866
TOO_LARGE = f'<p role="alert">This file cannot be read: larger than {LARGEST // 2**20} MiB.</p>'
NO_ANSWER = '<p role="alert">The program failed: there is no answer for this image.</p>'
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; connect-src 'self'; script-src 'nonce-{0}'; "
    "style-src 'nonce-{0}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>What does the model say?</title>
<link rel="icon" href="data:,">
<style nonce="{{0}}">body {{{{ font: 1rem sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem }}}}
img {{{{ max-width: 100% }}}}</style></head><body>
<h1>What does the model say?</h1><p><b>{DISCLAIMER}</b></p>
<p><label>An image, up to {LARGEST // 2**20} MiB: <input type="file" id="image"></label>
It stays in the memory of this computer and is not kept.</p>
<div id="result" aria-live="polite"></div>
<script nonce="{{0}}">
const input = document.getElementById("image"), result = document.getElementById("result");
input.addEventListener("change", async () => {{{{
  result.innerHTML = "<p role='status'>The model is looking at the image …</p>";
  try {{{{
    const answer = await fetch("/answer" + location.search, {{{{method: "POST", body: input.files[0]}}}});
    result.innerHTML = await answer.text();
  }}}} catch {{{{ result.innerHTML = "<p role='alert'>The program does not answer. Start it again.</p>"; }}}}
  input.value = "";
}}}});
</script></body></html>"""


class Desk:
    """The model of a study, ready to answer. Raises StudyError if the study has no deployment."""

    def __init__(self, study: str):
        model, self.deployment = load(*find_deployment(study))
        self.network, self._one_at_a_time = Network(model), threading.Lock()

    def respond(self, data: bytes) -> str:
        """The result for an uploaded image, as HTML."""
        try:
            with self._one_at_a_time:
                picture = decode(data, self.deployment.image_format(PREVIEW))
                (answer,) = answer_pictures([picture], self.network(picture.square[None]), self.deployment)
        except Unreadable as fault:
            return f'<p role="alert">This file cannot be read: {html.escape(str(fault))}.</p>'
        except Exception:  # its message could quote the file
            return NO_ANSWER
        with io.BytesIO() as file:
            Page("upload", picture, answer, self.deployment).draw().savefig(file, dpi=DOTS, facecolor="white")
            image = base64.b64encode(file.getvalue()).decode()
        return f'{as_html(answer, self.deployment)}<img alt="" src="data:image/png;base64,{image}">'


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
    return f"{text}<details><summary>In numbers</summary><table>{head}{rows}</table></details>"


class Handler(BaseHTTPRequestHandler):
    """Answers requests that name this machine and bring the token, and no others."""

    server: "Server"
    timeout = 60  # seconds without a byte, after which a connection is closed

    def do_GET(self) -> None:
        """Send the page."""
        if self._is_allowed("/"):
            nonce = secrets.token_urlsafe(16)
            self._send(HTTPStatus.OK, PAGE.format(nonce), nonce)

    def do_POST(self) -> None:
        """Send the result for the image in the body."""
        if not self._is_allowed("/answer"):
            return
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal():
            self._send(HTTPStatus.LENGTH_REQUIRED)
        elif int(size) > LARGEST:
            self.rfile.read(min(int(size), 4 * LARGEST))  # or the browser would not read the reply
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
        else:
            self._send(HTTPStatus.OK, self.server.desk.respond(self.rfile.read(int(size))))

    def log_message(self, *_) -> None:
        """Log nothing: the address holds the token."""

    def _is_allowed(self, path: str) -> bool:
        """Whether a request is for `path`, names this machine as its host, and has the token; if not, refuse it."""
        asked, port = urlsplit(self.path), self.server.server_port
        # A foreign name that leads here would let its page read what is shown.
        known = self.headers.get("Host", "") in (f"{HOST}:{port}", f"localhost:{port}")
        token = parse_qs(asked.query).get("token", [""])[0].encode()
        if known and secrets.compare_digest(token, self.server.token.encode()) and asked.path == path:
            return True
        self._send(HTTPStatus.FORBIDDEN)
        return False

    def _send(self, status: HTTPStatus, text: str = "", nonce: str = "") -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value.format(nonce))
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    """Serves a desk to this machine, under a token. port: 0 for any that is free."""

    daemon_threads = True

    def __init__(self, desk: Desk, port: int, token: str):
        self.desk, self.token = desk, token
        super().__init__((HOST, port), Handler)


def main(words: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m clinic.app", description=DISCLAIMER)
    parser.add_argument("--study", default="demo", help="study whose 12_prediction prepared the model (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port on this machine (%(default)s)")
    parser.add_argument("--token", default="", help="secret part of the address; random by default")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    given = parser.parse_args(words)
    ignore_warnings()
    try:
        server = Server(Desk(given.study), given.port, given.token or secrets.token_urlsafe(16))
    except (StudyError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    address = f"http://{HOST}:{server.server_port}/?token={server.token}"
    print(f"{address}  (end with Ctrl-C)", flush=True)
    if not given.no_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
