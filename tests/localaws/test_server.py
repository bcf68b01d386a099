"""LocalAws: one process, one port, a clean start and a clean stop."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from executions import eventually

from ekyc.localaws.server import AlreadyRunningError, LocalAws
from tests.waiting import ENOUGH

PROJECT = Path(__file__).parents[2]


def test_boto3_works_with_what_to_export(empty_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the environment variables that the local AWS prints
    for name, value in empty_aws.environment().items():
        monkeypatch.setenv(name, value)
    # When plain boto3 is used
    boto3.session.Session().client("s3").create_bucket(Bucket="mine")
    # Then it has reached the local AWS
    assert [bucket["Name"] for bucket in empty_aws.client("s3").list_buckets()["Buckets"]] == ["mine"]


def test_connections_are_kept_alive(empty_aws: LocalAws) -> None:
    # Given one connection
    connection = http.client.HTTPConnection(empty_aws.endpoint.removeprefix("http://"))
    with contextlib.closing(connection):
        connection.connect()
        first_socket = connection.sock
        # When requests go over it, the first with an unread body
        for method, body in (("POST", "hello"), ("GET", None), ("HEAD", None)):
            connection.request(method, "/api/nothing", body)
            answer = connection.getresponse()
            answer.read()
            # Then all are answered over the same connection
            assert answer.status == 403
            assert connection.sock is first_socket


MALFORMED = {
    "no size": "Transfer-Encoding: chunked\r\n\r\nno size\r\nabc\r\n0\r\n\r\n",
    "negative size": "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "too long a chunk": "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "ends within a chunk": "Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "no number": "Content-Length: three\r\n\r\nabc",
    "negative number": "Content-Length: -3\r\n\r\nabc",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_body_is_refused_in_silence(
    empty_aws: LocalAws, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    # When a request comes whose body does not match its headers
    host, _, port = empty_aws.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"PUT /bucket/key HTTP/1.1\r\nHost: {host}:{port}\r\n{MALFORMED[kind]}".encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    # Then the answer says so, and nothing is printed
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"body does not match its headers" in answer
    assert capfd.readouterr() == ("", "")
    # And the next request is served
    assert empty_aws.client("s3").list_buckets()["Buckets"] == []


def test_only_this_machine_is_served(local_aws: LocalAws) -> None:
    assert local_aws.endpoint.startswith("http://127.0.0.1:")


def test_second_one_in_this_process(local_aws: LocalAws) -> None:
    with pytest.raises(AlreadyRunningError, match="already runs in this process"):
        LocalAws().start()


def test_port_in_use() -> None:
    # Given a program that listens on a port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # When a local AWS shall listen there
        program = f"from ekyc.localaws.server import LocalAws; LocalAws(port={port}).start()"
        run = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    # Then it says so
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].endswith(
        f"PortInUseError: Port {port} of 127.0.0.1 is in use. Choose another port, or 0 for a free one."
    )


def has_ipv6() -> bool:
    """Whether a program can listen on ::1 on this machine."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
def test_both_addresses_of_localhost_are_the_local_awss(empty_aws: LocalAws) -> None:
    port = int(empty_aws.endpoint.rpartition(":")[2])
    # When a program asks at either address of the name localhost, then the local AWS answers
    for host in ("127.0.0.1", "[::1]", "localhost"):
        answer = httpx.get(f"http://{host}:{port}/api/nothing")
        assert answer.json() == {"message": "Missing Authentication Token"}, host
    # And no other program can listen there
    for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with pytest.raises(OSError, match="Address already in use"):
            socket.create_server((address, port), family=family)


@needs_ipv6
def test_a_given_port_must_be_free_on_ipv6_too() -> None:
    # Given a program that listens on a port of ::1
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        # When a local AWS shall listen there
        program = f"from ekyc.localaws.server import LocalAws; LocalAws(port={port}).start()"
        run = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    # Then it says so
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].endswith(
        f"PortInUseError: Port {port} of ::1 is in use. Choose another port, or 0 for a free one."
    )


IPV6 = {
    # Another program listens on ::1 at the first port that the local AWS selects.
    "taken": """
        if self.family == socket.AF_INET and not others:
            others.append(socket.create_server(("::1", self.getsockname()[1]), family=socket.AF_INET6))
    """,
    "turned off": """
        if self.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    """,
}
WITH_IPV6 = """
    import errno, socket
    from ekyc.localaws import server

    others = []

    class Socket(socket.socket):
        def bind(self, address):
            super().bind(address)
            {}

    server.socket.socket, plain = Socket, socket.socket
    with server.LocalAws() as local:
        server.socket.socket = plain
        print([other.getsockname()[1] for other in others], local.endpoint)
        print(local.client("s3").list_buckets()["Buckets"])
"""


@needs_ipv6
@pytest.mark.parametrize("ipv6", IPV6)
def test_a_free_port_is_selected_whatever_ipv6_is(ipv6: str) -> None:
    # When a local AWS selects its port, and ::1 is taken there, or does not exist
    patch = textwrap.indent(textwrap.dedent(IPV6[ipv6]).strip(), " " * 8)
    program = textwrap.dedent(WITH_IPV6).replace("        {}", patch)
    run = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    # Then it serves, and not on a port that another program has on ::1
    assert run.returncode == 0, run.stderr
    address, buckets = run.stdout.splitlines()
    taken, endpoint = address.split()
    assert bool(taken.strip("[]")) == (ipv6 == "taken")
    assert not endpoint.endswith(f":{taken.strip('[]') or None}")
    assert buckets == "[]"


def test_presigned_url_expires(empty_aws: LocalAws) -> None:
    # Given presigned URLs, one valid for a second and one for longer
    s3 = empty_aws.client("s3")
    s3.create_bucket(Bucket="photos")
    place = {"Bucket": "photos", "Key": "images/a b.jpg"}
    short, long = (s3.generate_presigned_url("put_object", Params=place, ExpiresIn=seconds) for seconds in (1, 60))
    # When both are used later than that
    time.sleep(1.1)
    late, in_time = httpx.put(short, content=b"late"), httpx.put(long, content=b"in time")
    # Then the short one is refused as S3 does
    assert late.status_code == 403
    assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in late.text
    assert in_time.status_code == 200
    assert s3.get_object(**place)["Body"].read() == b"in time"


def test_conditional_writes_are_won_once(empty_aws: LocalAws) -> None:
    # Given a bucket, a table, and forced switching between threads
    s3, dynamodb = empty_aws.client("s3"), empty_aws.client("dynamodb")
    s3.create_bucket(Bucket="photos")
    key = {"AttributeName": "Id", "AttributeType": "S"}
    dynamodb.create_table(
        TableName="jobs",
        AttributeDefinitions=[key],
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"Id": {"S": "job"}}

    def put(_: int) -> str:
        return _outcome(s3.put_object, Bucket="photos", Key="a.jpg", Body=b"x" * 100_000, IfNoneMatch="*")

    def create(_: int) -> str:
        return _outcome(dynamodb.put_item, TableName="jobs", Item=item, ConditionExpression="attribute_not_exists(Id)")

    def count(_: int) -> str:
        add = {":one": {"N": "1"}}
        return _outcome(
            dynamodb.update_item,
            TableName="jobs",
            Key=item,
            UpdateExpression="ADD Polls :one",
            ExpressionAttributeValues=add,
        )

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        # When many write the same at once
        with ThreadPoolExecutor(8) as pool:
            puts, creates = list(pool.map(put, range(16))), list(pool.map(create, range(16)))
            list(pool.map(count, range(40)))
    finally:
        sys.setswitchinterval(before)
    # Then one wins, and no update is lost
    assert sorted(puts) == ["PreconditionFailed"] * 15 + ["ok"]
    assert sorted(creates) == ["ConditionalCheckFailedException"] * 15 + ["ok"]
    assert dynamodb.get_item(TableName="jobs", Key=item)["Item"]["Polls"] == {"N": "40"}


def _outcome(call: Any, **parameters: Any) -> str:
    try:
        call(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"


PROGRAM = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, "tests/localaws")
    from assembly import function, ref, write
    from ekyc.localaws.server import LocalAws

    CODE = "import time\\ndef sleep(event, context):\\n    time.sleep(60)\\n"
    with LocalAws() as local:
        resources = {"F": function("app.sleep", timeout=60)}
        outputs = local.deploy(write(Path(sys.argv[1]), CODE, resources, {"F": ref("F")}))
        local.client("lambda").invoke(FunctionName=outputs["F"], InvocationType="Event")
        time.sleep(0.3)
        print(local.endpoint, local.logs_dir, flush=True)
        time.sleep(60)
"""


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    # Given programs with a local AWS, a worker of which is busy for a minute; the user's AWS profile is broken
    endings = {signal.SIGTERM: "terminated", signal.SIGKILL: "killed"}
    programs = {
        ending: subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path / endings[ending])],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(tmp_path), "AWS_PROFILE": "of nobody"},
            text=True,
        )
        for ending in endings
    }
    for ending, program in programs.items():
        with program:
            assert program.stdout
            endpoint, logs_dir = program.stdout.readline().split()
            workers = _children(program.pid)
            # When each ends in another way
            program.send_signal(ending)
            program.wait(ENOUGH)
        # Then no process and no listener are left, and, unless it was killed, no file
        eventually(lambda: not any(_alive(worker) for worker in workers))  # noqa: B023
        with contextlib.closing(socket.socket()) as client:
            assert client.connect_ex(("127.0.0.1", int(endpoint.rpartition(":")[2]))) != 0
        assert Path(logs_dir).parent.exists() == (ending == signal.SIGKILL)


def _children(process: int) -> list[int]:
    """The processes below a process (Linux only; elsewhere none are looked for)."""
    found = []
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                found += [child, *_children(child)]
    return found


def _alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False
