"""A competition's zip: fetched once, from where an earlier attempt broke off, and in place only when it can be read."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.archive.archive import open_archive
from pipeline.base import console
from pipeline.base.console import progress_bar
from pipeline.base.files import md5_of, read_json, write_json
from pipeline.leaderboard.site import Site, UnansweredError

PIECE = 1 << 16  # bytes; of the last one before a break nothing is kept


def download(site: Site, path: Path) -> None:
    """Put the competition's zip at `path`; a file that is there stays as it is until the new one is read through.

    What came before a break stays beside it (`.part`, and `.part.json`: of which file on the server it is a part).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    response = site.files()
    with response:
        headers = response.headers
        if _is_there(path, headers):
            console.say(f"download     {path} is there already, {path.stat().st_size:,} bytes as on the server")
            return
        _fetch(response, part)
    _check(part, headers)
    part.replace(path)
    _identity_of(part).unlink(missing_ok=True)
    console.say(f"download     {path}: {path.stat().st_size:,} bytes")


def _is_there(path: Path, headers: Mapping[str, str]) -> bool:
    md5 = _md5(headers)
    if not path.is_file() or _size(headers) != path.stat().st_size:
        return False
    return md5 is None or md5 == md5_of(path)


def _fetch(response: Any, part: Path) -> None:
    """The rest of the file into `part`, from the start unless what is there is of the same file on the server."""
    identity = _identity(response.headers)
    known = _identity_of(part)
    is_ours = part.is_file() and known.is_file() and identity is not None and read_json(known) == identity
    have = part.stat().st_size if is_ours else 0
    size = _size(response.headers)
    if is_ours and size == have:
        return
    if have:
        response = _from(response, have, identity or {})
        have = have if response.status_code == 206 else 0
    write_json(known, identity)
    try:
        with response, part.open("ab" if have else "wb") as handle, _bar(size, have) as bar:
            for piece in response.iter_content(PIECE):
                handle.write(piece)
                bar.update(len(piece))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        if getattr(error, "errno", None):
            raise  # the disk's
        raise UnansweredError(_broken(part, type(error).__name__)) from None


def _from(response: Any, have: int, identity: Mapping[str, str]) -> Any:
    """The same request again, for what comes after the first `have` bytes, if the file is still the same."""
    import requests

    request = response.request.copy()
    request.headers["Range"] = f"bytes={have}-"
    request.headers["If-Range"] = identity.get("ETag") or identity["Last-Modified"]
    response.close()
    try:
        rest = requests.Session().send(request, stream=True)
        rest.raise_for_status()
    except requests.RequestException as error:
        raise UnansweredError(f"the server did not go on with the file ({type(error).__name__}): try again") from None
    return rest


def _check(part: Path, headers: Mapping[str, str]) -> None:
    """Raise ValueError unless `part` is the whole file and an archive that can be read."""
    size, md5, have = _size(headers), _md5(headers), part.stat().st_size
    if size is not None and have < size:
        raise UnansweredError(_broken(part, f"{have:,} of {size:,} bytes came"))
    try:
        if size is not None and have != size:
            raise ValueError(f"{have:,} bytes came, the server named {size:,}")
        if md5 is not None and md5 != md5_of(part):
            raise ValueError("its MD5 is not the one the server names")
        with open_archive(part) as archive:
            console.say(f"archive      {len(archive.names):,} files")
    except ValueError as error:
        part.unlink()
        _identity_of(part).unlink(missing_ok=True)
        raise ValueError(f"the download is damaged and was thrown away ({error}); run the command again") from error


def _broken(part: Path, found: str) -> str:
    return f"the download broke off ({found}): what came is kept in {part}; run the same command again to go on"


def _identity(headers: Mapping[str, str]) -> dict[str, str] | None:
    """What tells this file on the server from an older or newer one; None where the server says nothing."""
    found = {name: headers[name] for name in ("ETag", "Last-Modified", "Content-Length") if name in headers}
    return found if "ETag" in found or "Last-Modified" in found else None


def _identity_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(headers: Mapping[str, str]) -> int | None:
    found = headers.get("Content-Length", "")
    return int(found) if found.isdecimal() else None


def _md5(headers: Mapping[str, str]) -> str | None:
    """Hex, from Google's storage: `x-goog-hash: crc32c=…, md5=…`."""
    for piece in headers.get("x-goog-hash", "").split(","):
        name, _, value = piece.strip().partition("=")
        if name == "md5":
            return base64.b64decode(value).hex()
    return None


def _bar(size: int | None, have: int) -> Any:
    return progress_bar("download", total=size, initial=have, unit="B", unit_scale=True)
