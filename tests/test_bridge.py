"""What the process between `folds` and a cluster tells where nothing can run."""

import threading
import time

from pipeline.engines import placement
from pipeline.engines.bridge import Dispatcher
from pipeline.engines.clusters import Folders
from pipeline.engines.placement import Need


def test_a_cluster_that_never_has_room_is_said_to_be_gone_though_nothing_was_asked_of_it(tmp_path, monkeypatch):
    """`folds` starts no fold while there is no place, so nobody waits for a node who could find out."""
    monkeypatch.setattr(placement, "GONE_S", 0.5)
    told = []
    dispatcher = Dispatcher(Folders(str(tmp_path)), Need(100_000), lambda **message: told.append(message))
    began = time.monotonic()
    watch = threading.Thread(target=dispatcher.watch, daemon=True)
    watch.start()
    watch.join(10)
    assert time.monotonic() - began < 10
    assert told[0] == {"places": 0}
    (gone,) = [message["gone"] for message in told if "gone" in message]
    assert "no node is left that has room for a fold (100000 cores, 0 GPUs)" in gone
    assert str(tmp_path) in gone
