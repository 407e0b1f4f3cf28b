"""The package as it is installed: a wheel, in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Dict, Optional

import pytest

PACKAGE = Path(__file__).parent.parent


def run(*command: object, env: Optional[Dict[str, str]] = None) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([*map(str, command)], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A build leaves files behind in the folder that it builds.
    source, built = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("wheel")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", built, source)
    [only] = built.iterdir()
    return only


def test_the_wheel_has_the_package_and_nothing_else(wheel):
    assert wheel.name.startswith("retryable_task-") and wheel.name.endswith("-py3-none-any.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    here = (PACKAGE / "src" / "retryable_task").iterdir()
    assert names == {f"retryable_task/{path.name}" for path in here if path.is_file()}
    assert "retryable_task/py.typed" in names


def test_it_installs_into_an_empty_environment_and_runs(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-index", wheel)
    (tmp_path / "job.py").write_text("def main(day): return {'day': day}")
    log = tmp_path / "termination-log"
    log.touch()
    env = {"PYTHONPATH": str(tmp_path), "TERMINATION_LOG": str(log)}
    run(python, "-m", "retryable_task", "job:main", "2026-11-22", env=env)
    assert json.loads(log.read_bytes()) == {"result": {"day": "2026-11-22"}}
