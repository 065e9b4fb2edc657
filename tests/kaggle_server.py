"""A server on the loopback that speaks the protocols of Kaggle, of its upload host, and of Dacon.

`python tests/kaggle_server.py FOLDER` runs one, and says how to point the commands at it.
"""

import email
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = "KGAT_planted-7f3c9d2e51"
# goes before everything else in a process: Kaggle's client is pointed at a local server before it is imported
SITECUSTOMIZE = """\
import os
if os.environ.get("KAGGLE_API_ENVIRONMENT") == "LOCALHOST" and os.environ.get("TEST_KAGGLE_URL"):
    from kagglesdk import kaggle_env
    kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.LOCAL] = os.environ["TEST_KAGGLE_URL"]
"""


@dataclass
class World:
    """What the server knows and does; tests change it."""

    slug: str = "digits"
    left: int = 5
    made_today: int = 0
    limited_by_total: bool = False
    facts: dict = field(default_factory=lambda: {"userHasEntered": True})  # of the competition
    trouble: dict = field(default_factory=dict)  # call -> (status, body, headers) in place of its answer
    before: dict = field(default_factory=dict)  # call -> function called when it was carried out, before its answer
    outcomes: list = field(
        default_factory=lambda: [{"status": "COMPLETE", "publicScore": "0.93125", "privateScore": ""}]
    )
    upload_url: str = ""  # another upload host
    active: bool = True  # the token
    archive: bytes = b""
    headers: dict = field(default_factory=dict)  # more headers of the download
    break_after: int | None = None  # bytes of the download, once
    # of notebooks
    dataset_versions: list = field(default_factory=list)  # blob tokens of each
    hidden_versions: int = 0  # answers that do not know of the newest version yet
    is_numbered: bool = True  # the data set has a version that was read
    dataset_statuses: list = field(default_factory=lambda: ["READY"])  # the last one stays
    kernels: list = field(default_factory=list)  # what was pushed
    push_error: dict = field(default_factory=dict)
    runs: list = field(default_factory=lambda: [{"status": "RUNNING"}, {"status": "COMPLETE"}])  # the last one stays
    log: str = ""
    output: dict = field(default_factory=dict)  # file -> bytes
    stream: list = field(default_factory=list)  # lines of the running log
    breaks: int = 0  # times that the log's line breaks after its first line
    is_private: bool = True  # the data set
    kernel_ref: str = ""  # another name for the kernel than what was asked for
    gpu_used: str = "45000s"  # of 30 hours
    dacon: object = field(default_factory=lambda: {"message": "ok"})
    # what happened
    calls: list = field(default_factory=list)
    files: dict = field(default_factory=dict)  # blob token -> bytes
    submissions: list = field(default_factory=list)
    ranges: list = field(default_factory=list)
    forms: list = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def world(self):
        return self.server.world

    def log_message(self, *args):
        pass

    def _answer(self, status, body=b"", headers=None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _troubled(self, call):
        if call not in self.world.trouble:
            return False
        status, body, headers = self.world.trouble[call]
        if status is None:
            self.close_connection = True
        else:
            self._answer(status, body, headers)
        return True

    def do_PUT(self):
        content = self._body()
        self.world.calls.append("PUT")
        if not self._troubled("PUT"):
            self.world.files[self.path.rpartition("/")[2]] = content
            self._answer(200, {})

    def do_GET(self):
        if self.path.startswith("/api/v1/kernels/logs/stream/"):
            return self._send_log()
        self.world.calls.append("GET")
        name = self.path.rpartition("/outputs/")[2]
        if name in self.world.output:
            return self._answer(200, self.world.output[name], {"Content-Type": "text/csv"})
        return self._send_archive()

    def do_POST(self):
        body = self._body()
        if self.path == "/submission":
            return self._dacon(body)
        call = self.path.rpartition("/")[2]
        self.world.calls.append(call)
        if call == "IntrospectToken":
            return self._answer(200, {"active": self.world.active, "username": "somebody"})
        assert self.headers["Authorization"] == f"Bearer {TOKEN}"
        if self._troubled(call):
            return None
        answer = getattr(self, re.sub("([A-Z])", r"_\1", call).lower())(json.loads(body))
        if call in self.world.before:
            self.world.before[call]()
        return None if answer is None else self._answer(200, answer)

    def _get_submission_limits(self, request):
        world = self.world
        return {
            "numToday": world.made_today, "numTotal": world.made_today, "numAllowedNow": world.left,
            "limitedByTotal": world.limited_by_total,
        }  # fmt: skip

    def _get_competition(self, request):
        return {"ref": request["competitionName"], **self.world.facts}

    def _start_submission_upload(self, request):
        assert request["contentLength"] > 0
        token = f"blob{len(self.world.files)}"
        base = self.world.upload_url or f"http://127.0.0.1:{self.server.server_port}"
        return {"token": token, "createUrl": f"{base}/upload/signed-secret/{token}"}

    def _create_submission(self, request):
        assert request["blobFileTokens"] in self.world.files, "no submission without its file"
        reference = 41000001 + len(self.world.submissions)
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.world.submissions.append(
            {"ref": reference, "date": now, "description": request["submissionDescription"], "status": "PENDING"}
        )
        return {"message": "Successfully submitted", "ref": reference}

    def _get_submission(self, request):
        sent = next(sent for sent in self.world.submissions if sent["ref"] == request["ref"])
        outcomes = self.world.outcomes
        sent |= outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        return sent

    def _list_submissions(self, request):
        return {"submissions": self.world.submissions[::-1]}

    def _get_dataset_status(self, request):
        if not self.world.dataset_versions:
            return self._answer(404, {"code": 404, "message": "Dataset not found"})
        statuses = self.world.dataset_statuses
        return {"status": statuses.pop(0) if len(statuses) > 1 else statuses[0]}

    def _get_dataset(self, request):
        hidden = self.world.hidden_versions > 0 and len(self.world.dataset_versions) > 1
        self.world.hidden_versions -= hidden
        return {
            "ref": "x/y",
            "currentVersionNumber": len(self.world.dataset_versions) - hidden if self.world.is_numbered else 0,
            "isPrivate": self.world.is_private,
        }

    def _start_blob_upload(self, request):
        token = f"blob{len(self.world.files)}"
        return {"token": token, "createUrl": f"http://127.0.0.1:{self.server.server_port}/upload/signed-secret/{token}"}

    def _create_dataset(self, request):
        assert request.get("isPrivate") is True
        return self._add_version(request)

    def _create_dataset_version(self, request):
        return self._add_version(request.get("body", request))

    def _add_version(self, request):
        tokens = [file["token"] for file in request["files"]]
        assert tokens and all(token in self.world.files for token in tokens)
        self.world.dataset_versions.append(tokens)
        return {"ref": "x/y", "url": "", "status": "ok"}

    def _save_kernel(self, request):
        if self.world.push_error:
            return self.world.push_error
        assert request.get("isPrivate") is True and not request.get("enableInternet")
        self.world.kernels.append(request)
        return {
            "ref": self.world.kernel_ref or f"/code/{request['slug']}",
            "url": "",
            "versionNumber": len(self.world.kernels),
        }

    def _get_kernel(self, request):
        return {"metadata": {"currentVersionNumber": len(self.world.kernels)}, "blob": {}}

    def _get_kernel_session_status(self, request):
        runs = self.world.runs
        return runs.pop(0) if len(runs) > 1 else runs[0]

    def _list_kernel_session_output(self, request):
        base = f"http://127.0.0.1:{self.server.server_port}/outputs"
        return {
            "files": [{"fileName": name, "url": f"{base}/{name}"} for name in self.world.output], "log": self.world.log
        }  # fmt: skip

    def _get_accelerator_quota_statistics(self, request):
        quota = {"timeUsed": self.world.gpu_used, "totalTimeAllowed": "108000s"}
        return {"quotaRefreshTime": "2026-12-05T00:00:00Z", "gpuQuota": quota}

    def _send_log(self):
        """Server-sent events, as the site streams a running log; from the start each time."""
        self.world.calls.append("LogStream")
        assert self.headers["Authorization"] == f"Bearer {TOKEN}"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, line in enumerate(self.world.stream):
            self._chunk(f"data: {json.dumps({'stream_name': 'stdout', 'time': number, 'data': line})}\n\n".encode())
            if self.world.breaks:
                self.world.breaks, self.close_connection = self.world.breaks - 1, True
                return
        self._chunk(b"data: END_OF_LOG\n\n")
        self._chunk(b"")

    def _chunk(self, content):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _create_code_submission(self, request):
        assert request["kernelVersion"] <= len(self.world.kernels)
        reference = 41000001 + len(self.world.submissions)
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.world.submissions.append(
            {"ref": reference, "date": now, "description": request["submissionDescription"], "status": "PENDING"}
        )
        return {"message": "Successfully submitted", "ref": reference}

    def _download_data_files(self, request):
        self.send_response(302)
        self.send_header(
            "Location",
            f"http://127.0.0.1:{self.server.server_port}/files/{request['competitionName']}.zip?signed-secret",
        )
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_archive(self):
        world, start = self.world, 0
        asked = self.headers.get("Range", "")
        world.ranges.append(asked)
        headers = {"ETag": '"one"', "Accept-Ranges": "bytes", "Content-Type": "application/zip"} | world.headers
        if asked and self.headers.get("If-Range") == headers["ETag"]:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        rest = world.archive[start:]
        self.send_response(206 if start else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if world.break_after is not None:
            rest, world.break_after, self.close_connection = rest[: world.break_after], None, True
        self.wfile.write(rest)

    def _dacon(self, body):
        self.world.calls.append("Dacon")
        text = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        form = {
            part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True))
            for part in email.message_from_bytes(text).get_payload()
        }
        self.world.forms.append(form)
        if not self._troubled("Dacon"):
            self._answer(200, self.world.dacon)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, world):
        super().__init__(("127.0.0.1", 0), Handler)
        self.world = world
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()


def environment(server, folder):
    """Variables with which `python -m pipeline` talks to `server`; `folder` is the home of the process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return {
        "HOME": str(folder), "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "TEST_KAGGLE_URL": server.url, "KAGGLE_API_TOKEN": TOKEN,
        "PYTHONPATH": str(folder), "DACON_API_URL": f"{server.url}/submission", "DACON_API_TOKEN": TOKEN,
        "DACON_CPT_ID": "236000", "DACON_TEAM_NAME": "팀 A", "no_proxy": "127.0.0.1",
    }  # fmt: skip


def main():
    with Server(World()) as server:
        for name, value in environment(server, Path(sys.argv[1]).resolve()).items():
            print(f"export {name}='{value}'", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
