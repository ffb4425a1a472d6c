/* As much of WASI preview 1 as ledge needs in a page: a clock, random bytes, arguments, text out,
 * and one folder of read-only files in memory. All else answers that it is not there. */

const BADF = 8, INVAL = 28, NOENT = 44, NOTSUP = 58, SPIPE = 70;
const FOLDER = 3;

export class Exit extends Error {
  constructor(code) {
    super('exit ' + code);
    this.code = code;
  }
}

/* files: Map of name to Uint8Array. `memory` is set by the caller once there is an instance. */
export class Wasi {
  constructor({ args = [], files = new Map(), print = () => {} } = {}) {
    this.args = args.map(a => new TextEncoder().encode(a + '\0'));
    this.files = files;
    this.print = print; /* (1 or 2, text) */
    this.open = new Map();
    this.memory = null;
    this.decoders = [1, 2].map(() => new TextDecoder());
  }

  view() {
    return new DataView(this.memory.buffer);
  }

  bytes(at, n) {
    return new Uint8Array(this.memory.buffer, at, n);
  }

  /* Each buffer of an iovec list, as far as `use` takes them whole. */
  vectors(list, n, use) {
    let total = 0;
    for (let i = 0; i < n; i++) {
      const at = this.view().getUint32(list + 8 * i, true), size = this.view().getUint32(list + 8 * i + 4, true);
      const used = use(this.bytes(at, size));
      total += used;
      if (used < size)
        break;
    }
    return total;
  }

  stat(out, type, size) {
    const v = this.view();
    for (let i = 0; i < 64; i += 8)
      v.setBigUint64(out + i, 0n, true);
    v.setUint8(out + 16, type);
    v.setBigUint64(out + 24, 1n, true);
    v.setBigUint64(out + 32, BigInt(size), true);
    return 0;
  }

  read(fd, list, n, out, at) {
    const file = this.open.get(fd);
    if (!file)
      return BADF;
    let from = at === undefined ? file.at : Number(at);
    const total = this.vectors(list, n, to => {
      const part = file.bytes.subarray(from, from + to.length);
      to.set(part);
      from += part.length;
      return part.length;
    });
    if (at === undefined)
      file.at = from;
    this.view().setUint32(out, total, true);
    return 0;
  }

  list(items, pointers, buffer) {
    for (const item of items) {
      this.view().setUint32(pointers, buffer, true);
      this.bytes(buffer, item.length).set(item);
      pointers += 4;
      buffer += item.length;
    }
    return 0;
  }

  find(at, n) {
    const name = new TextDecoder().decode(this.bytes(at, n)).replace(/^(\.?\/)+/, '');
    return { name, bytes: this.files.get(name) };
  }

  calls() {
    const sizes = (items, count, total) => {
      this.view().setUint32(count, items.length, true);
      this.view().setUint32(total, items.reduce((n, x) => n + x.length, 0), true);
      return 0;
    };
    const known = {
      args_sizes_get: (count, total) => sizes(this.args, count, total),
      args_get: (pointers, buffer) => this.list(this.args, pointers, buffer),
      environ_sizes_get: (count, total) => sizes([], count, total),
      environ_get: () => 0,
      clock_res_get: (id, out) => (this.view().setBigUint64(out, 1000n, true), 0),
      clock_time_get: (id, precision, out) => {
        const ms = id === 0 ? Date.now() : performance.now();
        this.view().setBigUint64(out, BigInt(Math.round(ms * 1e6)), true);
        return 0;
      },
      random_get: (at, n) => {
        for (let done = 0; done < n; done += 65536)
          crypto.getRandomValues(this.bytes(at + done, Math.min(65536, n - done)));
        return 0;
      },
      fd_write: (fd, list, n, out) => {
        if (fd !== 1 && fd !== 2)
          return BADF;
        const total = this.vectors(list, n, from => {
          this.print(fd, this.decoders[fd - 1].decode(from.slice(), { stream: true }));
          return from.length;
        });
        this.view().setUint32(out, total, true);
        return 0;
      },
      fd_read: (fd, list, n, out) => this.read(fd, list, n, out),
      fd_pread: (fd, list, n, at, out) => this.read(fd, list, n, out, at),
      fd_seek: (fd, offset, whence, out) => {
        const file = this.open.get(fd);
        if (!file)
          return fd <= 2 ? SPIPE : BADF;
        const to = Number(offset) + [0, file.at, file.bytes.length][whence];
        if (!(to >= 0))
          return INVAL;
        file.at = to;
        this.view().setBigUint64(out, BigInt(to), true);
        return 0;
      },
      fd_close: fd => this.open.delete(fd) ? 0 : BADF,
      fd_fdstat_get: (fd, out) => {
        if (fd > FOLDER && !this.open.has(fd))
          return BADF;
        const v = this.view();
        for (let i = 0; i < 24; i += 8)
          v.setBigUint64(out + i, 0n, true);
        v.setUint8(out, fd < FOLDER ? 2 : fd === FOLDER || this.open.get(fd).folder ? 3 : 4);
        v.setBigUint64(out + 8, ~0n, true); /* rights: what is not possible fails by itself */
        v.setBigUint64(out + 16, ~0n, true);
        return 0;
      },
      fd_filestat_get: (fd, out) => {
        const file = this.open.get(fd);
        if (file)
          return this.stat(out, file.folder ? 3 : 4, file.bytes.length);
        return fd <= FOLDER ? this.stat(out, fd < FOLDER ? 2 : 3, 0) : BADF;
      },
      fd_prestat_get: (fd, out) => {
        if (fd !== FOLDER)
          return BADF;
        this.view().setUint32(out, 0, true);
        this.view().setUint32(out + 4, 1, true);
        return 0;
      },
      fd_prestat_dir_name: (fd, at) => (this.bytes(at, 1)[0] = 0x2e, 0),
      path_filestat_get: (fd, flags, at, n, out) => {
        const { name, bytes } = this.find(at, n);
        return bytes ? this.stat(out, 4, bytes.length) : name === '' || name === '.' ? this.stat(out, 3, 0) : NOENT;
      },
      path_open: (fd, dirflags, at, n, oflags, rights, inheriting, fdflags, out) => {
        const { name, bytes } = this.find(at, n), folder = name === '' || name === '.';
        if (!bytes && !folder)
          return oflags & 1 ? NOTSUP : NOENT;
        let next = FOLDER + 1;
        while (this.open.has(next))
          next++;
        this.open.set(next, { bytes: bytes || new Uint8Array(0), at: 0, folder });
        this.view().setUint32(out, next, true);
        return 0;
      },
      proc_exit: code => {
        throw new Exit(code);
      },
    };
    return { wasi_snapshot_preview1: new Proxy(known, { get: (o, name) => o[name] || (() => NOTSUP) }) };
  }
}
