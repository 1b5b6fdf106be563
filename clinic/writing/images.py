"""The image of a result as it is shown to people: all of it, the part that the model sees, and the scale."""

import numpy as np
from PIL import Image, ImageDraw

from clinic.reading.pictures import Picture

PREVIEW = 512  # pixels per side of an image that is shown to people
BAR = 5.0  # millimetres
PARTLY, WHOLE = "The program used the part inside the frame. ", "The program used the whole image. "
UNKNOWN_SCALE = "The scale is not known."


def show_image(picture: Picture, spacing: float = 0.0) -> tuple[np.ndarray, str]:
    """A preview, uint8 [height, width, 3], with what the model did not see in paler colours, and a caption.

    spacing: millimetres per pixel of the file, 0 if unknown.
    """
    shown = Image.fromarray(picture.preview)
    scale = shown.width / max(picture.width, picture.height)
    width, height = (max(1, round(scale * size)) for size in (picture.width, picture.height))
    left, top = (shown.width - width) // 2, (shown.height - height) // 2
    image = shown.crop((left, top, left + width, top + height))
    caption, edge = f"{picture.width} x {picture.height} px. ", min(image.size)
    if picture.width != picture.height:
        corner = (image.width - edge) // 2, (image.height - edge) // 2
        box = (*corner, corner[0] + edge - 1, corner[1] + edge - 1)
        pale = Image.blend(image, Image.new("RGB", image.size, "white"), 0.4)
        pale.paste(image.crop(box), corner)
        ImageDraw.Draw(pale).rectangle(box, outline="white", width=3)
        image, caption = pale, caption + PARTLY
    else:
        caption += WHOLE
    length = BAR / spacing * scale if spacing else 0
    if not 0 < length < image.width:
        return np.asarray(image), caption + UNKNOWN_SCALE
    ends = (10, image.height - 12, 10 + length, image.height - 8)
    ImageDraw.Draw(image).rectangle(ends, fill="white", outline="black")
    return np.asarray(image), f"{caption}The bar is {BAR:g} mm long."
