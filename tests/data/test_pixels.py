import errno
import io
import os
import resource
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from PIL import Image

from helpers.data import pixels
from helpers.data.lesions import load_lesions
from helpers.data.pixels import build_cache, open_cache, read_masks, read_square, shades_of_gray, skin_colour
from helpers.records import file_sha256
from helpers.study import StudyError


def save(image, path, **options):
    image.save(path, **options)
    return path


def half_a_jpeg():
    buffer = io.BytesIO()
    picture(0, 200).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


def test_the_centre_square_is_kept(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = (200, 100, 50)
    path = save(Image.fromarray(pixels), tmp_path / "wide.png")
    assert (read_square(path, 20) == (200, 100, 50)).all()
    tall = save(Image.fromarray(pixels.transpose(1, 0, 2)), tmp_path / "tall.png")
    assert (read_square(tall, 20) == (200, 100, 50)).all()


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "1", "LA", "I;16"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    image = picture(0).convert("L").point(lambda v: v * 200, "I").convert("I;16") if mode == "I;16" else None
    image = image or picture(0).convert(mode)
    path = save(image, tmp_path / f"image.{'tif' if mode in ('CMYK', 'I;16') else 'png'}")
    square = read_square(path, 16)
    assert square.shape == (16, 16, 3) and square.dtype == np.uint8
    assert square.std() > 10  # the picture is still there, neither clipped to white nor emptied


def test_cmyk_jpeg_keeps_its_colours(tmp_path):
    path = save(Image.new("RGB", (32, 32), (220, 30, 30)).convert("CMYK"), tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(read_square(path, 8).astype(int) - (220, 30, 30)).max() < 12


def test_exif_rotation_is_undone(tmp_path):
    upright = Image.fromarray(np.vstack([np.full((20, 40, 3), 250, np.uint8), np.zeros((20, 40, 3), np.uint8)]))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it upright"
    path = save(upright.transpose(Image.Transpose.ROTATE_90), tmp_path / "turned.jpg", exif=exif, quality=95)
    square = read_square(path, 40)
    assert square[:15].mean() > 230 and square[25:].mean() < 20


def test_a_large_jpeg_decoded_at_reduced_scale_looks_the_same(tmp_path):
    large = picture(3, 800)
    path = save(large, tmp_path / "large.jpg", quality=95)
    full = np.asarray(large.resize((50, 50), Image.Resampling.HAMMING), int)
    assert np.abs(read_square(path, 50) - full).mean() < 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<html>Please sign in</html>", "not an image"),
        (half_a_jpeg(), "cannot be read to its end"),
        (b"P5 9200 9200 255 ", "too large to be a photograph"),
        (b"P5 30000 30000 255 ", "too large to be a photograph"),  # so large that Pillow refuses it
    ],
)
def test_files_that_are_no_photographs_are_named(tmp_path, content, message):
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(StudyError, match=f"bad.jpg: {message}"):
        read_square(tmp_path / "bad.jpg", 8)
    with pytest.raises(StudyError, match="absent.jpg"):
        read_square(tmp_path / "absent.jpg", 8)


def test_shades_of_gray_removes_a_tint_and_keeps_grey():
    grey = np.random.default_rng(0).integers(20, 120, (16, 16, 1)).repeat(3, axis=2).astype(np.uint8)
    assert (shades_of_gray(grey) == grey).all()
    tinted = (grey * np.array([1.0, 0.5, 0.8])).astype(np.uint8)
    light = shades_of_gray(tinted).astype(float).mean(axis=(0, 1))
    assert np.ptp(light) / light.mean() < 0.02
    assert shades_of_gray(np.zeros((4, 4, 3), np.uint8)).max() == 0


def test_the_cache_holds_the_squares_in_order(ham10000, tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "BLOCK", 3)  # so the four images are in two blocks
    lesions = load_lesions("ham10000", ham10000)
    cache = build_cache(lesions, 16, tmp_path / "cache")
    assert cache.pixels.shape == (4, 16, 16, 3) and cache.pixels.dtype == np.uint8
    for row, path in enumerate(lesions.path):
        assert (cache.pixels[row] == read_square(path, 16)).all()
    assert cache.rows(["ISIC_0000003", "ISIC_0000001"]).tolist() == [2, 0]
    with pytest.raises(StudyError, match="lacks images"):
        cache.rows(["ISIC_0000003", "unknown"])


def test_a_cache_is_rebuilt_only_when_it_is_out_of_date(ham10000, tmp_path, monkeypatch):
    lesions = load_lesions("ham10000", ham10000)
    decoded = []
    monkeypatch.setattr(pixels, "read_square", lambda path, side: decoded.append(path) or read_square(path, side))

    def count_decoded(**options):
        decoded.clear()
        build_cache(lesions, 16, tmp_path / "cache", **options)
        return len(decoded)

    assert count_decoded() == 4 and count_decoded() == 0
    os.utime(lesions.path[0], ns=(1, 1))
    assert count_decoded() == 4 and count_decoded() == 0
    assert count_decoded(colour_constancy="shades_of_gray") == 4 and count_decoded() == 0
    (tmp_path / "cache" / "16px.json").write_text("{broken")
    assert count_decoded() == 4


def zero_the_middle(path):
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(500) + content[2500:])


def zero_and_restore_the_time(path):
    status = path.stat()
    zero_the_middle(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "damage", [zero_the_middle, zero_and_restore_the_time, lambda path: path.write_bytes(path.read_bytes()[:-700])]
)
def test_a_damaged_cache_is_named_and_built_again(ham10000, tmp_path, damage):
    lesions = load_lesions("ham10000", ham10000)
    built = build_cache(lesions, 16, tmp_path / "cache").pixels.copy()
    damage(tmp_path / "cache" / "16px.npy")
    with pytest.raises(StudyError, match="16px.npy: the pixel cache is damaged.*make 02_preprocessing"):
        open_cache(tmp_path / "cache", 16)
    assert (build_cache(lesions, 16, tmp_path / "cache").pixels == built).all()


def test_an_unchanged_cache_is_read_through_once(ham10000, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(pixels, "file_sha256", lambda path: read.append(path) or file_sha256(path))
    monkeypatch.setattr(pixels, "SETTLED", -1)
    cache = build_cache(load_lesions("ham10000", ham10000), 16, tmp_path / "cache")
    read.clear()
    assert open_cache(tmp_path / "cache", 16).fingerprint == cache.fingerprint and read == []
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")
    with monkeypatch.context() as patch:  # a folder that may only be read
        patch.setattr("tempfile.mkstemp", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
        assert open_cache(tmp_path / "copy", 16).fingerprint == cache.fingerprint and len(read) == 1
    assert open_cache(tmp_path / "copy", 16).fingerprint == cache.fingerprint and len(read) == 2


def test_unreadable_images_are_all_named_and_no_file_stays(ham10000, tmp_path):
    lesions = load_lesions("ham10000", ham10000)
    with pytest.raises(StudyError, match="colour_constancy 'gray'"):
        build_cache(lesions, 16, tmp_path, colour_constancy="gray")
    for row in (1, 2):
        Path(lesions.path[row]).write_bytes(b"broken")
    with pytest.raises(StudyError, match=r"2 of 4 images.*\n.*ISIC_0000002.*\n.*ISIC_0000003"):
        build_cache(lesions, 16, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_interrupted_rebuild_leaves_no_cache(ham10000, tmp_path, monkeypatch):
    lesions = load_lesions("ham10000", ham10000)
    build_cache(lesions, 16, tmp_path / "cache")
    os.utime(lesions.path[0], ns=(1, 1))
    monkeypatch.setattr(pixels, "_write_pixels", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        build_cache(lesions, 16, tmp_path / "cache")
    with pytest.raises(StudyError, match="no finished pixel cache"):
        open_cache(tmp_path / "cache", 16)


def test_a_copy_of_the_images_has_the_same_fingerprint_and_a_changed_one_another(ham10000, tmp_path):
    def fingerprint(folder):
        return build_cache(load_lesions("ham10000", folder), 8, folder / "cache").fingerprint

    copy = Path(shutil.copytree(ham10000, tmp_path / "copy"))
    image = copy / "HAM10000_images_part_1" / "ISIC_0000001.jpg"
    os.utime(image, (1, 1))
    assert fingerprint(copy) == fingerprint(ham10000)
    picture(99).save(image)
    assert fingerprint(copy) != fingerprint(ham10000)


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_real_images_at_224_px_in_little_memory(real_ham10000, tmp_path):
    """The pixels are 450 MB, and no more than some blocks of them are in memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cache = build_cache(load_lesions("ham10000", real_ham10000).head(3000), 224, tmp_path)
    assert cache.pixels.shape == (3000, 224, 224, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 350 * 1024  # KiB


def test_a_mask_lies_on_its_image(tmp_path):
    lesion = np.zeros((45, 60), bool)
    lesion[10:30, 20:50] = True
    pixels = np.where(lesion[..., None], 20, 220).astype(np.uint8).repeat(3, axis=2)
    image = save(Image.fromarray(pixels), tmp_path / "image.png")
    for number, mode in enumerate(("1", "L", "P")):
        mask = save(Image.fromarray(lesion).convert(mode), tmp_path / f"{number}_segmentation.png")
        found = read_masks([str(mask), None, float("nan")], 15)
        assert found.shape == (3, 15, 15) and not found[1:].any()
        assert np.array_equal(found[0], read_square(image, 15).mean(axis=2) < 120)
    save(Image.new("L", (1, 1)), tmp_path / "broken.png").write_bytes(b"no mask")
    with pytest.raises(StudyError, match="broken.png: not an image"):
        read_masks([str(tmp_path / "broken.png")], 15)
    with pytest.raises(StudyError, match="absent.png: no such file.*DATA_DIR"):
        read_masks([str(tmp_path / "absent.png")], 15)


def test_the_colour_of_the_skin_is_that_of_a_ring_around_the_lesion():
    pixels = np.full((1, 40, 40, 3), (200, 150, 140), np.uint8)
    pixels[:, 12:28, 12:28] = 30
    pixels[:, :4, :4] = 0
    assert skin_colour(pixels).tolist() == [[200, 150, 140]]
