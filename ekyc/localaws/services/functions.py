"""Lambda: runs each deployed function in its own warm worker processes.

moto runs functions only in Docker containers. Here, a function has at most two workers, forked from a process that has
imported the function (`worker.py`). A worker has the function's environment variables and none of this process,
enforces the function's time limit, and returns errors in Lambda's format. A function that is deployed again unchanged
after a reset need not be imported again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ekyc.localaws import aws
from ekyc.localaws.clock import clock

WORKERS_PER_FUNCTION = 2
# By default, Lambda retries an asynchronous invocation after one minute, then after two.
# Source: Lambda guide, "Understanding retry behavior in Lambda".
RETRY_DELAYS = (60, 120)
# Bytes of a request and of a response. Source: Lambda guide, "Lambda quotas".
LARGEST_REQUEST, LARGEST_PAYLOAD = 6_291_456, 6_291_556

RequestId = str


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of an invocation: the payload as JSON text, and whether it is the error object of a function error."""

    request_id: RequestId
    payload: str
    is_error: bool


@dataclasses.dataclass(frozen=True)
class Invocation:
    """The current invocation of a worker.

    The tries of an asynchronous invocation have the same request id, but each has its own `id`.
    """

    function: str
    id: str
    request_id: RequestId
    event: Any
    worker: _Worker

    def end(self, reason: Ending) -> None:
        """Kill the worker. The invocation then ends with Lambda's error for `reason`."""
        self.worker.kill(reason)


class Ending(enum.Enum):
    """Lambda's error type and message for an invocation whose process has ended."""

    EXIT = "Runtime.ExitError", "Runtime exited without providing a reason"
    TIMEOUT = "Sandbox.Timedout", "Task timed out after {limit}.00 seconds"


class StoppedError(RuntimeError):
    """A function was invoked while the local AWS is stopping."""


class Runtime:
    """All workers of one local AWS."""

    def __init__(self, code_dir: Path, logs_dir: Path) -> None:
        self._code_dir = code_dir
        self._logs_dir = logs_dir
        self._lock = threading.Lock()
        self._pools: dict[str, _Pool] = {}
        self._imported: dict[str, _Parent] = {}  # by the function's identity, like the pools
        self._libraries = _Parent(self._start_process)
        self._process: subprocess.Popen[bytes] | None = None
        self._accepts = False

    def start(self) -> None:
        """Accept invocations.

        Starts the process that imports the libraries, if necessary; it imports in the background.
        """
        if self._process is None:
            self._libraries.start()
        self._accepts = True

    def _start_process(self, control: socket.socket) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", str(Path(__file__).with_name("worker.py")), str(control.fileno())],
            pass_fds=[control.fileno()],
            env={"PATH": "/usr/bin:/bin", "LANG": "en_US.UTF-8"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must reach only this process, which then stops the workers
        )

    def end_workers(self) -> None:
        """End every worker at once, and accept no invocation until `start`.

        Processes that have imported the current deployment's functions are kept for the next deployment.
        """
        with self._lock:
            self._accepts = False
            pools, self._pools = self._pools, {}
            imported, self._imported = self._imported, {}
            self._imported |= {identity: imported.pop(identity) for identity in pools if imported[identity].is_ready}
        for pool in pools.values():
            pool.close()
        for parent in imported.values():
            parent.end()
        for parent in self._imported.values():
            parent.end_forked()

    def stop(self) -> None:
        """End every worker and the processes that they are forked from."""
        self._libraries.end()
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.end_workers()
        for parent in self._imported.values():
            parent.end()

    def warm_up(self, functions: Iterable[Any]) -> None:
        """Import each function in the background, before its first invocation."""
        parents = [self._pool(function).parent for function in functions]
        clock.background(_warm_up_each, parents)

    def invoke(self, function: Any, event: Any, request_id: RequestId | None = None) -> Answer:
        """Run a function (moto's LambdaFunction) with a JSON value and wait for its result.

        If there are more than WORKERS_PER_FUNCTION concurrent invocations of a function, the others wait.
        """
        with clock.computing():
            return self._pool(function).invoke(event, request_id or str(uuid.uuid4()))

    def _pool(self, function: Any) -> _Pool:
        identity = json.dumps(
            [
                function.function_arn,
                function.code_sha_256,
                function.handler,
                function.timeout,
                function.memory_size,
                function.environment_vars,
            ]
        )
        with self._lock:
            if not self._accepts:
                raise StoppedError(f"Function {function.function_name} was invoked while the local AWS is stopping.")
            if identity not in self._pools:
                log = self._logs_dir / f"{function.function_name}.log"
                if identity not in self._imported:
                    self._imported[identity] = _importing(self._describe(function), log, self._libraries)
                limit = int(function.timeout)
                self._pools[identity] = _Pool(function.function_name, limit, log, self._imported[identity])
            return self._pools[identity]

    def _describe(self, function: Any) -> dict[str, Any]:
        """The description of a function for `worker.py`."""
        code = str(self._unzipped(function))
        return {
            "name": function.function_name,
            "arn": function.function_arn,
            "handler": function.handler,
            "timeout": int(function.timeout),
            "memory": int(function.memory_size),
            "code": code,
            "environment": _environment(function, code),
        }

    def _unzipped(self, function: Any) -> Path:
        """The directory of the unzipped asset. Each content is unzipped once."""
        directory = self._code_dir / hashlib.sha256(function.code_bytes).hexdigest()[:16]
        if not directory.exists():
            with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
                archive.extractall(directory)
        return directory


class _Parent:
    """A process that forks other processes on request (`worker.py`).

    `begin` starts it at the first request, with its end of the control socket.
    """

    def __init__(self, begin: Callable[[socket.socket], None]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._ended = False
        self.is_ready = False  # whether its imports are done

    def start(self) -> None:
        """Raises StoppedError after `end`."""
        with self._lock:
            self._start()

    def warm_up(self) -> None:
        """Start the process if necessary, and wait until it is ready. Raises StoppedError after `end`."""
        self._order({})

    def fork(self, order: dict[str, Any], end: socket.socket, log: Path) -> int | None:
        """Fork a process that has `end` of a socket and writes to `log`.

        Returns its id, or None if it could not be forked. Raises StoppedError after `end`.
        """
        with log.open("a", encoding="utf-8") as log_file:
            process = self._order(order, end.fileno(), log_file.fileno())
        return int(process) if process else None

    def end_forked(self) -> None:
        """End all forked processes at once."""
        self._order(None)

    def end(self) -> None:
        """End the process and all that it has forked. If it is importing, it ends after the imports."""
        self._ended = True
        if control := self._control:
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)
        if self._lock.acquire(blocking=False):  # otherwise a pending request gets no response and closes the socket
            self._close()
            self._lock.release()

    def _start(self) -> socket.socket:
        if self._ended:
            raise StoppedError("A function was invoked while the local AWS is stopping.")
        if self._control is None:
            self._control, theirs = socket.socketpair()
            with theirs:
                self._begin(theirs)
        return self._control

    def _order(self, order: dict[str, Any] | None, *descriptors: int) -> bytes:
        """Send a request and return the response, or nothing if the process has died. The next request restarts it.

        There is one request at a time, because a stream has no message boundaries.
        """
        with self._lock:
            control = self._start()
            answer = b""
            with contextlib.suppress(OSError):
                socket.send_fds(control, [json.dumps(order).encode()], descriptors)
                answer = control.recv(20)
            self.is_ready = bool(answer)
            if not answer:
                self._close()
            return answer

    def _close(self) -> None:
        if self._control:
            self._control.close()
            self._control = None


def _importing(function: dict[str, Any], log: Path, libraries: _Parent) -> _Parent:
    """The process that imports `function` and forks its workers."""

    def begin(control: socket.socket) -> None:
        libraries.fork({**function, "ahead": clock.ahead()}, control, log)

    return _Parent(begin)


class _Worker:
    """The connection to one worker."""

    def __init__(self, name: str, log: Path, parent: _Parent) -> None:
        self._name = name
        self._token = str(uuid.uuid4())
        self.killed_for = Ending.EXIT
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._pid = parent.fork({"token": self._token}, theirs, log)
        self._stream = self._socket.makefile("rw", encoding="utf-8")

    def ask(self, invocation: dict[str, Any]) -> dict[str, Any] | None:
        """The worker's response, or None if the worker has died."""
        _at_work[self._token] = Invocation(
            self._name, str(uuid.uuid4()), invocation["requestId"], invocation["event"], self
        )
        try:
            return self._ask(invocation)
        finally:
            del _at_work[self._token]

    def kill(self, reason: Ending) -> None:
        """Kill the process during an invocation. Its id is still valid, because it has not been reaped."""
        self.killed_for = reason
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    def _ask(self, invocation: dict[str, Any]) -> dict[str, Any] | None:
        try:
            self._stream.write(json.dumps({**invocation, "ahead": clock.ahead()}) + "\n")
            self._stream.flush()
            line = self._stream.readline()
        except (OSError, ValueError):
            return None
        return json.loads(line) if line else None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._stream.close()
        self._socket.close()


class _Pool:
    """The workers of one function."""

    def __init__(self, name: str, limit: int, log: Path, parent: _Parent) -> None:
        self._name = name
        self._limit = limit  # seconds
        self._log = log
        self.parent = parent
        self._slots = threading.BoundedSemaphore(WORKERS_PER_FUNCTION)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._closed = False

    def invoke(self, event: Any, request_id: RequestId) -> Answer:
        with self._slots:
            answer = self._ask({"event": event, "requestId": request_id})
        if "error" in answer:
            return Answer(request_id, json.dumps(answer["error"]), is_error=True)
        payload = answer.get("payload", "null")
        if len(payload.encode()) > LARGEST_PAYLOAD:
            message = f"Response payload size exceeded maximum allowed payload size ({LARGEST_PAYLOAD} bytes)."
            error = {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}
            return Answer(request_id, json.dumps(error), is_error=True)
        return Answer(request_id, payload, is_error=False)

    def _ask(self, invocation: dict[str, Any]) -> dict[str, Any]:
        worker = self._take()
        started = time.monotonic()
        answer = worker.ask(invocation)
        if answer is None:
            worker.close()
            over_limit = time.monotonic() - started >= self._limit
            return {"error": self._death(invocation["requestId"], Ending.TIMEOUT if over_limit else worker.killed_for)}
        if any(goes_cold(self._name, invocation["event"]) for goes_cold in _goes_cold):
            worker.close()
            return answer
        with self._lock:
            self._idle.append(worker)
        return answer

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for worker in self._idle:
                worker.close()
            self._idle.clear()

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        worker = _Worker(self._name, self._log, self.parent)
        if self._closed:
            worker.close()
            raise StoppedError(f"Function {self._name} was invoked while the local AWS is stopping.")
        return worker

    def _death(self, request_id: RequestId, ending: Ending) -> dict[str, str]:
        error_type, words = ending.value
        reason = words.format(limit=self._limit)
        message = f"RequestId: {request_id} Error: {reason}"
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"[ERROR] {error_type}: {message}\n")
        return {"errorType": error_type, "errorMessage": message}


def _warm_up_each(parents: list[_Parent]) -> None:
    for parent in parents:
        with contextlib.suppress(StoppedError):
            parent.warm_up()


def _environment(function: Any, code_dir: str) -> dict[str, str]:
    """The function's environment variables and Lambda's own; none of this process's.

    Source: Lambda guide, "Defined runtime environment variables".
    """
    return {
        **aws.environment(str(aws.endpoint())),
        "AWS_ACCESS_KEY_ID": function.function_name,  # identifies the caller (calls.py)
        "AWS_SECRET_ACCESS_KEY": aws.FUNCTION_SECRET_KEY,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
        "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.function_name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "_HANDLER": function.handler,
        "LAMBDA_TASK_ROOT": code_dir,
        "PATH": "/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        **function.environment_vars,
    }


def at_work(session_token: str) -> Invocation | None:
    """The current invocation of the worker with this session token, or None."""
    return _at_work.get(session_token)


@contextlib.contextmanager
def going_cold(after: Callable[[str, Any], bool]) -> Iterator[None]:
    """A context in which a worker ends after each invocation for which `after(function, event)` is true.

    The next invocation then starts cold.
    """
    _goes_cold.append(after)
    try:
        yield
    finally:
        _goes_cold.remove(after)


_at_work: dict[str, Invocation] = {}
_goes_cold: list[Callable[[str, Any], bool]] = []


def is_running() -> bool:
    """Whether this process has a local AWS."""
    return _runtime is not None


def runtime() -> Runtime:
    """The runtime of this process's local AWS. Raises StoppedError if there is none."""
    if _runtime is None:
        raise StoppedError("No local AWS runs in this process.")
    return _runtime


def set_runtime(new: Runtime | None) -> None:
    """Set the runtime for invocations."""
    global _runtime
    _runtime = new


def find(arn_or_name: str) -> Any | None:
    """The deployed function (moto's LambdaFunction), or None."""
    from moto.awslambda.exceptions import UnknownFunctionException
    from moto.awslambda.models import lambda_backends

    try:
        return lambda_backends[aws.account][aws.region].get_function(arn_or_name)
    except UnknownFunctionException:
        return None


def invoke_later(function: Any, event: Any) -> None:
    """Invoke a function asynchronously: in the background, with retries, then into its dead-letter queue.

    Retries and dead-letter queue are the function's own settings. Source: Lambda guide, "Understanding retry behavior
    in Lambda".
    """
    clock.background(_invoke_with_retries, function, event)


_runtime: Runtime | None = None


def _invoke_with_retries(function: Any, event: Any) -> None:
    request_id = str(uuid.uuid4())  # the tries of an event share it
    for delay in (*RETRY_DELAYS, None):
        try:
            answer = runtime().invoke(function, event, request_id)
        except StoppedError:
            return
        if not answer.is_error:
            return
        if delay is not None:
            clock.sleep(delay)
    target = getattr(function, "dead_letter_target", None)
    if target:
        error = json.loads(answer.payload)
        send_to_queue(
            target,
            event,
            # Lambda guide, "Capturing records of Lambda asynchronous invocations"
            {"RequestID": answer.request_id, "ErrorCode": "200", "ErrorMessage": error["errorMessage"][:1024]},
        )


def send_to_queue(queue_arn: str, body: Any, attributes: dict[str, str]) -> None:
    """Put a JSON body with string attributes into an SQS queue."""
    sqs = aws.client("sqs")
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=queue_arn.rpartition(":")[2])["QueueUrl"],
        MessageBody=json.dumps(body),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value or "-"} for name, value in attributes.items()
        },
    )
