#!/usr/bin/env python3
"""Verifies a Loqa audit by docs/audit.md alone: Python's standard library, no code of Loqa.

usage: verify.py AUDIT.DB|EXPORT.JSONL [--key HEX] [--anchor FILE]

Prints one JSON object; exit code 1 when something is wrong.
"""

import hashlib
import json
import sqlite3
import sys

ROW = b"loqa.audit.v1\0"
CHECKPOINT = b"loqa.audit.checkpoint.v1\0"
ZERO = bytes(32)
ROWS_PER_CHECKPOINT = 256

# Ed25519 as in RFC 8032, section 5.1; slow, and easy to compare with the text.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)


def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    g, h = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(n, point):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, point)
        point = add(point, point)
        n >>= 1
    return result


def recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * I % P
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def signed(key, message, signature):
    a, r = decompress(key), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    (x1, y1, z1, _), (x2, y2, z2, _) = multiply(s, BASE), add(r, multiply(h, a))
    return (x1 * z2 - x2 * z1) % P == 0 and (y1 * z2 - y2 * z1) % P == 0


class Bad(Exception):
    pass


def statement_bytes(statement):
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_signature(seq, statement, signature, key):
    if key is not None and statement["key"] != key:
        raise Bad(seq, "another key")
    if not signed(bytes.fromhex(statement["key"]), CHECKPOINT + statement_bytes(statement), bytes.fromhex(signature)):
        raise Bad(seq, "signature")


def read_database(path):
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    base = database.execute("SELECT seq, hash FROM base").fetchone()
    rows = database.execute("SELECT seq, prev, hash, body FROM record WHERE seq > ? ORDER BY seq", (base[0],))
    return base, rows


def read_export(path):
    rows = []
    for line in open(path, "rb"):
        hash_, rest = line[9:73], line[74:]
        if not (line.startswith(b'{"hash":"') and rest.startswith(b',"prev":"') and rest[73:84] == b'","record":'):
            raise Bad(len(rows) + 1, "not a line of an export")
        body = rest[84:].rstrip(b"\n")[:-1].decode()
        record, end = json.JSONDecoder().raw_decode(body)
        rows.append((record["seq"], bytes.fromhex(rest[9:73].decode()), bytes.fromhex(hash_.decode()), body[:end]))
    first = rows[0]
    return (first[0] - 1, first[1]), rows


def verify(path, key, anchors):
    base, rows = read_export(path) if path.endswith(".jsonl") else read_database(path)
    last, prev = base
    boot, boots, mono, intents, unsealed, sealed, base_signed = None, set(), 0, {}, 0, 0, (0, ZERO.hex())
    expected = {a["checkpoint"]["seq"]: a["checkpoint"]["hash"] for a in anchors}
    for anchor in anchors:
        check_signature(anchor["checkpoint"]["seq"], anchor["checkpoint"], anchor["signature"], key)
    n_rows = 0
    for seq, named, hash_, body in rows:
        if seq != last + 1:
            raise Bad(last + 1, "gap")
        if named != prev:
            raise Bad(seq, "previous")
        if hashlib.sha256(ROW + prev + body.encode()).digest() != hash_:
            raise Bad(seq, "hash")
        record = json.loads(body)
        kind = record["kind"]
        if record["v"] != 1 or record["seq"] != seq or (kind == "audit.start") != (seq == 1):
            raise Bad(seq, "record")
        if record["boot"] != boot:
            if record["boot"] in boots:
                raise Bad(seq, "order")
            boot = record["boot"]
            boots.add(boot)
        elif record["mono_us"] < mono:
            raise Bad(seq, "order")
        mono = record["mono_us"]
        if kind not in ("call.outcome", "audit.checkpoint"):
            for intent, of in intents.items():
                if of != boot:
                    raise Bad(intent, "outcome")
        if kind == "call.intent":
            intents[seq] = boot
        elif kind == "call.outcome":
            if intents.pop(record["intent"], None) is None and record["intent"] > base[0]:
                raise Bad(seq, "outcome")
        if kind == "audit.start":
            key = key or record["segment"]["key"]
        if kind == "audit.checkpoint":
            statement = record["checkpoint"]
            check_signature(seq, statement, record["signature"], key)
            key = key or statement["key"]
            if statement["seq"] != seq - 1 or statement["hash"] != prev.hex():
                raise Bad(seq, "signature")
            base_signed = (statement["base_seq"], statement["base_hash"])
            unsealed, sealed = 0, seq - 1
        else:
            unsealed += 1
            if unsealed > ROWS_PER_CHECKPOINT:
                raise Bad(seq, "signature")
        if expected.pop(seq, hash_.hex()) != hash_.hex():
            raise Bad(seq, "anchor")
        last, prev, n_rows = seq, hash_, n_rows + 1
    if base_signed != (base[0], base[1].hex()):
        raise Bad(base[0] + 1, "base")
    for seq in expected:
        if seq > last:
            raise Bad(last + 1, "anchor")
    return {"ok": True, "rows": n_rows, "last": last, "hash": prev.hex(), "sealed": sealed, "open": sorted(intents)}


def main():
    arguments = sys.argv[1:]
    path, key, anchors = arguments.pop(0), None, []
    while arguments:
        option, value = arguments.pop(0), arguments.pop(0)
        if option == "--key":
            key = value
        else:
            anchors.append(json.load(open(value)))
    try:
        print(json.dumps(verify(path, key, anchors)))
    except Bad as bad:
        print(json.dumps({"ok": False, "row": bad.args[0], "check": bad.args[1]}))
        sys.exit(1)


main()
