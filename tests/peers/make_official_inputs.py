#!/usr/bin/env python3
"""Writes tests/data/official/inputs.safetensors: the pictures and masks of the official runs there, decoded, for
programs without a PNG decoder.

usage: make_official_inputs.py

Tensors, uint8: RUN.image (images, 3, rows, columns) of RUN/in*.png, RUN.keep (rows, columns) of RUN/keep.png.
"""
import pathlib

import numpy
from PIL import Image
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data" / "official"

tensors = {}
for run in ("soft_mask", "nested_jumps"):
    images = [numpy.asarray(Image.open(path).convert("RGB")) for path in sorted((FOLDER / run).glob("in*.png"))]
    tensors[f"{run}.image"] = numpy.ascontiguousarray(numpy.stack(images).transpose(0, 3, 1, 2))
    tensors[f"{run}.keep"] = numpy.ascontiguousarray(Image.open(FOLDER / run / "keep.png").convert("L"))
save_file(tensors, FOLDER / "inputs.safetensors")
