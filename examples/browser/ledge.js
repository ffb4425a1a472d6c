/* ledge for JavaScript: models that stay open (ledge_page.wasm) and the command line (ledge.wasm).
 *
 *   const ledge = await Ledge.load('ledge_page.wasm');
 *   const model = ledge.open(bytes);                    // Uint8Array of an .onnx or .ledge
 *   model.classify(imageData, 5)                        // {milliseconds, prepare_ms, top: [...]}
 *   await run('ledge.wasm', ['bench', 'm.onnx'], files) // {code, text} */
import { Exit, Wasi } from './wasi.js';

const compiled = new Map();

/* By its name, once; a server that sends another type than application/wasm will do. */
function compile(url) {
  if (!compiled.has(url))
    compiled.set(url, fetch(url).then(answer => {
      if (!answer.ok)
        throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
      return answer.arrayBuffer();
    }).then(WebAssembly.compile));
  return compiled.get(url);
}

export class Ledge {
  static async load(url = 'ledge_page.wasm') {
    const ledge = new Ledge(), wasi = new Wasi();
    ledge.exports = (await WebAssembly.instantiate(await compile(url), wasi.calls())).exports;
    wasi.memory = ledge.exports.memory;
    ledge.exports._initialize();
    return ledge;
  }

  /* Room in the module with these bytes; the module or free() gives it back. */
  give(bytes) {
    const at = this.exports.ledge_page_alloc(bytes.length);
    if (!at)
      throw new Error(`no room for ${bytes.length} bytes in WebAssembly memory`);
    new Uint8Array(this.exports.memory.buffer, at, bytes.length).set(bytes);
    return at;
  }

  text(at) {
    const memory = new Uint8Array(this.exports.memory.buffer, at);
    return new TextDecoder().decode(memory.subarray(0, memory.indexOf(0)));
  }

  answer(at) {
    if (!at)
      throw new Error(this.text(this.exports.ledge_page_message()));
    return JSON.parse(this.text(at));
  }

  /* preprocess: a preset's name or JSON; '' takes what the model says. */
  open(bytes, preprocess = '') {
    const how = this.give(new TextEncoder().encode(preprocess + '\0'));
    const handle = this.exports.ledge_page_open(this.give(bytes), bytes.length, how);
    this.exports.ledge_page_free(how);
    if (!handle)
      this.answer(0);
    return new Model(this, handle);
  }
}

class Model {
  constructor(ledge, handle) {
    this.ledge = ledge;
    this.handle = handle;
  }

  info() {
    return this.ledge.answer(this.ledge.exports.ledge_page_info(this.handle));
  }

  /* picture: an ImageData, or anything with its data, width and height. */
  classify(picture, k = 5) {
    const at = this.ledge.give(picture.data);
    try {
      return this.ledge.answer(
        this.ledge.exports.ledge_page_classify(this.handle, at, picture.width, picture.height, k));
    } finally {
      this.ledge.exports.ledge_page_free(at);
    }
  }

  bench(runs = 30) {
    return this.ledge.answer(this.ledge.exports.ledge_page_bench(this.handle, runs));
  }

  close() {
    this.ledge.exports.ledge_page_close(this.handle);
    this.handle = 0;
  }
}

/* One command of the command line, on files by name; `print` sees the text as it comes. */
export async function run(url, args, files = new Map(), print = () => {}) {
  let text = '';
  const wasi = new Wasi({
    args: ['ledge', ...args], files,
    print: (to, part) => {
      text += part;
      print(to, part);
    },
  });
  const { exports } = await WebAssembly.instantiate(await compile(url), wasi.calls());
  wasi.memory = exports.memory;
  try {
    exports._start();
  } catch (e) {
    if (!(e instanceof Exit))
      throw e;
    return { code: e.code, text };
  }
  return { code: 0, text };
}
