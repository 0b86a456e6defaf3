"""s3fs.find over a bucket, as one would list it: s3fs_find.py BUCKET/PREFIX."""

import os
import sys

import s3fs

fs = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"], use_listings_cache=False)
found = fs.find(sys.argv[1], detail=True)
sys.stdout.writelines(f"{key}\t{at['size']}\t{at['LastModified']}\n" for key, at in found.items())
