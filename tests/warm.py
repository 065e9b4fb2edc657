"""A `python` whose `-m MODULE` begins in a fork of a process that has the libraries imported already.

A stage takes 2 to 5 s of CPU time to import torch and scikit-learn, and tenths for its work on 30 images. This `python`
is a client: it hands its words, folder, environment and open files to a server, which forks, imports the project's own
modules from that folder and runs the module as `__main__`. Shell, arguments, exit code, output and death by a signal
are as of a process of its own; a library that is used without being imported does not show. For that, and for other
seeds of hashes, the whole pipeline runs in processes of its own in test_dvc.py, in the documents' commands
(test_dvc_weights.py), test_fold_pool.py and tests/faults.
"""

import array
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

TUNABLES = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}  # else train begins its own command again to have it
PRELOAD = (
    "dvc.cli.parser", "dvc.repo.reproduce", "matplotlib.backends.backend_agg", "matplotlib.figure", "numpy", "pandas",
    "PIL.Image", "safetensors.torch", "scipy.sparse.csgraph", "sklearn.datasets", "sklearn.metrics",
    "sklearn.model_selection", "timm", "torch", "torch._dynamo", "tqdm",
)  # fmt: skip
CLIENT = """#!{python} -IS
import json, os, signal, socket, struct, sys
if sys.argv[1:2] != ["-m"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
content = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [struct.pack("I", len(content))], [0, 1, 2])
server.sendall(content)
(code,) = struct.unpack("i", server.recv(4))
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def python():
    """Path of that `python`, alone in its folder; the server ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))  # short: an address has 107 characters at most
    client, address = folder / "python", str(folder / "socket")
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | TUNABLES,
    )
    assert server.stdout.readline() == b"ready\n"

    def end():
        server.stdin.close()
        server.wait()

    atexit.register(end)
    return str(client)


def environment(given):
    """`given`, with that `python` first on the PATH."""
    return given | TUNABLES | {"PATH": f"{Path(python()).parent}{os.pathsep}{given['PATH']}"}


def _serve(address):
    from quick_yaml import install  # beside this script

    for name in PRELOAD:
        importlib.import_module(name)
    install(Path(address).parent)
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        client = listener.accept()[0]
        if os.fork() == 0:
            listener.close()
            _run(*_attend(client))
        client.close()
        _reap()
    _reap()
    shutil.rmtree(Path(address).parent)


def _reap():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _attend(client):
    """(words, folder, environment), in a new process; this one stays, and tells the client how that one ended."""
    size, ancillary = client.recvmsg(4, socket.CMSG_SPACE(3 * 4))[:2]
    files = array.array("i", ancillary[0][2])
    with client.makefile("rb") as reader:
        content = reader.read(struct.unpack("I", size)[0])
    worker = os.fork()
    if worker:
        for file in (*files, 0, 1, 2):
            os.close(file)
        if client in select.select([client, os.pidfd_open(worker)], [], [])[0]:  # it was killed
            os.kill(worker, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            client.sendall(struct.pack("i", code))
        os._exit(0)
    client.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    return json.loads(content)


def _run(words, folder, variables):
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.modules["numpy"].random.seed()  # else all would draw the same
    sys.argv, sys.path[0] = words, folder
    sys.orig_argv = [sys.executable, "-m", *words]
    code = 1
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:  # as multiprocessing ends a fork: to take all objects apart would copy all pages
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
