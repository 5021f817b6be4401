"""A runner made for tests: speaks the contract over one scalar model, and misbehaves in one named way.

    python fake_runner.py BEHAVIOUR describe|serve

It needs nothing but the standard library, so that what it does is plain to see.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

BEHAVIOUR = sys.argv[1] if len(sys.argv) > 1 else "good"
SECOND = False
"""Of `second-hangs:FILE@OP`: whether this is not the first launch, which leaves the file."""
if BEHAVIOUR.startswith("second-hangs:"):
    FILE = Path(BEHAVIOUR.partition(":")[2].partition("@")[0])
    SECOND = FILE.exists()
    FILE.touch()

LAZY_S = 0.05 if BEHAVIOUR == "lazy" else 0.0
READY = [0.0]
"""When the results of the latest execution are there: of `lazy` after it has said that they are."""

DESCRIPTION = {
    "contract": 1,
    "runner": "fake",
    "framework": {"name": "fake", "version": "0"},
    "backends": [{"id": "cpu", "device": "none", "precisions": ["f32"]}],
    "architectures": {"llama": ["infer", "decode"] if BEHAVIOUR == "decodes" else ["infer"]},
    "own_kernels": [],
    "build": {"compiler": "none", "profile": "none", "features": []},
}


def say(message):
    sys.stdout.write(message if isinstance(message, str) else json.dumps(message))
    sys.stdout.write("\n")
    sys.stdout.flush()


def answer(request):
    op = request["op"]
    if op == "load":
        return {"load_ns": 5, "parameters": 1, "parameter_bytes": 4}
    if op == "prepare":
        return {"prepare_ns": 5, "first_ns": 5}
    if op == "run":
        READY[0] = time.monotonic() + LAZY_S
        time.sleep(0.002 * request["iterations"])
        return {"samples_ns": [1_000_000] * request["iterations"]}
    if op == "usage":
        return {"peak_rss_bytes": 1 << 20, "device_bytes": None}
    if op == "outputs":
        time.sleep(max(0.0, READY[0] - time.monotonic()))
        header = b'{"logits":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        with Path(request["path"]).open("wb") as file:
            value = b"\0\0\0\x40" if BEHAVIOUR == "off" else b"\0\0\x80\x3f"
            file.write(len(header).to_bytes(8, "little") + header + value)
        return {"tensors": 1}
    return {}


def misbehave(request):
    """Do what the behaviour is about at the request it is about; True when nothing more is to be said."""
    op, request_id = request["op"], request["id"]
    name, _, at = BEHAVIOUR.partition("@")
    if at and at != op:
        return False
    if name == "crash":
        sys.stderr.write("the roof is on fire\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "leave":
        sys.exit(0)
    if name == "hang" or (name.startswith("second-hangs:") and SECOND):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if name == "garbage":
        say("this is no JSON")
        return True
    if name == "half-line":
        sys.stdout.write('{"id": 2, "ok"')
        sys.stdout.flush()
        sys.exit(0)
    if name == "no-newline":
        for _ in range(64):
            sys.stdout.write("x" * (1 << 20))
            sys.stdout.flush()
        time.sleep(600)
    if name == "invalid-utf8":
        sys.stdout.buffer.write(b'{"id":%d,"ok":{"\xff\xfe":1}}\n' % request_id)
        sys.stdout.buffer.flush()
        return True
    if name == "nan":
        say(json.dumps({"id": request_id, "ok": {"load_ns": float("nan"), "parameters": 1, "parameter_bytes": 4}}))
        return True
    if name == "wrong-id":
        say({"id": request_id + 7, "ok": answer(request)})
        return True
    if name == "twice":
        say({"id": request_id, "ok": answer(request)})
    if name == "both":
        say({"id": request_id, "ok": answer(request), "error": {"code": "internal", "message": "?"}})
        return True
    if name == "strange-code":
        say({"id": request_id, "error": {"code": "tired", "message": "?"}})
        return True
    if name == "refuse":
        say({"id": request_id, "error": {"code": "unsupported", "message": f"no {op} today"}})
        return True
    if name == "full":
        say({"id": request_id, "error": {"code": "out_of_memory", "message": "3 GiB"}})
        return True
    if name == "flood":
        for _ in range(20000):
            sys.stderr.write("y" * 1000 + "\n")
        sys.stderr.flush()
    if name in ("negative", "zero", "absurd", "few", "text") and op == "run":
        count = request["iterations"]
        samples = {"negative": [-1] * count, "zero": [0] * count, "absurd": [10**18] * count, "few": [5], "text": ["5"]}
        say({"id": request_id, "ok": {"samples_ns": samples[name]}})
        return True
    return False


def main():
    if sys.argv[-1] == "describe":
        say(DESCRIPTION)
        return
    if BEHAVIOUR == "silent":
        time.sleep(600)
    if BEHAVIOUR == "dies-at-once":
        sys.exit("no such luck")
    if BEHAVIOUR == "children" or SECOND:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        sys.stderr.write(f"child {child.pid}\n")
        sys.stderr.flush()
    contract = 99 if BEHAVIOUR == "other-contract" else 1
    say("hello" if BEHAVIOUR == "no-ready" else {"event": "ready", **DESCRIPTION, "contract": contract})
    for line in sys.stdin:
        request = json.loads(line)
        if not misbehave(request):
            say({"id": request["id"], "ok": answer(request)})
        if request["op"] == "shutdown":
            return


if __name__ == "__main__":
    main()
