#!/usr/bin/env python3
"""Makes tests/data/onnx/*.onnx: one small file per part of the format that the shared models
do not use. Needs the `onnx` package (made with 1.23.2); the tests only read the files."""
import os
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onnx")


def save(name, graph, opset=21, ir=10, functions=(), domains=()):
    opsets = [h.make_opsetid("", opset)] + [h.make_opsetid(d, 1) for d in domains]
    m = h.make_model(graph, opset_imports=opsets, functions=list(functions), producer_name="ledge-tests")
    m.ir_version = ir
    h.set_model_props(m, {"ledge.labels": "zero\none", "empty": ""})
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(m.SerializeToString(deterministic=True))


def value(name, elem, shape):
    return h.make_tensor_value_info(name, elem, shape)


def identity_graph(initializers, name="g"):
    node = h.make_node("Identity", ["x"], ["y"], name="copy")
    return h.make_graph([node], name, [value("x", T.FLOAT, ["N", 3])], [value("y", T.FLOAT, ["N", 3])],
                        initializer=initializers)


# Elements 0..5 of every type, in the typed fields and as raw_data.
def all_types(raw):
    out = []
    for name, code in T.DataType.items():
        if name in ("UNDEFINED", "STRING") or code > T.INT2:
            continue
        bits = {T.UINT4: 4, T.INT4: 4, T.FLOAT4E2M1: 4, T.UINT2: 2, T.INT2: 2}.get(code)
        t = T(name="t_" + name.lower(), data_type=code, dims=[2, 3])
        numbers = [0, 1, 2, 3, 0, 1]
        if bits:
            data, acc = bytearray(), 0
            per = 8 // bits
            for i, v in enumerate(numbers):
                acc |= v << (i % per * bits)
                if i % per == per - 1 or i == 5:
                    data.append(acc)
                    acc = 0
        elif code in (T.COMPLEX64, T.COMPLEX128):
            data = np.array([complex(v, -v) for v in numbers],
                            np.complex64 if code == T.COMPLEX64 else np.complex128).tobytes()
        elif code in (T.FLOAT, T.DOUBLE):
            data = np.array(numbers, np.float32 if code == T.FLOAT else np.float64).tobytes()
        else:
            width = {T.UINT8: 1, T.INT8: 1, T.BOOL: 1, T.UINT16: 2, T.INT16: 2, T.FLOAT16: 2, T.BFLOAT16: 2,
                     T.INT32: 4, T.UINT32: 4, T.INT64: 8, T.UINT64: 8}.get(code, 1)
            if code == T.BOOL:
                numbers = [v & 1 for v in numbers]
            if code in (T.INT8, T.INT16, T.INT32, T.INT64):
                numbers = [-v for v in numbers]
            data = b"".join((v & (2 ** (8 * width) - 1)).to_bytes(width, "little") for v in numbers)
        if raw:
            t.raw_data = bytes(data)
        elif code in (T.FLOAT, T.COMPLEX64):
            t.float_data.extend(np.frombuffer(bytes(data), np.float32).tolist())
        elif code in (T.DOUBLE, T.COMPLEX128):
            t.double_data.extend(np.frombuffer(bytes(data), np.float64).tolist())
        elif code == T.INT64:
            t.int64_data.extend(numbers)
        elif code in (T.UINT32, T.UINT64):
            t.uint64_data.extend(numbers)
        elif bits:
            t.int32_data.extend(data)
        else:
            t.int32_data.extend(numbers)
        out.append(t)
    strings = T(name="t_string", data_type=T.STRING, dims=[2, 3])
    strings.string_data.extend([b"", b"a", b"bc", "\u00e4".encode(), b"x\0y", b"last"])
    out.append(strings)
    return out


save("types_typed.onnx", identity_graph(all_types(False)), opset=25, ir=13)
save("types_raw.onnx", identity_graph(all_types(True)), opset=25, ir=13)

# A function with a default and a referenced attribute.
leaky = h.make_node("LeakyRelu", ["X"], ["T"])
leaky.attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
fn = h.make_function("ledge.test", "Twice", ["X"], ["Y"], [leaky, h.make_node("Add", ["T", "T"], ["Y"])],
                     [h.make_opsetid("", 21)], ["unset"], [h.make_attribute("slope", 0.25)])
g = h.make_graph([h.make_node("Twice", ["x"], ["y"], domain="ledge.test")], "calls",
                 [value("x", T.FLOAT, [2])], [value("y", T.FLOAT, [2])])
save("function.onnx", g, functions=[fn], domains=["ledge.test"])

# If in If: subgraphs that read outer values.
inner = [h.make_graph([h.make_node(op, ["x"], ["r" + op])], op, [], [value("r" + op, T.FLOAT, [2])])
         for op in ("Neg", "Abs")]
outer = h.make_graph([h.make_node("If", ["c"], ["r"], then_branch=inner[0], else_branch=inner[1])], "outer", [],
                     [value("r", T.FLOAT, [2])])
plain = h.make_graph([h.make_node("Identity", ["x"], ["s"])], "plain", [], [value("s", T.FLOAT, [2])])
g = h.make_graph([h.make_node("If", ["c"], ["y"], then_branch=outer, else_branch=plain)], "subgraphs",
                 [value("c", T.BOOL, []), value("x", T.FLOAT, [2])], [value("y", T.FLOAT, [2])])
save("subgraph.onnx", g)

# Types that are no plain tensors, a sparse initializer, annotations, documentation, every
# kind of attribute.
seq = h.make_sequence_type_proto(h.make_tensor_type_proto(T.FLOAT, None))
infos = [h.make_value_info("seq", seq), h.make_value_info("opt", h.make_optional_type_proto(seq)),
         h.make_value_info("map", h.make_map_type_proto(T.STRING, h.make_tensor_type_proto(T.INT64, [1]))),
         h.make_sparse_tensor_value_info("sparse", T.FLOAT, [4, "M"]), onnx.ValueInfoProto(name="bare")]
sparse = h.make_sparse_tensor(h.make_tensor("sp", T.FLOAT, [2], [1.0, 2.0]),
                              h.make_tensor("sp_i", T.INT64, [2], [0, 3]), [4])
node = h.make_node("Odd", ["x", "", "seq"], ["y", ""], name="odd", domain="ledge.test", doc_string="a doc",
                   f=1.5, i=-7, s="text", fs=[1.0, 2.0], ints=[1, -2, 3], strs=["a", ""],
                   t=h.make_tensor("t", T.INT32, [2], [1, 2]), ts=[h.make_tensor("u", T.INT32, [0], [])],
                   g=plain, gs=[plain, plain], sp=sparse, sps=[sparse], tp=seq,
                   zero_f=0.0, zero_i=0, empty_s="")
node.attribute.append(h.make_attribute("tps", [seq, seq], attr_type=onnx.AttributeProto.TYPE_PROTOS))
node.attribute.append(h.make_attribute("none", [], attr_type=onnx.AttributeProto.INTS))
g = h.make_graph([node], "everything", [value("x", T.FLOAT, ["N", None, 3])] + infos, [value("y", T.FLOAT, None)],
                 doc_string="graph doc", sparse_initializer=[sparse], value_info=[value("z", T.FLOAT, [])])
g.quantization_annotation.append(onnx.TensorAnnotation(
    tensor_name="x", quant_parameter_tensor_names=[onnx.StringStringEntryProto(key="SCALE_TENSOR", value="s")]))
g.metadata_props.append(onnx.StringStringEntryProto(key="k", value="v"))
g.node[0].metadata_props.append(onnx.StringStringEntryProto(key="nk", value=""))
save("everything.onnx", g, domains=["ledge.test"])

# External data: two tensors in one file beside the model.
big = [numpy_helper.from_array(np.arange(n, dtype=np.float32), "w%d" % n) for n in (3, 2000)]
m = h.make_model(identity_graph(big), opset_imports=[h.make_opsetid("", 21)])
m.ir_version = 10
if os.path.exists(os.path.join(HERE, "external.data")):
    os.remove(os.path.join(HERE, "external.data"))  # the library would append to it
onnx.save_model(m, os.path.join(HERE, "external.onnx"), save_as_external_data=True, location="external.data",
                size_threshold=0)

# A classifier for the command line's tests: class = the colour that is strongest in the picture.
w = np.array([[4, 0, 0], [0, 4, 0], [0, 0, 4], [1, 1, 1]], np.float32)
g = h.make_graph([h.make_node("GlobalAveragePool", ["picture"], ["mean"]), h.make_node("Flatten", ["mean"], ["flat"]),
                  h.make_node("Gemm", ["flat", "w", "b"], ["scores"], transB=1)], "colours",
                 [value("picture", T.FLOAT, ["N", 3, 8, 8])], [value("scores", T.FLOAT, ["N", 4])],
                 [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.zeros(4, np.float32), "b")])
m = h.make_model(g, opset_imports=[h.make_opsetid("", 13)])
m.ir_version = 8
h.set_model_props(m, {"ledge.labels": "red\ngreen\nblue\ngrey", "ledge.preprocess": '{"resize": {"width": 8, "height": 8}, "scale": 0.00392156862745098}'})
with open(os.path.join(HERE, "classifier.onnx"), "wb") as f:
    f.write(m.SerializeToString(deterministic=True))

# Two inputs, two outputs.
g = h.make_graph([h.make_node("Add", ["a", "b"], ["sum"]), h.make_node("Mul", ["a", "b"], ["product/x"])], "pair",
                 [value("a", T.FLOAT, ["N", 2]), value("b", T.FLOAT, ["N", 2])],
                 [value("sum", T.FLOAT, ["N", 2]), value("product/x", T.FLOAT, ["N", 2])])
save("pair.onnx", g, opset=13, ir=8)

# Quantized convolution, and an operator that nobody has.
q = [h.make_tensor("one", T.FLOAT, [], [0.5]), h.make_tensor("zero", T.INT8, [], [0]),
     h.make_tensor("wq", T.INT8, [1, 1, 1, 1], [3])]
g = h.make_graph([h.make_node("QuantizeLinear", ["x", "one", "zero"], ["xq"]), h.make_node("DequantizeLinear", ["xq", "one", "zero"], ["xd"]),
                  h.make_node("DequantizeLinear", ["wq", "one", "zero"], ["wd"]), h.make_node("Conv", ["xd", "wd"], ["y"])], "qdq",
                 [value("x", T.FLOAT, [1, 1, 2, 2])], [value("y", T.FLOAT, [1, 1, 2, 2])], q)
save("qdq.onnx", g, opset=13, ir=8)
g = h.make_graph([h.make_node("NoSuchOperator", ["x"], ["y"], name="odd_one")], "odd", [value("x", T.FLOAT, [1])], [value("y", T.FLOAT, [1])])
save("unsupported.onnx", g, opset=13, ir=8)
