# ledge's front door: short commands over meson. Each first installs what apt lacks
# (scripts/deps.sh), so that a fresh machine needs nothing but git and make.
#
#   make            build the release binaries in build/
#   make demo       build, draw images no model has seen, classify them, time it
#   make test       release tests, the same under ASan+UBSan, fuzz corpora, conformance
#   make models     train the demo model anew, by ledge alone (models/README.md)
#   make bench      time models, beside ONNX Runtime where LEDGE_ORT names its library
#   make bench-serve  what serving costs beyond the model; BENCH_SECONDS=300 for a long load
#   make fuzz       fuzz each target for FUZZ_SECONDS (60)
#   make powercut   cut power, kill, fill disks at POWERCUTS (1,000) random operations
#   make cross      aarch64 (qemu) and wasm (Node): the same answers there
#   make wasm       build-wasm/: the engine as a WebAssembly command, page and library
#   make install    PREFIX=/usr/local DESTDIR=
#   make format     clang-format on the C files that git knows
#   make lint       clang-tidy over the build's compile commands

PREFIX  ?= /usr/local
DESTDIR ?=
JOBS    ?= $(shell nproc 2>/dev/null || echo 2)
BUILD   ?= build
export JOBS BUILD

.PHONY: all build demo test bench bench-serve fuzz powercut cross wasm models install clean format lint \
	deps-build deps-test deps-fuzz deps-lint deps-wasm

all: build

# Named, since make looks up no pattern rule for phony targets.
deps-build deps-test deps-fuzz deps-lint deps-wasm:
	@scripts/deps.sh $(@:deps-%=%)

build: deps-build
	@scripts/build.sh $(BUILD)

demo: build
	@scripts/demo.sh

models: build
	models/train_signs.sh $(BUILD) models/signs.onnx

test: deps-test
	@scripts/test.sh

bench: build
	@scripts/bench.sh

bench-serve: build
	python3 scripts/bench_serve.py $(BUILD)/src/cli/ledge $(BUILD)/tests/bench/bench_serve \
	    $${LEDGE_ASSETS:-../shared/assets} $${BENCH_SECONDS:-10}

cross: build
	@scripts/cross.sh

wasm: deps-wasm
	@scripts/wasm.sh

fuzz: deps-fuzz
	@scripts/fuzz.sh

install: build
	meson configure $(BUILD) --prefix=$(abspath $(PREFIX)) >/dev/null
	DESTDIR=$(DESTDIR) meson install -C $(BUILD)

powercut: build
	@scripts/powercut.sh $(BUILD)

format: deps-lint
	git ls-files '*.c' '*.h' | xargs clang-format -i

lint: deps-lint build
	git ls-files 'src/*.c' | grep -v /kernels/ | xargs -P $(JOBS) -n 4 clang-tidy --quiet -p $(BUILD)

clean:
	rm -rf build build-asan build-fuzz build-cross build-wasm demo-out
