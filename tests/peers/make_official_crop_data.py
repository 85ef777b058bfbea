#!/usr/bin/env python3
"""Writes tests/data/official_crop: what Pillow makes of pictures that are prepared for the official RePaint program.

usage: make_official_crop_data.py [FOLDER]

The preparation: RGB; BOX to (width // 2, height // 2) while the shorter side is at least twice the size; BICUBIC to
round(side * size / shorter side); the middle size x size pixels. The inputs are not stored: input() gives the bytes of
a picture from its width, height and channels, and tests/official_crop.cpp does the same. crops.txt has one line a case:

WIDTH HEIGHT CHANNELS SIZE FNV

FNV being the 64-bit FNV-1a hash of the result's bytes (rows, pixels, RGB), in hexadecimal. small.png and mask.png are
results to look at when a hash differs: 50 x 37 x 3 -> 16 and 37 x 50 x 1 -> 16.

Pillow 9.2 to 12.0 give these bytes. Pillow 13 resizes the columns of tall pictures first and differs there by a rounding.
"""
import pathlib
import sys

import numpy
import PIL
from PIL import Image

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CASES = [  # width, height, channels, size
    (256, 256, 3, 256), (256, 256, 1, 256),  # nothing to do
    (300, 200, 3, 256), (200, 300, 3, 256), (300, 200, 1, 256), (100, 60, 3, 256),  # up
    (700, 530, 3, 256), (513, 1024, 3, 256), (1024, 513, 1, 256), (512, 512, 3, 256), (511, 600, 3, 256),
    (1025, 2051, 3, 256), (1234, 777, 3, 256), (1099, 1100, 1, 256),
    (257, 256, 3, 256), (256, 257, 3, 256), (259, 261, 1, 256), (255, 255, 3, 256),
    (97, 64, 3, 32), (33, 32, 3, 32), (31, 33, 3, 32), (65, 129, 3, 32), (1, 1, 3, 32), (1, 7, 3, 32), (7, 1, 1, 32),
    (5, 3, 3, 1), (2, 2, 1, 1), (3, 2, 3, 2), (1000, 3, 3, 8), (3, 1000, 3, 8),
    (50, 37, 3, 16), (37, 50, 1, 16), (178, 218, 3, 64), (218, 178, 1, 64), (401, 599, 3, 128),
]


def input_bytes(width, height, channels):
    """Edges, gradients and noise: byte i of a hash of i, made coarse and 0 or 255 in stripes."""
    i = numpy.arange(width * height * channels, dtype=numpy.uint64)
    x = (i * 2654435761 + 12345) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * 2246822519) & 0xFFFFFFFF
    x ^= x >> 13
    pixel = i // channels
    column, row = pixel % width, pixel // width
    byte = (x >> 11) & 0xFF
    byte = numpy.where((column // 9 + row // 7) % 3 == 0, 255 * ((column // 5) % 2), byte)
    byte = numpy.where((column // 9 + row // 7) % 3 == 1, (column * 3 + row * 5) & 0xFF, byte)
    return byte.astype(numpy.uint8)


def picture(width, height, channels):
    pixels = input_bytes(width, height, channels)
    if channels == 1:
        return Image.fromarray(pixels.reshape(height, width))
    return Image.fromarray(pixels.reshape(height, width, channels))


def prepared(image, size):
    image = image.convert("RGB")
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), resample=Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), resample=Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "tests/data/official_crop"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# Pillow {PIL.__version__}: WIDTH HEIGHT CHANNELS SIZE FNV-1a of the result"]
    for width, height, channels, size in CASES:
        result = prepared(picture(width, height, channels), size)
        lines.append(f"{width} {height} {channels} {size} {fnv(result.tobytes()):016x}")
    (folder / "crops.txt").write_text("\n".join(lines) + "\n")
    prepared(picture(50, 37, 3), 16).save(folder / "small.png")
    prepared(picture(37, 50, 1), 16).save(folder / "mask.png")


if __name__ == "__main__":
    main()
