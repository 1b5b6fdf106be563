import struct

import numpy as np
import pytest
from conftest import picture
from PIL import Image, ImageCms, PngImagePlugin

from helpers.data.colour import to_srgb
from helpers.data.pixels import read_grey, read_square

GAMMA = 563 / 256  # of Adobe RGB (1998), annex C
# Columns: red, green and blue of a colour space, as XYZ adapted to D50.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])


def profile(primaries):
    """An ICC profile (version 2.1, a matrix and three curves) of a colour space."""
    fixed = [struct.pack(">4s4x3i", b"XYZ ", *np.rint(column * 65536).astype(int)) for column in primaries.T]
    curve = struct.pack(">4s4xIH2x", b"curv", 1, 563)
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), fixed, strict=True))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    header = struct.pack(">4x4sI4s4s4s12x4s28x", b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp") + white
    return struct.pack(">I", 128 + len(table) + len(body)) + header[4:].ljust(124, b"\0") + table + body


def recode(image, primaries):
    """The same colours, written in another colour space."""
    encoded = np.asarray(image, float) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    other = np.clip(linear @ (np.linalg.inv(primaries) @ SRGB).T, 0, 1) ** (1 / GAMMA)
    return Image.fromarray(np.rint(other * 255).astype(np.uint8))


@pytest.mark.parametrize("primaries", [ADOBE, P3], ids=["Adobe RGB", "P3"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_colours_are_those_that_the_profile_means(tmp_path, primaries, suffix):
    original = picture(0, 64).point(lambda level: 60 + level // 2)
    other = recode(original, primaries)
    other.save(tmp_path / f"a.{suffix}", icc_profile=profile(primaries), quality=100, subsampling=0)
    difference = np.abs(read_square(tmp_path / f"a.{suffix}", 64).astype(int) - np.asarray(original))
    assert difference.max() <= 2 if suffix == "png" else difference.mean() < 1
    assert np.abs(np.asarray(other).astype(int) - np.asarray(original)).max() > 10  # it matters
    grey = np.abs(np.asarray(read_grey(tmp_path / f"a.{suffix}", 64)).astype(int) - np.asarray(original.convert("L")))
    assert grey.max() <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_a_png_may_state_its_gamma(tmp_path, mode):
    """At a gamma of 1 the numbers are light itself, which is dark on a screen."""
    original = picture(0, 64).convert("L" if mode == "L" else "RGB")
    light = original.point(lambda level: round(255 * (level / 255) ** 2.2))
    chunks, path = PngImagePlugin.PngInfo(), tmp_path / "a.png"
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    light.quantize(256).save(path, pnginfo=chunks) if mode == "P" else light.convert(mode).save(path, pnginfo=chunks)
    wanted = np.asarray(original.convert("RGB"), int)
    assert np.abs(read_square(path, 64) - wanted).mean() < (8 if mode == "P" else 2)  # a palette has 256 colours
    assert np.abs(np.asarray(light.convert("RGB"), int) - wanted).mean() > 20
    chunks.add(b"sRGB", b"\0")
    light.save(path, pnginfo=chunks)
    assert np.array_equal(read_square(path, 64), np.asarray(light.convert("RGB")))


def test_no_profile_and_that_of_srgb_change_nothing():
    image = picture(0)
    assert to_srgb(image) is image
    assert to_srgb(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()) is image


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "1"])
def test_images_of_other_modes_are_converted_as_their_colours(mode):
    image = recode(picture(0), ADOBE).convert(mode)
    converted = np.asarray(to_srgb(image, profile(ADOBE)).convert("RGB"))
    assert np.array_equal(converted, np.asarray(to_srgb(image.convert("RGB"), profile(ADOBE))))


LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.mark.parametrize(
    ("mode", "bad"), [("RGB", b"no profile"), ("RGB", profile(ADOBE)[:200]), ("RGB", LAB), ("CMYK", profile(ADOBE))]
)
def test_a_profile_that_cannot_be_used_is_ignored_with_a_warning(mode, bad):
    image = picture(0).convert(mode)
    with pytest.warns(UserWarning, match="colour profile is ignored .*taken for sRGB"):
        assert to_srgb(image, bad) is image
