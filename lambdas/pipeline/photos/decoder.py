"""Decodes photos in a child process, because a hostile photo can exhaust memory, never end, or crash the decoder."""

import json
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import NamedTuple, Self

from pipeline.photos import CPU_SECONDS, MEMORY, OUT_OF_MEMORY
from rules.photos import Rejection

PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]
from pipeline.photos.decoding import serve
serve(int(sys.argv[1]))
"""

# The process does not inherit the function's environment, which has the role's credentials. In Lambda, Python finds its
# shared library only by this variable. This is no sandbox: code that takes over the process could read /proc.
ENVIRONMENT = {"LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"}

TOO_SLOW = Rejection("TooCostly", f"decoding takes more than {CPU_SECONDS} s: save the photo again in an editor")
TOO_LARGE = Rejection(
    "TooCostly", f"decoding takes more than {MEMORY // 2**20} MB of memory: save the photo again in an editor"
)
FATAL = Rejection("Unreadable", "the pixels are broken: the decoder crashed")


class Decoded(NamedTuple):
    """A photo that can be used.

    ``width`` and ``height`` are the pixels of the upright photo. ``orientation`` is the original's EXIF orientation, 1
    to 8. ``copy`` is the photo upright and without metadata, of type ``media_type``; None if the upload is upright and
    has no metadata. ``grey`` is the small grey copy, a JPEG of `GREY_SIDE` px, for `prints` and `alike`.
    `quality.Quality` explains ``sharpness`` and ``brightness``.
    """

    width: int
    height: int
    orientation: int
    media_type: str
    sharpness: float
    brightness: float
    copy: bytes | None
    grey: bytes


class Decoder:
    """A child process that decodes one photo after the other. If it dies, another replaces it. Not thread-safe."""

    _process: subprocess.Popen[bytes] | None = None
    _connection: Connection
    _is_new: bool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process:
            self._end(self._process)

    def decode(self, content: bytes) -> Decoded | Rejection:
        """Decode the whole photo; returns what it is, or why it cannot be used.

        If a process dies that has decoded other photos, a new one tries again, because earlier photos can be the cause.
        """
        while True:
            process = self._process or self._start()
            is_new, self._is_new = self._is_new, False
            try:
                self._connection.send_bytes(content)
                result, copy, grey = (self._connection.recv_bytes() for _ in range(3))
            except (EOFError, OSError):
                code = self._end(process)
                if code == -signal.SIGXCPU:
                    return TOO_SLOW
                if is_new:
                    return TOO_LARGE if code == OUT_OF_MEMORY else FATAL
                continue
            answer = json.loads(result)
            return Rejection(**answer) if "code" in answer else Decoded(**answer, copy=copy or None, grey=grey)

    def _start(self) -> subprocess.Popen[bytes]:
        # A pair of sockets, because Lambda has no shared memory, which multiprocessing's queues and pools need.
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", PROGRAM, str(theirs.fileno()), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
            )
        self._is_new = True
        return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Close the connection and wait for the process's end; returns its exit code, negative if a signal ended it."""
        self._process = None
        self._connection.close()
        return process.wait()
