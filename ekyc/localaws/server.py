"""LocalAws: the embedded AWS in this process, on one port of 127.0.0.1 and ::1."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from werkzeug.exceptions import BadRequest, InternalServerError, NotFound, ServiceUnavailable
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from ekyc.localaws import aws, calls, deploy, moto_patches, presigned
from ekyc.localaws.access import API, LABELLING, AccessControl, has_aws_signature
from ekyc.localaws.clock import clock
from ekyc.localaws.errors import LocalAwsError
from ekyc.localaws.iam import guard
from ekyc.localaws.services import functions, gateway, sign_in

if TYPE_CHECKING:
    from ekyc.localaws.services.workforce import Workforce

HOST, IPV6_HOST = "127.0.0.1", "::1"
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # from a kernel without IPv6, from one that has it turned off
logger = logging.getLogger(__name__)


class PortInUseError(LocalAwsError):
    """Another program already listens on the port."""


class AlreadyRunningError(LocalAwsError):
    """This process already has a local AWS. moto's state is global, so only one is possible."""


class LocalAws:
    """A local AWS. It starts with `start()` or `with`, and leaves no process, thread or file behind when it stops.

    `port`: where to listen; 0 selects a free port. `speed`: the factor by which waits are shorter than on AWS.
    `enforce_iam`: whether calls that a function's role does not allow are denied. A process can have only one local AWS
    at a time.
    """

    def __init__(self, port: int = 0, speed: float = 60.0, *, enforce_iam: bool = True) -> None:
        self._wanted_port = port
        self._speed = speed
        self._enforce_iam = enforce_iam
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server. Raises PortInUseError, AlreadyRunningError."""
        if functions.is_running():
            raise AlreadyRunningError("A local AWS already runs in this process. Stop it first.")
        listeners = _listen(self._wanted_port)
        with contextlib.ExitStack() as cleanup:
            for listener in listeners:
                cleanup.callback(listener.close)
            self._port = listeners[0].getsockname()[1]
            clock.set_to_real_time(self._speed)
            data_dir = Path(tempfile.mkdtemp(prefix="ekyc-local-aws-"))
            cleanup.callback(shutil.rmtree, data_dir, ignore_errors=True)
            self.logs_dir = data_dir / "logs"
            self.logs_dir.mkdir()
            aws.set_endpoint(self.endpoint)
            cleanup.callback(aws.set_endpoint, None)
            runtime = functions.Runtime(data_dir / "code", self.logs_dir)
            functions.set_runtime(runtime)
            cleanup.callback(functions.set_runtime, None)
            cleanup.callback(runtime.stop)
            runtime.start()  # the runtime's process imports modules while this process continues
            cleanup.enter_context(_terminate_cleanly())
            cleanup.enter_context(_environment(MOTO_PORT=str(self._port), **_WITHOUT_USER_PROFILE))
            app = _install()
            cleanup.callback(self._end_what_runs)
            guard.install(self._enforce_iam)
            access_control = AccessControl(app, self._port)
            for listener in listeners:
                server = _Server(access_control, listener)
                cleanup.callback(server.stop)
                server.start()
            self._cleanup = cleanup.pop_all()

    def stop(self) -> None:
        """End every execution, worker and thread, and remove the temporary files."""
        self._cleanup.close()

    def reset(self) -> None:
        """Delete everything that was deployed and stored. The server keeps running."""
        from moto.moto_api._internal.models import moto_api_backend

        self._end_what_runs()
        moto_api_backend.reset()
        clock.set_to_real_time(clock.speed)
        for log in self.logs_dir.iterdir():
            log.unlink()
        functions.runtime().start()

    def _end_what_runs(self) -> None:
        """End executions first, because they would retry. Then end functions, then threads that wait on the clock."""
        from ekyc.localaws.moto_patches import stepfunctions

        stepfunctions.abandon_executions()
        functions.runtime().end_workers()
        clock.interrupt()

    @property
    def endpoint(self) -> str:
        """ "http://127.0.0.1:PORT", for AWS_ENDPOINT_URL."""
        return f"http://{HOST}:{self._port}"

    @property
    def api_url(self) -> str:
        """The root URL of the deployed REST API: `<api_url>/api/…`."""
        return self.endpoint

    @property
    def workforce(self) -> Workforce:
        """The simulated workforce."""
        from ekyc.localaws.services import groundtruth

        return groundtruth.workforce

    def environment(self) -> dict[str, str]:
        """The variables to export so that boto3 and the AWS CLI use this local AWS."""
        return aws.environment(self.endpoint)

    def client(self, service: str) -> Any:
        """A boto3 client of this local AWS."""
        return aws.client(service)

    def deploy(self, assembly_dir: Path) -> dict[str, str]:
        """Deploy a cloud assembly (`cdk.out`) and return the stack's outputs. Functions start in the background.

        Raises DeployError, which names the resource and the reason.
        """
        from moto.awslambda.models import lambda_backends

        outputs = deploy.deploy(Path(assembly_dir))
        functions.runtime().warm_up(lambda_backends[aws.account][aws.region].list_functions())
        return outputs

    def labelling_attended(
        self, on_waiting: Callable[[str], None] = lambda _job_id: None
    ) -> contextlib.AbstractContextManager[None]:
        """A context in which jobs that wait for labels on the labelling page are attended to.

        While a job waits, the clock runs at normal speed, so that leases last as long as on AWS. The simulated
        workforce labels the job if it is at work. Otherwise, `on_waiting(job_id)` is called once.
        """
        from ekyc.localaws.services import labelling_watch

        return labelling_watch.attended(self.api_url, self.workforce, on_waiting)

    def sign_in_link(self, name: str, *groups: str) -> str:
        """A URL that signs in a person of the labelling page, once, and opens the page.

        `name` is shown to others; each name is one person. `groups` are the groups of the user pool to which the person
        belongs.

        Raises LocalAwsError if the deployed stack has no labelling page.
        """
        return f"{self.endpoint}{sign_in.LOGIN}?link={sign_in.person(name, groups).new_link()}"


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A context whose objects are exempt from garbage collection.

    Garbage collection would take a quarter of the time of the imports.
    """
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if is_enabled:
            gc.enable()


def _install() -> Any:
    """Import and patch moto, once per process, and return the complete WSGI application."""
    global _app
    if _app is None:
        with _without_garbage_collection():
            moto_patches.apply()
            _app = _dispatcher(_make_services())
    return _app


_app: Any = None


def _make_services() -> Any:
    """The WSGI application of all AWS services."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    class Services(DomainDispatcherApplication):
        def infer_service_region_host(self, environ: dict[str, Any], path: str) -> str | None:
            # A request without a signature in the header has one in its query, and is for S3, which None selects.
            # moto would also take the service from the path, so that a link to /iam_us-east-1/?Action=… would call IAM.
            return super().infer_service_region_host(environ, path) if has_aws_signature(environ) else None

    return Services(_make_service)


def _make_service(name: str) -> Any:
    """The WSGI application of one of moto's services.

    moto's own API is disabled, because it can reset and show everything. It has two names: one for its path, one for
    its host.
    """
    from moto.moto_server.werkzeug_app import create_backend_app

    return NotFound() if name in ("moto_api", "moto_api._internal") else create_backend_app(name)


def _dispatcher(moto: Any) -> Any:
    """Route a request by its path.

    /api/ and /labelling/ are the deployed REST API. `sign_in.PATHS` are the sign-in page of user pools. All other paths
    are AWS services.
    """

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if f"{environ['PATH_INFO']}/".startswith((API, LABELLING)):
            return gateway.answer(Request(environ))(environ, start_response)
        if environ["PATH_INFO"] in sign_in.PATHS:
            return sign_in.answer(Request(environ))(environ, start_response)
        refusal = presigned.refuse(environ)
        if refusal:
            return refusal(environ, start_response)

        def carry_out() -> Response:
            return Response.from_app(moto, environ, buffered=True)

        answer = calls.answer(environ, carry_out)
        return answer(environ, start_response) if answer else moto(environ, start_response)

    return app


def _listen(port: int) -> list[socket.socket]:
    """Listen on the same port of 127.0.0.1 and, if this machine has it, of ::1. Port 0 selects a port.

    Clients try both addresses for the name localhost. A program that listened on the other one would get requests that
    are for the local AWS, with the tokens of people.
    """
    while True:
        listener = _bind(socket.AF_INET, HOST, port)
        try:
            return [listener, _bind(socket.AF_INET6, IPV6_HOST, listener.getsockname()[1])]
        except PortInUseError:
            listener.close()
            if port:
                raise
        except OSError as error:
            if error.errno in NO_IPV6:
                return [listener]
            listener.close()
            raise


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"Port {port} of {host} is in use. Choose another port, or 0 for a free one."
            ) from error
        raise
    return listener


# These variables keep moto and boto3 from reading the user's profile, which may be invalid.
_WITHOUT_USER_PROFILE = {
    "AWS_PROFILE": None,
    "AWS_DEFAULT_PROFILE": None,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@contextlib.contextmanager
def _environment(**variables: str | None) -> Iterator[None]:
    """A context in which the environment variables have these values. None removes a variable."""
    before = {name: os.environ.get(name) for name in variables}
    _set_variables(variables)
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextlib.contextmanager
def _terminate_cleanly() -> Iterator[None]:
    """Make SIGTERM end this process as Ctrl-C does, so that `with LocalAws()` stops what it started."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _KeepAlive(WSGIRequestHandler):
    """Adds keep-alive connections to moto's request handler.

    werkzeug's server does not support keep-alive, because it cannot find the end of a body that was not read. This
    handler reads every body first.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # send headers and body together

    def run_wsgi(self) -> None:
        if self.headers.get("Expect", "").lower().strip() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        environ = self.make_environ()
        try:
            body = self._read_body(environ)
        except ConnectionError:
            raise
        except (OSError, ValueError):  # werkzeug raises OSError for chunks, int raises ValueError for a length
            self.close_connection = True  # the start of the next request is unknown
            answer = BadRequest("The request's body does not match its headers: its length or a chunk is wrong.")
            self._send(answer.get_response(environ), environ)
            return
        if body is None:  # the client closed the connection: for example, a killed function
            self.close_connection = True
            return
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        try:
            response = Response.from_app(self.server.app, environ, buffered=True)
        except calls.ConnectionDropped:
            self.close_connection = True
            return
        except functions.StoppedError:
            response = ServiceUnavailable().get_response(environ)
        except Exception:
            logger.exception("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            response = InternalServerError().get_response(environ)
        self._send(response, environ)

    def _read_body(self, environ: dict[str, Any]) -> bytes | None:
        """The request's body. None if the client closed the connection before the end of the body.

        Raises:
            OSError, ValueError: the body's length or chunks are malformed.
        """
        stream = environ["wsgi.input"]
        if environ.get("wsgi.input_terminated"):
            chunks: bytes = stream.read()
            return chunks
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length < 0:
            raise ValueError(length)
        body: bytes = stream.read(length)
        return body if len(body) == length else None

    def _send(self, response: Response, environ: dict[str, Any]) -> None:
        data = response.get_data()
        self.send_response(response.status_code)
        for name, value in response.headers:
            self.send_header(name, value)
        if "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if environ["REQUEST_METHOD"] != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        # This is the value of the header Date.
        return super().date_time_string(clock.now() if timestamp is None else timestamp)

    def handle_expect_100(self) -> bool:
        return True  # run_wsgi sends this response itself

    def log(self, _kind: str, _message: str, *args: Any) -> None:
        """Log nothing, because request lines contain tokens, signatures and file names."""


def _request_handler() -> type:
    from moto.server import MotoRequestHandler

    return type("RequestHandler", (_KeepAlive, MotoRequestHandler), {})


class _Server(ThreadedWSGIServer):
    """The HTTP server of one address, in its own thread. `stop` also closes keep-alive connections."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        self._connections: set[socket.socket] = set()
        host, port, *_ = listener.getsockname()
        super().__init__(host, port, app, handler=_request_handler(), fd=listener.fileno())
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="local-aws", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # With a ConnectionError, the client closed the connection: for example, a killed function.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def log(self, _kind: str, message: str, *args: Any) -> None:
        logger.debug(message, *args)
