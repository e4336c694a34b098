#!/usr/bin/env bash
# Peak memory of `send`, for the table in docs/performance.md: databases of many copies of one run, sent to a server on
# this machine that takes everything. Needs python3 and GNU time.
#
# benches/memory.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-178168}
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; rm -r "$folder"' EXIT

cargo build --release --locked
python3 benches/memory.py serve "$folder/port" &
server=$!
until [[ -s $folder/port ]]; do sleep 0.1; done

python3 benches/memory.py runs tests/fixtures/agno/3.1.10/tools_multi.db "$folder/runs.db" "$runs"
python3 benches/memory.py session tests/fixtures/agno/2.5.17/tools_multi.db "$folder/session.db" $((runs / 33))
for database in runs session; do
	du -h "$folder/$database.db"
	/usr/bin/time -f "$database.db: %M KB at most, %U s" target/release/agno-otel send \
		--endpoint "http://127.0.0.1:$(cat "$folder/port")" "$folder/$database.db"
done
