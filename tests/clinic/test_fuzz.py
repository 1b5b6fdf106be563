"""Files spoilt at random: each gives pictures that can be reported, or a fault, soon, and the program lives on.

A hundred files of each kind; CLINIC_FUZZ_ROUNDS sets another number of hundreds. They are read in another process,
which a decoder may crash or hang.
"""

import faulthandler
import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
from clinical import SECRETS, SIDE, an_answer, deployment, install_made_up_model, secret_object
from conftest import picture
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from clinic.command import SOME_FAILED, main
from clinic.example import as_bytes
from clinic.reading.decoder import Decoder
from clinic.reading.dicom import Place
from clinic.reading.pictures import ImageFormat, Unreadable, decode
from clinic.writing.datasets import Entry
from clinic.writing.fhir import bundle
from clinic.writing.structured import report
from helpers.study import ROOT, StudyError

ROUNDS = int(os.environ.get("CLINIC_FUZZ_ROUNDS", 1))
SLOWEST = 10.0  # seconds for one file
ROUND = settings(max_examples=100, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
WANTED = ImageFormat(SIDE, preview=64)
PIXELS = np.asarray(picture(5, 40))


def encoded(form: str, **options) -> bytes:
    with io.BytesIO() as file:
        picture(5, 40).save(file, form, **options)
        return file.getvalue()


def objects() -> list[bytes]:
    """Small DICOM objects in several transfer syntaxes."""
    found = [as_bytes(secret_object(PIXELS)), as_bytes(secret_object(PIXELS, jpeg=True))]
    for syntax in (JPEG2000Lossless, JPEGLSLossless, RLELossless):
        image = secret_object(PIXELS)
        image.compress(syntax, generate_instance_uid=False)
        found.append(as_bytes(image))
    return found


IMAGES = [encoded("JPEG"), encoded("JPEG", progressive=True), encoded("PNG"), encoded("PNG", bits=2)]


def spoilt(original: bytes, number: int) -> bytes:
    """A file with some bytes overwritten, and sometimes others put in, left out or cut off; a number for each way."""
    random = np.random.default_rng(number)
    data = bytearray(original)
    for _ in range(random.integers(1, 5)):
        # Headers lie at the beginning, and that is where most can be broken.
        place = int(random.integers(min(len(data), 700) if random.random() < 0.5 else len(data)))
        new = random.bytes(random.integers(1, 5)) if random.random() < 0.7 else b"\xff" * 4
        data[place : place + (len(new) if random.random() < 0.8 else int(random.integers(40)))] = new
    return bytes(data[: random.integers(len(data))] if random.random() < 0.1 else data)


def fuzz(read, originals: list[bytes]) -> dict[str, int]:
    """Read spoilt files, a hundred per round; gives how many were read and refused.

    Crashed are those that a decoder did not survive, or took too long for, which is no refusal.
    """
    counts = {"read": 0, "refused": 0, "crashed": 0}

    def one(original, number):
        faulthandler.dump_traceback_later(SLOWEST + 5, exit=True)
        try:
            pictures = read(spoilt(original, number))
            assert all(one.square.shape == (SIDE, SIDE, 3) and np.isfinite(one.measures).all() for one in pictures)
            counts["read"] += 1
        except Unreadable as fault:
            assert not any(secret in str(fault) for secret in SECRETS)
            lost = str(fault).startswith(("its decoder crashed", "not decoded within"))
            counts["crashed" if lost else "refused"] += 1
        faulthandler.cancel_dump_traceback_later()

    for number in range(ROUNDS):
        seed(number)(ROUND(given(st.sampled_from(originals), st.integers(0, 2**32 - 1))(one)))()
    return counts


def check_results(place: Place, count: int) -> None:
    """A place can be reported whatever it was read from, or is refused in words that quote nothing."""
    deployed, answers = deployment(), [an_answer()] * count
    for make in (
        lambda: report(place, answers, deployed, entry=Entry("1.2.99")),
        lambda: bundle("0", answers[0], deployed, place=place),
    ):
        try:
            make()
        except StudyError as fault:
            assert not any(secret in str(fault) for secret in SECRETS)


def fuzz_images() -> dict[str, int]:
    return fuzz(lambda data: [decode(data, WANTED)], IMAGES)


def fuzz_objects() -> dict[str, int]:
    with Decoder(SLOWEST) as decoder:

        def read(data: bytes):
            place, pictures = decoder.read(data, WANTED)
            check_results(Place(**place), len(pictures))
            return pictures

        return fuzz(read, objects())


def counted(name: str) -> dict[str, int]:
    """The counts of a function of this module, in another process that neither crashes nor hangs."""
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "clinic")])}
    words = [sys.executable, "-c", f"import json, test_fuzz; print(json.dumps(test_fuzz.{name}()))"]
    done = subprocess.run(words, env=os.environ | path, capture_output=True, text=True, timeout=600 * ROUNDS)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return json.loads(done.stdout)


def test_spoilt_jpeg_and_png():
    counts = counted("fuzz_images")
    assert counts["read"] > 5 and counts["refused"] > 5 and not counts["crashed"]


def test_spoilt_dicom():
    counts = counted("fuzz_objects")
    assert counts["read"] > 5 and counts["refused"] > 5
    assert counts["crashed"] <= 0.01 * sum(counts.values())


def test_a_folder_of_spoilt_files_is_predicted_as_far_as_it_can_be(tmp_path, monkeypatch, capfd):
    known, originals = install_made_up_model(monkeypatch, tmp_path), [*IMAGES, *objects()]
    (tmp_path / "in").mkdir()
    for number in range(45):  # every third is whole
        original = originals[number % len(originals)]
        (tmp_path / "in" / f"{number:02}").write_bytes(spoilt(original, number) if number % 3 else original)
    words = ["predict", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *known, "--dicom", "--fhir"]
    assert main(words) == SOME_FAILED
    predicted, failed = (
        set(pd.read_csv(tmp_path / "out" / f"{name}.csv")["file"]) for name in ("predictions", "failed")
    )
    assert predicted | failed == set(range(1, 46)) and predicted >= set(range(1, 46, 3)) and len(failed) > 3
    assert not any(secret in "".join(capfd.readouterr()) for secret in SECRETS)
