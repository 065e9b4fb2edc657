"""DVC's reading and writing of YAML with equal results, but nothing parsed or written twice.

After each stage DVC parses the whole dvc.lock, with the places of its comments, and writes all of it: for two folds
0.4 s, where a stage of 30 images works for tenths. Each of its commands begins by parsing it, 0.2 s, and dvc.yaml.
Here a text that was read or written before is not parsed again, and of dvc.lock the entries that are as they were are
not written again. test_dvc_params.py compares both with DVC's own.
"""

import functools
import hashlib
import io
import os
import pickle
from collections.abc import Mapping


def install(folder):
    """Have DVC read and write so from here on, in this process and its forks. A function that undoes it.

    folder: where what was parsed is kept, for other processes too.
    """
    import dvc.utils.serialize._yaml as _yaml
    import dvc.utils.strictyaml as strictyaml

    parse, dump, known, entries = _yaml.parse_yaml, _yaml._dump, {}, {}

    def keep(text, data):
        known[text] = pickle.dumps(data)
        path = folder / hashlib.sha256(text.encode()).hexdigest()
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(known[text])
        part.replace(path)

    def quick_parse(text, path, typ="safe"):
        if typ != "safe" and "#" in text:  # it may have comments, which are to be kept
            return parse(text, path, typ)
        if text not in known:
            kept = folder / hashlib.sha256(text.encode()).hexdigest()
            if kept.exists():
                known[text] = kept.read_bytes()
            else:
                keep(text, parse(text, path))
        return pickle.loads(known[text])

    def dumped(data):
        stream = io.StringIO()
        dump(data, stream)
        return stream.getvalue()

    def entry(name, value):
        key = name, repr(value)
        if key not in entries:
            entries[key] = dumped({"stages": {name: value}}).removeprefix("stages:\n")
        return entries[key]

    def quick_dump(data, stream):
        if type(data) is not dict or list(data) != ["schema", "stages"] or not data["stages"]:
            return dump(data, stream)
        text = dumped({"schema": data["schema"]}) + "stages:\n"
        text += "".join(entry(name, value) for name, value in data["stages"].items())
        keep(text, _plain(data))
        stream.write(text)

    def put(parse, dump):
        # params.yaml is read through the one, dvc.yaml and dvc.lock through the other
        _yaml.parse_yaml = strictyaml.parse_yaml = parse
        _yaml._dump = dump

    put(quick_parse, quick_dump)
    return functools.partial(put, parse, dump)


def _plain(value):
    """Mappings of DVC's own kinds as they are read."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
