"""Runs Lambda functions: one process that has the runtime's libraries imported and forks a worker for each function.

Started by `functions.py` as `python -I worker.py CONTROL_FD`. It imports nothing of this project, so a function finds
only its own asset and the installed packages.

Control socket, parent to this process: a JSON object per worker to fork, with two descriptors (the worker's socket and
its log file), or null to end all workers; each is answered when it is done, by the worker's process id or a "+".
Worker socket: one JSON line per invocation each way. `ahead` is by how many seconds the service time is ahead of the
real time; a function finds the service time wherever it looks. Standard output and error belong to the function and go
to its log file.

The parent's death closes the control socket, and with it everything here ends: no worker is ever left behind.
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
    gc.freeze()  # what is imported stays shared with the workers
    control = socket.socket(fileno=control_descriptor)
    workers: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 2)
        workers = {worker for worker in workers if os.waitpid(worker, os.WNOHANG) == (0, 0)}
        order = json.loads(message or "null")
        if order is None:
            end(workers)
        if not message:
            os.killpg(0, signal.SIGKILL)  # this process, and whatever the functions have started
        done = b"+"
        if order is not None:
            worker = os.fork()
            if worker == 0:
                control.close()
                run_worker(order, *descriptors)
                os._exit(0)
            workers.add(worker)
            done = str(worker).encode()
        for descriptor in descriptors:
            os.close(descriptor)
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


def end(workers: set[int]) -> None:
    """Leave neither a process nor a zombie."""
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    for worker in workers:
        os.waitpid(worker, 0)
    workers.clear()


def run_worker(function: dict[str, Any], invocations_descriptor: int, log_descriptor: int) -> None:
    os.dup2(log_descriptor, 1)
    os.dup2(log_descriptor, 2)
    os.close(log_descriptor)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(function["environment"])
    time.tzset()
    os.chdir(function["code"])
    sys.path.insert(0, function["code"])
    connection = socket.socket(fileno=invocations_descriptor).makefile("rw", encoding="utf-8")
    handler = None
    # The service's clock and a real one go at the same pace while a function computes.
    service_time = time_machine.travel(0, tick=True).start()
    sign_by_real_time()
    for line in connection:
        invocation = json.loads(line)
        service_time.move_to(time_machine.escape_hatch.time.time() + invocation["ahead"])
        try:
            # The kernel ends a worker that runs over its limit, whatever it is doing.
            signal.setitimer(signal.ITIMER_REAL, INIT_SECONDS)
            handler = handler or load_handler(function["handler"])
            answer: dict[str, Any] = {}
            if not invocation["warmUp"]:
                signal.setitimer(signal.ITIMER_REAL, function["timeout"])
                context = LambdaContext(function, invocation["requestId"], time.monotonic() + function["timeout"])
                answer = {"payload": to_json(handler(invocation["event"], context))}
        except FunctionError as error:
            answer = {"error": {"errorMessage": str(error), "errorType": error.error_type}}
        except Exception as error:
            answer = {"error": describe_error(error, function["code"])}
        signal.setitimer(signal.ITIMER_REAL, 0)
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
