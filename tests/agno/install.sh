#!/bin/sh
# Installs Agno releases into virtual environments of their own, target/agno-venvs/VERSION: sh tests/agno/install.sh VERSION...
set -eu

cd "$(dirname "$0")/../.."
venvs=target/agno-venvs

for version in "$@"; do
    case $version in
        2.4.8) anthropic=0.79.0 ;; # this release hands it an httpx client, which anthropic 2 refuses
        *) anthropic=2.13.0 ;;
    esac
    wanted="agno==$version anthropic==$anthropic $(cat tests/agno/requirements.txt)"
    if [ "$(cat "$venvs/$version/wanted" 2>/dev/null)" = "$wanted" ]; then
        continue
    fi
    if [ ! -x "$venvs/$version/bin/python" ]; then
        python3 -m venv "$venvs/$version"
    fi
    "$venvs/$version/bin/pip" install --quiet --disable-pip-version-check \
        -r tests/agno/requirements.txt "agno==$version" "anthropic==$anthropic"
    echo "$wanted" >"$venvs/$version/wanted"
done
