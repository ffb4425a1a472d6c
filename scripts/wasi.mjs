// Runs a WASI program with the whole file system open to it: node scripts/wasi.mjs PROG.wasm ARG...
import fs from 'node:fs';
import v8 from 'node:v8';
import { WASI } from 'node:wasi';

// Node 20's short cut from WebAssembly into its WASI damages the heap now and then; without it
// the same calls go the long way.
v8.setFlagsFromString('--no-turbo-fast-api-calls');

const [program, ...args] = process.argv.slice(2);
const wasi = new WASI({ version: 'preview1', args: [program, ...args], preopens: { '/': '/' } });
const module = await WebAssembly.compile(fs.readFileSync(program));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exitCode = wasi.start(instance);
