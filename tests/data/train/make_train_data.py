#!/usr/bin/env python3
"""Makes the figures of whole training steps that tests/train/test_train_steps.c compares with.

    make_train_data.py OUT_DIR

Needs the wheels torch (2.15 made what is kept here), onnx and numpy. start.onnx is the model
before, batch.npy and labels.npy what it is shown at each step, taught.npy a teacher's scores;
after_NAME.onnx the model and losses_NAME.npy the losses after four steps by each recipe."""
import copy
import pathlib
import sys

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

BATCH, CLASSES, STEPS = 12, 5, 4


class Net(nn.Module):
    """A bit of everything: strides, depthwise, residual, both activations, pooling."""

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.n1 = nn.BatchNorm2d(8)
        self.e = nn.Conv2d(8, 16, 1, bias=False)
        self.ne = nn.BatchNorm2d(16)
        self.d = nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False)
        self.nd = nn.BatchNorm2d(16)
        self.p = nn.Conv2d(16, 8, 1, bias=False)
        self.np = nn.BatchNorm2d(8)
        self.c2 = nn.Conv2d(8, 12, 3, 2, 1)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = F.relu(self.n1(self.c1(x)))
        y = F.relu6(self.ne(self.e(x)))
        y = F.relu6(self.nd(self.d(y)))
        x = F.relu(self.np(self.p(y)) + x)
        x = F.max_pool2d(self.c2(x), 2)
        return self.fc(x.mean((2, 3)))


def export(net, path):
    state = {k: v.detach().numpy() for k, v in net.state_dict().items() if "num_batches" not in k}
    weights = [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k)
               for k, v in state.items()]
    weights += [numpy_helper.from_array(np.float32(v), k) for k, v in (("low", 0), ("high", 6))]
    nodes = []

    def node(op, inputs, name, **attrs):
        nodes.append(helper.make_node(op, inputs, [name], name, **attrs))
        return name

    def norm(x, n):
        return node("BatchNormalization", [x] + [f"{n}.{k}" for k in (
            "weight", "bias", "running_mean", "running_var")], n, epsilon=1e-5, momentum=0.9)

    x = node("Conv", ["x", "c1.weight"], "c1", pads=[1] * 4, kernel_shape=[3, 3])
    x = node("Relu", [norm(x, "n1")], "r1")
    y = node("Conv", [x, "e.weight"], "e", kernel_shape=[1, 1])
    y = node("Clip", [norm(y, "ne"), "low", "high"], "re")
    y = node("Conv", [y, "d.weight"], "d", pads=[1] * 4, kernel_shape=[3, 3], group=16)
    y = node("Clip", [norm(y, "nd"), "low", "high"], "rd")
    y = node("Conv", [y, "p.weight"], "p", kernel_shape=[1, 1])
    x = node("Relu", [node("Add", [norm(y, "np"), x], "add")], "ra")
    x = node("Conv", [x, "c2.weight", "c2.bias"], "c2", pads=[1] * 4, strides=[2, 2],
             kernel_shape=[3, 3])
    x = node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    x = node("Flatten", [node("GlobalAveragePool", [x], "gap")], "flat", axis=1)
    node("Gemm", [x, "fc.weight", "fc.bias"], "scores", transB=1)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "steps", [info("x", TensorProto.FLOAT, ["N", 3, 12, 12])],
                              [info("scores", TensorProto.FLOAT, ["N", CLASSES])], weights)
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]),
              path)


def groups(net, decay):
    weights = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0}]


def run(net, recipe, x, labels, taught, out):
    net = copy.deepcopy(net).train()
    smoothing, clip, alpha = 0.0, None, 0.0
    if recipe == "sgd":
        optimizer = torch.optim.SGD(groups(net, 5e-3), 0.1, momentum=0.9)
    elif recipe == "nesterov":
        optimizer = torch.optim.SGD(groups(net, 1e-3), 0.05, momentum=0.8, nesterov=True)
        smoothing, clip = 0.1, 0.5
    elif recipe == "adamw":
        optimizer = torch.optim.AdamW(groups(net, 0.05), 0.003, betas=(0.9, 0.99), eps=1e-8)
    else:
        optimizer, alpha = torch.optim.SGD(groups(net, 0), 0.05, momentum=0.9), 0.7
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        z = net(x)
        loss = (1 - alpha) * F.cross_entropy(z, labels, label_smoothing=smoothing)
        if alpha:
            t = 4.0
            loss = loss + alpha * t * t * F.kl_div(F.log_softmax(z / t, 1),
                                                   F.softmax(taught / t, 1), reduction="batchmean")
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    export(net, out / f"after_{recipe}.onnx")
    np.save(out / f"losses_{recipe}.npy", np.array(losses, np.float32))
    print(recipe, losses)


def main():
    out = pathlib.Path(sys.argv[1])
    torch.manual_seed(3)
    torch.set_num_threads(1)
    net = Net()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.7, 1.3)
            nn.init.uniform_(m.bias, -0.3, 0.3)
    x, taught = torch.randn(BATCH, 3, 12, 12), 3 * torch.randn(BATCH, CLASSES)
    labels = torch.randint(CLASSES, (BATCH,))
    export(net, out / "start.onnx")
    np.save(out / "batch.npy", x.numpy())
    np.save(out / "labels.npy", labels.numpy().astype(np.int32))
    np.save(out / "taught.npy", taught.numpy())
    for recipe in ("sgd", "nesterov", "adamw", "distill"):
        run(net, recipe, x, labels, taught, out)


if __name__ == "__main__":
    main()
