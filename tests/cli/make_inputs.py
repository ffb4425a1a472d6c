#!/usr/bin/env python3
"""Makes what the command line's tests feed it, with nothing but the standard library:
pictures of one colour each (labels.csv names their classes), .npy tensors, broken files.

Usage: make_inputs.py FOLDER"""
import os
import struct
import sys
import zlib

folder = sys.argv[1]


def write(name, data):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def png(red, green, blue, size=12):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def npy(values, shape, descr="<f4", code="f"):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (descr, "".join("%d," % d for d in shape))
    head = head.ljust(118 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack("<%d%s" % (len(values), code), *values)


os.makedirs(os.path.join(folder, "pictures"), exist_ok=True)
colours = {"red.png": (250, 10, 10), "green.png": (10, 250, 10), "blue.png": (10, 10, 250), "rose.png": (250, 90, 90)}
for name, rgb in colours.items():
    write(os.path.join("pictures", name), png(*rgb))
# The last label is wrong on purpose: a rose is taken for red (0), not for green (1).
write("labels.csv", b"file,class_id\nred.png,0\ngreen.png,1\nblue.png,2\nrose.png,1\n")
write("names.txt", b"n00000001 rouge\nn00000002 vert\nn00000003 bleu\nn00000004 gris\n")
write("a.npy", npy([1, 2], [1, 2]))
write("b.npy", npy([3, 5], [1, 2]))
write("wrong_shape.npy", npy([1, 2, 3], [1, 3]))
write("wrong_type.npy", npy([1, 2], [1, 2], "<i4", "i"))
write("picture.npy", npy([0.0] * 128 + [1.0] * 64, [1, 3, 8, 8]))
write("rows.npy", npy([(i * 7) % 11 - 5.0 for i in range(20)], [5, 4]))
write("mixed.npy", npy([0.5] * 192 + [1.0 if i % 2 else 0.0 for i in range(192)] + [255.0] * 192, [3, 3, 8, 8]))
write("zeros.npy", npy([0.0] * 384, [2, 3, 8, 8]))
write("nan.npy", npy([float("nan")] * 192, [1, 3, 8, 8]))
write("no_picture.png", b"this is text")
write("cut.png", png(1, 2, 3)[:60])
write("text.onnx", b"this is no model at all")
write("empty.onnx", b"")
write("bad.json", b"{ not json")
# CIFAR-10's format: a label byte and three planes of 32x32.
write("cifar.bin", b"".join(bytes([k]) + b"".join(bytes([250 if c == k else 10]) * 1024 for c in range(3)) for k in range(3)))
# 400 pictures of three colours with some noise, and 400 that are darker and mostly of one colour.
def speckled(k, i, light):
    return bytes([k]) + b"".join(bytes((int((230 if c == k else 30) * light) + (i * 7 + p * 13 + c * 5) % 20)
                                       for p in range(1024)) for c in range(3))


write("usual.bin", b"".join(speckled(i % 3, i, 1) for i in range(400)))
write("changed.bin", b"".join(speckled(0 if i % 4 else i % 3, i, 0.4) for i in range(400)))
