"""What boto3 is told of S3: the same requests as from its own files, at a fraction of their weight, read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.loaders import Loader

from engine.storage.s3 import models

OBJECT = {"Bucket": "acme-backups", "Key": "v1/a b/ü.odb"}
UPLOAD = OBJECT | {"UploadId": "u1"}
CALLS: dict[str, dict[str, Any]] = {
    "abort_multipart_upload": UPLOAD,
    "complete_multipart_upload": UPLOAD | {"IfNoneMatch": "*", "MultipartUpload": {"Parts": [{"PartNumber": 1}]}},
    "create_multipart_upload": OBJECT,
    "delete_object": OBJECT | {"VersionId": "v1"},
    "get_object": OBJECT | {"Range": "bytes=0-9", "IfMatch": '"e"'},
    "get_object_legal_hold": OBJECT,
    "get_object_retention": OBJECT,
    "head_object": OBJECT,
    "list_multipart_uploads": {"Bucket": "acme-backups", "Prefix": "p/"},
    "list_object_versions": {"Bucket": "acme-backups", "Prefix": "p/"},
    "list_objects_v2": {"Bucket": "acme-backups", "Prefix": "p/"},
    "list_parts": UPLOAD,
    "put_object": OBJECT | {"IfNoneMatch": "*"},
    "upload_part": UPLOAD | {"PartNumber": 3},
}
PLACES = {
    "Amazon": ("eu-central-1", None),
    "Amazon in China": ("cn-north-1", None),
    "one that is named": ("auto", "https://s3.example.com:8443"),
}


def client(loader: Loader | None, region: str, endpoint: str | None) -> Any:
    session = botocore.session.Session()
    if loader is not None:
        session.register_component("data_loader", loader)
    made = session.create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        config=Config(
            signature_version="s3v4",
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
        ),
    )

    def look(request: Any, **_: object) -> None:
        raise Seen(request)

    made.meta.events.register_first("before-send.s3", look)
    return made


class Seen(Exception):
    """The request was looked at, and is not to be sent."""


def request(client: Any, operation: str, parameters: dict[str, Any]) -> tuple[str, str, dict[str, str], bytes]:
    """What would go out: method, address, headers but those of the moment, body."""
    with pytest.raises(Seen) as seen:
        getattr(client, operation)(**parameters)
    (prepared,) = seen.value.args
    headers = {k.lower(): v.decode() if isinstance(v, bytes) else v for k, v in prepared.headers.items()}
    scope = headers.pop("authorization").partition("SignedHeaders")[0].partition("/")[2].partition("/")[2]
    for name in ("x-amz-date", "amz-sdk-invocation-id"):
        headers.pop(name, None)
    return prepared.method, prepared.url, headers | {"scope": scope}, prepared.body or b""


@pytest.mark.parametrize("place", PLACES)
def test_requests_are_those_of_botocores_own_files(place: str) -> None:
    region, endpoint = PLACES[place]
    ours, theirs = client(models.loader(), region, endpoint), client(None, region, endpoint)
    for operation, parameters in CALLS.items():
        mine = request(ours, operation, parameters)
        assert mine == request(theirs, operation, parameters)
        assert mine[2]["scope"].startswith(f"{region}/s3/")
    assert list(ours.get_paginator("list_parts").result_keys)


def test_a_file_is_read_once_and_holds_no_prose_and_no_other_service() -> None:
    first, second = models.loader(), models.loader()
    read = first.load_service_model("s3", "service-2")
    assert second.load_service_model("s3", "service-2") is read
    assert read["operations"]["PutObject"]["documentation"] == ""
    assert "Documentation" not in read["shapes"], "a shape of that name would have been taken for prose"
    for partition in first.load_data("endpoints")["partitions"]:
        assert set(partition["services"]) <= {"s3"}
    assert first.load_data("endpoints")["partitions"][0]["services"]["s3"]["endpoints"]


def test_no_file_of_the_operators_home_is_looked_for() -> None:
    assert {Path(where).name for where in models.loader().search_paths} == {"data"}
    assert not any(where.startswith(str(Path.home() / ".aws")) for where in models.loader().search_paths)
