"""The process that decodes DICOM: whatever becomes of it costs one file."""

import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from clinical import SIDE, dicom_file, secret_object
from conftest import picture
from pydicom.uid import DeflatedExplicitVRLittleEndian

from clinic.example import as_bytes
from clinic.reading import decoder as module
from clinic.reading.decoder import Decoder
from clinic.reading.files import InputFile
from clinic.reading.pictures import ImageFormat, Unreadable
from clinic.reading.reader import Reader
from helpers.study import ROOT

FORMAT = ImageFormat(SIDE)
OBJECT = as_bytes(secret_object(np.asarray(picture(0, 48))))


def test_a_reader_decodes_dicom_in_one_process_that_ends_with_it(tmp_path):
    file = InputFile(1, dicom_file(tmp_path / "a.dcm"))
    with Reader(ImageFormat(SIDE, preview=64)) as reader:
        read, again = reader(file), reader(file)
        process = reader._local.decoder._process
        assert process.poll() is None
    assert process.poll() is not None
    assert read.place["patient_id"] == "P-17"
    (one,) = read.pictures
    assert one.preview.shape == (64, 64, 3) and (one.square == again.pictures[0].square).all()
    assert isinstance(one.measures, np.ndarray) and (one.width, one.height) == (48, 48)


def test_a_decoder_that_cannot_be_started(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMMAND", [str(tmp_path / "absent")])
    with pytest.raises(Unreadable, match="no decoder could be started for it"), Decoder() as decoder:
        decoder.read(OBJECT, FORMAT)


def test_a_decoder_that_hangs_crashes_or_ended_is_replaced(monkeypatch):
    with Decoder(longest=0.01) as decoder:
        with pytest.raises(Unreadable, match="not decoded within 0.01 s"):
            decoder.read(OBJECT, FORMAT)
        decoder.longest = 60
        with monkeypatch.context() as patch, pytest.raises(Unreadable, match="crashed"):
            patch.setattr(module, "COMMAND", [sys.executable, "-c", "import os; input(); os.abort()"])
            decoder.read(OBJECT, FORMAT)
        decoder._start().kill()
        decoder._process.wait()
        assert len(decoder.read(OBJECT, FORMAT)[1]) == 1


@pytest.mark.parametrize("answer", ["{", "[]", "{}", '{"place": {}, "frames": 1}', '{"place": {}, "frames": [{}]}'])
def test_an_answer_that_makes_no_sense_is_refused(monkeypatch, answer):
    monkeypatch.setattr(module, "COMMAND", [sys.executable, "-S", "-c", f"input(); print('{answer}', flush=True)"])
    with Decoder() as decoder, pytest.raises(Unreadable, match="crashed"):
        decoder.read(OBJECT, FORMAT)


@pytest.mark.parametrize("cores", [1, 64])
def test_decoders_share_half_of_the_memory_and_leave_no_core_behind(cores):
    """Each sets its limits itself; here in another process, where they may be set."""
    code = (
        f"from clinic.reading import budget; budget.cores = lambda: {cores}\n"
        "import resource; from clinic.reading import decoder; decoder._limit_memory()\n"
        "print(decoder.THREADS, resource.getrlimit(resource.RLIMIT_CORE)[0], resource.getrlimit(resource.RLIMIT_AS)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    threads, core, memory = map(int, done.stdout.split())
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    assert (threads, core) == (min(8, cores), 0)
    assert module.LEAST_MEMORY <= memory <= module.MOST_MEMORY
    assert memory * threads <= half or memory == module.LEAST_MEMORY


def deflated_bomb(gigabytes: int) -> bytes:
    """A DICOM object whose deflated header goes on and on: the same compressed zeros, again and again."""
    image = secret_object(np.asarray(picture(0, 8)))
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = as_bytes(image)
    start = 144 + int.from_bytes(data[140:144], "little")  # behind the group that says how long it is
    packer = zlib.compressobj(wbits=-15)
    header = packer.compress(zlib.decompress(data[start:], wbits=-15)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return data[:start] + header + zeros * (gigabytes * 64) + packer.flush()


def test_a_deflated_bomb_costs_one_file(monkeypatch):
    """Some kilobytes in its file, two gigabytes in memory, of which a decoder may have one."""
    bomb = deflated_bomb(2)
    assert len(bomb) < 2_500_000
    code = "from clinic.reading import decoder; decoder._memory = lambda: 2**30; decoder.main()"
    monkeypatch.setattr(module, "COMMAND", [sys.executable, "-c", code])
    with Decoder(longest=300) as decoder:
        with pytest.raises(Unreadable, match="not a complete DICOM file|crashed"):
            decoder.read(bomb, FORMAT)
        assert len(decoder.read(OBJECT, FORMAT)[1]) == 1
