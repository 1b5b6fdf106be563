"""A made-up deployment and a made-up model, for tests of the clinic that need no network."""

import base64
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
from conftest import picture
from PIL import Image

from clinic.answering.answers import UNSURE, Answer
from clinic.answering.appearance import Appearance, learn_appearance
from clinic.answering.deployment import ABSTENTION, MALIGNANT, Deployment, write_deployment
from clinic.answering.network import Network, Prediction
from clinic.answering.preparation import looks_spoilt
from clinic.example import as_bytes, dermoscopic_object
from clinic.reading.dicom import read_object
from clinic.reading.pictures import ImageFormat
from clinic.reading.place import DERMOSCOPIC, Place
from clinic.reading.quality import MEASURES, measures
from helpers.data.lesions import HAM10000
from helpers.records import file_sha256
from helpers.study import ROOT

SIDE = 32
FORMAT = ImageFormat(SIDE)
CODES = [one.code for one in HAM10000]
BIASES = (-0.3, 0.1, 0.2, -0.5, 0.4, 0.6, -0.5)  # that calibrate, one a class
FIGURE = {"value": 0.8, "low": 0.7, "high": 0.9}


def features(images: np.ndarray) -> np.ndarray:
    """Features of a made-up network: how much neighbouring pixels differ, across and down."""
    wide = images.astype(float)
    return np.stack([np.log1p(np.abs(np.diff(wide, axis=axis)).mean(axis=(1, 2, 3))) for axis in (1, 2)], axis=1)


def appearance(seeds: range):
    """The measures and features of pictures."""
    images = np.stack([np.asarray(picture(seed, SIDE)) for seed in seeds])
    return np.array([measures(image) for image in images]), features(images)


@cache
def usual_appearance() -> Appearance:
    """How pictures look."""
    spoilt = looks_spoilt(by_brightness, np.stack([np.asarray(picture(seed, SIDE)) for seed in range(60)]), FORMAT)
    return learn_appearance(appearance(range(60)), appearance(range(60, 199)), spoilt)


COUNT = len(MEASURES) + 2  # numbers of a picture
NOTHING, EACH = np.zeros(COUNT, "<f4"), np.eye(COUNT, dtype="<f4")[np.tril_indices(COUNT)]
# Whatever an image looks like, it gets an answer.
ANYTHING = Appearance(*(base64.b64encode(one.tobytes()).decode() for one in (NOTHING, EACH, NOTHING)), 1e9, 1e9)
PLACE = Place(
    DERMOSCOPIC,
    "1.2.3.4",
    "1.2.3",
    "1.2",
    "P-17",
    "Muster^Erika",
    "19640812",
    "F",
    "20240301",
    "101112",
    "S",
    patient_issuer="Registry of Elsewhere",
    acquired="20240229",
)
NAMING = ("Muster", "Erika", "P-17", "19640812", "Registry of Elsewhere", "Dr^House")  # that a result is filed with
SECRETS = (*NAMING, "Elsewhere Hospital", "SERIAL-9", "Ward 7")


def deployment(**other) -> Deployment:
    """A deployment for images of SIDE pixels, abstaining below an energy of 2, suspicious from 0.3 on."""
    values = {
        "name": "MobileNet",
        "study": "demo",
        "notebook": "05_mobilenet",
        "version": "0123456789ab",
        "model_sha256": "ab" * 32,
        "classes": HAM10000,
        "temperature": 2.0,
        "biases": BIASES,
        "suspicious_from": 0.3,
        "confidence": "energy",
        "abstention_threshold": 2.0,
        "abstention": dict.fromkeys(ABSTENTION, FIGURE),
        "malignant": dict.fromkeys(MALIGNANT, FIGURE),
        "side": SIDE,
        "colour_constancy": "none",
        "appearance": ANYTHING,
    }
    return Deployment(**values | other)


def by_brightness(images: np.ndarray) -> Prediction:
    """A model that finds melanoma in dark and a nevus in bright images, with the more energy the less grey they are."""
    level = images.mean(axis=(1, 2, 3)) / 128 - 1
    logits = np.zeros((len(images), len(CODES)))
    logits[:, CODES.index("nv")], logits[:, CODES.index("mel")] = 10 * level, -10 * level
    return Prediction(logits, features(images))


def install_made_up_model(monkeypatch, folder: Path) -> list[str]:
    """Let the command line use `by_brightness` for a network; gives the words that name the deployment."""
    deployed = deployment(abstention_threshold=-9.0)
    write_deployment(deployed, folder / "deployment.json")
    monkeypatch.setattr("clinic.answering.runtime.open_model", lambda *_: (deployed, by_brightness))
    return ["--deployment", str(folder / "deployment.json")]


COMMAND = """
import sys, time
sys.path.insert(0, "tests")
import clinic.answering.runtime
from clinical import by_brightness, deployment
from clinic.command import main
answer = lambda images: time.sleep(0.01 * len(images)) or by_brightness(images)
clinic.answering.runtime.open_model = lambda *_: (deployment(abstention_threshold=-9.0), answer)
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def command_process(*words: object) -> Iterator[subprocess.Popen]:
    """The command line in a process of its own, with `by_brightness` for a network; killed at the end if it runs."""
    command = [sys.executable, "-c", COMMAND, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def install_network(folder: Path) -> Deployment:
    """Save an untrained network and its deployment as results of the study demo below a folder."""
    import keras
    from tiny import small_cnn

    from helpers.training.fit import save_model

    keras.utils.set_random_seed(3)
    model, file = small_cnn(SIDE, len(CODES), [8, 16]), folder / "demo" / "05_mobilenet" / "model.keras"
    file.parent.mkdir(parents=True)
    save_model(model, file)
    images = np.stack([np.asarray(picture(seed, SIDE)) for seed in range(60)])
    look = np.array([measures(image) for image in images]), Network(model)(images).features
    learnt = replace(learn_appearance(look, look, [look]), farthest=1e9)
    deployed = deployment(model_sha256=file_sha256(file), abstention_threshold=-9.0, appearance=learnt)
    write_deployment(deployed, folder / "demo" / "13_prediction" / "deployment.json")
    return deployed


def decode_here(monkeypatch) -> None:
    """Let DICOM be decoded in this process, so that no other one has to be started: for whole objects only."""

    def read(_, data, image_format):
        place, pictures = read_object(data, image_format)
        return asdict(place), pictures

    monkeypatch.setattr("clinic.reading.decoder.Decoder.read", read)


def an_answer(reason: str = "", **other) -> Answer:
    """An answer for melanoma with 0.4, and 0.1 for all else: 0.6 for the three malignant classes."""
    melanoma = np.array(CODES) == "mel"
    values = {
        "probabilities": np.where(melanoma, 0.4, 0.1),
        "balanced": CODES.index("mel"),
        "malignancy": 0.6,
        "confidence": 1.0 if reason == UNSURE else 3.0,
        "distance": 0.5,
        "reason": reason,
        "suspicious": None if reason else True,
    }
    return Answer(**values | other)


@contextlib.contextmanager
def orthanc(folder: Path, web: int, dicom: int, modalities: dict, **settings) -> Iterator[None]:
    """An archive like those of hospitals on this machine alone: its ports, and the DICOM programs that it knows."""
    storage = str(folder / "storage")
    settings |= {"HttpPort": web, "RemoteAccessAllowed": False, "DicomPort": dicom, "DicomServerEnabled": True}
    settings |= {"DicomModalities": modalities, "StorageDirectory": storage, "IndexDirectory": storage, "Plugins": []}
    (folder / "orthanc.json").write_text(json.dumps(settings))
    words = [shutil.which("Orthanc"), folder / "orthanc.json"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        try:
            wait_for(lambda: urllib.request.urlopen(f"http://127.0.0.1:{web}/system", timeout=30).read())
            yield
        finally:
            process.kill()


def wait_for(found: Callable, seconds: float = 120):
    """What another process gives, as soon as it is something; until then it is nothing or cannot be had."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if result := found():
                return result
        time.sleep(0.1)
    raise AssertionError(f"nothing within {seconds} s")


def free_ports(count: int = 1) -> list[int]:
    """Ports of this machine at which nobody listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def image_file(path: Path, seed: int = 0, side: int = 48, **options) -> Path:
    """A small picture in the form that the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, side).save(path, **options)
    return path


def jpeg(seed: int = 0, side: int = 48) -> bytes:
    """The bytes of a small JPEG."""
    with io.BytesIO() as file:
        picture(seed, side).save(file, "JPEG", quality=90)
        return file.getvalue()


def dicom_file(path: Path, seed: int = 0, side: int = 48, **attributes) -> Path:
    """A small dermoscopic image of a patient whose data are SECRETS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(secret_object(np.asarray(picture(seed, side)), **attributes)))
    return path


def secret_object(pixels: np.ndarray, **attributes):
    """A dermoscopic image whose header holds all of SECRETS."""
    values = {
        "PatientName": "Muster^Erika",
        "PatientID": "P-17",
        "IssuerOfPatientID": "Registry of Elsewhere",
        "PatientBirthDate": "19640812",
        "PatientSex": "F",
        "InstitutionName": "Elsewhere Hospital",
        "ReferringPhysicianName": "Dr^House",
        "DeviceSerialNumber": "SERIAL-9",
        "PatientComments": "Ward 7",
        "StudyDescription": "Ward 7, Muster",
    }
    return dermoscopic_object(pixels, **values | attributes)


def grey_image(level: int, side: int = 48) -> Image.Image:
    """A plain grey image."""
    return Image.new("RGB", (side, side), (level,) * 3)
