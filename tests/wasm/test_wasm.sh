#!/bin/sh
# ledge wasm: what is built runs, hostile guests end and the host does not, bad files are refused.
# $3: many_traps. Needs wabt (wat2wasm, wasm2c); LEDGE_WASM2C names another wasm2c. Without it this is skipped.
. "$(dirname "$0")/../cli/common.sh"
command -v wat2wasm >/dev/null && command -v "${LEDGE_WASM2C:-wasm2c}" >/dev/null || exit 77
export XDG_CACHE_HOME="$work/cache"
many_traps=$3
guests=$(dirname "$0")/guests

for g in hostile missing hello; do
    wat2wasm "$guests/$g.wat" -o "$work/$g.wasm" || exit 1
done

# ---- building ----
expect 0 wasm build "$work/hello.wasm" -o "$work/hello.lwm" --json
json "o['name'] == 'hello' and o['memory']['pages'] == 3 and o['signatures'] == 0"
json "[t['runs_here'] for t in o['targets']] == [True] and o['imports'][1]['name'].endswith('proc_exit')"
expect 2 wasm build "$work/hello.wasm"
expect 2 wasm bild "$work/hello.wasm"
expect 3 wasm build "$work/text.onnx" -o "$work/x.lwm"
err 'is no WebAssembly module'
one_sentence
expect 3 wasm build "$work/hello.wasm" -o "$work/x.lwm" --wasm2c /nowhere/wasm2c
err 'apt-get install wabt'
one_sentence
expect 3 wasm build "$work/hello.wasm" -o "$work/x.lwm" --cc /nowhere/cc
err 'no C compiler'
one_sentence
expect 2 wasm build "$work/hello.wasm" -o "$work/x.lwm" --target sparc
[ ! -e "$work/x.lwm" ] || fail 'a refused build left a file'
# SIMD, by wabts that have it; others say so
printf '(module (memory (export "memory") 1) (func (export "sum") (result i32) (i32x4.extract_lane 1 (i32x4.add (v128.const i32x4 1 2 3 4) (i32x4.splat (i32.load (i32.const 0)))))))' >"$work/simd.wat"
wat2wasm --enable-simd "$work/simd.wat" -o "$work/simd.wasm" 2>/dev/null || wat2wasm "$work/simd.wat" -o "$work/simd.wasm"
if "$ledge" wasm build "$work/simd.wasm" -o "$work/simd.lwm" >"$work/out" 2>"$work/err"; then
    expect 0 wasm run "$work/simd.lwm" --invoke sum
    out '^2$'
else
    last='SIMD without the means'
    err 'SIMD.*(Debian 13|libsimde-dev)|libsimde-dev'
    one_sentence
fi
head -c 100 "$work/hostile.wasm" >"$work/cut.wasm"
expect 3 wasm build "$work/cut.wasm" -o "$work/x.lwm"
err 'damaged'
one_sentence

# ---- running ----
expect 42 wasm run "$work/hello.lwm"
out '^hello from the guest$'
expect 42 wasm run "$work/hello.wasm" # built on the fly
expect 42 wasm run "$work/hello.wasm" # from the cache
[ "$(find "$work/cache" -name '*.lwm' | wc -l)" = 1 ] || fail 'the cache holds something else'
expect 42 wasm run "$work/hello.lwm" --isolate process
out '^hello from the guest$'
# by a parent that ignores the end of children, as all that it starts do then
last='isolated, without SIGCHLD'
(ulimit -t 20 && exec python3 -c 'import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])' "$ledge" wasm run "$work/hello.lwm" --isolate process) >"$work/out" 2>"$work/err"
[ $? = 42 ] || fail "$last: the child's exit code is lost"
out '^hello from the guest$'
expect 3 wasm run "$work/hello.lwm" --memory-page-limit 2
err 'begins with 3 pages of memory, the limit is 2'
one_sentence
expect 3 wasm run "$work/hello.lwm" --invoke nothing
one_sentence
expect 3 wasm run "$work/missing"
expect 0 wasm build "$work/missing.wasm" -o "$work/missing.lwm"
expect 0 wasm info "$work/missing.lwm"
out 'launch_missiles i:  NOT IN LEDGE'
expect 3 wasm run "$work/missing.lwm"
err 'imports env.launch_missiles, which ledge does not have'
one_sentence
rm -rf "$work/cache"
(PATH=/nowhere LEDGE_WASM2C= "$ledge" wasm run "$work/hello.wasm" >"$work/out" 2>"$work/err")
[ $? = 3 ] || fail 'a .wasm without a compiler'
last='without a compiler'
err 'ledge wasm build'
one_sentence

# ---- hostile guests, with guard pages and with explicit checks ----
for bounds in guard explicit; do
    expect 0 wasm build "$work/hostile.wasm" -o "$work/hostile.lwm" --bounds $bounds
    invoke() { # CODE EXPORT ARGUMENT...
        code=$1
        export_name=$2
        shift 2
        expect "$code" wasm run "$work/hostile.lwm" --time-limit 5000 --memory-page-limit 50 \
            --invoke "$export_name" -- "$@"
    }
    invoke 0 fine 20 22
    out '^42$'
    invoke 7 exit 7
    for name in read_past read_edge write_far offset_wraps copy_past fill_wraps call_none call_past call_other; do
        invoke 1 $name
        err 'the guest was ended: (access outside its memory or table|indirect call)'
        one_sentence
    done
    invoke 1 read_past
    err 'in function read_past'
    for name in deep deep_in_host; do
        invoke 1 $name
        err 'call stack exhausted'
        one_sentence
    done
    invoke 1 divide 1 0
    err 'division by zero'
    invoke 1 divide -2147483648 -1
    err 'integer overflow'
    invoke 1 unreachable
    err 'unreachable'
    invoke 1 convert
    err 'NaN'
    # memory.grow: to the limit, not past it; nor by 4 GiB
    invoke 0 grow 48
    out '^2$'
    for n in 49 65534 65536 -1 2147483647; do
        invoke 0 grow $n
        out '^-1$'
    done
    invoke 3 grow_and_fail
    one_sentence
    err 'uses 2 of at most 50 pages of memory and was refused more: --memory-page-limit'
    # errno 21: fault, 28: invalid, 8: no such descriptor
    for pair in write_bad:21 write_list_past:21 write_many:28 random_past:21; do
        invoke 0 ${pair%:*}
        out "^${pair#*:}\$"
    done
    for fd in 0 3 5 127 128 -1 2147483647; do
        invoke 0 write_no_fd $fd
        out '^8$'
        invoke 0 prestat $fd
        out '^8$'
    done
    # wasi-nn: a builder past memory, no builder, no such encoding, no such context
    invoke 0 nn_load 131070 1 1 0 0
    out '^1$'
    invoke 0 nn_load 0 1 0 0 16
    out '^2$'
    invoke 0 nn_compute 12345
    out '^1$'
    for name in spin sleep; do
        expect 1 wasm run "$work/hostile.lwm" --time-limit 100 --invoke $name
        err 'time limit reached'
        one_sentence
    done
    expect 1 wasm run "$work/hostile.lwm" --fuel 50 --invoke spin
    err 'time limit reached in function spin'
    expect 1 wasm run "$work/hostile.lwm" --time-limit 100 --invoke spin --isolate process
    one_sentence
    expect 1 wasm run "$work/hostile.lwm" --isolate process --invoke read_past
    err 'access outside its memory'
    checks=$((checks + 1))
    "$many_traps" "$work/hostile.lwm" >"$work/out" 2>"$work/err" || fail "many traps, $bounds"
done
# Explicit checks need no 8 GiB of addresses; guard pages say so.
(ulimit -v 4000000 && "$ledge" wasm run "$work/hostile.lwm" --invoke fine 1 2) >"$work/out" 2>"$work/err"
last='explicit checks under ulimit -v'
grep -q AddressSanitizer "$work/err" || grep -q 'failed to allocate' "$work/err" || out '^3$'

# ---- files that were changed, keys ----
expect 0 key new "$work/me"
expect 0 key new "$work/other"
expect 0 wasm build "$work/hello.wasm" -o "$work/signed.lwm" --key "$work/me.key"
expect 42 wasm run "$work/signed.lwm" --key "$work/me.pub"
expect 0 wasm info "$work/signed.lwm" --key "$work/me.pub" --json
json "o['trusted'] and o['signatures'] == 1"
expect 3 wasm run "$work/signed.lwm" --key "$work/other.pub"
one_sentence
expect 3 wasm run "$work/hello.lwm" --key "$work/me.pub"
one_sentence
expect 3 wasm run "$work/hello.wasm" --key "$work/me.pub"
one_sentence
expect 3 wasm build "$work/hello.wasm" -o "$work/x.lwm" --key "$work/me.pub"
err 'a public key cannot sign'
size=$(stat -c %s "$work/signed.lwm")
for at in 0 9 13 40 $((size / 2)) $((size - 40)) $((size - 1)); do
    cp "$work/signed.lwm" "$work/bad.lwm"
    printf '\377' | dd of="$work/bad.lwm" bs=1 seek=$at conv=notrunc status=none
    expect 3 wasm run "$work/bad.lwm"
    one_sentence
done
head -c $((size - 100)) "$work/signed.lwm" >"$work/bad.lwm"
expect 3 wasm run "$work/bad.lwm"
err 'SHA-256'
case $(uname -m) in x86_64) other=aarch64 cc=aarch64-linux-gnu-gcc ;; *) other=x86_64 cc=x86_64-linux-gnu-gcc ;; esac
if command -v $cc >/dev/null; then
    expect 0 wasm build "$work/hello.wasm" -o "$work/other.lwm" --target $other
    expect 3 wasm run "$work/other.lwm"
    err "was built for $other, this machine is"
    one_sentence
fi
if [ "$(uname -m)" = x86_64 ]; then
    expect 0 wasm build "$work/hello.wasm" -o "$work/v3.lwm" --target x86_64_v3
    LEDGE_CPU=sse41 expect 3 wasm run "$work/v3.lwm"
    err 'was built for x86_64_v3, this machine is x86_64_v2'
    one_sentence
fi
finish
