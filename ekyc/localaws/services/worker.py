"""Runs Lambda functions: forks a process for each function, which imports it and forks the function's workers.

Started by `functions.py` as `python -I worker.py CONTROL_FD`. It imports nothing of this project, so a function finds
only its own asset and the installed packages. A function's module is imported once, as with Lambda SnapStart: a worker
begins as it was then, though without the threads that the import has started.

Control socket, of this process and of each function's: a JSON object per process to fork, with two descriptors (the
new process's socket and its log file), null to end all that it has forked, or {} to ask whether it is ready; each is
answered when it is done, by the new process's id or a "+". Imports come before the first answer.
Worker socket: one JSON line per invocation each way. `ahead` is by how many seconds the service time is ahead of the
real time; a function finds the service time wherever it looks. Standard output and error belong to the function and go
to its log file.

The end of a control socket ends the process and what it has forked, so the end of this process's parent leaves nothing
behind.
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

# What the Lambda runtime and the layer bring; imported once and shared by all workers.
RUNTIME_LIBRARIES = (
    "boto3",
    "botocore.httpsession",
    "aws_lambda_powertools.logging",
    "aws_lambda_powertools.event_handler",
    "PIL.Image",
)
# Services whose descriptions are read once too: to parse them takes longer than all else that a function imports.
SERVICES = ("cloudwatch", "dynamodb", "events", "rekognition", "s3", "sagemaker", "sns", "sqs", "ssm", "stepfunctions")
# Lambda gives module-level code ten seconds; here it shares two cores with everything else.
INIT_SECONDS = 30


class LambdaContext:
    """The context object that a handler gets, as the Lambda guide's page 'Using the Lambda context object' lists it."""

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
    gc.freeze()  # what is imported stays shared with the processes that are forked
    fork_to_order(socket.socket(fileno=control_descriptor), import_function)
    os.killpg(0, signal.SIGKILL)  # this process, and whatever the functions have started


def fork_to_order(control: socket.socket, begin: Callable[..., None]) -> None:
    """Fork a process for each order, which calls ``begin`` with it. Returns when the control socket ends."""
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
        with contextlib.suppress(OSError):  # who gave the order may be gone
            control.send(done)


def read_service_descriptions() -> None:
    """Fill the cache of the session that `boto3.client` uses; it looks for Region and credentials only later."""
    boto3, exceptions = importlib.import_module("boto3"), importlib.import_module("botocore.exceptions")
    boto3.setup_default_session()
    loader = boto3.DEFAULT_SESSION._session.get_component("data_loader")
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    for service in SERVICES:
        for kind in ("service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"):
            with contextlib.suppress(exceptions.UnknownServiceError):  # not every service has each
                loader.load_service_model(service, kind)


def end(processes: set[int]) -> None:
    """Leave neither a process nor a zombie."""
    for process in processes:
        os.kill(process, signal.SIGKILL)
    for process in processes:
        os.waitpid(process, 0)
    processes.clear()


def import_function(function: dict[str, Any], control_descriptor: int, log_descriptor: int) -> None:
    """Import the function and fork its workers to order."""
    write_to(log_descriptor)
    os.environ.clear()
    os.environ.update(function["environment"])
    time.tzset()
    os.chdir(function["code"])
    sys.path.insert(0, function["code"])
    # The service's clock and a real one go at the same pace while a function computes.
    service_time = time_machine.travel(time.time() + function["ahead"], tick=True).start()
    sign_by_real_time()
    sign_with_the_workers_token()
    handler = None
    with contextlib.suppress(BaseException), limited_to(INIT_SECONDS):
        handler = load_handler(function["handler"])  # what goes wrong goes wrong again in the worker, which tells it
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
    """The kernel ends this process if the context is open for longer, whatever it is doing."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_worker(function: dict[str, Any], handler: Any, service_time: Any, invocations_descriptor: int) -> None:
    """Answer invocations until their socket ends."""
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
    """Presigned URLs are for clients, whose time is real: they have as many real seconds as on AWS."""

    def now(remove_tzinfo: bool = True) -> datetime.datetime:
        time = time_machine.escape_hatch.datetime.datetime.now(datetime.UTC)
        return time.replace(tzinfo=None) if remove_tzinfo else time

    with contextlib.suppress(ImportError):
        signing: Any = importlib.import_module("botocore.auth")
        signing.get_current_datetime = now


def sign_with_the_workers_token() -> None:
    """Clients that a function makes at its import sign with the token of the worker that calls, not of this process."""

    def get_frozen_credentials(self: Any) -> Any:
        is_of_the_function = self.access_key == os.environ["AWS_ACCESS_KEY_ID"]
        return frozen(self)._replace(token=os.environ["AWS_SESSION_TOKEN"] if is_of_the_function else self.token)

    with contextlib.suppress(ImportError):
        credentials: Any = importlib.import_module("botocore.credentials").Credentials
        frozen = credentials.get_frozen_credentials
        credentials.get_frozen_credentials = get_frozen_credentials


class FunctionError(Exception):
    """An error of the runtime itself, named as Lambda names it."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def load_handler(name: str) -> Any:
    """Import `package.module.function`. Its module-level code may raise anything: that is the function's own error."""
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
    """The error object as the Lambda guide's page 'AWS Lambda function errors in Python' shows it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen")]
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "stackTrace": [line.replace(code_dir, "/var/task") for line in traceback.format_list(own)],
    }


if __name__ == "__main__":
    main(int(sys.argv[1]))
