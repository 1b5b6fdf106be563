"""Files spoilt at random: each gives pictures that can be reported, or a fault, soon, and the program lives on.

A hundred files of each kind; CLINIC_FUZZ_ROUNDS sets another number of hundreds. Images are read in another process,
which a decoder may crash or hang; DICOM is by itself.
"""

import faulthandler
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from clinical import SECRETS, SIDE, an_answer, deployment, secret_object
from conftest import picture
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from clinic.example import as_bytes
from clinic.reading.decoder import Decoder
from clinic.reading.pictures import ImageFormat, Unreadable, decode
from clinic.reading.place import Place
from clinic.writing.fhir import bundle
from clinic.writing.structured import report
from helpers.study import ROOT, StudyError

FILES = 100 * int(os.environ.get("CLINIC_FUZZ_ROUNDS", 1))
SLOWEST = 10.0  # seconds for one file
WANTED = ImageFormat(SIDE, preview=64)


def images() -> list[bytes]:
    """Small images as JPEG, JPEG in several passes, and PNG."""
    found = []
    for form, options in (("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("PNG", {"bits": 2})):
        with io.BytesIO() as file:
            picture(5, 40).save(file, form, **options)
            found.append(file.getvalue())
    return found


def objects() -> list[bytes]:
    """Small DICOM objects in several transfer syntaxes."""
    made = [secret_object(np.asarray(picture(5, 40)), jpeg=jpeg) for jpeg in (True, False, False, False, False)]
    for image, syntax in zip(made[2:], (JPEG2000Lossless, JPEGLSLossless, RLELossless), strict=True):
        image.compress(syntax, generate_instance_uid=False)
    return list(map(as_bytes, made))


def spoil(original: bytes, number: int) -> bytes:
    """A file with some bytes overwritten, and sometimes others put in, left out or cut off; a number for each way."""
    random, data = np.random.default_rng(number), bytearray(original)
    for _ in range(random.integers(1, 5)):
        # Headers lie at the beginning, and that is where most can be broken.
        place = int(random.integers(min(len(data), 700) if random.random() < 0.5 else len(data)))
        new = random.bytes(random.integers(1, 5)) if random.random() < 0.7 else b"\xff" * 4
        data[place : place + (len(new) if random.random() < 0.8 else int(random.integers(40)))] = new
    return bytes(data[: random.integers(len(data))] if random.random() < 0.1 else data)


def fuzz(read, originals: list[bytes]) -> dict[str, int]:
    """How many spoilt files were read, refused, and cost a decoder its life or its time, which is no refusal."""
    counts = {"read": 0, "refused": 0, "crashed": 0}
    for number in range(FILES):
        faulthandler.dump_traceback_later(SLOWEST + 5, exit=True)
        try:
            pictures = read(spoil(originals[number % len(originals)], number))
            assert all(one.square.shape == (SIDE, SIDE, 3) and np.isfinite(one.measures).all() for one in pictures)
            counts["read"] += 1
        except Unreadable as fault:
            assert not any(secret in str(fault) for secret in SECRETS)
            lost = str(fault).startswith(("its decoder crashed", "not decoded within"))
            counts["crashed" if lost else "refused"] += 1
        faulthandler.cancel_dump_traceback_later()
    return counts


def fuzz_images() -> dict[str, int]:
    return fuzz(lambda data: [decode(data, WANTED)], images())


def test_spoilt_jpeg_and_png():
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "clinic")])}
    words = [sys.executable, "-c", "import json, test_fuzz; print(json.dumps(test_fuzz.fuzz_images()))"]
    done = subprocess.run(words, env=os.environ | path, capture_output=True, text=True, timeout=6 * FILES)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["read"] > 5 and counts["refused"] > 5 and not counts["crashed"]


@pytest.mark.slow
def test_spoilt_dicom():
    """What is read can be reported, or is refused in words that quote nothing."""

    def read(data: bytes):
        place, pictures = decoder.read(data, WANTED)
        answers = [an_answer()] * len(pictures)
        for make in (
            lambda: report(Place(**place), answers, deployment()),
            lambda: bundle("0", answers[0], deployment(), place=Place(**place)),
        ):
            try:
                make()
            except StudyError as fault:
                assert not any(secret in str(fault) for secret in SECRETS)
        return pictures

    with Decoder(SLOWEST) as decoder:
        counts = fuzz(read, objects())
    assert counts["read"] > 5 and counts["refused"] > 5 and counts["crashed"] <= 0.01 * FILES
