"""The wheel, the image, the systemd unit and the Kubernetes manifests: each checked by a tool made for it, and run."""

import email
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile

import pytest
import support
from conftest import free_ports
from support import REPO, Case
from tools import checked, debian, read_yaml, tool

CASE = Case("3.1.10", "tools_multi")
UNIT = REPO / "packaging/systemd/agno-otel.service"
MANIFEST = REPO / "packaging/kubernetes/agno-otel.yaml"
PACKAGE = tomllib.loads((REPO / "Cargo.toml").read_text())["package"]
# Debian's base image has these; of libgcc-s1 and libc6.
LIBRARIES = {"linux-vdso.so.1", "libgcc_s.so.1", "libm.so.6", "libc.so.6", "/lib64/ld-linux-x86-64.so.2"}
# Exposure in tenths, 0 to 100: what systemd calls OK ends at 40.
EXPOSURE = 15
# What SQLite asks for where it runs as root, as it may here and never does by the unit.
AS_ROOT = {"fchown"}
# The oldest whose API has all the manifest says, and the newest the validator knows.
KUBERNETES = ("1.29", "1.37")


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built as PyPI's is; cargo's cache has the binary."""
    out = tmp_path_factory.mktemp("wheels")
    checked(tool("maturin"), "build", "--release", "--out", out, cwd=REPO)
    (made,) = out.iterdir()
    return made


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        (about,) = (email.message_from_bytes(files.read(name)) for name in names if name.endswith("/METADATA"))
    assert about["Name"] == "agno-otel" and about["Version"] == PACKAGE["version"]
    assert about["Summary"] == PACKAGE["description"] and about["License-Expression"] == PACKAGE["license"]
    assert about["Description-Content-Type"].startswith("text/markdown")
    assert about.get_payload().strip() == (REPO / "packaging/python/README.md").read_text().strip()
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE-APACHE", "LICENSE-MIT"}
    assert [name for name in names if ".dist-info/" not in name] == [f"agno_otel-{PACKAGE['version']}.data/scripts/agno-otel"]
    assert re.search(r"-py3-none-manylinux_2_\d+_", wheel.name), "any Python 3 may have it, on any Linux with that glibc"


def test_who_installs_the_wheel_can_send(wheel, tmp_path):
    venv = tmp_path / "venv"
    checked(sys.executable, "-m", "venv", venv)
    checked(venv / "bin/pip", "install", "--quiet", "--no-index", wheel)
    env = {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    assert checked("agno-otel", "-V", env=env).split() == ["agno-otel", PACKAGE["version"]]
    lines = tmp_path / "runs.jsonl"
    said = json.loads(checked("agno-otel", "send", CASE.db, "--to", f"otlp-json:{lines}", "--json", env=env))
    assert {name: said["tokens"][name] for name in support.CLASSES} == CASE.bill()
    assert {span.trace for m in support.messages(lines) for span in support.spans(m)} == {
        run.replace("-", "") for run in CASE.runs()
    }
    checked(venv / "bin/pip", "uninstall", "--quiet", "--yes", "agno-otel")
    assert not (venv / "bin/agno-otel").exists()


@pytest.mark.parametrize("shipped", ["image", "sdist"])
def test_what_is_shipped_as_source_compiles(shipped, tmp_path):
    """What `.dockerignore` lets into the image's build, and what `pip` builds where there is no wheel."""
    if shipped == "image":
        everything, *kept = [line for line in (REPO / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
        assert everything == "*" and all(re.fullmatch(r"![\w.]+", line) for line in kept)
        folder = tmp_path / "src"
        folder.mkdir()
        for name in (line[1:] for line in kept):
            copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
            copy(REPO / name, folder / name)
    else:
        checked(tool("maturin"), "sdist", "--out", tmp_path, cwd=REPO)
        (archive,) = tmp_path.iterdir()
        shutil.unpack_archive(archive, tmp_path, filter="data")
        folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
    # The dependencies are compiled already, for `cargo clippy` of `.ci/run` at the latest.
    env = {**os.environ, "CARGO_TARGET_DIR": str(REPO / "target")}
    checked("cargo", "check", "--quiet", "--locked", "--bin", "agno-otel", cwd=folder, env=env)


# The image


def test_the_dockerfile_is_sound():
    checked(tool("hadolint"), REPO / "Dockerfile")


def dockerfile():
    """The instructions of the last stage, as pairs of a name and what it says."""
    text = (REPO / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    stage = max(at for at, (name, _, _) in enumerate(lines) if name == "FROM")
    return [(name, rest.strip()) for name, _, rest in lines[stage:]]


class Container:
    """The image's file system by hand: its binary, the libraries of its base, and nothing else; read only, as its user."""

    def __init__(self, folder, *mounts):
        self.root, self.state = folder / "root", folder / "volume"
        said = dict(dockerfile())
        self.user, self.volume = said["USER"], said["VOLUME"]
        self.env = dict(pair.split("=", 1) for pair in shlex.split(said["ENV"]))
        self.health = json.loads(said["HEALTHCHECK"].partition("CMD ")[2])
        self.entry = json.loads(said["ENTRYPOINT"])
        self.add(support.BINARY, "/usr/local/bin/agno-otel")
        self.add(debian("busybox", "busybox-static"), "/usr/local/bin/wget")
        self.add("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt")
        for line in checked("ldd", support.BINARY).splitlines():
            name, _, path = line.strip().partition(" => ")
            assert name.split(" ")[0] in LIBRARIES, f"{line}: not in the base image"
            path = (path or name).split(" ")[0]
            if path.startswith("/"):
                self.add(path, path)
        # For health checks, which leave what they got.
        self.add("/dev/null", "/dev/null")
        self.mounts = (("/dev/null", "/dev/null"), *mounts)
        self.state.mkdir()
        os.chown(self.state, *map(int, self.user.split(":")))
        for where in [self.volume, *(where for _, where in mounts)]:
            (self.root / where.lstrip("/")).mkdir(parents=True)

    def add(self, source, where):
        target = self.root / where.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target) if os.path.isfile(source) else target.touch()

    def start(self, *command, **settings):
        script = [f"mount --bind {self.root} {self.root}", f"mount -o remount,ro,bind {self.root}"]
        for source, where in [(self.state, self.volume), *self.mounts]:
            script.append(f"mount --bind {source} {self.root}{where}")
        env = [f"{name}={value}" for name, value in {"PATH": "/usr/local/bin", **self.env}.items()]
        without_rights = [shutil.which("setpriv"), "--no-new-privs", shutil.which("chroot"), f"--userspec={self.user}", "--groups="]
        script.append("exec " + shlex.join(["env", "-i", *env, *without_rights, str(self.root), *command]))
        whole = ["unshare", "--mount", "--propagation=private", "sh", "-ec", "\n".join(script)]
        return subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **settings)

    def is_healthy(self):
        asked = self.start(*self.health)
        asked.communicate()
        return asked.returncode == 0


def test_the_image_runs_without_rights_and_writes_its_volume_alone(receiver, tmp_path):
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    (tmp_path / "application").mkdir()
    shutil.copy(CASE.db, tmp_path / "application/agno.db")
    os.chmod(tmp_path, 0o755)
    container = Container(tmp_path, (tmp_path / "application", "/application"))
    (port,) = free_ports(1)
    container.env["AGNO_OTEL_LISTEN"] = f"127.0.0.1:{port}"
    container.health[-1] = container.health[-1].replace(":4320", f":{port}")
    assert not container.is_healthy()
    before = {path for path in container.root.rglob("*")}
    run = container.start(
        *container.entry, "run", "/application/agno.db", "--history", "count", "--endpoint", receiver.url, "--metrics-every", "1"
    )
    try:
        support.wait_until(lambda: container.is_healthy() or run.poll() is not None, "the container to be healthy")
        wanted = {name: count for name, count in CASE.bill().items() if count}
        support.wait_until(lambda: receiver.usage() == wanted or run.poll() is not None, "its tokens")
        assert run.poll() is None, run.communicate()[0]
    finally:
        run.send_signal(signal.SIGTERM)
        said, _ = run.communicate(timeout=30)
    assert run.returncode == 143, said
    assert (container.state / "state.db").stat().st_uid == 65532
    assert {path for path in container.root.rglob("*")} == before


# systemd


@pytest.fixture
def analyze():
    return debian("systemd-analyze", "systemd")


def test_systemd_takes_the_unit(analyze, tmp_path):
    text = UNIT.read_text().replace("/usr/local/bin/agno-otel", str(support.BINARY))
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run([analyze, "verify", tmp_path / UNIT.name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_hardened(analyze):
    checked(analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", UNIT)


def test_the_unit_allows_every_system_call_that_run_makes(analyze, receiver, tmp_path):
    log, database = tmp_path / "calls", tmp_path / "agno.db"
    shutil.copy(CASE.db, database)
    run = subprocess.Popen(
        [debian("strace", "strace"), "-f", "-qq", "-o", log, support.BINARY, "run", database, "--history", "count"]
        + ["--state", tmp_path / "state.db", "--listen", "0", "--endpoint", receiver.url, "--metrics-every", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        start_new_session=True,
    )
    try:
        wanted = {name: count for name, count in CASE.bill().items() if count}
        support.wait_until(lambda: receiver.usage() == wanted or run.poll() is not None, "its tokens", seconds=60)
    finally:
        os.killpg(run.pid, signal.SIGTERM)
        run.communicate(timeout=30)
    made = set(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    assert len(made) > 30, made
    assert made - AS_ROOT <= allowed(analyze), made - allowed(analyze)


def allowed(analyze):
    """The system calls the unit's filter lets through."""
    calls = set()
    for line in UNIT.read_text().splitlines():
        name, _, groups = line.partition("=")
        if name == "SystemCallFilter":
            found = {call for group in groups.lstrip("~").split() for call in members(analyze, group)}
            calls = calls - found if groups.startswith("~") else calls | found
    return calls


def members(analyze, group):
    names = re.findall(r"^ +(@?[\w-]+)$", checked(analyze, "syscall-filter", group), re.MULTILINE)
    return {call for name in names for call in (members(analyze, name) if name.startswith("@") else [name])}


# Kubernetes


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field_of_the_manifest(version):
    checked(tool("kubernetes-validate"), "--strict", "--no-warn", "--kubernetes-version", version, MANIFEST)


def test_the_manifest_runs_without_rights_and_holds_no_secret():
    documents = read_yaml(MANIFEST)
    (pod,) = (one["spec"]["template"]["spec"] for one in documents if one["kind"] == "StatefulSet")
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    user = {str(pod["securityContext"][key]) for key in ("runAsUser", "runAsGroup", "fsGroup")}
    assert user == set(dict(dockerfile())["USER"].split(":"))
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {dict(dockerfile())["VOLUME"]} == {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    secrets = [one["name"] for one in container["env"] if "secretKeyRef" in one.get("valueFrom", {})]
    assert secrets == ["AGNO_OTEL_LISTEN_TOKEN", "PGPASSWORD"]
    assert not any(one["kind"] == "Secret" for one in documents)


def test_agno_otel_takes_the_settings_of_the_manifest(tmp_path):
    """All is well with them but that the database is none of ours: exit code 3, after configuration and state file."""
    documents = read_yaml(MANIFEST)
    (settings,) = (one["data"] for one in documents if one["kind"] == "ConfigMap")
    (pod,) = (one["spec"]["template"]["spec"] for one in documents if one["kind"] == "StatefulSet")
    for name, text in settings.items():
        (tmp_path / name).write_text(text.replace("postgres.shop", "127.0.0.1").replace("5432", "1"))
    (container,) = pod["containers"]
    env = {one["name"]: one.get("value", "from-a-secret") for one in container["env"]} | {"PATH": os.environ["PATH"]}
    command = [support.BINARY, "check", "--config", tmp_path / "agno-otel.toml", "--state", tmp_path / "state.db", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stdout + done.stderr


# Completions and pages of man


def test_pages_of_man_render_without_a_warning(tmp_path):
    checked(support.BINARY, "man", "--to", tmp_path)
    pages = sorted(tmp_path.glob("*.1"))
    assert len(pages) > 12
    for page in pages:
        groff = [debian("groff", "groff-base"), "-man", "-Tutf8", "-ww", page]
        rendered = subprocess.run(groff, capture_output=True, text=True, check=True)
        assert rendered.stderr == "", page
        assert page.stem in rendered.stdout, page
