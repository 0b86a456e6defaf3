"""The floor of a listing in Python: walk a tree, look at each file, keep nothing.

bare_walk.py FOLDER
"""

import os
import sys

folders, files, size = [sys.argv[1]], 0, 0
while folders:
    with os.scandir(folders.pop()) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                files += 1
                size += entry.stat(follow_symlinks=False).st_size
sys.stdout.write(f"{files} files, {size} bytes\n")
