"""Writes a data set out as files, one a document, named by its id.

Usage: corpus_to_files.py CORPUS.jsonl.zst DIRECTORY

For indexing a folder with `pith add`. Ids that would leave DIRECTORY are an
error. Needs the zstd command.
"""

import json
import pathlib
import subprocess
import sys


def main():
    corpus, directory = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    text = subprocess.run(["zstdcat", corpus], check=True, capture_output=True).stdout
    for line in text.splitlines():
        document = json.loads(line)
        path = (directory / document["id"]).resolve()
        if directory not in path.parents:
            sys.exit(f"{document['id']}: is not below {directory}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document["text"], encoding="utf-8")


main()
