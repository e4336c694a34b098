#!/bin/sh
# Makes tests/fixtures/generated anew: sh tests/agno/make.sh [VERSION...]
set -eu

cd "$(dirname "$0")/../.."
venvs=target/agno-venvs
new="fork_team fork_continue_regenerate fork_run_same_session fork_copy_continued fork_copy_auxiliary
     fork_paused reused_run_ids no_db
     store_executor_outputs_false store_tool_messages_false workflow_agent workflow_conditions
     nested_team_in_workflow team_broadcast_route concurrent_runs traceparent memory_learning
     provider_anthropic provider_bedrock provider_gemini provider_responses provider_xai mixed_providers
     fallback fallback_from_anthropic paused_twice paused_other_model
     team_three_levels team_member_paused team_auxiliary workflow_hard"
upgraded="upgrade_paused upgrade_paused_migrated"
export PYTHONDONTWRITEBYTECODE=1

for version in ${*:-2.4.8 2.5.17 2.9.0 3.0.0 3.1.10}; do
    sh tests/agno/install.sh "$version"
    case $version in
        2.5.17 | 3.1.10) cases=$new ;; # the shared fixtures have their plain cases
        *) cases= ;;
    esac
    # shellcheck disable=SC2086
    "$venvs/$version/bin/python" tests/agno/make.py "tests/fixtures/generated/$version" $cases
    if [ "$version" = 3.1.10 ]; then
        sh tests/agno/install.sh 2.4.8
        for maker in 2.4.8 3.1.10; do # the one begins, the other goes on
            # shellcheck disable=SC2086
            "$venvs/$maker/bin/python" tests/agno/make.py tests/fixtures/generated/3.1.10 $upgraded
        done
    fi
done
