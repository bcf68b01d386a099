"""Access to the local AWS: which host, which origin and which path gets an answer, over raw sockets."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config

from ekyc.localaws.server import LocalAws

ORIGIN = "https://kyc.example.com"
PATHS = ["/", "/api/training/list", "/labelling/", "/photos/a.txt", "/moto-api/data.json"]
NOWHERE = "127.0.0.1:1"
SIGNED = "Authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request"


def ask(aws: LocalAws, *lines: str, body: str = "") -> tuple[int, dict[str, str], str]:
    """Send these lines as a request; the status, headers and body of the answer. PORT in a line is the port."""
    address = urlsplit(aws.endpoint)
    text = "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", body])
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(text.replace("PORT", str(address.port)).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, content = answer.partition("\r\n\r\n")
    first, *rest = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return int(first.split()[1]), headers, content


@pytest.fixture
def with_photo(empty_aws: LocalAws) -> LocalAws:
    """A local AWS with one object, in a bucket to which pages of ORIGIN may upload."""
    s3 = empty_aws.client("s3")
    s3.create_bucket(Bucket="photos")
    s3.put_object(Bucket="photos", Key="a.txt", Body=b"a photo")
    rules = [
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "ExposeHeaders": ["Access-Control-Allow-Origin"]},
        {"AllowedMethods": ["PUT"], "AllowedOrigins": [ORIGIN], "AllowedHeaders": ["Content-Type", "If-None-Match"]},
    ]
    s3.put_bucket_cors(Bucket="photos", CORSConfiguration={"CORSRules": rules})
    return empty_aws


def content(aws: LocalAws) -> bytes:
    return aws.client("s3").get_object(Bucket="photos", Key="a.txt")["Body"].read()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "lines",
    [
        ["GET {} HTTP/1.1", "Host: evil.example:PORT"],
        ["GET {} HTTP/1.1", "Host: photos.localhost:PORT"],
        ["GET {} HTTP/1.1", "Host: localhost.evil.example:PORT"],
        ["GET {} HTTP/1.1", "Host: 127.0.0.1"],
        ["GET {} HTTP/1.1", f"Host: {NOWHERE}"],
        ["GET {} HTTP/1.1", "Host: 127.0.0.1:PORT", "Host: evil.example"],
        ["GET {} HTTP/1.1", "Host: evil.example", "X-Forwarded-Host: 127.0.0.1:PORT", "Forwarded: host=127.0.0.1:PORT"],
        ["GET http://127.0.0.1:PORT{} HTTP/1.1", "Host: evil.example"],
        ["GET http://evil.example{} HTTP/1.1", "Host: 127.0.0.1:PORT"],
        ["GET {} HTTP/1.0"],
        ["OPTIONS {} HTTP/1.1", "Host: evil.example:PORT", "Origin: http://evil.example:PORT"],
        ["POST {} HTTP/1.1", "Host: evil.example:PORT", "Authorization: AWS4-HMAC-SHA256 Credential=a/b/c/s3/d"],
    ],
)
def test_other_hosts_get_no_answer(with_photo: LocalAws, lines: list[str]) -> None:
    for path in PATHS:
        # When another host than this machine's is asked for, on any path
        status, headers, body = ask(with_photo, lines[0].format(path), *lines[1:])
        # Then the answer says that it is not answered here, and nothing else
        assert status == 421, path
        assert "The local AWS accepts requests only for the hosts 127.0.0.1:" in body
        assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT", "[::1]:PORT"])
def test_the_hosts_of_this_machine_are_answered(with_photo: LocalAws, host: str) -> None:
    # When a program asks with a key of its own, then it reads the object
    status, headers, body = ask(with_photo, "GET /photos/a.txt HTTP/1.1", f"Host: {host}", SIGNED)
    assert (status, body) == (200, "a photo")
    assert not [name for name in headers if name.startswith("access-control")]


OTHER_PAGES = [
    ["Origin: https://evil.example"],
    ["Origin: null"],
    ["Origin: http://127.0.0.1:1"],
    ["Origin: https://127.0.0.1:PORT"],
    ["Origin: http://evil.example:PORT"],
    [f"Origin: {ORIGIN}.evil.example"],
    ["Origin: http://127.0.0.1:PORT", "Origin: https://evil.example"],
    ["Origin: http://127.0.0.1:PORT", "Sec-Fetch-Site: cross-site"],
    ["Sec-Fetch-Site: cross-site"],
    ["Sec-Fetch-Site: same-site"],
    ["Sec-Fetch-Site: same-origin, none"],
    ["Sec-Fetch-Site: cross-site", "Referer: http://127.0.0.1:PORT/"],
    ["Referer: https://evil.example/page"],
    ["Sec-Fetch-Site: none", "Referer: https://evil.example/page"],
    ["Sec-Fetch-Site: same-origin", "Referer: https://evil.example/page"],
    ["Sec-Fetch-Site: none", f"Referer: {ORIGIN}/page"],
    ["Sec-Fetch-Site: none", "Sec-Purpose: prefetch"],
    ["Sec-Fetch-Site: none", "Sec-Purpose: prefetch;prerender"],
    ["Sec-Fetch-Site: same-origin", "Purpose: prefetch"],
    ["Sec-Purpose: prefetch"],
    ["User-Agent: Mozilla/5.0 (an old browser)"],
    ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Origin: https://evil.example"],
]


@pytest.mark.parametrize("headers", OTHER_PAGES)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_pages_of_other_origins_are_refused(with_photo: LocalAws, headers: list[str], method: str) -> None:
    for path in [*PATHS, "/?Action=ListUsers&Version=2010-05-08", "/photos/a.txt?X-Amz-Signature=x"]:
        # When a page of another site asks, on any path, even with what signs a program's call
        host = "Host: 127.0.0.1:PORT"
        wanted = "Access-Control-Request-Method: PUT"
        status, answered, body = ask(with_photo, f"{method} {path} HTTP/1.1", host, wanted, *headers, body="changed")
        # Then it is refused in words, which the page cannot read
        assert (status, answered["content-type"]) == (403, "application/problem+json"), path
        assert "Pages of other sites and old browsers" in body
        assert not [name for name in answered if name.startswith("access-control")]
    # And nothing has changed
    assert content(with_photo) == b"a photo"


@pytest.mark.parametrize("site", ["Sec-Fetch-Site: none", "Sec-Fetch-Site: same-origin"])
def test_a_person_opens_answers_and_presigned_links(with_photo: LocalAws, site: str) -> None:
    def opened(path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
        return ask(with_photo, f"{method} {path} HTTP/1.1", "Host: localhost:PORT", site)

    # Given a presigned link to an object
    place = {"Bucket": "photos", "Key": "a.txt"}
    link = urlsplit(with_photo.client("s3").generate_presigned_url("get_object", Params=place))
    # When a person opens it, then the browser shows the object and runs none of its scripts
    status, headers, body = opened(f"{link.path}?{link.query}")
    assert (status, body, headers["content-security-policy"]) == (200, "a photo", "sandbox")
    # And the API answers, here that there is none
    assert opened("/api/training/list")[2] == '{"message": "Missing Authentication Token"}'
    # But an address to which a site may have led them calls no service
    for path in (
        "/",
        "/photos",
        "/photos/a.txt",
        "/?Action=ListUsers&Version=2010-05-08",
        "/photos/a.txt?acl&Signature=x",
    ):
        assert opened(path)[0] == 403, path
    for path in ("/iam_us-east-1/?Action=ListUsers&X-Amz-Signature=x", "/%2Fapi/training/list"):
        assert opened(path)[0] == 403, path
    for method in ("POST", "PUT", "DELETE"):
        assert opened(f"{link.path}?{link.query}", method)[0] == 403, method


def test_an_allowed_page_signs_no_upload_by_itself(with_photo: LocalAws) -> None:
    # Given a page of an allowed origin, and a URL that it has signed with the key that `ekyc local` prints
    page = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}
    url = with_photo.client("s3").generate_presigned_url("put_object", Params={"Bucket": "photos", "Key": "a.txt"})
    # When its browser asks whether it may upload, and it does
    preflight = httpx.options(url, headers={**page, "Access-Control-Request-Method": "PUT"})
    upload = httpx.put(url, headers=page, content=b"another")
    # Then it may not: only the API hands out URLs for pages (tests/statemachine/test_cross_origin.py)
    assert (preflight.status_code, upload.status_code) == (403, 403)
    assert content(with_photo) == b"a photo"


def test_an_allowed_page_gets_nothing_else(with_photo: LocalAws) -> None:
    # Given another bucket, which names no origin
    s3 = with_photo.client("s3")
    s3.create_bucket(Bucket="other")
    s3.put_object(Bucket="other", Key="a.txt", Body=b"as it was")
    signature = "X-Amz-Signature=x"
    # When a page of an allowed origin asks for more than an upload to its bucket
    for method, path in [
        ("GET", f"/photos/a.txt?{signature}"),
        ("DELETE", f"/photos/a.txt?{signature}"),
        ("POST", f"/photos/a.txt?{signature}"),
        ("PUT", "/photos/a.txt"),
        ("PUT", f"/photos/a.txt?{signature}"),
        ("PUT", f"/photos/a.txt?X-Amz-Credential=AKIAMADEUP/20261130/us-east-1/s3/aws4_request&{signature}"),
        ("PUT", "/photos/a.txt?AWSAccessKeyId=AKIAMADEUP&Expires=9999999999&Signature=x"),
        ("PUT", f"/photos/a.txt?acl&{signature}"),
        ("PUT", f"/photos?cors&{signature}"),
        ("PUT", f"/photos/?{signature}"),
        ("PUT", f"/other/a.txt?{signature}"),
        ("POST", "/"),
        ("POST", "/%2Fapi/training/create"),
        ("GET", "/labelling/"),
        ("POST", "/api/labelling/jobs/job-1/next"),
    ]:
        status, headers, _ = ask(
            with_photo, f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:PORT", f"Origin: {ORIGIN}", body="changed"
        )
        # Then it is refused
        assert (status, headers.get("access-control-allow-origin")) == (403, None), (method, path)
    # And nothing has changed
    assert content(with_photo) == b"a photo"
    assert s3.get_object(Bucket="other", Key="a.txt")["Body"].read() == b"as it was"


@pytest.mark.parametrize(
    "path",
    [
        "/moto-api/reset",
        "/moto-api/",
        "/moto-api",
        "//moto-api/reset",
        "/%2Fmoto-api/reset",
        "/%6doto-api/reset",
        "/moto-api%2Freset",
        "/MOTO-API/reset",
        "/motoapi_amazonaws.com/moto-api/reset",
        "/x/../moto-api/reset",
    ],
)
def test_the_state_cannot_be_reset_over_http(with_photo: LocalAws, path: str) -> None:
    # When a program asks for moto's own API, by whatever spelling, or as a service of that name
    for extra in ("X-None: 1", "Authorization: AWS4-HMAC-SHA256 Credential=a/b/amazonaws.com/motoapi/aws4_request"):
        status, _, _ = ask(with_photo, f"POST {path} HTTP/1.1", "Host: 127.0.0.1:PORT", extra)
        # Then there is none
        assert status >= 400
    # And the object is still there
    assert content(with_photo) == b"a photo"


def test_any_key_is_taken_and_path_style_is_enough(with_photo: LocalAws) -> None:
    # Given boto3 with keys of its own, and addresses of buckets as it chooses them for "localhost"
    session = boto3.Session("anybody", "anything", region_name="eu-west-1")
    for endpoint in (with_photo.endpoint, with_photo.endpoint.replace("127.0.0.1", "localhost")):
        s3 = session.client("s3", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))
        # When it is used, then it works
        assert s3.get_object(Bucket="photos", Key="a.txt")["Body"].read() == b"a photo"


def test_programs_of_node_are_no_browsers(with_photo: LocalAws) -> None:
    # When a program asks by the fetch of Node.js, with the headers that this sends
    headers = ["User-Agent: node", "Sec-Fetch-Mode: cors", "Accept-Language: *"]
    status, answered, _ = ask(with_photo, "GET /photos?list-type=2 HTTP/1.1", "Host: localhost:PORT", *headers, SIGNED)
    # Then it is answered as any program
    assert (status, "content-security-policy" in answered) == (200, False)


MADE_UP = [
    "",
    "X-Amz-Signature=x",
    "Signature=x",
    "AWSAccessKeyId=local",
    "X-Amz-Credential=local/20260101/us-east-1/iam/aws4_request",
]
TEXT_BROWSERS = [
    ["User-Agent: Lynx/2.9.2 libwww-FM/2.14"],
    ["User-Agent: URL/Emacs Emacs/30.1"],
    ["X-None: 1"],
    ["Authorization: Basic a/b/eu/iam/AWS4"],  # from a link with a user and a password
]


@pytest.mark.parametrize("headers", TEXT_BROWSERS)
def test_unsigned_calls_reach_no_aws_service(with_photo: LocalAws, headers: list[str]) -> None:
    # Given a browser that sends nothing by which a browser is known
    def sent(method: str, path: str, body: str = "") -> tuple[int, str]:
        form = "Content-Type: application/x-www-form-urlencoded"
        status, _, answer = ask(
            with_photo,
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1:PORT",
            *headers,
            *([form] if body else []),
            body=body,
        )
        return status, answer

    create = "Action=CreateUser&UserName=eve&Version=2010-05-08"
    for signature in MADE_UP:
        # When its pages call services by images, links and forms
        for path in ("/", "/iam_us-east-1/", "/photos", "/photos/a.txt", "/latest/meta-data/", "/api", "/%2Fapi/"):
            # Then they are refused in words
            status, answer = sent("GET", f"{path}?{create}&{signature}")
            assert (status, "must be signed" in answer) == (403, True), (path, signature)
            status, answer = sent("POST", f"{path}?{signature}", create)
            assert (status, "must be signed" in answer) == (403, True), (path, signature)
    # And a complete query that a page has signed calls no service but S3, and sends no form to it
    url = urlsplit(
        with_photo.client("s3").generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "k"})
    )
    stranger = "X-Amz-Signature=x&X-Amz-Credential=any/20260101/us-east-1/iam/aws4_request"
    for query in (url.query, stranger):
        for path in ("/", "/iam_us-east-1/", "/iam_us-east-1/k", "/photos/a.txt"):
            sent("GET", f"{path}?{create}&{query}")
            assert sent("POST", f"{path}?{create}&{query}", create)[0] == 403, path
        assert sent("POST", f"/photos?delete&{query}", "<Delete><Object><Key>a.txt</Key></Object></Delete>")[0] == 403
    assert with_photo.client("iam").list_users()["Users"] == []
    assert content(with_photo) == b"a photo"
    # But the API answers as before, here that there is none
    assert sent("GET", "/api/training/list")[1] == '{"message": "Missing Authentication Token"}'


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_programs_sign_in_the_header_or_the_query(with_photo: LocalAws, version: str) -> None:
    # Given a program with a key of its own, and either signature
    config = Config(signature_version=version, retries={"total_max_attempts": 1})
    s3 = boto3.client(
        "s3",
        endpoint_url=with_photo.endpoint,
        aws_access_key_id="AKIAANYBODY",
        aws_secret_access_key="anything",
        region_name="eu-west-1",
        config=config,
    )
    # When it calls, and uses presigned URLs, then it is answered
    assert s3.get_object(Bucket="photos", Key="a.txt")["Body"].read() == b"a photo"
    place = {"Bucket": "photos", "Key": "b.txt"}
    put, get, delete = (s3.generate_presigned_url(f"{verb}_object", Params=place) for verb in ("put", "get", "delete"))
    assert httpx.put(put, content=b"another").status_code == 200
    assert httpx.get(get).content == b"another"
    assert httpx.delete(delete).status_code == 204
