"""The program of the child process that decodes photos with limited memory and time. `decoder` starts it.

It imports only what it needs, and answers one photo after the other until the connection is closed.
"""

import io
import json
import os
import resource
import sys
from multiprocessing.connection import Connection
from typing import Any

from PIL import Image, ImageChops

from pipeline import upright
from pipeline.photos import CPU_SECONDS, GREY_SIDE, MEMORY, OUT_OF_MEMORY
from pipeline.photos.quality import LONG_SIDE, quality
from rules import photos
from rules.photos import Rejection
from rules.uploads import LARGEST_PHOTO

GREY_QUALITY = 90


def serve(descriptor: int) -> None:
    """Answer each photo with three messages: the result of `look`, the copy, and the small grey copy."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS also counts memory that a process only reserves
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    connection = Connection(descriptor)
    while True:
        try:
            content = connection.recv_bytes()
        except EOFError:
            return
        _limit_time()
        try:
            result, copy, grey = look(content)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        for message in (json.dumps(result).encode(), copy, grey):
            connection.send_bytes(message)


def _limit_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def look(content: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    """Decode a photo; returns its figures, its upright copy without metadata, and its small grey copy (a JPEG).

    The copy is empty if the photo is upright and has no metadata. For a photo that cannot be used, the figures are the
    ``code`` and ``reason`` of its rejection.
    """
    seen = photos.look(len(content), lambda start, stop: content[start:stop])
    if isinstance(seen, Rejection):
        return _rejected(seen)
    bare = photos.bare(content)
    if isinstance(bare, Rejection):
        return _rejected(bare)
    if seen.orientation == photos.AS_STORED:
        try:
            small, media_type = _small(bare)
        except MemoryError:
            raise
        except Exception:  # broken pixels can raise any exception in the decoder
            return _rejected(upright.BROKEN)
        copy = b"" if bare == content else bare
    else:
        turned = upright.turn(bare, seen.orientation, LARGEST_PHOTO)
        if isinstance(turned, Rejection):
            return _rejected(turned)
        small, copy, media_type = _reduced(turned.picture), turned.copy, turned.media_type
    return {**seen._asdict(), "media_type": media_type, **quality(small.convert("L"))._asdict()}, copy, _grey(small)


def _rejected(why: Rejection) -> tuple[dict[str, Any], bytes, bytes]:
    return why._asdict(), b"", b""


def _small(content: bytes) -> tuple[Image.Image, str]:
    """Decode the whole photo; returns it as `_reduced` does, and its media type.

    A large JPEG is decoded at a reduced size, at least an eighth. This takes half the time and finds the same faults,
    because the decoder still reads all compressed data.
    """
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as photo:
        photo.draft("RGB", (LONG_SIDE, LONG_SIDE))
        photo.load()
        return _reduced(photo), f"image/{photo.format}".lower()


def _reduced(photo: Image.Image) -> Image.Image:
    """The photo in colour, reduced by 1, 2, 4 or 8 as in `_small`, to sides of at least `LONG_SIDE` px."""
    # Pillow would clip 16 bits of grey to 8 bits.
    shown = photo.point(lambda level: level / 256).convert("L") if photo.mode.startswith("I") else photo
    if shown.mode != "RGB":  # to convert to the same mode copies all pixels
        shown = shown.convert("RGB")
    most = max(1, min(photo.size) // LONG_SIDE)
    return shown.reduce(1 << (most.bit_length() - 1))


def _grey(photo: Image.Image) -> bytes:
    """The small grey copy: for each pixel its darkest colour, because a brighter exposure clips that one last."""
    red, green, blue = photo.split()
    darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
    file = io.BytesIO()
    # Bicubic: with nearest-neighbour steps, fine patterns look different if the shot moves by a pixel.
    darkest.resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=GREY_QUALITY)
    return file.getvalue()
