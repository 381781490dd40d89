"""Images of every format become RGB squares, and bad files are named."""

from __future__ import annotations

import io
import os
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.memory import memory_below
from tests.pictures import bomb, encoded
from transfer_utils.data import images
from transfer_utils.data.images import BadImage, decode_image, is_picture, measure_image, resize_images
from transfer_utils.errors import UserError

GREY = {"1": 255, "L": 90, "LA": (90, 255), "P": 90, "PA": (90, 255), "I;16": 90 * 257, "I": 90 * 257}
COLOURS = {"RGB": (90, 90, 90), "RGBA": (90, 90, 90, 255), "CMYK": (0, 0, 0, 165), "YCbCr": (90, 128, 128)}
FILES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"),
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "WEBP": ("L", "P", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "AVIF": ("L", "RGB", "RGBA"),
}


def noise(side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


@given(
    kind_and_mode=st.sampled_from([(kind, mode) for kind, modes in FILES.items() for mode in modes]),
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    side=st.sampled_from([8, 32]),
)
@example(kind_and_mode=("PNG", "I;16"), width=40, height=31, side=32)
@pytest.mark.fault(19)
def test_every_mode_and_size_becomes_an_rgb_square(kind_and_mode, width, height, side):
    kind, mode = kind_and_mode
    image = Image.new(mode, (width, height), (GREY | COLOURS)[mode])
    if mode in ("P", "PA"):
        image.putpalette([level for level in range(256) for _ in range(3)])
    # Pillow 12.3, the last for Python 3.10, cannot read the YCbCr that it writes to an uncompressed TIFF.
    compressed = {"compression": "tiff_lzw"} if kind_and_mode == ("TIFF", "YCbCr") else {}
    pixels = decode_image(encoded(image, kind, **compressed), side)
    assert pixels.shape == (side, side, 3) and pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.astype(int), 255 if mode == "1" else 90, atol=4)


@pytest.mark.fault(20)
def test_postscript_is_refused_whatever_the_name_of_the_file(tmp_path, monkeypatch):
    """Pillow would pass it to Ghostscript, which would run the program in it."""
    monkeypatch.setattr(subprocess, "check_call", lambda *command, **how: pytest.fail("a program was run"))
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n{} loop\n")
    with pytest.raises(BadImage, match=r"cat.jpg: not a picture that can be read"):
        decode_image(photo, 8)


def test_an_image_of_the_right_size_stays_unchanged(tmp_path):
    noise().save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", encoded(noise())):
        np.testing.assert_array_equal(decode_image(source, 32), np.asarray(noise()))


@pytest.mark.fault(19)
def test_16_bit_values_are_scaled_and_not_clipped():
    levels = np.array([[0, 257, 32768, 65535]] * 4, np.uint16)
    pixels = decode_image(encoded(Image.fromarray(levels)), 4)
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 1, 128, 255])


@pytest.mark.parametrize(
    ("bits", "values", "negative", "expected"),
    [
        (12, bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00]), False, [0, 128, 255, 0]),  # 0, 2048, 4095, 0
        (16, np.array([0, 257, 32768, 65535], "<u2").tobytes(), True, [255, 254, 127, 0]),
    ],
)
def test_grey_tiffs_of_more_than_8_bits_are_scaled_and_negatives_inverted(bits, values, negative, expected):
    values *= 4  # as many equal rows
    tags = {256: 4, 257: 4, 258: bits, 259: 1, 262: 0 if negative else 1, 273: 8, 277: 1, 278: 4, 279: len(values)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file = struct.pack("<2sHI", b"II", 42, 8 + len(values)) + values + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert decode_image(file, 4)[0, :, 0].tolist() == expected


def test_16_bit_pixels_of_the_transparent_value_become_white():
    image = Image.fromarray(np.array([[0, 257, 65535]] * 3, np.uint16))
    for transparent, expected in ((0, [255, 1, 255]), (257, [0, 255, 255])):
        pixels = decode_image(encoded(image, transparency=transparent), 3)
        np.testing.assert_array_equal(pixels[0, :, 0], expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.fault(19)
def test_transparent_pixels_become_white(mode):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": image.getpixel((0, 0))} if mode == "P" else {}
    assert (decode_image(encoded(image, **options), 8) == 255).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
@pytest.mark.fault(19)
def test_the_first_frame_of_an_animation_is_used(kind):
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode_image(encoded(red, kind, save_all=True, append_images=[blue], **options), 16)
    np.testing.assert_array_equal(pixels, np.asarray(red))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_as_pillow_does(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(noise(16), form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    with Image.open(io.BytesIO(content)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode_image(content, 16), upright)


@pytest.mark.fault(20)
def test_a_turned_picture_with_a_malformed_tag_is_read():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0213] = 1  # YCbCrPositioning
    content = encoded(noise(16), "JPEG", exif=exif, quality=95)
    start = content.index(bytes([0x02, 0x13, 0x00, 0x03]))  # the tag, and its type SHORT
    broken = content[:start] + bytes([0x02, 0x13, 0x00, 0x01]) + content[start + 4 :]  # BYTE, which Pillow cannot write
    np.testing.assert_array_equal(decode_image(broken, 16), decode_image(content, 16))


@pytest.mark.parametrize("exif", [b"Exif\0\0no header", b"Exif\0\0II*\0"])
def test_a_picture_with_damaged_exif_is_read(exif):
    # Without dpi, Pillow reads EXIF when it opens the file, and passes over the error.
    good, bad = (encoded(noise(16), "JPEG", dpi=(72, 72), **options) for options in ({}, {"exif": exif}))
    np.testing.assert_array_equal(decode_image(bad, 16), decode_image(good, 16))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.fault(20)
def test_an_image_that_is_not_square_is_cropped_to_its_centre(wide):
    stripes = np.zeros((32, 96, 3), np.uint8)
    stripes[:, 32:64] = [0, 255, 0]
    pixels = decode_image(encoded(Image.fromarray(stripes if wide else stripes.swapaxes(0, 1))), 32)
    assert (pixels == [0, 255, 0]).all()


def test_shrinking_averages_pixels():
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    pixels = decode_image(encoded(Image.fromarray(board.astype(np.uint8))), 32)
    assert np.abs(pixels.astype(int) - 127).max() < 10


@pytest.mark.fault(20)
def test_a_large_jpeg_is_decoded_at_reduced_size(monkeypatch):
    sizes, centre = [], images._centre
    monkeypatch.setattr(images, "_centre", lambda image: sizes.append(image.size) or centre(image))
    pixels = decode_image(encoded(Image.new("RGB", (5000, 4000), (10, 200, 30)), "JPEG"), 32)
    assert sizes == [(625, 500)]  # 20 megapixels at an eighth
    np.testing.assert_allclose(pixels.astype(int), np.broadcast_to([10, 200, 30], (32, 32, 3)), atol=3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("side", [8001, 12000, 60000])
@pytest.mark.fault(20)
def test_an_image_bomb_is_refused_by_the_size_in_its_header(side):
    with pytest.raises(BadImage, match=rf"bomb\.png: {side} x {side} pixels; the limit is 64 million"):
        decode_image(bomb(side), 32, name="bomb.png")


@pytest.mark.fault(20)
def test_a_file_that_is_too_large_is_not_read(tmp_path):
    noise().save(tmp_path / "a.png")
    assert measure_image(tmp_path / "a.png") == (32, 32, "RGB")
    os.truncate(tmp_path / "a.png", images.MAX_IMAGE_BYTES + 1)
    with memory_below(1e6), pytest.raises(BadImage, match="256 MiB; the limit is 256 MiB"):
        decode_image(tmp_path / "a.png", 32)
    assert measure_image(tmp_path / "a.png") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no picture at all", "not a picture"),
        (encoded(noise(), "JPEG")[:-100], "truncated"),
        (encoded(noise())[:400], "truncated"),
        (encoded(noise(), "BMP")[:400], "truncated"),
        (encoded(Image.new("F", (8, 8)), "TIFF"), "floats"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture, which cannot be read: convert it to JPEG"),
    ],
)
@pytest.mark.fault(20)
def test_the_error_for_a_bad_image_names_the_file_and_the_reason(tmp_path, content, reason):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(BadImage, match=rf"bad\.png: .*{reason}"):
        decode_image(tmp_path / "bad.png", 32)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
@pytest.mark.fault(20)
def test_damaged_content_gives_an_image_or_an_error_that_names_it(data, kind):
    content = bytearray(encoded(noise(), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        assert decode_image(bytes(content), 16).shape == (16, 16, 3)
    except BadImage as error:
        assert str(error).startswith("the image: ")


def test_a_missing_file_or_a_folder_is_an_error_without_control_characters(tmp_path):
    for path in (tmp_path / "none.png", tmp_path, tmp_path / "a\x1b[31m\n.png"):
        with pytest.raises(UserError, match="there is no such image file") as caught:
            decode_image(path, 32)
    assert "\x1b" not in str(caught.value) and r"a\x1b[31m\n.png" in str(caught.value)


def test_arrays_are_resized_like_image_files():
    array = np.asarray(noise())[None]
    np.testing.assert_array_equal(resize_images(array, 20)[0], decode_image(encoded(noise()), 20))
    assert resize_images(array, 32) is array


@pytest.mark.parametrize("kind", FILES)
def test_an_image_is_recognised_and_measured_without_decoding_it(tmp_path, kind):
    path = tmp_path / "picture"
    path.write_bytes(encoded(Image.new("RGB", (40, 31)), kind))
    assert is_picture(path) and measure_image(path)[:2] == (40, 31)
    path.write_bytes(b"no picture at all")
    assert not is_picture(path) and measure_image(path) is None
