"""The upload engine: does what core/uploading decides, over doors given from outside."""
