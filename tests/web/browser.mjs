// A headless Chromium driven over its own pipe, and a static web server: what page tests need.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.wasm': 'application/wasm' };

/* Serves a folder on a free port of 127.0.0.1; `seen` lists what was asked for. */
export async function serve(folder) {
  const seen = [];
  const server = http.createServer((request, response) => {
    const name = decodeURIComponent(new URL(request.url, 'http://x').pathname);
    const file = path.join(folder, path.normalize(name === '/' ? '/index.html' : name));
    seen.push(name);
    fs.readFile(file, (error, data) => {
      response.writeHead(error ? 404 : 200, { 'content-type': TYPES[path.extname(file)] || 'application/octet-stream' });
      response.end(error ? 'not found' : data);
    });
  });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}/`, seen, close: () => server.close() };
}

export class Browser {
  static async start(program, profile) {
    const browser = new Browser();
    browser.process = spawn(program, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
      '--no-first-run', '--disable-background-networking', '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    browser.waiting = new Map();
    browser.events = [];
    browser.count = 0;
    let rest = '';
    browser.process.stdio[4].on('data', part => {
      const messages = (rest + part).split('\0');
      rest = messages.pop();
      messages.forEach(text => browser.receive(JSON.parse(text)));
    });
    browser.process.stdio[3].on('error', () => {});
    return browser;
  }

  receive(message) {
    const ends = this.waiting.get(message.id);
    if (!ends)
      return this.events.push(message);
    this.waiting.delete(message.id);
    message.error ? ends.reject(new Error(message.error.message)) : ends.resolve(message.result);
  }

  send(method, params = {}, sessionId) {
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.count, { resolve, reject });
      this.process.stdio[3].write(JSON.stringify({ id: this.count, method, params, sessionId }) + '\0');
    });
  }

  async page(url, width, height, scheme) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = { send: (method, params) => this.send(method, params, sessionId) };
    page.evaluate = async expression => {
      const { result, exceptionDetails } = await page.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
      if (exceptionDetails)
        throw new Error(exceptionDetails.exception?.description || exceptionDetails.text);
      return result.value;
    };
    page.until = async (expression, seconds = 60) => {
      for (const end = Date.now() + 1000 * seconds; Date.now() < end;) {
        if (await page.evaluate(expression))
          return;
        await new Promise(done => setTimeout(done, 100));
      }
      throw new Error(`not within ${seconds} s: ${expression}; the page says: ${await page.evaluate('document.body.innerText')}`);
    };
    page.shot = async file => {
      const { data } = await page.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
      fs.writeFileSync(file, Buffer.from(data, 'base64'));
    };
    page.drop = async file => {
      const data = { items: [], files: [file], dragOperationsMask: 1 };
      for (const type of ['dragEnter', 'dragOver', 'drop'])
        await page.send('Input.dispatchDragEvent', { type, x: 100, y: 200, data });
    };
    for (const domain of ['Page', 'Runtime', 'Log'])
      await page.send(domain + '.enable');
    await page.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    await page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    await page.send('Page.navigate', { url });
    await page.until('document.readyState === "complete" && location.href !== "about:blank"');
    return page;
  }

  /* What the pages logged as errors, and exceptions that nobody caught. */
  complaints() {
    return this.events.flatMap(({ method, params }) =>
      method === 'Runtime.exceptionThrown' ? [params.exceptionDetails.exception?.description || params.exceptionDetails.text]
        : method === 'Log.entryAdded' && params.entry.level === 'error' ? [`${params.entry.text} ${params.entry.url || ''}`] : []);
  }

  async close() {
    this.send('Browser.close').catch(() => {});
    await Promise.race([new Promise(done => this.process.once('exit', done)), new Promise(done => setTimeout(done, 5000))]);
    this.process.kill('SIGKILL');
  }
}
