"""All of fsspec: files on disk, on S3 or in any other store, and the tables kept there."""
