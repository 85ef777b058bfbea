#!/usr/bin/env python3
"""Photographs from Debian packages, at several scales, to train a model of photo patches on.

usage: make_photos.py PACKAGES OUT.safetensors [--photos photos.csv] [--held-out 20] [--credits CREDITS.txt]

PACKAGES   a folder for the unpacked packages; those that are missing are fetched with apt-get and dpkg (Debian 12)
OUT        uint8 [height, width, 3] under "train/NUMBER-NAME@WIDTH" and "held/NUMBER-NAME@WIDTH"

photos.csv lists package, version, path, author, licence and source of each photograph; a path with "!" goes on inside
a Qt resource file. Each photograph is reduced to at most 2560 pixels, then by the square root of two again and again
down to a shorter side of 96. Held out, at every scale, are those whose file names have the smallest SHA-256, so that
pictures of one name stay together and more photographs do not move the others. --credits writes who made each
photograph, as photo.LICENSE.txt lists them. Needs numpy, pillow and safetensors.
"""
import argparse
import csv
import hashlib
import io
import pathlib
import struct
import subprocess
import zlib

import numpy
from PIL import Image
from safetensors.numpy import save_file

LARGEST_SIDE = 2560
SMALLEST_SIDE = 96
STEP = 2**0.5

DIRECTORY, COMPRESSED, ZSTD = 2, 1, 4  # flags of a node in a Qt resource file


def unpacked(package, folder):
    """The folder of an unpacked package; fetches it if need be."""
    root = folder / package
    if not root.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "--quiet", package], cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        partial = folder / f"{package}.partial"
        subprocess.run(["dpkg", "--extract", archive, partial], check=True)
        partial.rename(root)
    return root


def resource(data, wanted):
    """One file of a Qt binary resource file: its header names a tree of nodes, their names and their data."""
    if data[:4] != b"qres":
        raise ValueError("not a Qt resource file")
    version, tree, contents, names = struct.unpack(">4I", data[4:20])
    node_size = 22 if version >= 2 else 14

    def name_of(at):
        (length,) = struct.unpack_from(">H", data, names + at)
        start = names + at + 6
        return data[start : start + 2 * length].decode("utf-16-be")

    children = [0]
    for part in [""] + wanted.split("/"):
        for node in children:
            name, flags = struct.unpack_from(">IH", data, tree + node * node_size)
            if node == 0 or name_of(name) == part:
                break
        else:
            raise FileNotFoundError(wanted)
        at = tree + node * node_size + 6
        if flags & DIRECTORY:
            count, first = struct.unpack_from(">II", data, at)
            children = range(first, first + count)
    if flags & (DIRECTORY | ZSTD):
        raise ValueError(f"{wanted}: a folder, or compressed in a way this script does not read")
    start = contents + struct.unpack_from(">HHI", data, at)[2]
    (size,) = struct.unpack_from(">I", data, start)
    content = data[start + 4 : start + 4 + size]
    return zlib.decompress(content[4:]) if flags & COMPRESSED else content


def read(path, root):
    outer, _, inner = path.partition("!")
    content = (root / outer).read_bytes()
    return Image.open(io.BytesIO(resource(content, inner) if inner else content)).convert("RGB")


def scales(photo):
    """The photograph at its own size or the largest allowed, and ever smaller."""
    longest = min(max(photo.size), LARGEST_SIDE)
    while True:
        factor = longest / max(photo.size)
        size = tuple(max(1, round(side * factor)) for side in photo.size)
        if min(size) < SMALLEST_SIDE:
            return
        yield photo if size == photo.size else photo.resize(size, Image.LANCZOS, reducing_gap=3.0)
        longest /= STEP


def credits(rows, names, held):
    """Two or three lines for each photograph."""
    lines, package = [], None
    for row, name in zip(rows, names):
        if row["package"] != package:
            package = row["package"]
            lines += [f"{package} {row['version']}", ""]
        path = row["path"].rpartition("!")[2].removeprefix("gcompris/src/activities/")
        lines += [f"  {path}{' (held out)' if name in held else ''}", f"    {row['author']}; {row['licence']}"]
        lines += [f"    {row['source']}"] if row["source"] else []
        lines += [""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=pathlib.Path)
    parser.add_argument("out")
    parser.add_argument("--photos", type=pathlib.Path, default=pathlib.Path(__file__).with_name("photos.csv"))
    parser.add_argument("--held-out", type=int, default=20, metavar="N")
    parser.add_argument("--credits", type=pathlib.Path)
    args = parser.parse_args()

    with open(args.photos, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [pathlib.PurePosixPath(row["path"]).name for row in rows]
    by_hash = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    held = set(by_hash[: args.held_out])
    if args.credits:
        args.credits.write_text(credits(rows, names, held), encoding="utf-8")
    pictures = {}
    for number, (row, name) in enumerate(zip(rows, names)):
        photo = read(row["path"], unpacked(row["package"], args.packages))
        for scaled in scales(photo):
            side = "held" if name in held else "train"
            pictures[f"{side}/{number:03}-{pathlib.PurePosixPath(name).stem}@{scaled.width}"] = numpy.asarray(scaled)
    save_file(pictures, args.out)
    pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures.values())
    digest = hashlib.sha256(pathlib.Path(args.out).read_bytes()).hexdigest()
    print(f"{len(rows)} photographs, {sum(n in held for n in names)} held out: {', '.join(sorted(held))}")
    print(f"{len(pictures)} pictures, {pixels / 1e6:.0f} million pixels in {args.out}, SHA-256 {digest}")


if __name__ == "__main__":
    main()
