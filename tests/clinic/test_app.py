"""The page to try a model: what it answers, and that a browser can use it."""

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from clinical import CODES, SIDE, deployment, free_ports, image_file, jpeg, maps_of_the_middle
from tiny import small_cnn

from clinic.answering.deployment import write_deployment
from clinic.app import HOST, LARGEST, Desk, answer_upload, main
from helpers.records import file_sha256
from helpers.study import ROOT, StudyError
from helpers.training.fit import save_model

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
LONGEST = 240  # seconds for the page to start its kernel and load the model
# Debian: chromium and chromium-driver; requirements-app.txt.
needs_browser = pytest.mark.needs("chromium", "chromedriver", "voila", "ipywidgets")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of a study with an untrained model and its deployment."""
    folder = tmp_path_factory.mktemp("results")
    keras.utils.set_random_seed(3)
    (folder / "demo" / "05_mobilenet").mkdir(parents=True)
    model = folder / "demo" / "05_mobilenet" / "model.keras"
    # Unlike those of an untrained MobileNet, its maps are not empty.
    save_model(small_cnn(SIDE, len(CODES), [8, 16]), model)
    deployed = deployment(model_sha256=file_sha256(model), abstention_threshold=-9.0)
    write_deployment(deployed, folder / "demo" / "12_prediction" / "deployment.json")
    return folder


@pytest.fixture
def desk(results, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(results))
    return Desk("demo")


def test_an_upload_is_answered(desk):
    text, page = desk.respond(jpeg())
    assert page.startswith(b"\x89PNG") and text.count("<tr>") == 1 + len(CODES)
    assert "Answer: " in text and "melanoma" in text and "calibrated" in text


def test_where_the_model_abstains_no_table_is_shown(desk):
    desk.deployment = deployment(abstention_threshold=99.0)
    text, page = desk.respond(jpeg())
    assert "No answer" in text and "<table>" not in text and page


def test_a_map_is_laid_over_the_image_where_there_is_one(desk):
    """The untrained network has one; another network may not be one to ask for it, and is shown without."""

    def without(*_):
        raise StudyError("no map")

    mapped = desk.respond(jpeg())[1]
    desk.draw_maps = maps_of_the_middle
    otherwise = desk.respond(jpeg())[1]
    desk.draw_maps = without
    text, plain = desk.respond(jpeg())
    assert "Answer: " in text and len({mapped, otherwise, plain}) == 3


@pytest.mark.parametrize("data", [b"", b"<script>", jpeg()[:300], b"\xff" * (LARGEST + 1)])
def test_what_cannot_be_read_is_told(desk, data):
    text, page = desk.respond(data)
    assert 'role="alert"' in text and page == b"" and "<script>" not in text


def test_without_a_model_or_voila_there_is_no_page(results, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    assert main(["--no-browser"]) == 2 and "12_prediction" in capsys.readouterr().err
    monkeypatch.setenv("RESULTS_DIR", str(results))
    monkeypatch.setitem(sys.modules, "voila.app", None)
    assert main(["--no-browser"]) == 2
    printed = capsys.readouterr()
    assert "requirements-app.txt" in printed.err and "http" not in printed.out  # an address where nothing answers


def widgets():
    """What an answer is shown in, with the answer to a former image."""
    page = SimpleNamespace(value=b"\x89PNG", layout=SimpleNamespace(display="block"))
    return SimpleNamespace(value="answer to image 1"), page


def test_no_former_answer_is_shown_while_the_next_is_made():
    text, page = widgets()

    class Asked:
        def respond(self, data):
            assert "answer to" not in text.value and not page.value and page.layout.display == "none"
            return f"answer to image {data}", b"\x89PNG"

    answer_upload(Asked(), 2, text, page)
    assert text.value == "answer to image 2" and page.value and page.layout.display == "block"


@pytest.mark.parametrize("error", [StudyError("P-17"), MemoryError(), RuntimeError("P-17")])
def test_no_former_answer_stands_where_the_next_fails(error):
    text, page = widgets()

    class Failing:
        def respond(self, data):
            raise error

    answer_upload(Failing(), b"2", text, page)
    assert "no answer" in text.value and "answer to" not in text.value and "P-17" not in text.value
    assert not page.value and page.layout.display == "none"


def ended(process: subprocess.Popen) -> None:
    """End a process that was started here, and the kernels that it started: they are of its group."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Browser:
    """Headless Chromium by the WebDriver protocol."""

    def __init__(self, port: int):
        self.root = f"http://{HOST}:{port}"
        options = {"binary": BROWSER, "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]}
        options["args"].append("--window-size=1000,1300")
        started = self.ask("/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.root += f"/session/{started['sessionId']}"

    def ask(self, place: str, content: dict | None = None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.root + place, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def run(self, script: str, *arguments):
        return self.ask("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str):
        """What a script returns, as soon as that is something."""
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            if found := self.run(script):
                return found
            time.sleep(0.5)
        raise AssertionError(f"The page never got there: {script}")

    def upload(self, path) -> None:
        """Choose a file; the page's own field for it is nowhere to be seen, so it is caught when it is clicked."""
        self.run(
            "HTMLInputElement.prototype.click = function () {"
            " this.id = 'caught'; this.style.display = 'block'; document.body.prepend(this); };"
            "document.getElementById('caught')?.remove(); document.querySelector('button.widget-upload').click();"
        )
        (field,) = self.run("return document.getElementById('caught')").values()
        self.ask(f"/element/{field}/value", {"text": str(path)})


@contextmanager
def listening(port: int, *words: str, **environment: str):
    """A process that listens at a port, for as long as it is needed."""
    options = {"start_new_session": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, cwd=ROOT, env=os.environ | environment, **options)
    try:
        wait_for(port)
        yield
    finally:
        ended(process)


@pytest.fixture
def page(results, tmp_path):
    """The port of the page, under the token `secret`; it ends with the test."""
    (port,) = free_ports()
    environment = {"RESULTS_DIR": str(results), "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    words = sys.executable, "-m", "clinic.app", "--port", str(port), "--token", "secret", "--no-browser"
    with listening(port, *words, **environment):
        yield port


@pytest.fixture
def browser(page):
    """A browser that has the page before it; both end with the test."""
    (driver,) = free_ports()
    with listening(driver, DRIVER, f"--port={driver}"):
        opened = Browser(driver)
        opened.ask("/url", {"url": f"http://{HOST}:{page}/?token=secret"})
        opened.wait("return document.querySelector('button.widget-upload') !== null")
        yield opened


def wait_for(port: int) -> None:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("It does not start.")


def asked_for(page: int, place: str) -> tuple[int, str]:
    """The status of what the page answers, and where it sends one instead."""
    with closing(http.client.HTTPConnection(HOST, page, timeout=30)) as connection:
        connection.request("GET", place)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location", "")


@pytest.mark.needs("voila", "ipywidgets")
def test_only_this_machine_is_answered_and_only_with_the_token(page):
    for place in ("/", "/?token=wrong", "/api/kernels"):
        status, sent_to = asked_for(page, place)
        assert status == 302 and sent_to.startswith("/login")
    for token in ("", "?token=secret"):  # the notebook behind the page is given out to nobody
        assert asked_for(page, f"/voila/files/page.ipynb{token}") == (403, "")
    with socket.socket() as probe:  # the same machine at another of its addresses
        assert probe.connect_ex(("127.0.0.2", page)) != 0


SHOWN = "const page = document.querySelector('img.widget-image'); return page.naturalWidth > 1000 && page.height"
# Most of each of the page's two pictures, as red, green, blue and opacity of 240 x 240 pixels.
PICTURES = """
const page = document.querySelector('img.widget-image'), canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [page.naturalWidth, page.naturalHeight];
const context = canvas.getContext('2d');
context.drawImage(page, 0, 0);
return [0.1475, 0.3725].map(x => Array.from(
  context.getImageData(x * canvas.width - 120, 0.355 * canvas.height - 120, 240, 240).data));
"""


@needs_browser
def test_an_image_is_uploaded_and_answered(browser, tmp_path):
    assert "Not a medical device" in browser.run("return document.body.innerText")
    browser.upload(image_file(tmp_path / "Erika Muster.jpg", 61, 300))
    text = browser.wait("return document.querySelector('#answer')?.innerText")
    assert text.startswith("Answer: ") and "malignant" in text
    assert browser.wait(SHOWN) > 300
    plain, mapped = (np.reshape(shown, (-1, 4))[:, :3] for shown in browser.run(PICTURES))
    assert np.abs(mapped - plain).max() > 30  # colours are laid over it
    keep_screenshot(browser, tmp_path)
    (tmp_path / "large.png").write_bytes(b"\0" * (LARGEST + 2 * 2**20))
    browser.upload(tmp_path / "large.png")
    assert "larger than 8 MiB" in browser.wait("return document.querySelector('[role=alert]')?.innerText")
    (tmp_path / "broken.png").write_bytes(b"broken")
    browser.upload(tmp_path / "broken.png")
    browser.wait("return document.querySelector('[role=alert]')?.innerText.includes('not a complete') || undefined")
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "page.png"]
    names = {path.name for path in kept if b"\xff\xd8\xff" in path.read_bytes()}
    assert names == {"Erika Muster.jpg"}


def keep_screenshot(browser: Browser, folder) -> None:
    """Where CLINIC_SCREENSHOT names a file, the page goes there."""
    image = base64.b64decode(browser.ask("/screenshot"))
    assert image.startswith(b"\x89PNG")
    if name := os.environ.get("CLINIC_SCREENSHOT"):
        shutil.copy(_written(folder / "page.png", image), name)


def _written(path, data: bytes):
    path.write_bytes(data)
    return path
