"""Real Agno runs into Postgres, beside the provider's own record.

    python postgres.py OUTDIR SETTINGS CASE...

runs cases of `make.py` with Agno's `PostgresDb(**SETTINGS)`, SETTINGS being JSON, and writes <case>.calls.json to OUTDIR. A
case called `migrate` is Agno's own migration of what is there.
"""

import asyncio
import json
import sys
from pathlib import Path

import make
from agno.db.postgres import PostgresDb
from provider import Provider


def main():
    out, settings, *cases = sys.argv[1:]
    provider = Provider()
    for name in cases:
        env = make.Env(provider, Path(out) / f"{name}.db")
        env.db.db_engine.dispose()
        env.db = PostgresDb(**json.loads(settings))
        if name == "migrate":
            from agno.db.migrations.manager import MigrationManager

            asyncio.run(MigrationManager(env.db).up())
            continue
        make.CASES[name][0](env)
        make.write_json(Path(out) / f"{name}.calls.json", provider.take_calls())
        env.db.db_engine.dispose()
    provider.close()


if __name__ == "__main__":
    main()
