"""Patches moto's S3 and DynamoDB: races between threads, S3's checksums, ETags, locks, CORS rules and events."""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import inspect
import re
import threading
import uuid
from collections.abc import Sequence
from typing import Any

from ekyc.localaws.moto_patches.border import replace
from ekyc.localaws.services import events


def patch() -> None:
    """Patch moto's S3 and DynamoDB, once per process."""
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.responses import DynamoHandler
    from moto.s3.models import S3Backend
    from moto.s3.responses import S3Response

    # moto reads, checks a condition and writes without a lock: under load, updates are lost and a condition holds
    # twice.
    table_lock = threading.RLock()
    for name in ("put_item", "update_item", "delete_item", "transact_write_items", "get_item", "query", "scan"):
        _lock(table_lock, DynamoDBBackend, name)
    # It also copies items for the answer, while another request may change them.
    for name in ("update_item", "get_item", "query", "scan"):
        _lock(table_lock, DynamoHandler, name)
    # `If-None-Match: *` needs the same: check and write must be atomic.
    _lock(threading.RLock(), S3Response, "put_object")
    # moto's listing fails with a 500 if a key is deleted during the listing.
    keys_lock = threading.RLock()
    for name in ("put_object", "delete_object", "list_objects", "list_object_versions"):
        _lock(keys_lock, S3Backend, name)
    _quicken_tables()
    replace(S3Response, "put_object", _verify_checksum(S3Response.put_object))
    replace(S3Backend, "put_object", _add_checksum_and_etag(S3Backend.put_object))
    _date_multipart_uploads()
    replace(S3Response, "put_object_retention", _enforce_retention(S3Response.put_object_retention))
    _apply_cors_rules()
    _send_events_to_eventbridge()


def _quicken_tables() -> None:
    """Sort by plain values, look only at items that a query can return, and return items as they are stored.

    moto compares two wrapped values at a time, and tries ten types with all their aliases for each attribute. This
    takes seconds with some thousand jobs. For each query it sorts the whole table, and then all items of the partition,
    before it takes the first ones. This takes a tenth of a second with some thousand labelling tasks.
    """
    from moto.core.serialize import BaseJSONSerializer
    from moto.dynamodb.models.dynamo_type import Item
    from moto.dynamodb.models.table import SecondaryIndex, Table

    def all_items(self: Table) -> list[Any]:
        if (candidates := getattr(self, "_candidates", None)) is not None:
            return list(candidates)
        if self.range_key_attr:
            items = [item for group in self.items.values() for item in group.values()]
            return sorted(items, key=lambda item: (item.hash_key.cast_value, item.range_key.cast_value))
        return sorted(self.items.values(), key=lambda item: item.hash_key.cast_value)

    def sorted_items(self: Table, hash_keys: list[str], range_keys: list[str | None], items: list[Any]) -> list[Any]:
        names = self._generate_attr_to_sort_by(hash_keys, range_keys)
        items.sort(key=lambda item: [item.attrs[name].cast_value for name in names])
        return items

    query_all = Table.query

    @functools.wraps(query_all)
    def query(self: Table, *args: Any, **named: Any) -> Any:
        bound = signature.bind(self, *args, **named).arguments
        self._candidates = _candidates(bound)  # `patch` lets in one query at a time
        try:
            return query_all(self, *args, **named)
        finally:
            del self._candidates

    signature = inspect.signature(query_all)

    def project(self: SecondaryIndex, item: Item) -> Item:
        """Remove attributes from the item, which is a copy. moto converts each attribute twice."""
        if self.projection and self.projection.get("ProjectionType") != "ALL":
            kept = {*self.table_key_attrs, *self.schema_key_attrs, *self.projection.get("NonKeyAttributes", ())}
            for name in item.attrs.keys() - kept:
                del item.attrs[name]
        return item

    serialize = BaseJSONSerializer._serialize_type_structure

    def serialize_structure(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and value is not None:
            serialized[key] = attribute(value)
        else:
            serialize(self, serialized, value, shape, key)

    replace(Table, "all_items", all_items)
    replace(Table, "sorted_items", sorted_items)
    replace(Table, "query", query)
    replace(SecondaryIndex, "project", project)
    replace(BaseJSONSerializer, "_serialize_type_structure", serialize_structure)


def _candidates(query: dict[str, Any]) -> list[Any] | None:
    """The items that a query of moto's table can return, sorted; None if they are not known without the query.

    ``query`` has the arguments of moto's method. A query of an index that goes forward from the beginning needs no more
    items than its limit, and one more, which shows that there is a next page.
    """
    table, hashes = query["self"], query.get("hash_key_conditions") or []
    if len(hashes) != 1 or hashes[0][1].type != "S":
        return None
    ((name, partition),) = hashes
    has_range = table.range_key_attr is not None
    if not query.get("index_name"):
        found = table.items.get(partition) or {}
        return sorted(found.values(), key=lambda item: item.range_key.cast_value) if has_range else None
    ranges = [key["AttributeName"] for key in table.get_index(query["index_name"]).schema if key["KeyType"] == "RANGE"]
    stored = (item for group in table.items.values() for item in group.values()) if has_range else table.items.values()
    items = [
        item
        for item in stored
        if (value := item.attrs.get(name)) is not None
        and value.value == partition.value
        and all(key in item.attrs for key in ranges)
    ]
    names = [key for key in (*ranges, table.hash_key_attr, table.range_key_attr) if key]
    items.sort(key=lambda item: [item.attrs[key].cast_value for key in names])
    is_cut = (
        query["limit"]
        and query["scan_index_forward"] is not False
        and not query["exclusive_start_key"]
        and query["range_comparison"] in (None, "<", "<=")
        and not query.get("filter_kwargs")
    )
    return items[: query["limit"] + 1] if is_cut else items


def attribute(value: Any) -> dict[str, Any]:
    """An attribute's value in DynamoDB's JSON. ``value`` is that JSON or moto's wrapper, at every level."""
    from moto.dynamodb.models.dynamo_type import DynamoType

    stored = value.to_json() if isinstance(value, DynamoType) else value
    ((kind, content),) = stored.items()
    if kind in ("B", "BS"):
        return {kind: [_base64(item) for item in content] if kind == "BS" else _base64(content)}
    if kind == "L":
        return {kind: [attribute(item) for item in content]}
    if kind == "M":
        return {kind: {name: attribute(item) for name, item in content.items()}}
    return {kind: content}


def _base64(binary: bytes | str) -> str:
    """The value in base64. Some of moto's values are base64 already."""
    return binary if isinstance(binary, str) else base64.b64encode(binary).decode()


def _verify_checksum(put_object: Any) -> Any:
    """Refuse an object whose content does not match the SHA-256 sent with it. moto does not check it.

    Source: S3 User Guide, "Checking object integrity in Amazon S3"; S3 API reference, "Error responses", BadDigest.
    """
    from moto.s3.exceptions import S3ClientError

    @functools.wraps(put_object)
    def put(self: Any) -> Any:
        expected = self.headers.get("x-amz-checksum-sha256")
        if expected and expected != base64.b64encode(hashlib.sha256(self.body or b"").digest()).decode():
            raise S3ClientError("BadDigest", "The SHA256 you specified did not match the calculated checksum.")
        return put_object(self)

    return put


def _add_checksum_and_etag(put_object: Any) -> Any:
    """Give each object a checksum, and an object encrypted with KMS an ETag that is not its MD5.

    Sources: S3 User Guide, "Checking object integrity in Amazon S3": an upload without a checksum gets CRC64NVME. S3
    API reference, "Object": the ETag of an object with SSE-KMS is not an MD5.
    """
    from moto.s3.utils import compute_checksum

    @functools.wraps(put_object)
    def put(*args: Any, **kwargs: Any) -> Any:
        key = put_object(*args, **kwargs)
        if str(key.encryption).startswith("aws:kms"):
            _, dash, parts = (key._etag or "").partition("-")
            key._etag = f"{uuid.uuid4().hex}{dash}{parts}"
        if key.checksum_value is None:
            key.checksum_algorithm, key.checksum_type = "CRC64NVME", "FULL_OBJECT"
            key.checksum_value = compute_checksum(key.value, "CRC64NVME").decode()
        return key

    return put


def _date_multipart_uploads() -> None:
    """Date an object by the beginning of its multipart upload. moto dates it by the end.

    Source: S3 guide, "Uploading and copying objects using multipart upload".
    """
    from moto.core.utils import utcnow
    from moto.s3.models import FakeMultipart, S3Backend

    begin, complete = FakeMultipart.__init__, S3Backend.complete_multipart_upload

    @functools.wraps(begin)
    def begun(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self.begun = utcnow()

    @functools.wraps(complete)
    def completed(self: Any, bucket_name: str, *args: Any, **kwargs: Any) -> Any:
        key = complete(self, bucket_name, *args, **kwargs)
        if key is not None:
            key.last_modified = key.multipart.begun
        return key

    replace(FakeMultipart, "__init__", begun)
    replace(S3Backend, "complete_multipart_upload", completed)


def _enforce_retention(put_object_retention: Any) -> Any:
    """Refuse to shorten or weaken an active retention, as Object Lock does. moto accepts any change.

    Source: S3 User Guide, "Object Lock retention modes". In compliance mode, a retention cannot be shortened and its
    mode cannot be changed. In governance mode, both need a permission and the header
    ``x-amz-bypass-governance-retention``.
    """
    from moto.s3.exceptions import AccessDeniedByLock

    @functools.wraps(put_object_retention)
    def put(self: Any) -> Any:
        version = self._get_param("versionId")
        key = self.backend.get_object(self.bucket_name, self.parse_key_name(), version_id=version)
        mode, until = self._mode_until_from_body()
        bypass = self.headers.get("x-amz-bypass-governance-retention", "").lower() == "true"
        if key is not None and key.lock_mode and key.is_locked(governance_bypass=bypass):
            weaker = key.lock_mode == "COMPLIANCE" and mode != "COMPLIANCE"
            if weaker or _moment(until) < _moment(key.lock_until):
                raise AccessDeniedByLock
        return put_object_retention(self)

    return put


def _moment(text: str | None) -> datetime.datetime:
    """The end of a retention. No retention ends before all others."""
    if not text:
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    time = datetime.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _apply_cors_rules() -> None:
    """Apply the first CORS rule that matches origin, method and, in a preflight, headers.

    In moto, each rule overwrites the headers of the rule before it. moto ignores methods and headers, and adds no CORS
    headers to HEAD responses.
    Source: S3 User Guide, "How does Amazon S3 evaluate the CORS configuration on a bucket?".
    """
    from moto.s3.exceptions import AccessForbidden
    from moto.s3.responses import S3Response

    def answer_preflight(self: S3Response, headers: Any, bucket: Any) -> None:
        asked = headers.get("Access-Control-Request-Headers", "").split(",")
        names = [name.strip().lower() for name in asked if name.strip()]
        origin = headers.get("Origin", "")
        rule = _cors_rule(bucket, origin, headers.get("Access-Control-Request-Method", ""), names)
        if rule is None:
            raise AccessForbidden("CORSResponse: This CORS request is not allowed.")
        self.response_headers.update(_cors_answer(rule, origin))
        if names:
            self.response_headers["Access-Control-Allow-Headers"] = ", ".join(names)

    def answer_call(self: S3Response) -> dict[str, str]:
        origin = self.headers.get("Origin", "")
        bucket = self.backend.buckets.get(self.bucket_name)
        rule = _cors_rule(bucket, origin, self.method) if bucket and origin else None
        return _cors_answer(rule, origin) if rule else {}

    head_object = S3Response.head_object

    @functools.wraps(head_object)
    def head(self: S3Response, *args: Any, **kwargs: Any) -> Any:
        status, headers, body = head_object(self, *args, **kwargs)
        return status, {**headers, **answer_call(self)}, body

    replace(S3Response, "_set_cors_headers_options", answer_preflight)
    replace(S3Response, "_get_cors_headers_other", answer_call)
    replace(S3Response, "head_object", head)


def _cors_rule(bucket: Any, origin: str, method: str, headers: Sequence[str] = ()) -> Any:
    """The first rule that allows a page of ``origin`` to call ``method`` with ``headers`` (lower case), or None."""
    return next(
        (
            rule
            for rule in bucket.cors
            if _is_like_any(_listed(rule.allowed_origins), origin)
            and method in _listed(rule.allowed_methods)
            and all(_is_like_any([name.lower() for name in _listed(rule.allowed_headers)], name) for name in headers)
        ),
        None,
    )


def _cors_answer(rule: Any, origin: str) -> dict[str, str]:
    """The CORS response headers. If all origins are allowed, S3 returns "*" instead of the origin."""
    answer = {
        "Access-Control-Allow-Origin": "*" if "*" in _listed(rule.allowed_origins) else origin,
        "Access-Control-Allow-Methods": ", ".join(_listed(rule.allowed_methods)),
        "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    }
    if rule.exposed_headers:
        answer["Access-Control-Expose-Headers"] = ", ".join(_listed(rule.exposed_headers))
    if rule.max_age_seconds:
        answer["Access-Control-Max-Age"] = str(rule.max_age_seconds)
    return answer


def _is_like_any(patterns: Sequence[str], text: str) -> bool:
    """Whether the text matches one of ``patterns``, in which ``*`` stands for any characters."""
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) for pattern in patterns)


def _listed(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def _send_events_to_eventbridge() -> None:
    """Send the events of buckets to EventBridge.

    moto's CloudFormation ignores this setting of a bucket, and moto swallows errors in the delivery of its events.
    Source of the format: S3 User Guide, "EventBridge event message structure".
    """
    from moto.s3 import notifications
    from moto.s3.models import FakeBucket

    create = FakeBucket.create_from_cloudformation_json.__func__

    def create_with_events(
        cls: type[FakeBucket], resource_name: str, cloudformation_json: dict[str, Any], *args: Any, **kwargs: Any
    ) -> FakeBucket:
        bucket = create(cls, resource_name, cloudformation_json, *args, **kwargs)
        configuration = cloudformation_json.get("Properties", {}).get("NotificationConfiguration", {})
        if configuration.get("EventBridgeConfiguration", {}).get("EventBridgeEnabled"):
            bucket.set_notification_configuration({"EventBridgeConfiguration": {}})
        return bucket

    def send(_account_id: str, bucket: Any, event_name: str, key: Any) -> None:
        detail = {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": {"key": key.name, "size": key.size, "etag": key.etag.replace('"', "")},
            "reason": "PutObject" if event_name.endswith("Put") else event_name.rpartition(":")[2],
        }
        events.emit("aws.s3", notifications._detail_type(event_name), [bucket.arn], detail)

    replace(FakeBucket, "create_from_cloudformation_json", classmethod(create_with_events))
    replace(notifications, "_send_event_bridge_message", send)


def _lock(lock: Any, owner: type, name: str) -> None:
    method = getattr(owner, name)

    @functools.wraps(method)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return method(*args, **kwargs)

    replace(owner, name, locked)
