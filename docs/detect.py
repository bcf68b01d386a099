"""Finds the documents in a photo and writes their crops: `python detect.py photo.jpg`. Uses Python's own library alone.

EKYC_API_URL is the stack's output ApiUrl. With a user pool, EKYC_TOKEN is a user's ID token. Otherwise AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary credentials, AWS_SESSION_TOKEN sign the call.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

TRIES = 5


def signed(url: str, body: bytes, now: float) -> dict[str, str]:
    """The headers of a POST with AWS Signature Version 4. Source: IAM guide, 'Create a signed AWS API request'."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = f"{stamp[:8]}/{os.environ['AWS_REGION']}/execute-api/aws4_request"
    headers = {"host": urlsplit(url).netloc, "x-amz-date": stamp}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = [f"{name}:{headers[name]}" for name in sorted(headers)]
    request = "\n".join(["POST", urlsplit(url).path, "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), "sha256").digest()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return headers


def detect(photo: bytes) -> dict:
    """The API's answer. Tries again while the model is busy."""
    url = f"{os.environ['EKYC_API_URL']}/api/documents/detect"
    body = json.dumps({"photo": base64.b64encode(photo).decode(), "crop": True}).encode()
    token = os.environ.get("EKYC_TOKEN")
    for attempt in range(1, TRIES + 1):
        headers = {"authorization": token} if token else signed(url, body, time.time())
        request = urllib.request.Request(url, body, {"content-type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503) or attempt == TRIES:
                sys.exit(f"{error.code}: {json.load(error)['detail']}")
            time.sleep(int(error.headers.get("Retry-After", "1")))
    raise AssertionError


def main(path: str) -> None:
    """Print each document and write its crop."""
    for number, document in enumerate(detect(Path(path).read_bytes())["documents"], 1):
        outline = document["outline"]
        print(document["type"], f"{document['confidence']:.2f}", outline["corners"] if outline else document["box"])
        if document["crop"]:
            Path(f"crop-{number}.jpg").write_bytes(base64.b64decode(document["crop"]["jpeg"]))


if __name__ == "__main__":
    main(sys.argv[1])
