"""The page to try a model: whom it answers and what, and that a browser can use it."""

import http.client
import threading
from contextlib import closing
from dataclasses import replace

import pytest
from browser import opened_browser
from clinical import CODES, image_file, install_network, jpeg

from clinic.app import HOST, LARGEST, Desk, Server, main

TOKEN = "?token=secret"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A desk with an untrained model and its deployment."""
    folder = tmp_path_factory.mktemp("results")
    install_network(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESULTS_DIR", str(folder))
        yield Desk("demo")


@pytest.fixture
def server(desk):
    """The page, served under the token `secret`; it ends with the test."""
    with Server(desk, 0, "secret") as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


def ask(server: Server, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """The status and the text of what the page answers."""
    with closing(http.client.HTTPConnection(HOST, server.server_port, timeout=30)) as connection:
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_an_upload_is_answered(server):
    status, text = ask(server, f"/answer{TOKEN}", jpeg())
    assert status == 200 and text.count("<tr") == len(CODES) and "data:image/png" in text
    assert ("Suspicious:" in text or "Looks benign," in text) and "melanoma" in text and "Of 100 " in text


def test_where_the_model_abstains_no_table_is_shown(desk, monkeypatch):
    monkeypatch.setattr(desk, "deployment", replace(desk.deployment, abstention_threshold=99.0))
    text = desk.respond(jpeg())
    assert "No answer" in text and "<table>" not in text and "data:image/png" in text


@pytest.mark.parametrize("data", [b"", b"<script>", jpeg()[:300], b"\xff" * (LARGEST + 1)])
def test_what_cannot_be_read_is_told(server, data):
    text = ask(server, f"/answer{TOKEN}", data)[1]
    assert 'role="alert"' in text and "<script>" not in text


def test_an_error_is_told_without_its_message(desk, monkeypatch):
    monkeypatch.setattr(desk, "network", lambda _: 1 / 0)
    assert "there is no answer" in desk.respond(jpeg()) and "zero" not in desk.respond(jpeg())


@pytest.mark.parametrize("path", ["/", "/?token=wrong", f"/answer{TOKEN}", f"/../etc/passwd{TOKEN}"])
def test_only_the_page_is_given_out_and_only_with_the_token(server, path):
    assert ask(server, path) == (403, "") and ask(server, f"/{TOKEN}")[0] == 200


@pytest.mark.parametrize("host", ["elsewhere.example", "elsewhere.example:80", "127.0.0.1", ""])
def test_a_foreign_host_is_refused(server, host):
    assert ask(server, f"/{TOKEN}", Host=host) == (403, "")
    assert ask(server, f"/answer{TOKEN}", jpeg(), Host=host) == (403, "")


def test_the_page_fetches_nothing_from_elsewhere(server):
    page = ask(server, f"/{TOKEN}")[1]
    assert "Not a medical device" in page and "//" not in page


def test_the_model_card_is_a_link_away(server, desk, tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "MODEL_CARD.md").write_text("AUC <0.9 [0.8, 1.0]")
    assert "AUC &lt;0.9 [0.8, 1.0]" in ask(server, f"/card{TOKEN}")[1] and ask(server, "/card")[0] == 403


def test_without_a_model_there_is_no_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    assert main(["--no-browser"]) == 2 and "13_prediction" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.needs("chromium", "chromedriver")  # Debian: chromium, chromium-driver
def test_a_browser_uploads_and_reloads(server, tmp_path):
    """After thirty reloads nothing more runs than before, and each upload takes the place of the one before."""
    with opened_browser() as browser:
        browser.ask("/url", {"url": f"http://{HOST}:{server.server_port}/{TOKEN}"})
        threads = threading.active_count()
        for _ in range(30):
            browser.ask("/refresh", {})
        assert threading.active_count() <= threads + 2
        browser.upload(image_file(tmp_path / "Erika Muster.jpg", 61, 300))
        assert browser.wait("return document.querySelector('#answer')?.innerText").startswith(
            ("Suspicious", "Looks benign")
        )
        assert browser.wait("return document.querySelector('img')?.naturalWidth") == 512
        for name, size, words in (("large", LARGEST + 2**21, "larger than 8 MiB"), ("broken", 9, "cannot be read")):
            (tmp_path / name).write_bytes(b"\0" * size)
            browser.upload(tmp_path / name)
            browser.wait(f"return document.querySelector('[role=alert]')?.innerText.includes('{words}') || undefined")
            assert not browser.run("return document.querySelector('#answer')")
        assert browser.run("return performance.getEntriesByType('resource').every(one => one.name.startsWith(origin))")
