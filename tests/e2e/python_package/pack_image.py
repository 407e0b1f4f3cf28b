"""Packs the Python that runs it, its standard library and folders of modules into an image, without a container engine.

    python3 pack_image.py NAME:TAG OUT.tar FOLDER...

The archive is one that `docker save` would write. The modules of the folders are in /app, where Python looks for them.
"""

import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Dict, Iterable

#: What no program of the tests imports, and is large.
LEFT_OUT = {"__pycache__", "test", "tests", "site-packages", "dist-packages", "idlelib", "lib2to3", "ensurepip", "turtledemo"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def files_below(folder: Path) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("config-"))
        yield from (Path(parent, name) for name in sorted(names))


def libraries(programs: Iterable[Path]) -> Iterable[Path]:
    """The shared libraries that programs need, and the loader."""
    said = subprocess.run(["ldd", *map(str, programs)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return (Path(path) for path in sorted(set(re.findall(r"(?:=> |^\s+)(/\S+)", said, re.MULTILINE))))


def contents(modules: Iterable[Path]) -> Dict[str, Path]:
    """Where each file is in the image, and where it is here."""
    python = Path(sys.executable).resolve()
    standard = [*files_below(Path(sysconfig.get_path("stdlib")))]
    inside = {str(path): path for path in [python, *standard]}
    inside.update((str(path), path) for path in libraries([python, *(path for path in standard if path.suffix == ".so")]))
    for folder in modules:
        inside.update((f"/app/{path.relative_to(folder)}", path) for path in files_below(folder))
    return inside


def layer(inside: Dict[str, Path]) -> bytes:
    buffer = io.BytesIO()
    folders = {parent for name in inside for parent in Path(name).parents} | {Path("/tmp")}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in sorted(folders - {Path("/")}):
            entry = tarfile.TarInfo(str(folder).lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == Path("/tmp") else 0o755
            archive.addfile(entry)
        for name, path in sorted(inside.items()):
            data = path.read_bytes()
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(data), 0o755 if os.access(path, os.X_OK) else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def pack(name: str, out: Path, modules: Iterable[Path]) -> None:
    data = layer(contents(modules))
    digest = hashlib.sha256(data).hexdigest()
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {
            "User": "65532:65532",
            "Env": ["PYTHONPATH=/app", "PYTHONDONTWRITEBYTECODE=1"],
            "Entrypoint": [str(Path(sys.executable).resolve())],
            "WorkingDir": "/app",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(out, "w") as archive:
        for member, content in [("config.json", json.dumps(config).encode()), ("layer.tar", data), ("manifest.json", json.dumps(manifest).encode())]:
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    pack(sys.argv[1], Path(sys.argv[2]), [Path(folder) for folder in sys.argv[3:]])
