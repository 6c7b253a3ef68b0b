"""Reads the #include lines against who may include whom.

Usage: include_rules_test.py REPOSITORY

The table is docs/architecture.md's; a line breaks it or a file is nobody's:
exit 1, each named.
"""

import pathlib
import re
import sys

# Which folders a folder's files may include, beside their own.
FOLDERS = {
    "core/base": [],
    "core/codes": ["core/base"],
    "core/graph": ["core/base"],
    "core/text": ["core/base"],
    "core/source": ["core/base"],
    "core/storage": ["core/base"],
    "core/index": [
        "core/base",
        "core/codes",
        "core/graph",
        "core/storage",
        "core/text",
    ],
    "embedder": ["core/base", "core/index", "core/text", "proto"],
    "embedder/onednn": ["core/base", "embedder"],
    "embedder/remote": ["core/base", "core/index", "core/text", "embedder", "proto"],
    "embedder/torch": ["core/base", "embedder", "proto"],
    "server": [
        "core/base",
        "core/index",
        "core/source",
        "core/storage",
        "core/text",
        "proto",
    ],
    "clients/cli": ["core/base", "proto"],
}

# Folders that single files may include in addition.
FILES = {
    "server/main.cc": ["core/codes", "embedder"],
    "server/local_models.h": ["embedder", "embedder/remote"],
    "server/local_models.cc": ["embedder", "embedder/remote"],
}

# The only files that may include a header; by its beginning.
HEADERS = {
    "core/storage/rocksdb_store.h": ["core/storage/rocksdb_store.cc", "server/main.cc"],
    "rocksdb/": ["core/storage/rocksdb_store.cc"],
    "oneapi/": ["embedder/onednn/packed_linear.cc"],
    "curl/": ["embedder/remote/http_client.cc"],
    "httplib.h": [],
    "torch/": ["embedder/torch/torch_engine.cc"],
    "openssl/": ["core/base/hash.cc"],
    "zlib.h": ["core/base/crc32.cc"],
    "systemd/": ["server/main.cc"],
    "unicode/": ["core/text/", "embedder/"],
    "nlohmann/": ["embedder/", "clients/"],
    "CLI/": [
        "embedder/onednn/main.cc",
        "embedder/torch/main.cc",
        "embedder/worker_main.cc",
        "server/main.cc",
        "clients/cli/main.cc",
    ],
    "grpcpp/": ["embedder/", "server/", "clients/"],
    "google/protobuf/": ["server/", "clients/"],
    "google/rpc/": ["server/", "clients/"],
    "hwy/": ["core/base/", "core/codes/", "embedder/onednn/"],
    "Eigen/": ["core/codes/codebook_training.cc"],
}


def folder_of(path):
    """The longest folder of the table that holds `path`."""
    fitting = [f for f in FOLDERS if path.startswith(f + "/")]
    return max(fitting, key=len, default=None)


def faults(path, included):
    """What is wrong with `path` including `included`, if anything."""
    folder = folder_of(path)
    if folder is None:
        yield "is in no folder of the table"
        return
    for beginning, allowed in HEADERS.items():
        if included.startswith(beginning) and not path.startswith(tuple(allowed)):
            yield f"includes {included}, which only {', '.join(allowed)} may"
    ours = folder_of(included)
    if included.startswith("proto/"):
        ours = "proto"
    if ours is None or ours == folder:
        return
    if ours not in FOLDERS[folder] + FILES.get(path, []):
        yield f"includes {included}; {folder} may not include {ours}"


def main():
    root = pathlib.Path(sys.argv[1])
    count = 0
    broken = False
    for top in ("core", "embedder", "server", "clients"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in (".h", ".cc"):
                continue
            count += 1
            path = file.relative_to(root).as_posix()
            for number, line in enumerate(file.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
                for fault in faults(path, match.group(1)) if match else ():
                    broken = True
                    print(f"{path}:{number}: {fault}")
    if count == 0:
        print(f"{root}: no sources found")
        return 1
    return 1 if broken else 0


sys.exit(main())
