#!/usr/bin/env bash
# Builds the Collector, Prometheus, promtool, Alertmanager, amtool and Jaeger from the pinned modules under go/, and skips what is built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${AGNO_OTEL_STACK_BIN:-$here/../../target/stack/bin}
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)

export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off GOBIN=$bin

# build FOLDER PROGRAM... -- GO ARGUMENT...
build() {
	local folder=$1 programs=() program stamp
	shift
	while [[ $1 != -- ]]; do programs+=("$1"); shift; done
	shift
	cd "$here/go/$folder"
	stamp=$({ go version; echo "$GOFLAGS $*"; cat go.mod go.sum; cat ./*.go 2>/dev/null || true; } | sha256sum)
	for program in "${programs[@]}"; do
		if [[ ! -x $bin/$program || $(cat "$bin/$folder.stamp" 2>/dev/null) != "$stamp" ]]; then
			echo "building ${programs[*]}"
			SECONDS=0
			go install -trimpath "$@"
			echo "built ${programs[*]} in $SECONDS s"
			echo "$stamp" >"$bin/$folder.stamp"
			return
		fi
	done
	echo "${programs[*]}: up to date"
}

build otelcol otelcol -- -ldflags '-s -w' .
build prometheus prometheus promtool -- -tags netgo,remove_all_sd \
	-ldflags '-s -w -X github.com/prometheus/common/version.Version=3.16.0' tool
build alertmanager alertmanager amtool -- -ldflags '-s -w' tool
build jaeger jaeger -- -ldflags '-s -w' tool
build compose compose -- -ldflags '-s -w' .
