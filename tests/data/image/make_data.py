#!/usr/bin/env python3
"""Makes the pictures and expected pixels of this folder, with Pillow 13 as the oracle.

Run in this folder; the files are kept in the repository, so tests need no Python. Each NAME.jpg
or NAME.png goes with NAME.npy, the upright pixels that a decoder must give."""
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

rng = np.random.default_rng(7)
WIDTH, HEIGHT = 24, 18


def smooth(height, width, channels):
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 110 * np.sin(x / (3.0 + c) + y / (5.0 - c) + c) for c in range(channels)]
    return np.clip(np.stack(waves, -1) + rng.normal(0, 6, (height, width, channels)), 0,
                   255).astype(np.uint8)


def keep(name, pixels):
    np.save(name + ".npy", np.ascontiguousarray(pixels))


rgb = Image.fromarray(smooth(HEIGHT, WIDTH, 3))
grey = Image.fromarray(smooth(HEIGHT, WIDTH, 1)[:, :, 0])


def upright(path, mode="RGB"):
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert(mode))


rgb.save("rgb.jpg", quality=90)
keep("rgb", upright("rgb.jpg"))
rgb.save("progressive.jpg", quality=80, progressive=True)
keep("progressive", upright("progressive.jpg"))
grey.save("grey.jpg", quality=90)
keep("grey", upright("grey.jpg", "L")[:, :, None])
rgb.convert("CMYK").save("cmyk.jpg", quality=90)
keep("cmyk", upright("cmyk.jpg"))
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    name = f"exif{orientation}"
    rgb.save(name + ".jpg", quality=70, exif=exif)
    keep(name, upright(name + ".jpg"))

rgb.save("rgb8.png")
keep("rgb8", np.asarray(rgb))
grey.point(lambda v: 255 * (v > 127)).convert("1").save("bits1.png")
keep("bits1", upright("bits1.png", "L")[:, :, None])
rgb.quantize(11).save("palette.png")
keep("palette", upright("palette.png"))
exif = Image.Exif()
exif[0x0112] = 6
rgb.save("exif6.png", exif=exif)
keep("exif6_png", upright("exif6.png"))


def over_white(pixels, colours):
    alpha = pixels[..., colours:].astype(int)
    mixed = pixels[..., :colours].astype(int) * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


rgba = np.concatenate([np.asarray(rgb), smooth(HEIGHT, WIDTH, 1)], -1)
Image.fromarray(rgba).save("rgba.png")
keep("rgba", over_white(rgba, 3))
la = np.stack([np.asarray(grey), smooth(HEIGHT, WIDTH, 1)[:, :, 0]], -1)
Image.fromarray(la, "LA").save("grey_alpha.png")
keep("grey_alpha", over_white(la, 1))


# What Pillow cannot write: 16 bits of RGB, and Adam7 interlace.
def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(
        ">I", zlib.crc32(kind + body))


def png(path, width, height, depth, colour, interlace, rows):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) +
                chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


deep = rng.integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
png("rgb16.png", WIDTH, HEIGHT, 16, 2, 0,
    b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep))
keep("rgb16", ((deep.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8))
flat = np.asarray(rgb)
passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
          (1, 0, 2, 1)]
rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in flat[y::dy, x::dx])
png("interlaced.png", WIDTH, HEIGHT, 8, 2, 1, rows)
keep("interlaced", flat)
assert (upright("interlaced.png") == flat).all()

# An image bomb: 40,000 x 40,000 pixels promised by a file of a few bytes.
png("bomb.png", 40000, 40000, 8, 2, 0, b"\0" * 1000)
small = io.BytesIO()
rgb.save(small, "JPEG")
data = bytearray(small.getvalue())
at = data.index(b"\xff\xc0") + 5
data[at:at + 4] = struct.pack(">HH", 60000, 60000)
open("bomb.jpg", "wb").write(data)

source = smooth(29, 37, 3)
source[5:9, 5:9] = 255
source[12:20, 20:30] = rng.integers(0, 256, (8, 10, 3))
keep("resize_source", source)
filters = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
for name, which in filters.items():
    for width, height in [(16, 12), (37, 11), (9, 29), (53, 61), (1, 1), (40, 20), (19, 7),
                          (33, 5), (28, 28), (30, 8)]:
        out = Image.fromarray(source).resize((width, height), which)
        keep(f"resize_{name}_{width}x{height}", np.asarray(out))
keep("luma", np.asarray(Image.fromarray(source).convert("L"))[:, :, None])
