"""JPEG and PNG from anywhere: read as the study reads them, or refused in words that quote nothing."""

import io
import struct
import zlib

import numpy as np
import pytest
from clinical import jpeg
from conftest import picture
from PIL import Image

from clinic.reading.files import IMAGE, file_kind
from clinic.reading.pictures import MOST_PASSES, ImageFormat, Unreadable, decode, from_array, passes
from helpers.data.pixels import read_square, shades_of_gray


def encode(image: Image.Image, form: str, **options) -> bytes:
    with io.BytesIO() as file:
        image.save(file, form, **options)
        return file.getvalue()


def png(image: Image.Image, **options) -> bytes:
    return encode(image, "PNG", **options)


def huge_png(side: int) -> bytes:
    """A PNG of a few bytes that claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def in_passes(data: bytes, count: int) -> bytes:
    """A JPEG that goes over its pixels again and again, by repeating its one pass."""
    start, end = data.index(b"\xff\xda"), len(data) - 2
    return data[:start] + data[start:end] * count + data[end:]


@pytest.mark.parametrize("size", [(48, 48), (90, 60), (300, 200)])
def test_pixels_are_those_that_the_study_trained_on(tmp_path, size):
    path = tmp_path / "a.jpg"
    picture(1, 48).resize(size).save(path, quality=95)
    for preview in (0, 100):
        read = decode(path.read_bytes(), ImageFormat(32, preview=preview))
        assert (read.square == read_square(path, 32)).all()
        assert (read.width, read.height) == size
    assert read.preview.shape == (100, 100, 3)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "HEIF"])
def test_files_of_phones_and_archives_are_read(form):
    """With their colours: those of a lossy form are a little off."""
    whole, data = picture(2, 48), encode(picture(2, 48), form, quality=100)
    read, expected = decode(data, ImageFormat(32, preview=48)), from_array(np.asarray(whole), ImageFormat(32)).square
    assert np.abs(read.square.astype(int) - expected).mean() < 4 and read.preview.shape == (48, 48, 3)
    assert file_kind(io.BytesIO(data)) == IMAGE


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(mode):
    image = Image.new("RGB", (40, 40), (255, 255, 255)).convert(mode)
    square = decode(encode(image, "JPEG" if mode == "CMYK" else "PNG"), ImageFormat(16)).square
    assert square.shape == (16, 16, 3) and square.min() > 250


def test_colours_are_as_the_model_was_trained():
    plain, constant = (decode(jpeg(3), ImageFormat(32, name)) for name in ("none", "shades_of_gray"))
    assert (constant.square == shades_of_gray(plain.square)).all()
    assert not np.allclose(constant.measures, plain.measures)


def test_decoded_pixels_are_read_alike():
    pixels = np.asarray(picture(2, 90))
    read = from_array(pixels, ImageFormat(32, preview=40), frame=3, burned_in_text=True)
    assert (read.square == decode(png(Image.fromarray(pixels)), ImageFormat(32)).square).all()
    assert (read.frame, read.burned_in_text, read.preview.shape) == (3, True, (40, 40, 3))


BROKEN = {
    "two bytes": (b"\xff\xd8\xff", "not a complete"),
    "half a header": (jpeg()[:300], "not a complete|cut off"),
    "half a JPEG": (jpeg(side=300)[:3000], "cut off"),
    "half a PNG": (png(picture(0))[:200], "cut off"),
    "a bomb": (huge_png(60_000), "too many pixels"),
    "a smaller bomb": (huge_png(9_000), "9000 x 9000 px: too many pixels"),
    "a lying header": (huge_png(8_000), "cut off"),
    "many passes": (in_passes(jpeg(), MOST_PASSES + 1), "passes"),
    "many pixels many times": (in_passes(encode(Image.new("RGB", (5000, 5000)), "JPEG"), 41), "passes"),
    "a GIF": (b"GIF89a" + b"\0" * 99, "not a complete"),
    "a film": (encode(picture(0), "WEBP", save_all=True, append_images=[picture(1)]), "several images"),
    "several pages": (encode(picture(0), "TIFF", save_all=True, append_images=[picture(1)]), "several images"),
    "nothing": (b"", "not a complete"),
}


@pytest.mark.parametrize(("data", "fault"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_image_is_refused(data, fault):
    with pytest.raises(Unreadable, match=fault):
        decode(data, ImageFormat(32, preview=64))


def test_only_passes_over_the_pixels_are_counted():
    """Neither the thumbnail in a segment, nor a video behind the end, nor what looks like a marker in a PNG."""
    progressive = encode(picture(0, 64), "JPEG", progressive=True)
    assert passes(jpeg()) == 1 and passes(progressive) == progressive.count(b"\xff\xda") > 4
    assert passes(in_passes(jpeg(), 5)) == 5 and passes(in_passes(jpeg(), 999)) == MOST_PASSES + 1
    video = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x02" * 99
    segment = b"\xff\xe1" + struct.pack(">H", 2 + 4 * 99) + b"\xff\xda\0\x02" * 99
    for data in (jpeg() + video, jpeg()[:2] + segment + jpeg()[2:]):
        assert passes(data) == 1
        assert (decode(data, ImageFormat(32)).square == decode(jpeg(), ImageFormat(32)).square).all()


def test_a_large_png_is_read_whatever_its_bytes_look_like():
    """Six megabytes of noise, in which what begins a pass of a JPEG stands about ninety times by chance."""
    noise = np.random.default_rng(0).integers(0, 256, (1416, 1416, 3), np.uint8)
    data = png(Image.fromarray(noise), compress_level=0)
    assert len(data) > 6_000_000 and data.count(b"\xff\xda") > MOST_PASSES
    assert decode(data, ImageFormat(32)).square.shape == (32, 32, 3)
