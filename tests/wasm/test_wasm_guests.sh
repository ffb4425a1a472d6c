#!/bin/sh
# Guests written in C: files below folders that were given and nowhere else, and pictures classified
# inside as outside. $3: edge_host. Needs wabt, and clang that compiles for wasm32-wasi; without them
# this is skipped. With LEDGE_WASMEDGE (the wasmedge command) and LEDGE_WASMEDGE_PLUGINS (a folder)
# the same guest runs there too.
. "$(dirname "$0")/../cli/common.sh"
edge_host=$3
guests=$(dirname "$0")/guests
command -v "${LEDGE_WASM2C:-wasm2c}" >/dev/null && command -v clang >/dev/null || exit 77
guest() { # OUTPUT ARGUMENT...
    to=$1
    shift
    clang --target=wasm32-wasi -O2 -I"$root/include" "$@" -o "$work/$to.wasm" 2>"$work/err" || exit 77
}
guest files "$guests/files.c"
guest classify "$root/examples/guest_classify.c"
guest edge "$root/examples/guest_classify.c" -mexec-model=reactor -DREACTOR
for g in files classify edge; do
    expect 0 wasm build "$work/$g.wasm" -o "$work/$g.lwm"
done

# ---- files ----
mkdir "$work/in" "$work/in/sub" "$work/rw"
echo inside >"$work/in/a"
echo outside >"$work/secret"
ln -s ../secret "$work/in/link"
ln -s "$work/secret" "$work/in/absolute"
files() { # CODE WORD...
    code=$1
    shift
    expect "$code" wasm run "$work/files.lwm" --dir "$work/in:/in:ro" --dir "$work/rw:/rw" -- "$@"
}
for isolate in '' '--isolate=process'; do
    files() {
        code=$1
        shift
        # shellcheck disable=SC2086 # empty or one word
        expect "$code" wasm run $isolate "$work/files.lwm" --dir "$work/in:/in:ro" \
            --dir "$work/rw:/rw" -- "$@"
    }
    files 0 cat /in/a
    out '^inside$'
    files 0 stat /in/a
    out '^7 bytes$'
    files 0 list /in
    out '^4 entries$'
    for path in /in/link /in/absolute /in/../secret /in/sub/../../secret /etc/passwd secret /rw/../secret; do
        files 9 cat $path
    done
    files 9 write /in/new text # read-only
    out 'errno 69'
    files 9 remove /in/a
    out 'errno 69'
    files 9 mkdir /in/d
    files 9 rename /in/a /rw/a
    files 0 write /rw/new text
    [ "$(cat "$work/rw/new")" = text ] || fail 'the guest wrote something else'
    files 0 rename /rw/new /rw/newer
    files 9 link /in/a /rw/link
    files 0 mkdir /rw/d
    files 9 remove /rw/d
    files 0 remove /rw/newer
    rmdir "$work/rw/d"
done
[ "$(cat "$work/in/a")" = inside ] && [ "$(ls "$work/in" | wc -l)" = 4 ] || fail 'read-only was not'
expect 9 wasm run "$work/files.lwm" -- cat /in/a # nothing was given
expect 3 wasm run "$work/files.lwm" --dir "$work/nowhere:/in"
one_sentence
expect 2 wasm run "$work/files.lwm" --dir "$work/in:/in:wo"

# ---- pictures ----
picture=$root/tests/data/signs/stop.ppm
net=$root/models/signs.onnx
classify() {
    expect "$1" wasm run "$work/classify.lwm" --nn-preload net="$net" --dir "$root/tests/data/signs:/in:ro" -- \
        "$2" /in/stop.ppm
}
classify 0 net
json "o['predictions'][0]['class_id'] == 0 and len(o['predictions']) == 5 and o['predictions'][0]['confidence'] > 0.5"
cp "$work/out" "$work/answer"
classify 3 nothing
out 'errno 8: no model is called'
err "asked for a model called 'nothing'"
one_sentence
expect 3 wasm run "$work/classify.lwm" --nn-preload net="$work/gone.onnx" -- net /in/stop.ppm
one_sentence
expect 2 wasm run "$work/classify.lwm" --nn-preload "$net"
checks=$((checks + 1))
"$edge_host" "$work/edge.lwm" "$net" "$picture" >"$work/out" 2>"$work/err" || fail 'edge_host'
json "o['predictions'][0]['class_id'] == 0 and o['runtime'] == 'wasi-nn'"

if [ -n "${LEDGE_WASMEDGE:-}" ]; then
    checks=$((checks + 1))
    last='in WasmEdge'
    WASMEDGE_PLUGIN_PATH=$LEDGE_WASMEDGE_PLUGINS "$LEDGE_WASMEDGE" --nn-preload net="$net" \
        --memory-page-limit 400 --dir "/in:$root/tests/data/signs" "$work/classify.wasm" net /in/stop.ppm \
        >"$work/out" 2>"$work/err"
    json "o['predictions'] == json.load(open('$work/answer'))['predictions']"
fi
finish
