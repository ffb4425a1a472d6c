#!/usr/bin/env python3
"""Makes tests/data/ops_ort.tar.zst: cases in the form of the ONNX backend tests for operators that
those do not have, with the answers of ONNX Runtime's CPU provider: the com.microsoft operators
that its tools write, and recurrent layers with constant weights. Needs `onnx` and `onnxruntime`
(made with 1.23.2 and 1.30), tar and zstd; the tests only read the archive."""
import os
import shutil
import subprocess
import tempfile

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper as H, numpy_helper as NH

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = tempfile.mkdtemp()
MS = "com.microsoft"
F = np.float32
rng = np.random.default_rng(5)
ort.set_default_logger_severity(4)


def f(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(F)


def u8(*shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


def i8(*shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def s(v):
    return np.array(v, F)


def uz(v):
    return np.array(v, np.uint8)


def iz(v):
    return np.array(v, np.int8)


def value_info(name, a):
    return H.make_tensor_value_info(name, H.np_dtype_to_tensor_dtype(a.dtype), a.shape)


def write(path, data):
    with open(path, "wb") as out:
        out.write(data)


def case(name, op, inputs, n_out=1, domain="", opset=22, wanted=None, const=(), **attrs):
    """inputs: arrays or None; const: indices that are initializers; wanted: outputs used."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
    outs = [f"y{i}" if w else "" for i, w in enumerate(wanted or [True] * n_out)]
    feeds = {n: a for i, (n, a) in enumerate(zip(names, inputs)) if n and i not in const}
    inits = [NH.from_array(inputs[i], names[i]) for i in const if names[i]]
    opsets = [H.make_opsetid("", opset)] + ([H.make_opsetid(domain, 1)] if domain else [])
    node = H.make_node(op, names, outs, domain=domain, **attrs)

    def model(outputs):
        graph = H.make_graph([node], name, [value_info(n, a) for n, a in feeds.items()], outputs,
                             inits)
        return H.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()

    used = [o for o in outs if o]
    session = ort.InferenceSession(model([H.make_empty_tensor_value_info(o) for o in used]),
                                   providers=["CPUExecutionProvider"])
    answers = [np.asarray(a) for a in session.run(None, feeds)]
    folder = os.path.join(OUT, "test_" + name, "test_data_set_0")
    os.makedirs(folder)
    write(os.path.join(folder, "..", "model.onnx"),
          model([value_info(o, a) for o, a in zip(used, answers)]))
    for kind, arrays in (("input", feeds.items()), ("output", zip(used, answers))):
        for i, (n, a) in enumerate(arrays):
            write(os.path.join(folder, f"{kind}_{i}.pb"),
                  NH.from_array(a, n).SerializeToString())


# GELU forms.
x = f(3, 5, 8)
case('ms_gelu', 'Gelu', [x], domain=MS)
case('ms_biasgelu', 'BiasGelu', [x, f(8)], domain=MS)
case('ms_fastgelu', 'FastGelu', [x], domain=MS)
case('ms_fastgelu_bias', 'FastGelu', [x, f(8)], domain=MS)
case('ms_quickgelu', 'QuickGelu', [x], domain=MS, alpha=1.3)

# Fused products and convolutions.
case('ms_fusedmatmul', 'FusedMatMul', [f(2, 5, 4), f(2, 3, 5)], domain=MS, transA=1, transB=1,
     alpha=0.5)
case('ms_fusedmatmul2', 'FusedMatMul', [f(2, 4, 5), f(5, 3)], domain=MS, alpha=2.0)
case('ms_fusedgemm', 'FusedGemm', [f(4, 5), f(3, 5), f(3)], domain=MS, transB=1, alpha=0.5,
     beta=0.7, activation='LeakyRelu', activation_alpha=0.2)
case('ms_fusedconv', 'FusedConv', [f(1, 4, 7, 8), f(6, 2, 3, 3), f(6)], domain=MS, group=2,
     pads=[1, 0, 1, 2], activation='Relu')
case('ms_fusedconv_z', 'FusedConv', [f(1, 4, 7, 8), f(6, 4, 3, 3), f(6), f(1, 6, 7, 8)],
     domain=MS, pads=[1, 1, 1, 1], activation='Relu')
case('ms_fusedconv_clip', 'FusedConv', [f(1, 4, 7, 8), f(6, 4, 3, 3), f(6)], domain=MS, pads=[1,
     1, 1, 1], activation='Clip', activation_params=[-0.5, 0.8])

# Layer normalisation.
case('ms_skipln', 'SkipLayerNormalization', [f(2, 3, 8), f(2, 3, 8), f(8), f(8), f(8)], domain=MS,
     epsilon=1e-05)
case('ms_skipln_sum', 'SkipLayerNormalization', [f(2, 3, 8), f(2, 3, 8), f(8), f(8)], 4,
     domain=MS, wanted=[True, False, False, True])
case('ms_skipln_bc', 'SkipLayerNormalization', [f(2, 3, 8), f(3, 8), f(8), f(8)], domain=MS)
case('ms_skipsln', 'SkipSimplifiedLayerNormalization', [f(2, 3, 8), f(2, 3, 8), f(8), f(8)], 4,
     domain=MS, wanted=[True, False, False, True], epsilon=1e-05)
case('ms_sln', 'SimplifiedLayerNormalization', [f(2, 3, 8), f(8)], domain='', opset=17, axis=-1,
     epsilon=1e-05)
case('ms_embedln', 'EmbedLayerNormalization', [rng.integers(0, 10, (2, 4)).astype(np.int32),
     rng.integers(0, 2, (2, 4)).astype(np.int32), f(10, 8), f(6, 8), f(2, 8), f(8), f(8),
     np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int32)], 2, domain=MS, epsilon=1e-12)
case('ms_embedln_nomask', 'EmbedLayerNormalization', [rng.integers(0, 10, (2,
     4)).astype(np.int32), None, f(10, 8), f(6, 8), None, f(8), f(8)], 2, domain=MS, epsilon=1e-05)

# Attention.
X = f(2, 5, 12)
W = f(12, 36, scale=0.3)
B = f(36)
case('ms_att', 'Attention', [X, W, B], domain=MS, num_heads=3)
case('ms_att_uni', 'Attention', [X, W, B], domain=MS, num_heads=3, unidirectional=1)
case('ms_att_len', 'Attention', [X, W, B, np.array([3, 5], np.int32)], domain=MS, num_heads=3)
case('ms_att_mask2', 'Attention', [X, W, B, np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1]],
     np.int32)], domain=MS, num_heads=3)
case('ms_att_mask3', 'Attention', [X, W, B, rng.integers(0, 2, (2, 5,
     5)).astype(np.int32) | np.eye(5, dtype=np.int32)], domain=MS, num_heads=3)
case('ms_att_endstart', 'Attention', [X, W, B, np.array([3, 5, 1, 0], np.int32)], domain=MS,
     num_heads=3)
case('ms_att_past', 'Attention', [X, W, B, None, f(2, 2, 3, 4, 4)], 2, domain=MS, num_heads=3,
     unidirectional=1)
case('ms_att_bias', 'Attention', [X, W, B, None, None, f(2, 3, 5, 5)], domain=MS, num_heads=3)
case('ms_att_sizes', 'Attention', [X, f(12, 30, scale=0.3), f(30)], domain=MS, num_heads=3,
     qkv_hidden_sizes=[12, 12, 6])
q, k, v = (f(2, 5, 12), f(2, 7, 12), f(2, 7, 12))
case('ms_mha', 'MultiHeadAttention', [q, k, v], domain=MS, num_heads=3)
case('ms_mha_bias', 'MultiHeadAttention', [q, k, v, f(36)], domain=MS, num_heads=3)
case('ms_mha_kpm1', 'MultiHeadAttention', [q, k, v, None, np.array([3, 7], np.int32)], domain=MS,
     num_heads=3)
case('ms_mha_kpm2', 'MultiHeadAttention', [q, k, v, None, np.array([[1, 1, 1, 0, 0, 1, 1],
     [1] * 7], np.int32)], domain=MS, num_heads=3)
case('ms_mha_ab', 'MultiHeadAttention', [q, k, v, None, None, f(1, 3, 5, 7)], domain=MS,
     num_heads=3)
case('ms_mha_4d', 'MultiHeadAttention', [q, f(2, 3, 7, 4), f(2, 3, 7, 4)], domain=MS, num_heads=3)
case('ms_mha_past', 'MultiHeadAttention', [q, f(2, 5, 12), f(2, 5, 12), None, None, None, f(2, 3,
     2, 4), f(2, 3, 2, 4)], 3, domain=MS, num_heads=3)
case('ms_mha_uni', 'MultiHeadAttention', [q, f(2, 5, 12), f(2, 5, 12)], domain=MS, num_heads=3,
     unidirectional=1)
pid = np.array([[0, 1, 2, 3, 4], [2, 3, 4, 5, 6]], np.int64)
case('ms_rot', 'RotaryEmbedding', [f(2, 5, 12), pid, f(10, 2), f(10, 2)], domain=MS)
case('ms_rot4', 'RotaryEmbedding', [f(2, 3, 5, 4), pid, f(10, 2), f(10, 2)], domain=MS,
     interleaved=1)
case('ms_rot_off', 'RotaryEmbedding', [f(2, 5, 12), np.array([3], np.int64), f(10, 2), f(10, 2)],
     domain=MS)

# Weights of a few bits.
for bits, zp in ((4, None), (4, 'u'), (8, 'u'), (4, 'f')):
    K, N, bs = (40, 6, 16)
    nb = 3
    Bq = rng.integers(0, 256, (N, nb, bs * bits // 8)).astype(np.uint8)
    sc = (np.abs(f(N, nb)) * 0.1 + 0.01).astype(F)
    z = None if zp is None else rng.integers(0, 256, (N,
         (nb * bits + 7) // 8)).astype(np.uint8) if zp == 'u' else f(N, nb)
    case('ms_nbits_%d_%s' % (bits, zp), 'MatMulNBits', [f(3, K), Bq,
         sc] + ([z] if z is not None else []), domain=MS, K=K, N=N, bits=bits, block_size=bs,
         accuracy_level=0)
case('ms_nbits_bias', 'MatMulNBits', [f(2, 3, 32), rng.integers(0, 256, (5, 2,
     8)).astype(np.uint8), np.abs(f(5, 2)), None, None, f(5)], domain=MS, K=32, N=5, bits=4,
     block_size=16)

# 8-bit arithmetic.
case('ms_qadd', 'QLinearAdd', [u8(2, 3, 4), s(0.02), uz(120), u8(3, 1), s(0.03), uz(90), s(0.05),
     uz(100)], domain=MS)
case('ms_qadd_s', 'QLinearAdd', [i8(2, 3, 40), s(0.02), iz(3), i8(2, 3, 40), s(0.03), iz(-5),
     s(0.05), iz(10)], domain=MS)
case('ms_qmul', 'QLinearMul', [u8(2, 3, 4), s(0.02), uz(120), u8(4), s(0.03), uz(90), s(0.07),
     uz(100)], domain=MS)
case('ms_qconcat', 'QLinearConcat', [s(0.04), uz(100), u8(2, 3, 4), s(0.02), uz(120), u8(2, 2, 4),
     s(0.03), uz(90)], domain=MS, axis=1)
case('ms_qavg', 'QLinearAveragePool', [u8(1, 3, 6, 7), s(0.02), uz(120), s(0.015), uz(110)],
     domain=MS, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
case('ms_qavg_incl', 'QLinearAveragePool', [i8(1, 3, 6, 7), s(0.02), iz(10), s(0.015), iz(11)],
     domain=MS, kernel_shape=[3, 2], pads=[1, 1, 0, 1], count_include_pad=1, ceil_mode=1,
     strides=[2, 2])
case('ms_qgap', 'QLinearGlobalAveragePool', [u8(2, 3, 6, 7), s(0.02), uz(120), s(0.015), uz(110)],
     domain=MS)
case('ms_qsig', 'QLinearSigmoid', [u8(2, 30), s(0.03), uz(120), s(1 / 256), uz(0)], domain=MS)
case('ms_qleaky', 'QLinearLeakyRelu', [i8(2, 30), s(0.03), iz(4), s(0.02), iz(-9)], domain=MS,
     alpha=0.2)
case('ms_qgemm', 'QGemm', [u8(4, 6), s(0.02), uz(120), i8(5, 6), s(0.03), iz(0),
     rng.integers(-500, 500, (5,)).astype(np.int32), s(0.05), uz(100)], domain=MS, transB=1,
     alpha=1.0)
case('ms_qgemm_f', 'QGemm', [u8(6, 4), s(0.02), uz(120), u8(6, 5), s(0.03), uz(7), None],
     domain=MS, transA=1, alpha=1.0)
case('ms_mmi2f', 'MatMulIntegerToFloat', [u8(2, 4, 6), i8(6, 5), s(0.02), f(5, scale=0.1),
     uz(100), i8(5), f(5)], domain=MS)
case('ms_dqmm', 'DynamicQuantizeMatMul', [f(4, 6), i8(6, 5), s(0.03), iz(3), f(5)], domain=MS)

# Recurrent layers: constant weights, every direction.
I, N, STEPS, BATCH = 4, 9, 4, 3
for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
    for direction in ("forward", "reverse", "bidirectional"):
        dirs = 2 if direction == "bidirectional" else 1
        given = [f(STEPS, BATCH, I), f(dirs, gates * N, I, scale=.5), f(dirs, gates * N, N, scale=.5),
                 f(dirs, 2 * gates * N)]
        state = [None, f(dirs, BATCH, N)]
        if op == "LSTM":
            state += [f(dirs, BATCH, N), f(dirs, 3 * N)]
        n_out = 3 if op == "LSTM" else 2
        common = dict(opset=14, hidden_size=N, direction=direction, const=(1, 2, 3))
        name = f"{op.lower()}_{direction}"
        case(name, op, given, n_out, **common)
        case(name + "_state", op, given + state, n_out, **common)
        case(name + "_clip", op, given + state, n_out, clip=.5, **common)
        if op == "GRU":
            case(name + "_linear", op, given + state, n_out, linear_before_reset=1, **common)
        if op == "LSTM":
            case(name + "_coupled", op, given, n_out, input_forget=1, **common)



def graph_case(name, nodes, feeds, inits, out, opset=21):
    """Several nodes; feeds and inits: arrays by name, packed ones as TensorProto."""
    tensors = [t if isinstance(t, TensorProto) else NH.from_array(t, n) for n, t in inits.items()]
    opsets = [H.make_opsetid("", opset), H.make_opsetid(MS, 1)]

    def model(outputs):
        graph = H.make_graph(nodes, name, [value_info(n, a) for n, a in feeds.items()], outputs,
                             tensors)
        return H.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()

    options = ort.SessionOptions() # as the nodes say: fused, it would round x to int8
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model([H.make_empty_tensor_value_info(out)]), options,
                                   providers=["CPUExecutionProvider"])
    answer = np.asarray(session.run(None, feeds)[0])
    folder = os.path.join(OUT, "test_" + name, "test_data_set_0")
    os.makedirs(folder)
    write(os.path.join(folder, "..", "model.onnx"), model([value_info(out, answer)]))
    for i, (n, v) in enumerate(feeds.items()):
        write(os.path.join(folder, f"input_{i}.pb"), NH.from_array(v, n).SerializeToString())
    write(os.path.join(folder, "output_0.pb"), NH.from_array(answer, out).SerializeToString())


# Constant weights of a few bits, which ledge keeps packed: few and many rows, and A as int8.
for bits, zp, rows, level, half in ((4, None, 1, 0, 0), (4, 'u', 3, 1, 0), (4, 'u', 9, 0, 0),
                                    (8, 'u', 2, 0, 0), (8, None, 17, 0, 0), (4, 'f', 2, 0, 0),
                                    (4, None, 1, 4, 0), (4, 'u', 6, 4, 0), (8, None, 3, 4, 0),
                                    (4, None, 2, 0, 1)):
    K, N, bs, nb = 150, 21, 32, 5
    Bq = rng.integers(0, 256, (N, nb, bs * bits // 8)).astype(np.uint8)
    sc = (np.abs(f(N, nb)) * 0.1 + 0.01).astype(np.float16 if half else F)
    z = None if zp is None else rng.integers(0, 256, (N,
         (nb * bits + 7) // 8)).astype(np.uint8) if zp == 'u' else f(N, nb)
    A = f(1, rows, K)
    case('ms_nbits_packed_%d_%s_%d_%d_%d' % (bits, zp, rows, level, half), 'MatMulNBits',
         [A.astype(np.float16) if half else A, Bq, sc, z, None,
          None if half else f(N)], domain=MS, const=(1, 2, 3, 5), K=K, N=N, bits=bits,
         block_size=bs, accuracy_level=level)


def packed(name, kind, values):
    """4-bit values of any shape as a TensorProto."""
    flat = values.flatten().astype(np.int64) & 15
    flat = np.append(flat, np.zeros(len(flat) % 2, np.int64))
    return H.make_tensor(name, kind, values.shape, (flat[::2] | flat[1::2] << 4).astype(np.uint8)
                         .tobytes(), raw=True)


for kind, low in ((TensorProto.INT4, -8), (TensorProto.UINT4, 0)):
    for rows in (2, 12):
        name = f"dequantized_{'uint4' if low == 0 else 'int4'}_{rows}"
        W = rng.integers(low, low + 16, (64, 18))
        Z = rng.integers(low, low + 16, (4, 18))
        graph_case(name, [H.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0,
                                      block_size=16),
                          H.make_node("MatMul", ["x", "d"], ["m"]),
                          H.make_node("Add", ["m", "b"], ["y"])],
                   {"x": f(rows, 64)},
                   {"w": packed("w", kind, W), "s": np.abs(f(4, 18)) * F(.1),
                    "z": packed("z", kind, Z), "b": f(18)}, "y")
graph_case("dequantized_int8_columns",
           [H.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0),
            H.make_node("Gemm", ["x", "d", "b"], ["y"], transB=1)],
           {"x": f(3, 70)}, {"w": i8(9, 70), "s": np.abs(f(9)) * F(.1), "b": f(9)}, "y")

# What ONNX Runtime's dynamic quantiser writes. The bytes are the same; the order in which scales
# are multiplied is not always.
for sign, each in ((i8, False), (i8, True), (u8, True)):
    name = f"dynamic_{'s' if sign is i8 else 'u'}8_{'each' if each else 'one'}"
    scale = np.abs(f(13)) * F(.02) if each else np.array(.013, F)
    zero = sign(13) if each else np.array(3, np.int8)
    graph_case(name, [H.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
                      H.make_node("MatMulInteger", ["q", "w", "qz", "wz"], ["m"]),
                      H.make_node("Cast", ["m"], ["c"], to=TensorProto.FLOAT),
                      H.make_node("Mul", ["qs", "ws"], ["k"]),
                      H.make_node("Mul", ["c", "k"], ["p"]),
                      H.make_node("Add", ["p", "b"], ["a"]),
                      H.make_node("Relu", ["a"], ["y"])],
               {"x": f(2, 5, 37)},
               {"w": sign(37, 13), "ws": scale, "wz": zero, "b": f(13)}, "y")
for group in (1, 4):
    graph_case(f"dynamic_conv_{group}",
               [H.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
                H.make_node("ConvInteger", ["q", "w", "qz", "wz"], ["m"], group=group,
                            pads=[1, 1, 1, 1], strides=[2, 1]),
                H.make_node("Cast", ["m"], ["c"], to=TensorProto.FLOAT),
                H.make_node("Mul", ["qs", "ws"], ["k"]),
                H.make_node("Mul", ["c", "k"], ["p"]),
                H.make_node("Add", ["p", "b"], ["y"])],
               {"x": f(1, 4, 9, 8)},
               {"w": i8(8, 4 // group, 3, 3), "ws": np.array(.02, F), "wz": np.array(0, np.int8),
                "b": f(1, 8, 1, 1)}, "y")

archive = os.path.join(HERE, "ops_ort.tar.zst")
if os.path.exists(archive):
    os.remove(archive)
subprocess.run(f"tar --sort=name --owner=0 --group=0 --mtime=2026-01-01 -C {OUT} -cf - . "
               f"| zstd -19 -q -o {archive}", shell=True, check=True)
shutil.rmtree(OUT)
