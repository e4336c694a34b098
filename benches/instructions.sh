#!/usr/bin/env bash
# Instructions per run of each stage, beside a bare typed parse of the same bytes; callgrind counts the same on every
# machine. Needs valgrind. Prints the table of docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(cargo bench --bench stages --no-run --message-format=json 2>/dev/null |
	grep -o '"executable":"[^"]*stages-[^"]*"' | tail -n 1 | cut -d'"' -f4)

# instructions STAGE SIZE TIMES
instructions() {
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$@" 2>&1 |
		sed -n 's/.*Collected : *\([0-9]*\)/\1/p'
}

# per_run STAGE SIZE: thousands, the start left out.
per_run() {
	local few many
	few=$(instructions "$1" "$2" 100)
	many=$(instructions "$1" "$2" 300)
	echo $(((many - few) / 200 / 1000))
}

echo '| thousand instructions per run | 6.5 KB | × parse | 43 KB | × parse |'
echo '|---|---|---|---|---|'
small=$(per_run parse 6500)
large=$(per_run parse 43000)
for stage in parse decode gather encode count; do
	of_small=$(per_run $stage 6500)
	of_large=$(per_run $stage 43000)
	awk -v stage=$stage -v s="$of_small" -v l="$of_large" -v ps="$small" -v pl="$large" \
		'BEGIN { printf "| %s | %d | %.1f | %d | %.1f |\n", stage, s, s / ps, l, l / pl }'
done
