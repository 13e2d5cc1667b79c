# demo, test, bench, fuzz and run need only Go. check also needs git, and Node 20 or later for
# the contract linter. clients needs curl, Node 18.19 or later with npm, and Python with its
# package requests.

STATICCHECK := go tool -modfile=tools/go.mod staticcheck
REDOCLY      = $(NPX) --package=@redocly/cli@2.77.0 -- redocly

NPX      ?= npx --yes
CONFIG   ?= cmd/atlas-gateway/atlas-gateway.yaml
BENCH    ?= .
FUZZTIME ?= 30s
FUZZJOBS ?= 2

export REDOCLY_TELEMETRY = off
export REDOCLY_SUPPRESS_UPDATE_NOTICE = true

.DEFAULT_GOAL := help
.PHONY: help demo test build run generate docs check gofmt vet staticcheck generated contract race canary clients crash restarts first-week watchers flood outage bench bench-proxy bench-journal h2spec digest-report fuzz image release rehearse helm clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## export a snapshot through the gateway, only on this machine; KEEP=1 stays up
	@bin/demo

# Most tests wait most of the time. The package that takes longest begins first. make vet is a
# target of its own.
TESTS = -vet=off -p 4 -parallel 8 ./cmd/atlas-gateway ./...

# With CI set, the output is searched as well.
test: ## run every test
	$(if $(CI),@$(MAKE) canary,go test $(TESTS))

build: ## build the programs into bin/; VERSION=v1.2.3 is what they call themselves
	@mkdir -p bin
	go build $(if $(VERSION),-ldflags=-X=atlas-export-gateway/internal/build.version=$(VERSION)) -o bin/ ./cmd/...

run: build ## serve with CONFIG=FILE; the default is the example, with the key pair in the environment
	@exec bin/atlas-gateway serve $(CONFIG)

generate: ## generate gen/ from the contract
	go generate ./...

docs: ## write the pages and the picture of atlas-export; make test compares them
	go test ./cmd/atlas-export -run '^(TestReference|TestPicture)$$' -update

check: gofmt vet staticcheck generated contract ## run the next five, which read the code

gofmt: ## fail if gofmt would change a file
	@files=$$(gofmt -l .) && if [ -n "$$files" ]; then echo "gofmt -w $$files"; exit 1; fi

vet: ## run go vet
	go vet ./...
	cd compat && go vet ./...
	cd tools && go vet ./...
	cd docs/example && go vet ./...

staticcheck: ## run staticcheck, at the version in tools/go.mod
	$(STATICCHECK) ./...
	cd compat && go tool -modfile=../tools/go.mod staticcheck ./...
	cd tools && go tool staticcheck ./...

generated: generate ## fail if gen/ or contract/ differs from what the contract generates (git add it first)
	@git --no-pager diff --text --stat --exit-code -- gen contract
	@untracked=$$(git ls-files --others --exclude-standard -- gen contract) && if [ -n "$$untracked" ]; then echo "not in git: $$untracked"; exit 1; fi

contract: ## lint api/openapi.yaml
	$(REDOCLY) lint --config api/redocly.yaml api/openapi.yaml

# The race detector sees what a process does at the same time. The tests of the packages that are
# left out here only read files, or run programs that they build without the detector. Of the
# others, -short leaves out what starts processes, unless it is about what they do at the same
# time, and what is costly and sequential (internal/gatewaytest/race.go).
RACELESS = /(api|docs|cmd/demo|internal/(build|imports|pages))$$

race: ## run the tests with the race detector, which needs a C compiler
	go test -race -short -vet=off -p 2 $$(go list ./... | grep -vE '$(RACELESS)')

# With CI set, a test whose client is missing fails.
clients: compat/clients/npm/node_modules/.package-lock.json ## run other people's clients against the gateway
	cd compat && CI=true go test -count=1 -skip '^TestH2spec$$' ./...

compat/clients/npm/node_modules/.package-lock.json: compat/clients/npm/package-lock.json
	cd compat/clients/npm && npm ci --ignore-scripts --no-audit --no-fund

# Secrets that tests make up contain c4na7y, here also in hexadecimal digits and in base64. The
# other secrets are those of the simulation. The indented lines that grep drops are the
# environment of a script, which testscript lists and in which the program finds its key.
CANARY = c4na7y|63346e613779|YzRuYTd5|M0bmE3e|jNG5hN3|51a1a7ed-a71a-5000|mdb_sa_sk_of_the_simulation

canary: ## run every test, and fail if a secret of a test is in the output
	@out=$$(go test $(TESTS) -json 2>&1) || { printf '%s\n' "$$out" | grep -E '"Action":"fail"|_test\.go:[0-9]+:|panic:' | grep -vE '$(CANARY)'; exit 1; }; \
	if printf '%s\n' "$$out" | grep -vE '"Output":" +[A-Z_]+=' | grep -E '$(CANARY)'; then echo 'a secret is in the output of these tests' >&2; exit 1; fi

# The journal in PostgreSQL needs its server's programs, which Debian's package postgresql has.
crash: build ## kill the gateway KILLS= times during CREATES= creates, and count duplicates; JOURNAL=off, or JOURNAL=postgres GATEWAYS=3 KILLS_SERVER=20; LOGS=DIR
	cd compat && go run ./crash -gateway $(CURDIR)/bin/atlas-gateway $(if $(CREATES),-creates $(CREATES)) $(if $(KILLS),-kills $(KILLS)) \
		$(if $(JOURNAL),-journal $(JOURNAL)) $(if $(GATEWAYS),-gateways $(GATEWAYS)) $(if $(KILLS_SERVER),-server-kills $(KILLS_SERVER)) $(if $(LOGS),-log $(abspath $(LOGS)))

restarts: ## restart the gateway five times during REQUESTS= requests, behind a passed socket and behind haproxy, and count what failed
	RESTARTS_REQUESTS=$(or $(REQUESTS),100000) go test ./cmd/atlas-gateway -run '^TestRestarts' -count=1 -timeout 30m -v

first-week: ## run the blocks of docs/first-week.md as they are pasted; needs openssl, curl, haproxy and prometheus
	FIRST_WEEK=1 go test ./docs -run '^TestFirstWeek$$' -count=1 -v

watchers: ## have WATCHERS= (1000) read one job once a second for SECONDS= (60) through REPLICAS= (1) gateways, and count what reaches Atlas
	WATCHERS=$(or $(WATCHERS),1000) SECONDS=$(or $(SECONDS),60) REPLICAS=$(or $(REPLICAS),1) go test -count=1 -v -timeout 10m -run '^TestManyWatchers$$' ./gateway

# By Atlas's clock, which runs SPEED times faster than that of the machine.
flood: build ## send ten times what Atlas allows for MINUTES=5, through GATEWAYS=1; SPEED=10
	cd compat && go run ./limits -gateway $(CURDIR)/bin/atlas-gateway $(if $(MINUTES),-minutes $(MINUTES)) $(if $(GATEWAYS),-gateways $(GATEWAYS)) $(if $(SPEED),-speed $(SPEED)) flood

outage: build ## have Atlas fail in four ways for MINUTES=10 in all, and look at what the gateway does
	cd compat && go run ./limits -gateway $(CURDIR)/bin/atlas-gateway -minutes $(or $(MINUTES),10) outage

bench: ## run the benchmarks, or those that match BENCH=
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

bench-proxy: build ## compare what a request costs in the gateway and in other proxies; QUICK=1, PROFILE=DIR, or BEFORE=PATH, an older gateway's program
	cd compat && go run ./proxybench -gateway $(CURDIR)/bin/atlas-gateway $(if $(QUICK),-quick) $(if $(PROFILE),-profile $(abspath $(PROFILE))) $(if $(BEFORE),-before $(abspath $(BEFORE)))

bench-journal: build ## measure creates a second next to fsyncs, and a journal with KEYS= (1,000,000) keys; QUICK=1, DIR= on another disk
	cd compat && go run ./proxybench -gateway $(CURDIR)/bin/atlas-gateway -journal $(if $(QUICK),-quick) $(if $(KEYS),-keys $(KEYS)) $(if $(DIR),-dir $(abspath $(DIR)))

h2spec: ## check the HTTP/2 of the listener against its RFCs, frame by frame
	cd compat && go test -count=1 ./h2spec

digest-report: ## compare three digest transports in each nonce mode; QUICK=1 makes fewer calls
	cd compat && go run ./digestreport $(if $(QUICK),-calls 20000 -others 2000)

# A new input is minimized for at most a second: the default, a minute, leaves no time for the
# search. Before Go 1.27, a target whose time is over may fail with only "context deadline
# exceeded" (https://go.dev/issue/75804). Then no input has failed: the output would name it.
fuzz: ## run each fuzz target for FUZZTIME= (30s), FUZZJOBS= (2) of them at a time
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|/[^/]*:func | |' | xargs -n 2 -P $(FUZZJOBS) sh -c ' \
		out=$$(go test -run "^\$$" -fuzz "^$$2\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s -parallel 1 "$$1" 2>&1); status=$$?; \
		if printf "%s\n" "$$out" | grep -v "^fuzz: elapsed: " | tr "\n" " " | grep -Eqx -- "--- FAIL: $$2 \([0-9.]+s\)     context deadline exceeded FAIL exit status 1 FAIL.[^ ]+ "; then status=0; fi; \
		if [ $$status = 0 ]; then out=$$(printf "%s\n" "$$out" | grep "^fuzz: elapsed: " | tail -n 1); fi; \
		printf "%s %s\n%s\n" "$$1" "$$2" "$$out"; exit $$status' fuzz

# The version is by default the tag of the commit, or else the commit.
image: ## build the images of gateway and command line as OCI layouts into dist/image/, without a daemon; VERSION=
	@go -C tools run ./release $(if $(VERSION),-version $(VERSION)) -targets '$(RELEASE_TARGETS)' image

release: ## build a release into dist/; VERSION=v1.2.3 is a tag of this commit and has a section in CHANGELOG.md; RELEASE_TARGETS="linux/amd64 darwin/arm64"
	@go -C tools run ./release -version '$(VERSION)' -targets '$(RELEASE_TARGETS)' all

# Only root can try the images and packages: they get a root file system of their own.
rehearse: ## build a release of a tag in a clone, and try what is in it; RELEASE_TARGETS=
	cd tools && go test -count=1 -timeout 30m ./release

# Helm's packages take about two minutes of CPU to compile, once. staticcheck would read all of
# them too, and is left out.
helm: ## lint and render the Helm chart, and compare deploy/kubernetes.yaml; UPDATE=1 writes it, and the chart's rules
	cd deploy/helm && go test -count=1 -vet=all $(if $(UPDATE),. -update,./...)

clean: ## remove bin/, dist/ and the npm packages
	rm -rf bin dist compat/clients/npm/node_modules
