"""Decode image files of many formats to small RGB squares, and encode pixels.

Image files are untrusted: their size is checked before they are decoded, and errors name the file.
"""

from __future__ import annotations

import io
import os
import struct
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from transfer_utils.errors import UserError
from transfer_utils.utils.text import printable

MAX_PIXELS = 64_000_000  # width x height; phone cameras reach 50 million
MAX_IMAGE_BYTES = 256 << 20
PREFIX = 16  # bytes by which Pillow recognises a format

# Pillow detects the format from the content. PostScript is left out, because Ghostscript would run the program in the
# file, and icons are, because Pillow decodes them before their size can be checked.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM", "JPEG2000", "TGA")

# How to turn a picture upright, by its orientation in EXIF (CIPA DC-008, section 4.6.4); 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")  # ISO/IEC 23008-12, annex B


class BadImage(UserError):
    """A readable file that is not an image or is too large; the message names the file and the reason."""


def encode_image(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image, uint8 (height, width, 3), as the content of a file, with the options of Pillow's ``save``."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(file, kind, **options)
    return file.getvalue()


def decode_image(source: str | os.PathLike | bytes, side: int, name: str = "") -> np.ndarray:
    """Decode one image file to a square of RGB pixels.

    The first frame is used, rotated by its EXIF orientation. Its largest centred square is cropped and resized: with
    antialiasing (Lanczos) to shrink it, bicubically to enlarge it. Transparent pixels are placed on white. Grey,
    palette and CMYK images become RGB; values of 12 and 16 bits are scaled to 8 bits (32-bit integers are clipped to 16
    bits first). Float images have no fixed range and are refused.

    Args:
        source: a path, or the content of a file.
        side: of the result, in pixels.
        name: used in error messages instead of the path.

    Returns:
        uint8 (side, side, 3), 0-255.

    Raises:
        BadImage: the file is empty, truncated, not an image, a float image, over 256 MiB, or over 64 megapixels.
        UserError: the file does not exist or cannot be read.
    """
    name = name or ("the image" if isinstance(source, bytes) else printable(os.fspath(source)))
    content = source if isinstance(source, bytes) else read_image_file(source, name)
    if not content:
        raise BadImage(f"{name}: the file is empty")
    try:
        with _open(io.BytesIO(content)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadImage(f"{name}: {width} x {height} pixels; the limit is {MAX_PIXELS / 1e6:g} million")
            # A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but at no less than twice the size needed.
            image.draft(None, (2 * side, 2 * side))
            values = _integers(image)  # now: a turned or cropped copy has no tags
            return np.array(_square(_to_rgb(_centre(_upright(image)), *values), side))
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # a damaged file can make the decoders raise any exception
        raise BadImage(f"{name}: {str(error) or type(error).__name__}") from error


def read_image_file(path: str | os.PathLike, name: str) -> bytes:
    """Return the content of an image file.

    Raises:
        BadImage: it is larger than 256 MiB; UserError: it does not exist or cannot be read. Both use ``name``.
    """
    if not os.path.isfile(path):
        raise UserError(f"{name}: there is no such image file.")
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_IMAGE_BYTES:
                raise BadImage(f"{name}: {size >> 20} MiB; the limit is {MAX_IMAGE_BYTES >> 20} MiB")
            return file.read(size)  # not read(MAX_IMAGE_BYTES), which would allocate that much memory
    except OSError as error:
        raise UserError(f"{name}: the file cannot be read: {error.strerror}.") from error


def measure_image(source: str | os.PathLike | bytes) -> tuple[int, int, str] | None:
    """Return the width, height and mode of an image file from its header, or None if it is not an image or too large.

    The pixels are not decoded. Width and height are those in the file, before its EXIF orientation is applied.

    Args:
        source: a path, or the content of a file.
    """
    try:
        if not isinstance(source, bytes) and os.stat(source).st_size > MAX_IMAGE_BYTES:
            return None
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file, _open(file) as image:
            return image.width, image.height, image.mode
    except Exception:  # as in decode_image
        return None


def is_picture(path: str | bytes | os.PathLike) -> bool:
    """Return whether a file begins like one of the formats that can be read, whatever its name."""
    with open(path, "rb") as file:
        prefix = file.read(PREFIX)
    Image.init()
    accepting = (Image.OPEN.get(form, (None, None))[1] for form in FORMATS)
    return any(accept is not None and accept(prefix) is True for accept in accepting)


def resize_images(images: np.ndarray, side: int) -> np.ndarray:
    """Resize square RGB images, uint8 (n, old, old, 3), to uint8 (n, side, side, 3) as ``decode_image`` does."""
    if images.shape[1] == side:
        return images
    resized = np.empty((len(images), side, side, 3), np.uint8)
    for target, image in zip(resized, images, strict=True):
        target[:] = _square(Image.fromarray(image), side)
    return resized


def _open(file: BinaryIO) -> Image.Image:
    """Open an image without decoding it, as ``Image.open`` does.

    ``Image.open`` itself warns about large images, or refuses them without a width and height.
    """
    Image.init()
    prefix = file.read(PREFIX)
    for form in FORMATS:
        factory, accept = Image.OPEN.get(form, (None, None))
        if factory and (accept is None or accept(prefix) is True):
            file.seek(0)
            try:
                return factory(file, "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue  # the content is of another format
    if prefix[4:8] == b"ftyp" and prefix[8:12] in HEIC_BRANDS:
        raise ValueError("a HEIC picture, which cannot be read: convert it to JPEG first")
    raise ValueError("not a picture that can be read")


def _upright(image: Image.Image) -> Image.Image:
    """Return a picture turned by its orientation in EXIF.

    ``ImageOps.exif_transpose`` also writes EXIF anew, which fails where a tag that nobody asks for is malformed.
    """
    image.load()  # before EXIF is read: Pillow turns a TIFF itself when it loads it
    try:
        turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except (SyntaxError, ValueError, struct.error):  # damaged EXIF; the pixels are good
        return image
    return image if turn is None else image.transpose(turn)


def _integers(image: Image.Image) -> tuple[int, bool]:
    """Return which value of a grey picture with more than 8 bits is white, and whether it is stored as a negative.

    Pillow inverts a negative TIFF of 8 bits, and leaves the values of one with more bits as they are.
    """
    tags = getattr(image, "tag_v2", {})
    white = 4095 if tags.get(ExifTags.Base.BitsPerSample) == (12,) else 65535
    return white, tags.get(ExifTags.Base.PhotometricInterpretation) == 0


def _centre(image: Image.Image) -> Image.Image:
    width, height = image.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    return image.crop((left, top, left + edge, top + edge))


def _to_rgb(image: Image.Image, white: int, negative: bool) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats, which have no fixed range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        # Pillow would clip the values at 255.
        values = np.clip(np.asarray(image), 0, white).astype(np.uint32)
        values = white - values if negative else values
        if (transparent := image.info.get("transparency")) is not None:
            values[values == transparent] = white
        levels = (255 * values + white // 2) // white  # rounded
        image = Image.fromarray(levels.astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _square(image: Image.Image, side: int) -> Image.Image:
    shrinks = image.width > side
    return image.resize((side, side), Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC, reducing_gap=3)
