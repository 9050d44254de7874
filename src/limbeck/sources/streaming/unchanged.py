"""Whether a set is still what it was when a run began."""

from __future__ import annotations

import json
from pathlib import Path

from limbeck.errors import DataError
from limbeck.files import atomic_write
from limbeck.protocols import Source
from limbeck.sources.places import listed
from limbeck.sources.streaming.source import StreamSource

FILE_NAME = "data.json"


def check_unchanged(source: Source, folder: Path) -> None:
    """Note down what a streamed set consists of, or compare it with what was noted. Others are left alone.

    An order of images that is a pure function of the seed is one of the set too: a run that is resumed on another
    set would see some images twice and others never.

    Args:
        source: of the training images.
        folder: of the run, where `data.json` is kept.

    Raises:
        DataError: the set has changed; the shards that differ are named.
    """
    if not isinstance(source, StreamSource):
        return
    path = folder / FILE_NAME
    now = {name: list(facts) for name, facts in source.shards.manifest.items()}
    if not path.is_file():
        noted = {"fingerprint": source.fingerprint, "images": len(source), "shards": now}
        atomic_write(path, json.dumps(noted) + "\n")
        return
    try:
        noted = json.loads(path.read_text())
        before = dict(noted["shards"])
        same = noted["fingerprint"] == source.fingerprint
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}). Start the stage again with --fresh.") from error
    if same:
        return
    changes = [
        *(f"{name} is gone" for name in before if name not in now),
        *(f"{name} is new" for name in now if name not in before),
        *(f"{name} is another file" for name in now if name in before and now[name] != before[name]),
    ]
    raise DataError(
        f"{source.shards.what} has changed since this run began ({noted.get('images')} images then, {len(source)} "
        f"now): {listed(changes) if changes else 'its settings or classes'}. "
        "Bring the old files back, or start the stage again with --fresh."
    )
