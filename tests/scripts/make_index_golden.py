"""Writes the golden files of tests/data/index-v1 and index-v3, from
docs/index_format.md and not from the code that they test.

Usage: make_index_golden.py DIRECTORY_V1 DIRECTORY_V3

They stay as they are: a change of the format gets a version and a directory of
its own. index-v3 has segments alone, of versions 2 and 3.
"""

import hashlib
import pathlib
import struct
import sys
import zlib

CODE_BYTES = 3


def passage(document, serial):
    return document << 24 | serial


def pack_ids(ids):
    base = min(id >> 24 for id in ids)
    document_bits = (max(id >> 24 for id in ids) - base).bit_length()
    serial_bits = max(id & 0xFFFFFF for id in ids).bit_length()
    width = document_bits + serial_bits
    bits = 0
    for node, id in enumerate(ids):
        value = ((id >> 24) - base) << serial_bits | (id & 0xFFFFFF)
        bits |= value << (node * width)
    header = struct.pack("<IQBB", len(ids), base, document_bits, serial_bits)
    return header + bits.to_bytes((len(ids) * width + 7) // 8, "little")


def encode_segment(codebook_hash, ids, graph, version=1, later_properties=b""):
    codes = bytes((7 * i + 1) % 256 for i in range(CODE_BYTES * len(ids)))
    properties = codebook_hash + struct.pack("<I", CODE_BYTES) + later_properties
    sections = [properties, pack_ids(ids), codes]
    if graph is not None:
        sections.append(graph)
    header = b"pithsegm" + struct.pack("<II", version, len(sections))
    for kind, section in enumerate(sections, 1):
        header += struct.pack("<IIQ", kind, zlib.crc32(section), len(section))
    return header + struct.pack("<I", zlib.crc32(header)) + b"".join(sections)


def encode_codebook():
    """Four dimensions, which the rotation leaves as they are, in four sub-codes
    of four bits, from -0.75 to 0.75."""
    rotation = [float(i == j) for i in range(4) for j in range(4)]
    centroids = [(k - 7.5) / 10 for _ in range(4) for k in range(16)]
    scales = [0.5 + i / 128 for i in range(256)]
    sections = [b"pithcbk\n" + struct.pack("<IIII", 1, 4, 4, 4)]
    for floats in (rotation, centroids, scales, [2, -0.125, 0.625, 25]):
        sections.append(struct.pack(f"<{len(floats)}f", *floats))
    return b"".join(s + struct.pack("<I", zlib.crc32(s)) for s in sections)


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(value):
    """As nibbles of three bits."""
    out = []
    while value >= 8:
        out.append(value & 7 | 8)
        value >>= 3
    return out + [value]


def gaps(ascending, before):
    out = number(len(ascending))
    for one in ascending:
        out += number(one - before - 1)
        before = one
    return out


def encode_graph(entry_points, neighbors):
    nibbles = gaps(entry_points, -1)
    for node, all in enumerate(neighbors):
        nibbles += gaps([n for n in all if n > node], node)
    nibbles += [0] * (len(nibbles) % 2)
    return bytes(
        low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2])
    )


def main():
    directory = pathlib.Path(sys.argv[1])
    hash = hashlib.sha256(encode_codebook()).digest()[:16]
    segments = {
        1: (
            [passage(1000, 0), passage(3, 5), passage(70000, 2), passage(3, 0)],
            None,
        ),
        4: (
            [passage(9, 1), passage(8, 0), passage(9, 0), passage(10, 300)],
            encode_graph(
                entry_points=[1, 3],
                neighbors=[[1, 3], [0, 2], [1, 3], [0, 2]],
            ),
        ),
    }
    (directory / f"codebook-{hash.hex()}.pith").write_bytes(encode_codebook())
    manifest = varint(1) + varint(300) + varint(len(segments))
    for number, (ids, graph) in segments.items():
        content = encode_segment(hash, ids, graph)
        (directory / f"segment-{number}.pith").write_bytes(content)
        manifest += varint(number) + varint(len(ids)) + varint(len(content))
        manifest += hash
    (directory / "manifest").write_bytes(manifest)

    directory = pathlib.Path(sys.argv[2])
    for number, version, properties in [
        (2, 2, struct.pack("<I", 3)),
        (3, 3, struct.pack("<If", 0, 27.5)),
    ]:
        content = encode_segment(hash, *segments[4], version, properties)
        (directory / f"segment-{number}.pith").write_bytes(content)


main()
