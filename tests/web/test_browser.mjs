// examples/browser in a real Chromium: a picture dropped on the page gets the native program's
// answer, on a desk and on a phone, in light and in dark; nothing is fetched from elsewhere.
// Usage: node test_browser.mjs CHROMIUM FOLDER LEDGE PICTURE.png [WORK [ASSETS]]
//   WORK keeps screenshots; ASSETS: a folder with models/mobilenetv2_1.0_224.onnx and images/
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Browser, serve } from './browser.mjs';

const [chromium, folder, ledge, picture, keep, assets] = process.argv.slice(2);
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'ledge-browser-'));
const shots = keep || work;
const site = await serve(folder);
const browser = await Browser.start(chromium, path.join(work, 'profile'));
const ready = 'document.body.dataset.state === "ready"';
const best = '[...document.querySelectorAll("#best li")].map(l => [+l.dataset.class, +l.dataset.probability])';
const trouble = 'document.getElementById("trouble").textContent';

function native(file, model = path.join(folder, 'signs.onnx'), ...more) {
  const words = ['run', '--json', ...more, model, file];
  return JSON.parse(execFileSync(ledge, words)).results[0].top.map(t => [t.class, t.probability]);
}

function same(found, wanted, bound = 1e-4) {
  assert.deepEqual(found.map(f => f[0]), wanted.map(w => w[0]));
  found.forEach((f, i) => assert.ok(Math.abs(f[1] - wanted[i][1]) < bound, `${f} and ${wanted[i]}`));
}

async function looks(page, name) {
  const wide = await page.evaluate('[document.documentElement.scrollWidth, innerWidth]');
  assert.ok(wide[0] <= wide[1], `${name}: ${wide[0]} wide in ${wide[1]}`);
  const small = await page.evaluate(`[...document.querySelectorAll('button, select, input[type=text]')]
    .filter(e => e.getBoundingClientRect().height < 40).map(e => e.id)`);
  assert.deepEqual(small, [], 'large enough for a thumb');
  await page.shot(path.join(shots, name + '.png'));
}

/* A model of the user's own, and a photo: the browser's JPEG decoder may differ by a step. */
async function photo(page) {
  const model = path.join(assets, 'models/mobilenetv2_1.0_224.onnx');
  const images = path.join(assets, 'images/imagenet');
  if (!fs.existsSync(model))
    return;
  const file = path.join(images, fs.readdirSync(images).filter(f => f.endsWith('.jpg')).sort()[0]);
  await page.drop(model);
  await page.until('document.getElementById("about").textContent.startsWith("mobilenet") && ' + ready);
  await page.evaluate(`document.getElementById('preprocess').value = 'tf';
    document.getElementById('preprocess').onchange()`);
  await page.until(ready);
  await page.drop(path.join(assets, 'images/imagenet_classes.txt'));
  await page.until('/1000 labels/.test(document.getElementById("about").textContent) && ' + ready);
  await page.drop(file);
  await page.until(`document.getElementById("shown").alt === ${JSON.stringify(path.basename(file))} && ` + ready);
  same(await page.evaluate(best), native(file, model, '--preprocess', 'tf'), 0.02);
  await page.evaluate('document.getElementById("time").click()');
  await page.until('/ms/.test(document.getElementById("median").textContent) && ' + ready);
  await looks(page, 'photo');
  console.log('photo: MobileNetV2, median ' + await page.evaluate('median.textContent'));
}

async function run() {
  const wanted = native(picture);
  for (const [name, width, height, scheme] of [['desk-light', 1280, 900, 'light'], ['phone-dark', 360, 740, 'dark']]) {
    const page = await browser.page(site.url, width, height, scheme);
    await page.until(ready);
    await looks(page, name + '-empty');
    await page.drop(picture);
    await page.until('document.querySelectorAll("#best li").length === 5 && ' + ready);
    same(await page.evaluate(best), wanted);
    await looks(page, name);
    console.log(`${name}: class ${wanted[0][0]}, prepared ${await page.evaluate('prepared.textContent')}, ` +
      `ran ${await page.evaluate('ran.textContent')}`);
  }

  const page = await browser.page(site.url, 800, 900, 'light');
  await page.until(ready);
  await page.evaluate('document.getElementById("sample").click()');
  await page.until('document.querySelectorAll("#best li").length === 5 && ' + ready);
  assert.equal((await page.evaluate(best))[0][0], 0, 'the sample is a stop sign');
  await page.evaluate('document.getElementById("time").click()');
  await page.until('/ms/.test(document.getElementById("median").textContent) && ' + ready);

  await page.drop(picture);
  await page.until(`document.getElementById("shown").alt === ${JSON.stringify(path.basename(picture))} && ` + ready);
  const command = async line => {
    await page.evaluate(`document.getElementById('line').value = ${JSON.stringify(line)};
      document.getElementById('output').textContent = ''; document.getElementById('command').requestSubmit()`);
    await page.until('document.getElementById("output").textContent !== "" && ' + ready);
    return page.evaluate('document.getElementById("output").textContent');
  };
  const answer = JSON.parse(await command(`run --json model.onnx ${path.basename(picture)}`));
  same(answer.results[0].top.map(t => [t.class, t.probability]), wanted);
  assert.match(await command('bench --runs 5 --cold 0 model.onnx'), /1 thread, 5 runs/);
  assert.match(await command('ledge inspect model.onnx'), /metadata +ledge.labels = stop/);
  assert.match(await command('run nosuch.onnx'), /ledge: nosuch.onnx: cannot open.*\nexit code 3/);

  const broken = path.join(work, 'broken.onnx'), text = path.join(work, 'photo.png');
  fs.writeFileSync(broken, fs.readFileSync(path.join(folder, 'signs.onnx')).subarray(0, 5000));
  fs.writeFileSync(text, 'no picture');
  for (const [file, sentence] of [[broken, /byte|damaged|cut/], [text, /photo.png: the browser cannot read/]]) {
    await page.drop(file);
    await page.until('document.body.dataset.state === "trouble"');
    assert.match(await page.evaluate(trouble), sentence);
  }
  await page.drop(picture); /* and goes on */
  await page.until(ready);
  same(await page.evaluate(best), wanted);
  await looks(page, 'console');
  if (assets)
    await photo(page);

  assert.deepEqual(browser.complaints(), []);
  assert.ok(site.seen.every(name => name === '/' || fs.existsSync(path.join(folder, name))), site.seen.join(' '));

  const local = await browser.page('file://' + path.join(folder, 'index.html'), 800, 900, 'light');
  await local.until('document.body.dataset.state === "trouble"');
  assert.match(await local.evaluate(trouble), /http\.server/);
}

let status = 0;
try {
  await run();
  console.log('the page answers as the program does');
} catch (e) {
  console.error(e);
  console.error(browser.complaints().join('\n'));
  status = 1;
}
await browser.close();
site.close();
fs.rmSync(work, { recursive: true, force: true, maxRetries: 5 });
process.exit(status);
