"""Photographs in DICOM: every way of writing pixels gives the same colours, and what is no photograph is refused."""

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from clinical import NAMING, SECRETS, SIDE, secret_object
from conftest import picture
from PIL import Image, ImageOps
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from clinic.example import as_bytes, dermoscopic_object
from clinic.reading import dicom
from clinic.reading.dicom import MOST_FRAMES, READ, place_of, read_object
from clinic.reading.pictures import ImageFormat, Unreadable, from_array

PIXELS = np.asarray(picture(5, 48))
WANTED = ImageFormat(SIDE)
MANY = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4", "Modality": "XC"}
GREY = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PlanarConfiguration": None}


def expected_square(pixels: np.ndarray) -> np.ndarray:
    return from_array(pixels, WANTED).square.astype(int)


def squares(image) -> np.ndarray:
    """The frames of an object as the model sees them."""
    return np.stack([frame.square for frame in read_object(as_bytes(image), WANTED)[1]]).astype(int)


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[..., None], 3, axis=2)


def ybr(pixels: np.ndarray) -> np.ndarray:
    """RGB as YBR_FULL, by the equations of DICOM PS3.3 C.7.6.3.1.2."""
    red, green, blue = np.moveaxis(pixels.astype(float), -1, 0)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    blueness = -0.1687 * red - 0.3313 * green + 0.5 * blue + 128
    redness = 0.5 * red - 0.4187 * green - 0.0813 * blue + 128
    return np.clip(np.rint(np.stack([luminance, blueness, redness], axis=-1)), 0, 255).astype(np.uint8)


def compress(syntax: str) -> Dataset:
    image = dermoscopic_object(PIXELS)
    image.compress(syntax, generate_instance_uid=False)
    return image


def with_palette(syntax: str = "") -> Dataset:
    coded = Image.fromarray(PIXELS).quantize(256)
    table, about = np.array(coded.getpalette(), np.uint8).reshape(-1, 3), {}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        about[f"{name}PaletteColorLookupTableDescriptor"] = [len(table), 0, 16]
        order = ">u2" if syntax else "<u2"
        about[f"{name}PaletteColorLookupTableData"] = (table[:, channel].astype(np.uint16) << 8).astype(order).tobytes()
    about |= GREY | {"PhotometricInterpretation": "PALETTE COLOR"}
    image = dermoscopic_object(PIXELS, PixelData=np.asarray(coded).tobytes(), **about)
    image.file_meta.TransferSyntaxUID = syntax or image.file_meta.TransferSyntaxUID
    return image


def without_marker(quality: int = 90, subsampling: int = 2) -> Dataset:
    """An object whose JPEG has no marker that says which colours it holds, though its header says RGB."""
    with io.BytesIO() as file:
        Image.fromarray(PIXELS).save(file, "JPEG", quality=quality, subsampling=subsampling)
        data = file.getvalue()
    length = int.from_bytes(data[4:6])  # of the segment APP0
    about = {"PhotometricInterpretation": "RGB", "PixelData": encapsulate([data[:2] + data[4 + length :]])}
    return dermoscopic_object(PIXELS, jpeg=True, **about)


def deep(factor: int, **bits: int) -> Dataset:
    return dermoscopic_object(PIXELS, PixelData=(PIXELS.astype(np.uint16) * factor).tobytes(), BitsAllocated=16, **bits)


# Objects with the pixels of PIXELS, and how far off their values may be.
WRITTEN = {
    **{
        f"class {kind}": (lambda kind=kind: dermoscopic_object(PIXELS, SOPClassUID=kind, Modality="XC"), 0)
        for kind in READ
    },
    "a capture without modality": (lambda: dermoscopic_object(PIXELS, SOPClassUID=list(READ)[2], Modality=None), 0),
    **{
        f"syntax {one.name}": (lambda one=one: compress(one), 0)
        for one in (JPEG2000Lossless, RLELossless, JPEGLSLossless)
    },
    "JPEG": (lambda: dermoscopic_object(PIXELS, jpeg=True), 25),
    # Cameras write so, though the JPEG holds luminance and colour: what the JPEG says of itself counts.
    "JPEG said to be RGB": (lambda: dermoscopic_object(PIXELS, jpeg=True, PhotometricInterpretation="RGB"), 25),
    "luminance and colour": (
        lambda: dermoscopic_object(PIXELS, PhotometricInterpretation="YBR_FULL", PixelData=ybr(PIXELS).tobytes()),
        2,
    ),
    "planes": (
        lambda: dermoscopic_object(PIXELS, PlanarConfiguration=1, PixelData=np.moveaxis(PIXELS, -1, 0).tobytes()),
        0,
    ),
    "eight bits in sixteen": (lambda: deep(1, BitsStored=8, HighBit=7), 0),
    "sixteen bits": (lambda: deep(257, BitsStored=16, HighBit=15), 0),
    "a palette": (with_palette, 40),
    "a palette, high byte first": (lambda: with_palette(ExplicitVRBigEndian), 40),
    "JPEG of luminance and colour that nothing says to be so": (without_marker, 25),
    "signed": (lambda: dermoscopic_object(PIXELS, PixelRepresentation=1), 0),
    "sixteen bits, signed": (lambda: deep(257, BitsStored=16, HighBit=15, PixelRepresentation=1), 0),
    "more pixels than frames": (lambda: dermoscopic_object(PIXELS, PixelData=PIXELS.tobytes() * 3), 0),
}


@pytest.mark.parametrize(("write", "off"), WRITTEN.values(), ids=WRITTEN)
def test_every_way_of_writing_pixels_gives_their_colours(write, off):
    (found,) = squares(write())
    difference = np.abs(found - expected_square(PIXELS))
    assert difference.max() <= off and difference.mean() <= 5


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_orders_of_bytes(syntax):
    image = dermoscopic_object(PIXELS)
    image.file_meta.TransferSyntaxUID = syntax
    with io.BytesIO() as file:
        image.save_as(
            file, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian, enforce_file_format=True
        )
        (frame,) = read_object(file.getvalue(), WANTED)[1]
    assert (frame.square == expected_square(PIXELS)).all()


def test_frames_are_read_one_by_one():
    second = np.asarray(picture(6, 48))
    data = PIXELS.tobytes() + second.tobytes()
    place, frames = read_object(as_bytes(dermoscopic_object(PIXELS, NumberOfFrames=2, PixelData=data, **MANY)), WANTED)
    assert place.frames == 2 and [frame.frame for frame in frames] == [1, 2]
    assert (frames[1].square == expected_square(second)).all()


BARS = [(255, 0, 0), (255, 128, 128), (0, 255, 0), (128, 255, 128), (0, 0, 255), (128, 128, 255)]
BARS += [(level,) * 3 for level in (0, 64, 192, 255)]
SHIPPED = ["SC_rgb_jpeg_gdcm", "SC_rgb_gdcm_KY", "SC_rgb_dcmtk_+eb+cy+np", "SC_rgb_dcmtk_+eb+cr"]
SHIPPED += ["SC_ybr_full_422_uncompressed", "SC_rgb_jpeg_lossy_gdcm", "SC_rgb_jpeg_dcmtk", "SC_rgb_rle_16bit"]


def read_example(name: str, side: int) -> np.ndarray:
    """The first frame of an object that comes with pydicom, at full size."""
    data = Path(get_testdata_file(f"{name}.dcm", download=False)).read_bytes()
    return read_object(data, ImageFormat(side))[1][0].square.astype(int)


@pytest.mark.parametrize("name", SHIPPED)
def test_bars_of_known_colours_by_other_makers(name):
    """Ten bars of ten rows each; JPEG with its colour spaces among them, which may be off by a little."""
    found = read_example(name, 100)[5::10, 50]
    assert np.abs(found - BARS).max() <= (5 if "eb" in name or "422" in name or "jpeg_" in name else 0)


def test_words_in_the_colours_that_they_name():
    """In JPEG 2000 with its reversible space of colour: red above green above blue."""
    image = read_example("GDCMJ2K_TextGBR", 400)
    for channel, rows in enumerate((slice(40, 110), slice(145, 215), slice(240, 310))):
        coloured = image[rows][np.ptp(image[rows], axis=2) > 200]
        assert len(coloured) > 1000 and (coloured.argmax(axis=1) == channel).all()


def test_rows_of_known_colours_with_the_high_byte_first():
    expected = np.repeat([[(166, 141, 52)], [(63, 87, 176)], [(158, 158, 158)]], 3, axis=1)
    assert (read_example("SC_rgb_small_odd_big_endian", 3) == expected).all()


def test_a_colour_profile_is_converted_as_in_other_files(monkeypatch):
    monkeypatch.setattr(dicom, "to_srgb", lambda image, profile: ImageOps.invert(image) if profile == b"P3" else image)
    assert (squares(dermoscopic_object(PIXELS, ICCProfile=b"P3"))[0] == expected_square(255 - PIXELS)).all()
    assert (squares(dermoscopic_object(PIXELS))[0] == expected_square(PIXELS)).all()


def test_a_file_without_a_preamble_is_read():
    image = dermoscopic_object(PIXELS)
    data = as_bytes(image)
    meta = 144 + int.from_bytes(data[140:144], "little")  # where the object itself begins
    place, (frame,) = read_object(data[meta:], WANTED)
    assert (frame.square == expected_square(PIXELS)).all() and place.sop_instance == image.SOPInstanceUID


def test_days_of_older_standards_are_understood():
    image = dermoscopic_object(PIXELS)
    image[0x00080020] = RawDataElement(BaseTag(0x00080020), "DA", 10, b"2024-01-31", 0, False, True)
    assert place_of(image).study_date == "20240131"


def test_only_identifiers_of_the_study_are_kept():
    place = place_of(secret_object(PIXELS))
    values = [str(value) for value in asdict(place).values()]
    assert {"Muster^Erika", "P-17", "19640812", "F"} <= set(values) and place.patient_issuer == "Registry of Elsewhere"
    assert not any(secret in value for secret in SECRETS[len(NAMING) :] for value in values)


def test_without_identifiers_a_study_is_still_one_study():
    first, second = (place_of(secret_object(pixels, StudyInstanceUID="1.2.3")) for pixels in (PIXELS, PIXELS[::-1]))
    one, two = (place.without_identifiers(b"key") for place in (first, second))
    assert one.study == two.study != "1.2.3" and one.sop_instance != two.sop_instance
    assert one.study != first.without_identifiers(b"another key").study
    named = ("patient_id", "patient_issuer", "patient_name", "study_date")
    assert one.anonymous and not any(getattr(one, name) for name in named)


@pytest.mark.parametrize("stated", ["YES", "NO", "", "PERHAPS", None])
def test_what_the_object_says_of_its_pixels_is_kept(stated):
    image = dermoscopic_object(PIXELS, BurnedInAnnotation=stated, RecognizableVisualFeatures=stated)
    place, (frame,) = read_object(as_bytes(image), WANTED)
    assert place.burned_in == place.recognisable == (stated if stated in ("YES", "NO") else "")
    assert frame.burned_in_text == (stated == "YES")


REFUSED = {
    "a CT": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "not a photograph"),
    "a capture of a CT": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "CT"}, "Modality"),
    "no study": ({"StudyInstanceUID": ""}, "StudyInstanceUID is missing"),
    "a study called ..": ({"StudyInstanceUID": "../../etc"}, "StudyInstanceUID is not a valid UID"),
    "a long UID": ({"SeriesInstanceUID": "1." + "2" * 70}, "SeriesInstanceUID is not a valid UID"),
    "patients of two numbers": ({"PatientID": ["P-17", "P-18"]}, "PatientID has several values"),
    "issuers of which nobody knows which it is": (
        {"IssuerOfPatientID": ["A", "B"]},
        "IssuerOfPatientID has several values",
    ),
    "a result of this program": ({"Manufacturer": "Skin lesion study"}, "a result of this program"),
    "no rows": ({"Rows": 0}, "0 px"),
    "a bomb": ({"Rows": 65535, "Columns": 65535}, "not the size of a photograph"),
    "too many frames": ({"NumberOfFrames": MOST_FRAMES + 1} | MANY, "frames"),
    "more frames than pixels": ({"NumberOfFrames": 3} | MANY, "not what its header says"),
    "no frames": ({"NumberOfFrames": -1}, "frames"),
    "more rows than pixels": ({"Rows": 49}, "not what its header says"),
    "a leading zero": (
        {"StudyInstanceUID": "1.2.840.0099.1"},
        "StudyInstanceUID is not a valid UID .*no leading zeros",
    ),
    "a line break": ({"PatientID": "P\n17"}, "PatientID has control characters"),
    "frames of a single frame": (
        {"NumberOfFrames": 2},
        "SOPClassUID is that of a single frame, but NumberOfFrames is 2",
    ),
    "grey": (GREY, "PhotometricInterpretation is MONOCHROME2: a grey image"),
    "grey and turned": (GREY | {"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1: a grey image"),
    "grey that is coloured": ({"PhotometricInterpretation": "MONOCHROME2"}, "grey image"),
    "colour that is grey": ({"SamplesPerPixel": 1}, "samples"),
    "an unknown space of colour": ({"PhotometricInterpretation": "CMYK"}, "PhotometricInterpretation"),
    "floating point": ({"BitsAllocated": 32}, "samples"),
    "a palette without colours": ({"SamplesPerPixel": 1, "PhotometricInterpretation": "PALETTE COLOR"}, "header says"),
}


@pytest.mark.parametrize(("attributes", "fault"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_photograph_is_refused(attributes, fault):
    with pytest.raises(Unreadable, match=fault) as refused:
        read_object(as_bytes(secret_object(PIXELS, **attributes)), WANTED)
    assert not any(secret in str(refused.value) for secret in SECRETS)


def test_an_object_without_its_class_is_refused():
    image = dermoscopic_object(PIXELS)
    del image.SOPClassUID
    with pytest.raises(Unreadable, match="SOPClassUID is missing: not a photograph"):
        place_of(image)


def wrong_syntax() -> Dataset:
    image = dermoscopic_object(PIXELS, jpeg=True)
    image.file_meta.TransferSyntaxUID = RLELossless
    return image


OTHER_SIZE = dermoscopic_object(np.zeros((16, 16, 3), np.uint8), jpeg=True).PixelData
LYING = {
    "a JPEG of one or the other colours": (
        lambda: without_marker(subsampling=0),
        "PhotometricInterpretation is RGB, but its JPEG",
    ),
    "another transfer syntax": (wrong_syntax, "decoded"),
    "a JPEG of another size": (lambda: dermoscopic_object(PIXELS, jpeg=True, PixelData=OTHER_SIZE), "header says"),
    "no pixels": (lambda: dermoscopic_object(PIXELS, PixelData=None), "no pixels|decoded"),
}


@pytest.mark.parametrize(("write", "fault"), LYING.values(), ids=LYING)
def test_pixels_that_are_not_what_the_header_says_are_refused(write, fault):
    with pytest.raises(Unreadable, match=fault):
        squares(write())


@pytest.mark.parametrize("length", [0, 100, 131, 200, 500, 900, 2000])
def test_a_truncated_object_is_refused(length):
    with pytest.raises(Unreadable):
        read_object(as_bytes(secret_object(PIXELS))[:length], WANTED)


@pytest.mark.parametrize(
    ("stated", "day"),
    [
        ({}, "20240104"),
        ({"AcquisitionDateTime": None}, "20240103"),
        ({"AcquisitionDateTime": "2024", "AcquisitionDate": "20240230"}, "20240102"),
        ({"AcquisitionDateTime": None, "AcquisitionDate": "", "ContentDate": "yesterday"}, "20240101"),
        (dict.fromkeys(("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "StudyDate"), ""), ""),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_day_of_an_image_is_that_of_the_first_attribute_that_has_one(stated, day):
    days = {"StudyDate": "20240101", "ContentDate": "20240102", "AcquisitionDate": "20240103"}
    days["AcquisitionDateTime"] = "20240104235959.5+0100"
    assert place_of(dermoscopic_object(PIXELS, **days | stated)).acquired == day


@pytest.mark.parametrize(
    ("code", "side", "kept"),
    [("53120007", "L", ("53120007", "L")), ("Ward 7", "Muster", ("", "")), ("53120007", "U", ("53120007", ""))],
)
def test_region_and_side_are_kept_if_they_are_codes(code, side, kept):
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = code, "SCT", "Ward 7"
    place = place_of(secret_object(PIXELS, AnatomicRegionSequence=[region], ImageLaterality=side))
    assert (place.region, place.laterality) == kept
    assert place.without_identifiers(b"key").region == kept[0]
