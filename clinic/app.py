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

from PIL import Image

from clinic import DISCLAIMER
from clinic.answering.answers import Answer, answer_pictures
from clinic.answering.deployment import PUBLISHED, Deployment
from clinic.answering.runtime import open_model
from clinic.reading.pictures import Picture, Unreadable, decode, ignore_warnings
from clinic.writing.images import PREVIEW, show_image
from clinic.writing.sentences import (
    describe_answer,
    describe_malignant_classes,
    describe_model,
    describe_total,
    describe_worth,
    percent,
)
from helpers.study import StudyError, results_folder

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
STYLE = """
body { font: 1rem/1.5 sans-serif; color: #222; max-width: 54rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.2rem } h2 { font-size: 1.6rem; margin: 1.5rem 0 .5rem }
small, footer { color: #555; font-size: .85rem }
.alarm { color: #b5470b } .none { color: #555 } .calm { color: #1f5f99 }
.columns { display: flex; flex-wrap: wrap; gap: 2rem }
figure { margin: 0; max-width: 22rem }
img { max-width: 100% } td { padding: .15rem .6rem .15rem 0 }
td:last-child { text-align: right } meter { width: 8rem }
meter::-webkit-meter-optimum-value { background: #777 } input { font: inherit }
"""
SCRIPT = """
document.getElementById("card").href = "/card" + location.search;
const input = document.getElementById("image"), result = document.getElementById("result");
input.addEventListener("change", async () => {
  result.innerHTML = "<p role='status'>The program is looking at the image …</p>";
  try {
    const answer = await fetch("/answer" + location.search, {method: "POST", body: input.files[0]});
    result.innerHTML = await answer.text();
  } catch { result.innerHTML = "<p role='alert'>The program does not answer. Start it again.</p>"; }
  input.value = "";
});
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Skin lesion study: try the model</title>
<link rel="icon" href="data:,"><style nonce="{nonce}">{style}</style></head><body>
<h1>What does the model say about an image of a skin lesion?</h1>
<p><label>Choose an image taken with a dermatoscope, up to {largest} MiB: <input type="file" id="image"></label><br>
<small>It stays in the memory of this computer and is not kept.</small></p>
<div id="result" aria-live="polite"></div>
<footer><p><a id="card" target="_blank">All figures of the model, with their intervals</a></p>
<p><b>{disclaimer}</b></p></footer><script nonce="{nonce}">{script}</script></body></html>"""


class Desk:
    """The model of a study, ready to answer. Raises StudyError if the study has no deployment."""

    def __init__(self, study: str):
        self.deployment, self.network = open_model(study)
        self._one_at_a_time = threading.Lock()

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
        return as_html(picture, answer, self.deployment)


def as_html(picture: Picture, answer: Answer, deployment: Deployment) -> str:
    """What the program says about a picture: one line, the image, the probabilities, and what that is worth."""
    image, caption = show_image(picture)
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "PNG")
        data = base64.b64encode(file.getvalue()).decode()
    colour = "none" if answer.abstained else "alarm" if answer.suspicious else "calm"
    text = f'<h2 id="answer" class="{colour}">{html.escape(describe_answer(answer))}.</h2>'
    text += "".join(f'<p class="alarm">Warning: {html.escape(words)}.</p>' for words in answer.warnings)
    text += '<div class="columns"><figure><img alt="The image, as the program shows it" '
    text += f'src="data:image/png;base64,{data}"><figcaption><small>{caption}</small></figcaption></figure>'
    text += "" if answer.abstained else _probabilities(answer, deployment)
    worth = html.escape(" ".join(describe_worth(answer, deployment)))
    small = f"{describe_malignant_classes(deployment)} {describe_model(deployment)}"
    return f"{text}</div><p>{worth}</p><p><small>{html.escape(small)}</small></p>"


def _probabilities(answer: Answer, deployment: Deployment) -> str:
    """The calibrated probabilities as a table, the highest first."""
    shares, classes = answer.probabilities, deployment.classes
    rows = "".join(
        f'<tr class="{"alarm" if classes[k].malignant else "calm"}"><td>{html.escape(classes[k].name)}</td>'
        f'<td><meter value="{shares[k]:.3f}"></meter></td><td>{percent(shares[k])}</td></tr>'
        for k in shares.argsort(kind="stable")[::-1]
    )
    total = describe_total(answer, deployment).replace("\n", "<br>")
    return f"<div><p>{total}</p><table>{rows}</table></div>"


class Handler(BaseHTTPRequestHandler):
    """Answers requests that name this machine and bring the token, and no others."""

    server: "Server"
    timeout = 60  # seconds without a byte, after which a connection is closed

    def do_GET(self) -> None:
        """Send the page, or the model card that it links to."""
        if urlsplit(self.path).path == "/card":
            card = results_folder(self.server.desk.deployment.study) / "MODEL_CARD.md"
            if self._is_allowed("/card") and card.is_file():
                self._send(HTTPStatus.OK, f"<meta charset='utf-8'><pre>{html.escape(card.read_text())}</pre>")
        elif self._is_allowed("/"):
            nonce = secrets.token_urlsafe(16)
            about = {"style": STYLE, "script": SCRIPT, "largest": LARGEST // 2**20, "disclaimer": DISCLAIMER}
            self._send(HTTPStatus.OK, PAGE.format(nonce=nonce, **about), nonce)

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
    parser.add_argument("--study", default=PUBLISHED, help="study whose 13_prediction prepared the model (%(default)s)")
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
