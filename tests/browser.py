"""Headless Chromium for tests of pages."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"


class Browser:
    """Headless Chromium by the WebDriver protocol."""

    def __init__(self, port: int):
        self.root = f"http://{HOST}:{port}"
        options = {"binary": shutil.which("chromium"), "args": ["--headless=new", "--no-sandbox"]}
        options["args"] += ["--disable-dev-shm-usage", "--window-size=1000,1300"]
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        started = self.ask("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.root += f"/session/{started['sessionId']}"

    def ask(self, place: str, content: dict | None = None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.root + place, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def run(self, script: str):
        return self.ask("/execute/sync", {"script": script, "args": []})

    def wait(self, script: str):
        """What a script returns, as soon as that is something."""
        for _ in range(240):
            if found := self.run(script):
                return found
            time.sleep(0.25)
        raise AssertionError(f"The page never got there: {script}")

    def errors(self) -> list[str]:
        """What the browser has complained of since it was last asked."""
        return [line["message"] for line in self.ask("/se/log", {"type": "browser"}) if line["level"] != "INFO"]

    def requests(self) -> list[str]:
        """The addresses that the browser has asked for since it was last asked."""
        events = (json.loads(line["message"])["message"] for line in self.ask("/se/log", {"type": "performance"}))
        return [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]

    def upload(self, path: Path) -> None:
        (field,) = self.ask("/element", {"using": "css selector", "value": "input[type=file]"}).values()
        self.ask(f"/element/{field}/value", {"text": str(path)})


@contextmanager
def opened_browser():
    """A browser that ends with the `with` block."""
    command = [shutil.which("chromedriver"), "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            ports = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
            yield Browser(int(next(filter(None, ports))[1]))
        finally:
            driver.terminate()
