#!/usr/bin/env python3
"""Makes the .npy files of this folder with NumPy. Numbers count 0 … 23 in shape (2, 3, 4)."""
import numpy as np

count = np.arange(24).reshape(2, 3, 4)
for code in ["i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8",
             "<c16", ">i2", ">f4", ">f8", ">c8", ">u8"]:
    name = code.replace(">", "big_").replace("<", "")
    np.save(name + ".npy", count.astype(code))
np.save("bool.npy", count % 2 == 1)
np.save("fortran_f4.npy", np.asfortranarray(count.astype("<f4")))
np.save("fortran_big_i4.npy", np.asfortranarray(count.astype(">i4")))
np.save("scalar.npy", np.float32(42))
np.save("empty.npy", np.zeros((0, 3), np.float32))
texts = np.array([["a", "Zoë", ""], ["日本", "🙂!", "end"]])
np.save("unicode.npy", texts)
np.save("unicode_fortran_big.npy", np.asfortranarray(texts.astype(">U4")))
np.save("bytes.npy", np.array([b"one", b"", b"three"]))
np.save("dates.npy", np.array(["2020-01-01"], "M8[D]"))
np.save("records.npy", np.zeros(2, [("a", "<i4"), ("b", "<f4")]))
for version in [(2, 0), (3, 0)]:
    with open(f"version{version[0]}.npy", "wb") as f:
        np.lib.format.write_array(f, count.astype("<f4"), version)
