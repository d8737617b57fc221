"""S3-compatible buckets as destinations: multipart upload of our own on boto3's client, ranged download, least rights.

``profiles`` says how providers differ, ``address`` which bucket is meant and which endpoints are refused, ``policy``
which rights are needed, ``mishaps`` what went wrong; ``bucket`` is the only module that calls boto3, and it loads it at
the first call, because commands that touch no bucket must start without it. ``upload`` and ``download`` keep the bytes
moving in bounded memory, ``backend`` is the contract's side of it all.

The room makes no bucket, sets no policy and changes no setting of one. It follows no redirect to another host, reads no
configuration or credentials of other programs, and never sends keys in clear unless plain http was agreed to.
"""
