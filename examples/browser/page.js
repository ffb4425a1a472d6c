/* The page: pictures and models in by drop, choice or paste; answers out. The work is worker.js's.
 * A plain script, since a module would not even start from file:// to say what is the matter. */

'use strict';

const MOST_PIXELS = 16e6; /* above, the browser scales the picture down first */
const $ = id => document.getElementById(id);
/* From file:// there is no worker to be had; the last lines say so. */
const local = location.protocol === 'file:';
const worker = local ? {} : new Worker('worker.js', { type: 'module' });
const waiting = new Map();
const pictures = new Map(); /* by name, for the command line */
let labels = null, modelBytes = null, modelName = 'signs.onnx', last = null, count = 0;

worker.onmessage = ({ data }) => {
  const { resolve, reject } = waiting.get(data.id);
  waiting.delete(data.id);
  data.error === undefined ? resolve(data.ok) : reject(new Error(data.error));
};
worker.onerror = e => {
  e.preventDefault();
  trouble(new Error(e.message || 'the worker could not be started'));
  for (const { reject } of waiting.values())
    reject(new Error(e.message || 'the worker could not be started'));
  waiting.clear();
};

function ask(what, more = {}) {
  return new Promise((resolve, reject) => {
    waiting.set(++count, { resolve, reject });
    worker.postMessage({ id: count, do: what, ...more });
  });
}

function state(name) {
  document.body.dataset.state = name;
  $('time').disabled = name === 'loading' || name === 'working';
}

function trouble(e) {
  $('trouble').hidden = !e;
  $('trouble').textContent = e ? e.message : '';
  if (e)
    state('trouble');
}

/* Runs one thing with its state shown; what goes wrong is said in the page. */
async function during(name, act) {
  state(name);
  trouble(null);
  try {
    await act();
    state('ready');
  } catch (e) {
    trouble(e);
  }
}

const ms = v => v < 10 ? v.toFixed(2) + ' ms' : v.toFixed(1) + ' ms';
const size = n => n < 1e6 ? (n / 1e3).toFixed(0) + ' kB' : (n / 1e6).toFixed(1) + ' MB';

async function openModel() {
  const info = await ask('open', { bytes: modelBytes, preprocess: $('preprocess').value });
  const own = info.preprocess === 'default';
  $('about').textContent = `${modelName}, ${size(modelBytes.length)}\n` +
    `input ${info.input.type} [${info.input.shape.join(', ')}], ` +
    `${labels ? labels.length : info.labels} labels\n` +
    (own ? 'says nothing of its pixels: they go in as they are\n' : '') +
    `ledge ${info.version}, ${size(info.memory)} of memory`;
}

function show(result) {
  $('best').replaceChildren(...result.top.map(t => {
    const line = document.createElement('li'), name = document.createElement('span');
    const share = document.createElement('span');
    name.textContent = (labels && labels[t.class]) || t.label || `class ${t.class}`;
    share.textContent = (100 * t.probability).toFixed(1) + ' %';
    line.style.setProperty('--share', t.probability); /* the bar behind it */
    line.dataset.class = t.class;
    line.dataset.probability = t.probability;
    line.append(name, share);
    return line;
  }));
  $('prepared').textContent = ms(result.prepare_ms);
  $('ran').textContent = ms(result.milliseconds);
}

async function classify() {
  if (last)
    show(await ask('classify', { picture: last }));
}

/* An <img> turns photos upright by EXIF and knows every format that the browser does. */
async function takePicture(blob, name) {
  const image = $('shown'), url = URL.createObjectURL(blob);
  const before = image.getAttribute('src');
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(`${name}: the browser cannot read this as a picture`);
  }
  if (before)
    URL.revokeObjectURL(before);
  image.hidden = false;
  image.alt = name;
  $('hint').hidden = true;
  const shrink = Math.min(1, Math.sqrt(MOST_PIXELS / (image.naturalWidth * image.naturalHeight)));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(image.naturalWidth * shrink));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * shrink));
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  last = context.getImageData(0, 0, canvas.width, canvas.height);
  pictures.clear();
  pictures.set(name, new Uint8Array(await blob.arrayBuffer()));
  $('named').textContent = name;
  await classify();
}

async function takeModel(blob, name) {
  const before = [modelBytes, modelName];
  modelBytes = new Uint8Array(await blob.arrayBuffer());
  modelName = name;
  try {
    await openModel();
  } catch (e) {
    [modelBytes, modelName] = before;
    throw e;
  }
  $('median').textContent = '–';
  await classify();
}

async function takeLabels(blob) {
  labels = (await blob.text()).split(/\r?\n/).map(l => l.replace(/^n\d{8} /, ''));
  if (labels.at(-1) === '')
    labels.pop();
  await openModel();
  await classify();
}

function take(files) {
  return during('working', async () => {
    for (const file of files) {
      const name = file.name || 'pasted.png';
      if (/\.(onnx|ledge)$/i.test(name))
        await takeModel(file, name);
      else if (/\.txt$/i.test(name))
        await takeLabels(file);
      else
        await takePicture(file, name.replace(/[^\w.-]/g, '_'));
    }
  });
}

$('photo').onchange = e => {
  take([...e.target.files]);
  e.target.value = '';
};
/* The whole page takes what is dropped, so that a near miss does not leave the page. */
addEventListener('dragover', e => {
  e.preventDefault();
  $('drop').classList.add('over');
});
addEventListener('dragleave', () => $('drop').classList.remove('over'));
addEventListener('drop', e => {
  e.preventDefault();
  $('drop').classList.remove('over');
  take([...e.dataTransfer.files]);
});
addEventListener('paste', e => {
  if (e.clipboardData.files.length)
    take([...e.clipboardData.files]);
});
$('sample').onclick = () => during('working', async () => {
  await takePicture(await (await fetch('sample.svg')).blob(), 'sample.svg');
});
$('preprocess').onchange = () => during('working', async () => {
  await openModel();
  await classify();
});
$('time').onclick = () => during('working', async () => {
  const t = await ask('bench', { runs: 30 });
  $('median').textContent = ms(t.p50);
});
$('command').onsubmit = e => {
  e.preventDefault();
  during('working', async () => {
    const args = $('line').value.trim().split(/\s+/).filter(Boolean);
    if (args[0] === 'ledge')
      args.shift();
    const done = await ask('command', { args, files: [...pictures] });
    $('output').hidden = false;
    $('output').textContent = done.text.replace(/\r[^\n]*\x1b\[K/g, '') + (done.code ? `exit code ${done.code}\n` : '');
  });
};

during('loading', async () => {
  if (local)
    throw new Error('A browser loads WebAssembly from a web server only. In this folder: python3 -m http.server');
  const answer = await fetch(modelName);
  if (!answer.ok)
    throw new Error(`${modelName}: ${answer.status} ${answer.statusText}`);
  await takeModel(await answer.blob(), modelName);
});
