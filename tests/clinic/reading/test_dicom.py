"""Photographs in DICOM: every way of writing pixels gives the same colours, and what is no photograph is refused."""

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from clinical import NAMING, SECRETS, SIDE, secret_object
from conftest import picture
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from clinic.example import as_bytes, dermoscopic_object
from clinic.reading.dicom import DERMOSCOPIC, MOST_FRAMES, READ, place_of, read_object
from clinic.reading.pictures import ImageFormat, Unreadable, from_array

PIXELS = np.asarray(picture(5, 48))
WANTED = ImageFormat(SIDE)
EXPECTED = from_array(PIXELS, WANTED).square.astype(int)


def squares(image) -> np.ndarray:
    """The frames of an object as the model sees them."""
    return np.stack([frame.square for frame in read_object(as_bytes(image), WANTED)[1]]).astype(int)


def ybr(pixels: np.ndarray) -> np.ndarray:
    """RGB as YBR_FULL, by the equations of DICOM PS3.3 C.7.6.3.1.2."""
    red, green, blue = np.moveaxis(pixels.astype(float), -1, 0)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    blueness = -0.1687 * red - 0.3313 * green + 0.5 * blue + 128
    redness = 0.5 * red - 0.4187 * green - 0.0813 * blue + 128
    return np.clip(np.rint(np.stack([luminance, blueness, redness], axis=-1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", READ)
def test_every_kind_of_photograph_is_read(kind):
    image = dermoscopic_object(PIXELS, SOPClassUID=kind, Modality="DMS" if kind == DERMOSCOPIC else "XC")
    assert (squares(image)[0] == EXPECTED).all()


def test_a_secondary_capture_needs_no_modality():
    image = dermoscopic_object(PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    del image.Modality
    assert (squares(image)[0] == EXPECTED).all()


def test_jpeg():
    assert np.abs(squares(dermoscopic_object(PIXELS, jpeg=True))[0] - EXPECTED).mean() < 4


def test_a_jpeg_whose_header_says_rgb():
    """Cameras write so, though the JPEG holds luminance and colour: what the JPEG says of itself counts."""
    image = dermoscopic_object(PIXELS, jpeg=True)
    expected = squares(image)[0]
    image.PhotometricInterpretation = "RGB"
    assert (squares(image)[0] == expected).all()


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, JPEGLSLossless])
def test_lossless_compression_changes_nothing(syntax):
    image = dermoscopic_object(PIXELS)
    image.compress(syntax, generate_instance_uid=False)
    assert (squares(image)[0] == EXPECTED).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_orders_of_bytes(syntax):
    image = dermoscopic_object(PIXELS)
    image.file_meta.TransferSyntaxUID = syntax
    little = syntax.is_little_endian
    with io.BytesIO() as file:
        image.save_as(file, implicit_vr=syntax.is_implicit_VR, little_endian=little, enforce_file_format=True)
        (frame,) = read_object(file.getvalue(), WANTED)[1]
    assert (frame.square == EXPECTED).all()


def test_luminance_and_colour():
    image = dermoscopic_object(PIXELS, PhotometricInterpretation="YBR_FULL", PixelData=ybr(PIXELS).tobytes())
    assert np.abs(squares(image)[0] - EXPECTED).max() <= 2


def test_planes_one_after_the_other():
    planes = np.moveaxis(PIXELS, -1, 0).tobytes()
    assert (squares(dermoscopic_object(PIXELS, PlanarConfiguration=1, PixelData=planes))[0] == EXPECTED).all()


@pytest.mark.parametrize(("photometric", "sign"), [("MONOCHROME2", 1), ("MONOCHROME1", -1)])
def test_grey(photometric, sign):
    grey = PIXELS[..., 0]
    about = {"SamplesPerPixel": 1, "PhotometricInterpretation": photometric}
    image = dermoscopic_object(PIXELS, PixelData=(grey if sign > 0 else 255 - grey).tobytes(), **about)
    del image.PlanarConfiguration
    expected = from_array(np.repeat(grey[..., None], 3, axis=2), WANTED).square
    assert (squares(image)[0] == expected).all()


def test_twelve_bits_of_grey_are_spread_over_eight():
    grey = np.linspace(0, 4095, 48 * 48).astype(np.uint16).reshape(48, 48)
    about = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16}
    image = dermoscopic_object(PIXELS, PixelData=grey.tobytes(), BitsStored=12, HighBit=11, **about)
    found = squares(image)[0]
    assert found.max() >= 250 and found.min() <= 5 and np.abs(found.mean() - 127.5) < 2


@pytest.mark.parametrize(("bits", "highest"), [(8, 255), (12, 4095)])
def test_a_table_of_grey_values_has_bits_of_its_own(bits, highest):
    """A table that turns 0 to 255 around, in as many bits as the pixels have, or in more."""
    grey, table = PIXELS[..., 0], Dataset()
    table.LUTDescriptor = [256, 0, bits]
    table.add_new("LUTData", "US", [round(highest * (1 - k / 255)) for k in range(256)])
    about = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "VOILUTSequence": Sequence([table])}
    image = dermoscopic_object(PIXELS, PixelData=grey.tobytes(), **about)
    expected = from_array(np.repeat(255 - grey[..., None], 3, axis=2), WANTED).square.astype(int)
    assert np.abs(squares(image)[0] - expected).max() <= 1


def test_eight_bits_in_sixteen():
    data = PIXELS.astype(np.uint16).tobytes()
    image = dermoscopic_object(PIXELS, PixelData=data, BitsAllocated=16, BitsStored=8, HighBit=7)
    assert (squares(image)[0] == EXPECTED).all()


def test_sixteen_bits_of_colour_are_spread_over_eight():
    deep = PIXELS.astype(np.uint16) * 257
    image = dermoscopic_object(PIXELS, PixelData=deep.tobytes(), BitsAllocated=16, BitsStored=16, HighBit=15)
    assert (squares(image)[0] == EXPECTED).all()


def test_a_palette():
    coded = Image.fromarray(PIXELS).quantize(64)
    table = np.array(coded.getpalette(), np.uint8)[: 64 * 3].reshape(64, 3)
    about = {"SamplesPerPixel": 1, "PhotometricInterpretation": "PALETTE COLOR"}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        about[f"{name}PaletteColorLookupTableDescriptor"] = [64, 0, 16]
        about[f"{name}PaletteColorLookupTableData"] = (table[:, channel].astype(np.uint16) * 257).tobytes()
    image = dermoscopic_object(PIXELS, PixelData=np.asarray(coded).tobytes(), **about)
    del image.PlanarConfiguration
    expected = from_array(np.asarray(coded.convert("RGB")), WANTED).square
    assert (squares(image)[0] == expected).all()


def test_frames_are_read_one_by_one():
    second = np.asarray(picture(6, 48))
    data = PIXELS.tobytes() + second.tobytes()
    place, frames = read_object(as_bytes(dermoscopic_object(PIXELS, NumberOfFrames=2, PixelData=data)), WANTED)
    assert place.frames == 2 and [frame.frame for frame in frames] == [1, 2]
    assert (frames[1].square == from_array(second, WANTED).square).all()


BARS = [(255, 0, 0), (255, 128, 128), (0, 255, 0), (128, 255, 128), (0, 0, 255), (128, 128, 255)]
BARS += [(level,) * 3 for level in (0, 64, 192, 255)]
SHIPPED = ["SC_rgb_jpeg_gdcm", "SC_rgb_rle_2frame", "SC_rgb_gdcm_KY", "SC_rgb_dcmtk_+eb+cy+np", "SC_rgb_dcmtk_+eb+cr"]
SHIPPED += ["SC_ybr_full_422_uncompressed", "SC_rgb_jpeg_lossy_gdcm", "SC_rgb_jpeg_dcmtk", "SC_rgb_rle_16bit"]


def shipped(name: str, side: int) -> np.ndarray:
    """The first frame of an object that comes with pydicom, at full size."""
    data = Path(get_testdata_file(f"{name}.dcm", download=False)).read_bytes()
    return read_object(data, ImageFormat(side))[1][0].square.astype(int)


@pytest.mark.parametrize("name", SHIPPED)
def test_bars_of_known_colours_by_other_makers(name):
    """Ten bars of ten rows each; JPEG with its colour spaces among them, which may be off by a little."""
    found = shipped(name, 100)[5::10, 50]
    assert np.abs(found - BARS).max() <= (5 if "eb" in name or "422" in name or "jpeg_" in name else 0)


def test_words_in_the_colours_that_they_name():
    """In JPEG 2000 with its reversible space of colour: red above green above blue."""
    image = shipped("GDCMJ2K_TextGBR", 400)
    for channel, rows in enumerate((slice(40, 110), slice(145, 215), slice(240, 310))):
        coloured = image[rows][np.ptp(image[rows], axis=2) > 200]
        assert len(coloured) > 1000 and (coloured.argmax(axis=1) == channel).all()


def test_rows_of_known_colours_with_the_high_byte_first():
    expected = np.repeat([[(166, 141, 52)], [(63, 87, 176)], [(158, 158, 158)]], 3, axis=1)
    assert (shipped("SC_rgb_small_odd_big_endian", 3) == expected).all()


def test_pixels_beyond_the_frames_of_the_header_are_left_alone():
    assert len(squares(dermoscopic_object(PIXELS, PixelData=PIXELS.tobytes() * 3))) == 1


def test_only_identifiers_of_the_study_are_kept():
    place = place_of(secret_object(PIXELS))
    values = [str(value) for value in asdict(place).values()]
    assert {"Muster^Erika", "P-17", "19640812", "F"} <= set(values) and place.patient_issuer == "Registry of Elsewhere"
    assert not any(secret in value for secret in SECRETS[len(NAMING) :] for value in values)


def test_without_identifiers_a_study_is_still_one_study():
    first, second = (place_of(secret_object(PIXELS, StudyInstanceUID="1.2.3")) for _ in range(2))
    one, two = (place.without_identifiers(b"key") for place in (first, second))
    assert one.study == two.study != "1.2.3" and one.sop_instance != two.sop_instance
    assert one.study != first.without_identifiers(b"another key").study
    named = ("patient_id", "patient_issuer", "patient_name", "study_date")
    assert one.anonymous and not any(getattr(one, name) for name in named)


def test_compression_with_loss_is_remembered():
    assert place_of(dermoscopic_object(PIXELS)).loss == 0
    image = dermoscopic_object(PIXELS, jpeg=True)
    assert place_of(image).loss == pytest.approx(float(image.LossyImageCompressionRatio))
    del image.LossyImageCompression, image.LossyImageCompressionRatio
    assert place_of(image).loss == 1
    image.LossyImageCompressionRatio = [2, 5]
    assert place_of(image).loss == 10


@pytest.mark.parametrize("ratio", ["inf", "nan", "-3", ["1e300", "1e300"]])
def test_a_ratio_of_compression_that_makes_no_sense_counts_as_unknown(ratio):
    image = Dataset()
    image.update(dermoscopic_object(PIXELS, jpeg=True))
    image[0x00282112] = RawDataElement(
        BaseTag(0x00282112), "DS", 1, "\\".join(np.atleast_1d(ratio)).encode(), 0, False, True
    )
    assert place_of(image).loss == 1


@pytest.mark.parametrize("stated", ["YES", "NO", "", "PERHAPS", None])
def test_what_the_object_says_of_its_pixels_is_kept(stated):
    image = dermoscopic_object(PIXELS, BurnedInAnnotation=stated, RecognizableVisualFeatures=stated)
    place, (frame,) = read_object(as_bytes(image), WANTED)
    assert place.burned_in == place.recognisable == (stated if stated in ("YES", "NO") else "")
    assert frame.burned_in_text == (stated == "YES")


REFUSED = {
    "a CT": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "not a photograph"),
    "a capture of a CT": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "CT"}, "modality"),
    "no study": ({"StudyInstanceUID": ""}, "UIDs"),
    "a study called ..": ({"StudyInstanceUID": "../../etc"}, "UIDs"),
    "a long UID": ({"SeriesInstanceUID": "1." + "2" * 70}, "UIDs"),
    "patients of two numbers": ({"PatientID": ["P-17", "P-18"]}, "several values"),
    "issuers of which nobody knows which it is": ({"IssuerOfPatientID": ["A", "B"]}, "several values"),
    "a result of this program": ({"Manufacturer": "Skin lesion study"}, "a result of this program"),
    "no rows": ({"Rows": 0}, "0 px"),
    "a bomb": ({"Rows": 65535, "Columns": 65535}, "not the size of a photograph"),
    "too many frames": ({"NumberOfFrames": MOST_FRAMES + 1}, "frames"),
    "more frames than pixels": ({"NumberOfFrames": 3}, "not what its header says"),
    "no frames": ({"NumberOfFrames": -1}, "frames"),
    "more rows than pixels": ({"Rows": 49}, "not what its header says"),
    "grey that is coloured": ({"PhotometricInterpretation": "MONOCHROME2"}, "samples"),
    "colour that is grey": ({"SamplesPerPixel": 1}, "samples"),
    "an unknown space of colour": ({"PhotometricInterpretation": "CMYK"}, "photometric"),
    "floating point": ({"BitsAllocated": 32}, "samples"),
    "a palette without colours": ({"SamplesPerPixel": 1, "PhotometricInterpretation": "PALETTE COLOR"}, "header says"),
}


@pytest.mark.parametrize(("attributes", "fault"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_photograph_is_refused(attributes, fault):
    with pytest.raises(Unreadable, match=fault) as refused:
        read_object(as_bytes(secret_object(PIXELS, **attributes)), WANTED)
    assert not any(secret in str(refused.value) for secret in SECRETS)


def test_pixels_under_another_transfer_syntax_are_refused():
    image = dermoscopic_object(PIXELS, jpeg=True)
    image.file_meta.TransferSyntaxUID = RLELossless
    with pytest.raises(Unreadable, match="decoded"):
        squares(image)


def test_a_jpeg_of_another_size_than_its_header_says_is_refused():
    image = dermoscopic_object(PIXELS, jpeg=True)
    image.PixelData = dermoscopic_object(np.zeros((16, 16, 3), np.uint8), jpeg=True).PixelData
    with pytest.raises(Unreadable):
        squares(image)


def test_an_object_without_pixels_is_refused():
    image = dermoscopic_object(PIXELS)
    del image.PixelData
    with pytest.raises(Unreadable, match="no pixels"):
        squares(image)


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
