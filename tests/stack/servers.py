"""Postgres and PgBouncer in a folder of their own, on free loopback ports, ended with the test."""

import os
import shutil
import signal
import subprocess
import tempfile
from glob import glob
from pathlib import Path

import psycopg
import support
from psycopg import sql

OWNER = "postgres" if os.getuid() == 0 else None  # neither server runs as root
PASSWORD = "0wner-s3cret"


def need(*packages):
    """Debian's packages, installed where their programs are missing."""
    apt = ["apt-get"] if os.getuid() == 0 else ["sudo", "apt-get"]
    subprocess.run([*apt, "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*apt, "install", "-qq", "-y", "--no-install-recommends", *packages], check=True, stdout=subprocess.DEVNULL)


def postgres_program(name):
    found = lambda: sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found():
        need("postgresql")
    return found()[-1]


class Postgres:
    """A cluster with one owner, passwords by SCRAM, and TLS by a certificate for `localhost`."""

    def __init__(self, port):
        self.port = port
        self.folder = Path(tempfile.mkdtemp(prefix="agno-otel-pg-"))
        self.data, self.certificate = self.folder / "data", self.folder / "server.crt"
        secret, key = self.folder / "secret", self.folder / "server.key"
        secret.write_text(PASSWORD)
        subprocess.run(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext "
            f"subjectAltName=DNS:localhost -keyout {key} -out {self.certificate}".split(),
            check=True,
            capture_output=True,
        )
        key.chmod(0o600)
        if OWNER:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, OWNER, OWNER)
        self.run("initdb", "-D", self.data, "-U", "owner", "-A", "scram-sha-256", f"--pwfile={secret}", "-N", "-E", "UTF8")
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": self.certificate,
            "ssl_key_file": key,
            "log_statement": "all",
        }
        self.log = self.folder / "log"
        self.command = [postgres_program("postgres"), "-D", self.data, "-p", port, *(f"--{k}={v}" for k, v in settings.items())]
        self.resume()

    def resume(self):
        self.process = self.start(*self.command)
        support.wait_until(self.is_ready, f"Postgres (log: {self.log})")

    def halt(self, how=signal.SIGINT):
        """Ends the server: by default "fast", which ends sessions."""
        self.process.send_signal(how)
        self.process.wait(timeout=20)

    def as_owner(self):
        return {"user": OWNER, "group": OWNER, "extra_groups": []} if OWNER else {}

    def run(self, program, *args):
        subprocess.run([postgres_program(program), *map(str, args)], check=True, cwd=self.folder, capture_output=True, **self.as_owner())

    def start(self, *command, log="log"):
        with (self.folder / log).open("ab") as out:
            return subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.as_owner(),
            )

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(self.log.read_text()[-4000:])
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database="postgres"):
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="owner", password=PASSWORD, dbname=database, autocommit=True
        )

    def url(self, database, user="owner", password=PASSWORD, host="127.0.0.1", query=""):
        return f"postgresql+psycopg://{user}:{password}@{host}:{self.port}/{database}{query}"

    def create(self, database):
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def reader(self, database, schema, *tables, role="reader", password="r3ad-s3cret"):
        """A role that may do nothing but read these tables; its URL."""
        name = sql.Identifier
        with self.connect(database) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name(role), password))
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(name(schema), name(role)))
            for table in tables:
                grant = sql.SQL("GRANT SELECT ON {} TO {}").format(name(schema, table), name(role))
                connection.execute(grant)
        return self.url(database, role, password)

    def bouncer(self, port, database, user, password):
        """PgBouncer in front of a database, in transaction mode, with one connection for all. The process."""
        if not Path("/usr/sbin/pgbouncer").exists():
            need("pgbouncer")
        config = self.folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{database} = host=127.0.0.1 port={self.port} dbname={database} user={user} password={password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = 1\n"
        )
        if OWNER:
            shutil.chown(config, OWNER, OWNER)
        return self.start("/usr/sbin/pgbouncer", config, log="pgbouncer.log")

    def stop(self):
        self.halt()
        shutil.rmtree(self.folder)
