#!/usr/bin/env python3
"""Face pictures from the Noto Color Emoji font, to train a small demo model on.

usage: make_faces.py SIZE OUT [--font NotoColorEmoji.ttf] [--held-out SHARE]

Draws every face, portrait and animal face of the font on white. The font is the Debian package fonts-noto-color-emoji
(copyright Google, SIL Open Font License 1.1); version 2.042 gives 1,015 pictures.

OUT.safetensors   uint8 [SIZE, SIZE, 3] each, under "train/FAMILY/GLYPH" and "held/FAMILY/GLYPH". One face in all its
                  skin tones, hair colours and genders is a family. A tenth of the families is held out: those whose
                  names (code points) have the smallest SHA-256.
OUT.npy           uint8 [N, SIZE, SIZE, 3], all of them

Needs fonttools, numpy, pillow and safetensors.
"""
import argparse
import hashlib
import io
import pathlib

import numpy
from fontTools.ttLib import TTFont
from PIL import Image
from safetensors.numpy import save_file

DEBIAN_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
SQUARE = 136  # the glyphs are 136 x 128

# A sequence that draws one of these is a portrait ...
PORTRAITS = {
    0x1F385, 0x1F466, 0x1F467, 0x1F468, 0x1F469, 0x1F46E, 0x1F470, 0x1F471, 0x1F472, 0x1F473, 0x1F474, 0x1F475, 0x1F476,
    0x1F477, 0x1F478, 0x1F47C, 0x1F481, 0x1F482, 0x1F486, 0x1F487, 0x1F575, 0x1F645, 0x1F646, 0x1F64B, 0x1F64D, 0x1F64E,
    0x1F926, 0x1F934, 0x1F935, 0x1F936, 0x1F937, 0x1F977, 0x1F9D1, 0x1F9D2, 0x1F9D3, 0x1F9D4, 0x1F9D5, 0x1F9D9, 0x1F9DB,
    0x1F9DD, 0x1F9DE, 0x1F9DF, 0x1FAC5,
}  # fmt: skip
# ... unless it draws two of these (a couple, a family) ...
PERSONS = {0x1F466, 0x1F467, 0x1F468, 0x1F469, 0x1F9D1}
# ... or one of these: the person is shown whole or small.
WHOLE_FIGURES = {
    0x26F9, 0x2764, 0x27A1, 0x1F37C, 0x1F3C3, 0x1F3C4, 0x1F3CA, 0x1F3CB, 0x1F3CC, 0x1F46B, 0x1F46C, 0x1F46D, 0x1F46F,
    0x1F483, 0x1F48B, 0x1F57A, 0x1F6A3, 0x1F6B4, 0x1F6B5, 0x1F6B6, 0x1F91D, 0x1F938, 0x1F939, 0x1F93D, 0x1F93E, 0x1F9AF,
    0x1F9BC, 0x1F9BD, 0x1F9CD, 0x1F9CE, 0x1F9D6, 0x1F9D7, 0x1F9D8,
}  # fmt: skip
FACES = {
    *range(0x1F42D, 0x1F43D), *range(0x1F600, 0x1F645), *range(0x1F910, 0x1F918), *range(0x1F920, 0x1F930),
    *range(0x1F970, 0x1F977), 0x1F978, 0x1F979, 0x1F97A, 0x1F981, 0x1F984, 0x1F98A, 0x1F993, 0x1F994, 0x1F9D0,
    *range(0x1FAE0, 0x1FAE6), 0x1FAE8,
}  # fmt: skip
JOINERS = {0x200D, 0xFE0F}

# What a family does not tell apart: skin tones, hair, genders, and persons who differ in nothing else.
VARIATIONS = JOINERS | {*range(0x1F3FB, 0x1F400), *range(0x1F9B0, 0x1F9B4), 0x2640, 0x2642}
SAME_PERSON = {
    0x1F466: 0x1F9D2, 0x1F467: 0x1F9D2,  # boy and girl: child
    0x1F468: 0x1F9D1, 0x1F469: 0x1F9D1, 0x1F471: 0x1F9D1,  # man, woman, and with blond hair: person
    0x1F474: 0x1F9D3, 0x1F475: 0x1F9D3,  # old man and old woman: old person
    0x1F934: 0x1FAC5, 0x1F478: 0x1FAC5,  # prince and princess: with crown
    0x1F936: 0x1F385, 0x1F384: 0x1F385,  # Mother Christmas, and a person with a Christmas tree: Father Christmas
}  # fmt: skip
FATHER_CHRISTMAS = 0x1F385


def glyph_sequences(font):
    """Glyph name -> the code points it draws, through the font's ligatures."""
    found = {name: (codepoint,) for codepoint, name in font.getBestCmap().items()}
    for _ in range(4):  # ligatures of ligatures
        for lookup in font["GSUB"].table.LookupList.Lookup:
            for table in lookup.SubTable:
                table = getattr(table, "ExtSubTable", table)
                for first, ligatures in getattr(table, "ligatures", {}).items():
                    for ligature in ligatures:
                        parts = [first, *ligature.Component]
                        if ligature.LigGlyph not in found and all(part in found for part in parts):
                            found[ligature.LigGlyph] = tuple(c for part in parts for c in found[part])
    return found


def is_face(codepoints):
    core = [c for c in codepoints if c not in JOINERS]
    if any(c in PORTRAITS for c in core):
        return sum(c in PERSONS for c in core) <= 1 and not any(c in WHOLE_FIGURES for c in core)
    return codepoints[0] in FACES


def family(codepoints):
    """What all variants of one face have in common, as a name."""
    core = {SAME_PERSON.get(c, c) for c in codepoints if c not in VARIATIONS}
    if FATHER_CHRISTMAS in core:
        core = {FATHER_CHRISTMAS}
    return "-".join(f"{c:x}" for c in sorted(core))


def held_out(families, share):
    by_hash = sorted(families, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(by_hash[: round(share * len(by_hash))])


def picture(png, size):
    """A glyph's PNG, centred on a white square and resized: uint8 [size, size, 3]."""
    glyph = Image.open(io.BytesIO(png)).convert("RGBA")
    square = Image.new("RGBA", (SQUARE, SQUARE), "white")
    square.alpha_composite(glyph, ((SQUARE - glyph.width) // 2, (SQUARE - glyph.height) // 2))
    return numpy.asarray(square.convert("RGB").resize((size, size), Image.LANCZOS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", type=int)
    parser.add_argument("out")
    parser.add_argument("--font", default=DEBIAN_FONT)
    parser.add_argument("--held-out", type=float, default=0.1, metavar="SHARE", help="of the families")
    args = parser.parse_args()

    font = TTFont(args.font)
    bitmaps = font["CBDT"].strikeData[0]
    drawn = {name: codes for name, codes in glyph_sequences(font).items() if name in bitmaps and is_face(codes)}
    pictures = {name: picture(bitmaps[name].imageData, args.size) for name in sorted(drawn)}
    print(f"{len(pictures)} pictures of {args.size} x {args.size} in {args.out}")
    if args.out.endswith(".npy"):
        numpy.save(args.out, numpy.stack(list(pictures.values())))
        return
    families = {name: family(codes) for name, codes in drawn.items()}
    held = held_out(set(families.values()), args.held_out)
    sides = {name: "held" if families[name] in held else "train" for name in pictures}
    save_file({f"{sides[name]}/{families[name]}/{name}": drawing for name, drawing in pictures.items()}, args.out)
    digest = hashlib.sha256(pathlib.Path(args.out).read_bytes()).hexdigest()
    print(
        f"{len(held)} of {len(set(families.values()))} families held out, {list(sides.values()).count('held')} pictures"
    )
    print(f"SHA-256 {digest}")


if __name__ == "__main__":
    main()
