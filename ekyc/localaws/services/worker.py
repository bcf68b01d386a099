"""Runs Lambda functions: forks a process for each function, which imports it and forks the function's workers.

Started by `functions.py` as `python -I worker.py CONTROL_FD`. It imports nothing of this project, so a function sees
only its own asset and the installed packages. A function's module is imported once, as with Lambda SnapStart: a worker
starts in the state after the import, but without threads that the import started.

Control socket, of this process and of each function's process: one request at a time. A JSON object forks a process and
comes with two descriptors (the new process's socket and its log file). null ends all forked processes. {} asks whether
the process is ready. The response is the new process's id or "+", sent when the request is done. Imports are done
before the first response.

Worker socket: one JSON line for each invocation in each direction. `ahead` is the number of seconds by which the
service time is ahead of the real time. All clocks of a function show the service time. Standard output and error of the
function go to its log file.

When its control socket closes, a process ends with all processes that it forked, so nothing outlives this process's
parent.
"""

import contextlib
import datetime
import decimal
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import time_machine

# Libraries of the Lambda runtime and the layer, imported once and shared by all workers.
RUNTIME_LIBRARIES = (
    "boto3",
    "botocore.httpsession",
    "aws_lambda_powertools.logging",
    "aws_lambda_powertools.event_handler",
    "PIL.Image",
)
# Services whose models are loaded once, because parsing them takes longer than all other imports of a function.
SERVICES = ("cloudwatch", "dynamodb", "events", "rekognition", "s3", "sagemaker", "sns", "sqs", "ssm", "stepfunctions")
# Lambda allows ten seconds for module-level code. Here it shares two cores with everything else.
INIT_SECONDS = 30


class LambdaContext:
    """The context object of a handler. Source: Lambda guide, 'Using the Lambda context object'."""

    def __init__(self, function: dict[str, Any], request_id: str, deadline: float) -> None:
        self.function_name = function["name"]
        self.function_version = "$LATEST"
        self.invoked_function_arn = function["arn"]
        self.memory_limit_in_mb = str(function["memory"])
        self.aws_request_id = request_id
        self.log_group_name = f"/aws/lambda/{function['name']}"
        self.log_stream_name = "local"
        self.identity = None
        self.client_context = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def main(control_descriptor: int) -> None:
    for library in RUNTIME_LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    with contextlib.suppress(ImportError):
        read_service_descriptions()
    gc.freeze()  # keeps imported objects in memory shared with forked processes
    fork_to_order(socket.socket(fileno=control_descriptor), import_function)
    os.killpg(0, signal.SIGKILL)  # this process, and all processes that functions have started


def fork_to_order(control: socket.socket, begin: Callable[..., None]) -> None:
    """Fork a process for each request, which calls ``begin``. Returns when the control socket closes."""
    forked: set[int] = set()
    message = b" "
    while message:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 2)
        forked = {process for process in forked if os.waitpid(process, os.WNOHANG) == (0, 0)}
        order = json.loads(message or "null")
        if order is None:
            end(forked)
        done = b"+"
        if order:
            process = os.fork()
            if process == 0:
                control.close()
                begin(order, *descriptors)
                os._exit(0)
            forked.add(process)
            done = str(process).encode()
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(OSError):  # the sender may have ended
            control.send(done)


def read_service_descriptions() -> None:
    """Fill the cache of boto3's default session, which looks for Region and credentials only later."""
    boto3, exceptions = importlib.import_module("boto3"), importlib.import_module("botocore.exceptions")
    boto3.setup_default_session()
    loader = boto3.DEFAULT_SESSION._session.get_component("data_loader")
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    for service in SERVICES:
        for kind in ("service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"):
            with contextlib.suppress(exceptions.UnknownServiceError):  # not every service has all kinds
                loader.load_service_model(service, kind)


def end(processes: set[int]) -> None:
    """Kill and reap the processes."""
    for process in processes:
        os.kill(process, signal.SIGKILL)
    for process in processes:
        os.waitpid(process, 0)
    processes.clear()


def import_function(function: dict[str, Any], control_descriptor: int, log_descriptor: int) -> None:
    """Import the function and fork its workers on request."""
    write_to(log_descriptor)
    os.environ.clear()
    os.environ.update(function["environment"])
    time.tzset()
    os.chdir(function["code"])
    sys.path.insert(0, function["code"])
    # While a function computes, the service clock runs at normal speed.
    service_time = time_machine.travel(time.time() + function["ahead"], tick=True).start()
    sign_by_real_time()
    sign_with_the_workers_token()
    handler = None
    with contextlib.suppress(BaseException), limited_to(INIT_SECONDS):
        handler = load_handler(function["handler"])  # on an error, the worker tries again and reports it
    gc.freeze()

    def run(order: dict[str, Any], invocations_descriptor: int, log_descriptor: int) -> None:
        write_to(log_descriptor)
        os.environ["AWS_SESSION_TOKEN"] = order["token"]
        run_worker(function, handler, service_time, invocations_descriptor)

    fork_to_order(socket.socket(fileno=control_descriptor), run)


def write_to(log_descriptor: int) -> None:
    os.dup2(log_descriptor, 1)
    os.dup2(log_descriptor, 2)
    os.close(log_descriptor)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115


@contextlib.contextmanager
def limited_to(seconds: float) -> Iterator[None]:
    """A context with a time limit, after which the kernel kills this process."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_worker(function: dict[str, Any], handler: Any, service_time: Any, invocations_descriptor: int) -> None:
    """Answer invocations until the socket closes."""
    connection = socket.socket(fileno=invocations_descriptor).makefile("rw", encoding="utf-8")
    answer: dict[str, Any]
    for line in connection:
        invocation = json.loads(line)
        service_time.move_to(time_machine.escape_hatch.time.time() + invocation["ahead"])
        try:
            with limited_to(INIT_SECONDS):
                handler = handler or load_handler(function["handler"])
            with limited_to(function["timeout"]):
                context = LambdaContext(function, invocation["requestId"], time.monotonic() + function["timeout"])
                answer = {"payload": to_json(handler(invocation["event"], context))}
        except FunctionError as error:
            answer = {"error": {"errorMessage": str(error), "errorType": error.error_type}}
        except Exception as error:
            answer = {"error": describe_error(error, function["code"])}
        sys.stdout.flush()
        if "error" in answer:
            answer["error"]["requestId"] = invocation["requestId"]
            answer["error"].setdefault("stackTrace", [])
            sys.stderr.write(f"[ERROR] {answer['error']['errorType']}: {answer['error']['errorMessage']}\n")
            sys.stderr.writelines(answer["error"]["stackTrace"])
        connection.write(json.dumps(answer) + "\n")
        connection.flush()


def sign_by_real_time() -> None:
    """Sign with the real time: presigned URLs are for clients, which use it, and must be valid as long as on AWS."""

    def now(remove_tzinfo: bool = True) -> datetime.datetime:
        time = time_machine.escape_hatch.datetime.datetime.now(datetime.UTC)
        return time.replace(tzinfo=None) if remove_tzinfo else time

    with contextlib.suppress(ImportError):
        signing: Any = importlib.import_module("botocore.auth")
        signing.get_current_datetime = now


def sign_with_the_workers_token() -> None:
    """Make clients that a function creates at its import sign with the token of the calling worker."""

    def get_frozen_credentials(self: Any) -> Any:
        is_of_the_function = self.access_key == os.environ["AWS_ACCESS_KEY_ID"]
        return frozen(self)._replace(token=os.environ["AWS_SESSION_TOKEN"] if is_of_the_function else self.token)

    with contextlib.suppress(ImportError):
        credentials: Any = importlib.import_module("botocore.credentials").Credentials
        frozen = credentials.get_frozen_credentials
        credentials.get_frozen_credentials = get_frozen_credentials


class FunctionError(Exception):
    """An error of the Lambda runtime, with Lambda's error type."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def load_handler(name: str) -> Any:
    """Import `package.module.function`. Errors in its module-level code are the function's own errors."""
    module_name, _, function_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise FunctionError("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    try:
        return getattr(module, function_name)
    except AttributeError as error:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise FunctionError("Runtime.HandlerNotFound", message) from error


def to_json(result: object) -> str:
    try:
        return json.dumps(result, default=_decimal, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FunctionError("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def _decimal(value: object) -> int | float:
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def describe_error(error: Exception, code_dir: str) -> dict[str, Any]:
    """Lambda's error object. Source: Lambda guide, 'AWS Lambda function errors in Python'."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen")]
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "stackTrace": [line.replace(code_dir, "/var/task") for line in traceback.format_list(own)],
    }


if __name__ == "__main__":
    main(int(sys.argv[1]))
