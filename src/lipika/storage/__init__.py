"""Object stores behind one small interface: S3, Cloudflare R2 and local folders.

Every transfer is bounded in memory, retried for `StoreSettings.retry_s` and translated into our own errors:
`ObjectMissing`, `StorageUnavailable` (wait and try again) or `StorageError` (a person must change something).
"""

from lipika.storage.opening import StoreSettings, amazon_endpoint, local_path, s3_parts, split_url
from lipika.storage.store import ObjectInfo, Store
from lipika.storage.transfers import ObjectReader

__all__ = [
    "ObjectInfo",
    "ObjectReader",
    "Store",
    "StoreSettings",
    "amazon_endpoint",
    "local_path",
    "s3_parts",
    "split_url",
]
