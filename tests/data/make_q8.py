#!/usr/bin/env python3
"""Makes the quantized models that the tests run: tests/data/q8/*.onnx, whose answers must be the
same bytes on every CPU, and tests/data/q8_ort.tar.zst, cases in the form of the ONNX backend tests
with the answers of ONNX Runtime's CPU provider. Needs `onnx` and `onnxruntime` with its quantizer
(made with 1.30), tar and zstd; the tests only read the files."""
import os
import shutil
import subprocess
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as H, numpy_helper as NH
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "q8")
OUT = tempfile.mkdtemp()
F = np.float32
rng = np.random.default_rng(7)
ort.set_default_logger_severity(4)


class Net:
    """A float graph, node by node; the quantizer does the rest."""

    def __init__(self):
        self.nodes, self.constants, self.n = [], [], 0

    def const(self, a):
        self.n += 1
        self.constants.append(NH.from_array(np.asarray(a), f"k{self.n}"))
        return f"k{self.n}"

    def weights(self, *shape):
        fan = max(1, int(np.prod(shape[1:])))
        return self.const((rng.standard_normal(shape) / np.sqrt(fan)).astype(F))

    def op(self, op_type, *inputs, **attrs):
        self.n += 1
        self.nodes.append(H.make_node(op_type, list(inputs), [f"v{self.n}"], name=f"{op_type}{self.n}",
                                      **attrs))
        return f"v{self.n}"

    def conv(self, x, ci, co, k, group=1, bias=True, **attrs):
        ins = [x, self.weights(co, ci // group, *k)]
        if bias:
            ins.append(self.const((rng.standard_normal(co) * 0.3).astype(F)))
        if "pads" not in attrs and "auto_pad" not in attrs:
            attrs["pads"] = [i // 2 for i in k] * 2
        return self.op("Conv", *ins, kernel_shape=list(k), group=group, **attrs)

    def relu6(self, x):
        return self.op("Clip", x, self.const(F(0)), self.const(F(6)))

    def model(self, shape, y):
        g = H.make_graph(self.nodes, "g", [H.make_tensor_value_info("x", T.FLOAT, shape)],
                         [H.make_empty_tensor_value_info(y)], self.constants)
        g.output[0].type.tensor_type.elem_type = T.FLOAT
        return onnx.shape_inference.infer_shapes(
            H.make_model(g, opset_imports=[H.make_opsetid("", 13)], ir_version=8))


def mobile():
    """Inverted bottlenecks of odd widths, with and without a residual sum."""
    n = Net()
    x = n.relu6(n.conv("x", 3, 19, (3, 3), strides=[2, 2]))
    for ci, wide, co, stride in ((19, 19, 13, 1), (13, 61, 21, 2), (21, 75, 21, 1), (21, 64, 40, 1)):
        h = x if wide == ci else n.relu6(n.conv(x, ci, wide, (1, 1)))
        h = n.relu6(n.conv(h, wide, wide, (3, 3), group=wide, strides=[stride, stride]))
        h = n.conv(h, wide, co, (1, 1))
        x = n.op("Add", x, h) if ci == co else h
    x = n.relu6(n.conv(x, 40, 70, (1, 1)))
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    y = n.op("Gemm", x, n.weights(17, 70), n.const((rng.standard_normal(17)).astype(F)), transB=1)
    return n.model(["N", 3, 33, 29], y)


def mixed():
    """What else an image network is made of."""
    n = Net()
    a = n.op("Relu", n.conv("x", 3, 16, (3, 3), strides=[2, 2]))
    b = n.conv(a, 16, 24, (3, 3), auto_pad="SAME_UPPER", strides=[2, 2], bias=False)
    b = n.op("LeakyRelu", b, alpha=0.1)
    p = n.op("MaxPool", b, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    s = n.op("Sigmoid", n.conv(b, 24, 8, (1, 1)))
    c = n.op("Concat", p, s, axis=1)
    d = n.conv(c, 32, 32, (3, 3), group=4, dilations=[2, 2], pads=[2, 2, 2, 2])
    e = n.op("Mul", d, n.op("HardSigmoid", d))
    g = n.op("Sigmoid", n.conv(n.op("GlobalAveragePool", e), 32, 32, (1, 1)))
    f = n.op("Mul", e, g)
    f = n.op("AveragePool", f, kernel_shape=[2, 2], strides=[2, 2])
    f = n.op("Resize", f, n.const(np.array([], F)), n.const(np.array([1, 1, 2, 2], F)), mode="nearest")
    h = n.conv(f, 32, 20, (1, 3))
    t = n.op("Transpose", h, perm=[0, 2, 3, 1])
    r = n.op("Reshape", t, n.const(np.array([0, -1, 20], np.int64)))
    y = n.op("Add", n.op("MatMul", r, n.weights(20, 9)), n.const(rng.standard_normal(9).astype(F)))
    return n.model(["N", 3, 34, 30], y)


def line():
    """One dimension: sound, or a sensor."""
    n = Net()
    a = n.op("Relu", n.conv("x", 4, 24, (5,), strides=[2], pads=[2, 1]))
    b = n.op("Relu", n.conv(a, 24, 24, (3,), group=24, auto_pad="SAME_LOWER"))
    c = n.op("Add", a, n.conv(b, 24, 24, (1,)))
    d = n.conv(c, 24, 6, (3,), dilations=[2], pads=[2, 2])
    return n.model(["N", 4, 61], d)


def residual():
    """Blocks of two 3x3 convolutions, as many channels as Winograd is for."""
    n = Net()
    x = n.op("Relu", n.conv("x", 3, 48, (3, 3), strides=[2, 2]))
    for _ in range(2):
        h = n.op("Relu", n.conv(x, 48, 48, (3, 3)))
        x = n.op("Relu", n.op("Add", x, n.conv(h, 48, 48, (3, 3))))
    x = n.op("Flatten", n.op("GlobalAveragePool", n.conv(x, 48, 50, (3, 3), pads=[0, 1, 0, 1])))
    y = n.op("Gemm", x, n.weights(11, 50), n.const((rng.standard_normal(11)).astype(F)), transB=1)
    return n.model(["N", 3, 48, 45], y)


def attention():
    """Products of two tensors; Softmax stays in float."""
    n = Net()
    heads = n.const(np.array([0, 0, 4, 8], np.int64))
    q = n.op("Add", n.op("MatMul", "x", n.weights(32, 32)), n.const(rng.standard_normal(32).astype(F)))
    q = n.op("Transpose", n.op("Reshape", q, heads), perm=[0, 2, 1, 3])
    v = n.op("Reshape", n.op("MatMul", "x", n.weights(32, 32)), heads)
    k = n.op("Transpose", v, perm=[0, 2, 3, 1])
    p = n.op("Softmax", n.op("Mul", n.op("MatMul", q, k), n.const(F(0.35))), axis=-1)
    y = n.op("MatMul", p, n.op("Transpose", v, perm=[0, 2, 1, 3]))
    return n.model([2, 7, 32], n.op("Transpose", y, perm=[0, 2, 1, 3]))


class Reader(CalibrationDataReader):
    def __init__(self, shape):
        self.data = iter([{"x": rng.standard_normal(shape).astype(F)} for _ in range(8)])

    def get_next(self):
        return next(self.data, None)


def quantized(model, path, activations, weights, per_channel, form, **extra):
    shape = [d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim]
    source = os.path.join(OUT, "float.onnx")
    onnx.save(model, source)
    quantize_static(source, path, Reader(shape), quant_format=form, activation_type=activations,
                    weight_type=weights, per_channel=per_channel, extra_options=extra)
    os.remove(source)
    made = onnx.load(path)
    made.graph.ClearField("value_info")
    made.producer_version = ""
    onnx.save(made, path)
    return made


def case(name, model):
    """The model, one input, and what ONNX Runtime answers without rewriting the graph."""
    folder = os.path.join(OUT, "cases", name, "test_data_set_0")
    os.makedirs(folder)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    s = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = rng.standard_normal([d if isinstance(d, int) else 2 for d in s.get_inputs()[0].shape]).astype(F)
    y = s.run(None, {"x": x})[0]
    onnx.save(model, os.path.join(folder, "..", "model.onnx"))
    for kind, n, a in (("input", "x", x), ("output", model.graph.output[0].name, y)):
        with open(os.path.join(folder, f"{kind}_0.pb"), "wb") as out:
            out.write(NH.from_array(np.ascontiguousarray(a), n).SerializeToString())


U8, S8, QDQ, QOP = QuantType.QUInt8, QuantType.QInt8, QuantFormat.QDQ, QuantFormat.QOperator
os.makedirs(MODELS, exist_ok=True)
for name, net, a, w, per_channel, form in (("mobile_u8s8", mobile, U8, S8, True, QDQ),
                                           ("mobile_s8s8", mobile, S8, S8, True, QDQ),
                                           ("mobile_u8u8", mobile, U8, U8, False, QOP),
                                           ("mixed_u8s8", mixed, U8, S8, True, QDQ),
                                           ("mixed_s8s8", mixed, S8, S8, False, QOP),
                                           ("line_u8s8", line, U8, S8, True, QDQ)):
    quantized(net(), os.path.join(MODELS, name + ".onnx"), a, w, per_channel, form)

# Those that sum in floats between (QDQ without rewriting) may be a step off where two answers are
# equally near; these are not.
for net, a, w, per_channel, form in ((mobile, U8, S8, True, QDQ), (mobile, S8, S8, False, QDQ),
                                     (mobile, U8, U8, False, QOP), (mobile, S8, S8, True, QOP),
                                     (mixed, U8, S8, True, QOP), (mixed, S8, S8, False, QOP),
                                     (mixed, U8, U8, False, QOP), (line, U8, S8, False, QDQ),
                                     (line, S8, S8, True, QDQ), (line, U8, S8, True, QOP),
                                     (attention, U8, S8, True, QDQ), (attention, U8, U8, False, QOP),
                                     (attention, S8, S8, False, QOP)):
    label = "_".join((net.__name__, ("u" if a == U8 else "s") + ("u" if w == U8 else "s"),
                      "axis" if per_channel else "whole", form.name.lower()))
    case(label, quantized(net(), os.path.join(OUT, "q.onnx"), a, w, per_channel, form))
case("line_u16_qdq", quantized(line(), os.path.join(OUT, "q.onnx"), QuantType.QUInt16, S8, False, QDQ))

# Made after all the others, which so stay as they were.
quantized(residual(), os.path.join(MODELS, "residual_u8s8.onnx"), U8, S8, True, QDQ)

archive = os.path.join(HERE, "q8_ort.tar.zst")
if os.path.exists(archive):
    os.remove(archive)
subprocess.run(f"tar --sort=name --owner=0 --group=0 --mtime=2026-01-01 -C {OUT}/cases -cf - . "
               f"| zstd -19 -q -o {archive}", shell=True, check=True)
shutil.rmtree(OUT)
