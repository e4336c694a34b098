#!/bin/sh
# Makes tests/fixtures/generated anew: sh tests/agno/make.sh [VERSION...]
set -eu

cd "$(dirname "$0")/../.."
venvs=target/agno-venvs
new="fork_team fork_continue_regenerate fork_run_same_session fork_copy_continued fork_copy_auxiliary
     fork_paused reused_run_ids no_db
     store_executor_outputs_false store_tool_messages_false workflow_agent workflow_conditions
     nested_team_in_workflow team_broadcast_route concurrent_runs traceparent memory_learning"

for version in ${*:-2.4.8 2.5.17 2.9.0 3.0.0 3.1.10}; do
    venv=$venvs/$version
    if [ ! -x "$venv/bin/python" ]; then
        python3 -m venv "$venv"
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/agno/requirements.txt "agno==$version"
    case $version in
        2.5.17 | 3.1.10) cases=$new ;; # the shared fixtures have their plain cases
        *) cases= ;;
    esac
    # shellcheck disable=SC2086
    PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" tests/agno/make.py "tests/fixtures/generated/$version" $cases
done
