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

web/dist/.built: package.json package-lock.json $(shell find web -name '*.css' -o -name '*.scss' -o -name '*.ts' -o -name '*.mjs' 2>/dev/null | grep -v dist/)
	npm ci --no-audit --no-fund --silent
	npm run --silent build
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
	rm -rf bin web/dist node_modules
