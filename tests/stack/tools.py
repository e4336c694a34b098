"""Programs that check what is shipped beside the binary, installed where they are missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import support
from servers import need

VENV = support.REPO / "target/tools-venv"


def tool(name):
    """A program of `requirements-tools.txt`, in a virtual environment of their own."""
    needed = Path(__file__).with_name("requirements-tools.txt")
    if not (VENV / needed.name).exists() or (VENV / needed.name).read_bytes() != needed.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        pip = [VENV / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", needed], check=True)
        (VENV / needed.name).write_bytes(needed.read_bytes())
    return VENV / "bin" / name


def debian(program, package):
    """A program of Debian's, its package installed if need be."""
    if not shutil.which(program):
        need(package)
    return shutil.which(program)


def checked(*command, **settings):
    """What a command says on standard output. That it fails is a failure, with all it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **settings)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def read_yaml(path):
    """The documents of a YAML file."""
    script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"
    return json.loads(checked(tool("python"), "-c", script, path))
