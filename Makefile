# Two commands for a newcomer: "make demo" and "make test". The rest serves those who work on Mitral.

GO        ?= go
BIN       := bin/mitral
# The parallel link of several test binaries with DuckDB in them needs memory; two at a time is plenty.
TESTFLAGS ?= -p 2 -timeout 20m

.PHONY: demo demo-auto test check build web bench clean setup-demo setup-test

demo: setup-demo build
	$(BIN) demo $(ARGS)

demo-auto: setup-demo build
	$(BIN) demo --auto $(ARGS)

build: web
	$(GO) build -o $(BIN) ./cmd/mitral

web: web/dist/.built

web/dist/.built: web/package.json web/package-lock.json web/build.mjs $(shell find web/components web/theme web/portal web/enclave -name '*.scss' -o -name '*.css' -o -name '*.ts' 2>/dev/null)
	npm --prefix web ci --no-audit --no-fund --silent
	npm --prefix web run --silent build
	@touch $@

check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	$(GO) vet ./...

test: setup-test build check
	MITRAL_REQUIRE=1 $(GO) test $(TESTFLAGS) ./...

bench: build
	$(GO) run ./bench/journey $(ARGS)

setup-demo:
	@scripts/setup demo
setup-test:
	@scripts/setup test

clean:
	rm -rf bin web/node_modules && find web/dist -mindepth 1 ! -name .gitkeep -delete
