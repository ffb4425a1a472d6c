/* Runs ledge beside the page, so that the page stays usable: {id, do, ...} in, {id, ok | error} out. */
import { Ledge, run } from './ledge.js';

let ledge, model, bytes;

const work = {
  async open({ bytes: given, preprocess }) {
    ledge = ledge || await Ledge.load();
    const next = ledge.open(given, preprocess);
    next.bench(2); /* the browser compiles what runs: not while someone waits for an answer */
    if (model)
      model.close();
    model = next;
    bytes = given;
    return model.info();
  },
  classify({ picture }) {
    return model.classify(picture);
  },
  bench({ runs }) {
    return model.bench(runs);
  },
  command({ args, files }) {
    return run('ledge.wasm', args, new Map([['model.onnx', bytes], ...files]));
  },
};

onmessage = async ({ data }) => {
  try {
    postMessage({ id: data.id, ok: await work[data.do](data) });
  } catch (e) {
    /* A trap leaves the instance in no known state. */
    if (e instanceof WebAssembly.RuntimeError)
      ledge = model = null;
    postMessage({ id: data.id, error: e.message });
  }
};
