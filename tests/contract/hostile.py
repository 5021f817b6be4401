"""Runners that mean harm, each in one named way: `python hostile.py BEHAVIOUR serve`.

What breaks the lines of the contract alone is in `fake_runner.py`; these attack the machine, the files and the driver.
A behaviour takes effect at the operation after `@`, or where it makes sense when there is none.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_runner
from fake_runner import answer, say

NAME, _, AT = (sys.argv[1] if len(sys.argv) > 1 else "good").partition("@")
SLEEP = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def daemon(*, marked: bool) -> None:
    """Leave the session and the parent, as daemons do."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execve(sys.executable, [sys.executable, "-c", SLEEP], dict(os.environ) if marked else {})


def tensor_file(path, header: bytes, data: bytes = b"", length=None) -> None:
    Path(path).write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)


def entry(name="logits", shape=(1,), offsets=(0, 4), dtype="F32"):
    return {name: {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


def write_badly(path) -> bool:
    """A file of outputs that is wrong; False when the name is not one of these."""
    one = b"\0\0\x80\x3f"
    if NAME == "missing-file":
        return True
    if NAME == "empty-file":
        Path(path).write_bytes(b"")
    elif NAME == "truncated":
        tensor_file(path, json.dumps(entry()).encode(), one[:2])
    elif NAME == "wrong-shape":
        tensor_file(path, json.dumps(entry(shape=(1, 1))).encode(), one)
    elif NAME == "extra-tensor":
        tensor_file(path, json.dumps({**entry(), **entry("more", offsets=(4, 8))}).encode(), one * 2)
    elif NAME == "huge-header":
        tensor_file(path, b"{}", length=1 << 60)
    elif NAME == "long-header":
        tensor_file(path, b"{" + b",".join(b'"%d":{}' % i for i in range(1 << 19)) + b"}")
    elif NAME == "overlap":
        tensor_file(path, json.dumps({**entry(), **entry("more")}).encode(), one)
    elif NAME == "deep-header":
        tensor_file(path, b"[" * 1_000_000)
    elif NAME == "deep-entry":
        tensor_file(path, b'{"logits":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    elif NAME == "many-dimensions":
        tensor_file(path, json.dumps(entry(shape=[1] * 100)).encode(), one)
    elif NAME == "vast-and-empty":
        tensor_file(path, json.dumps(entry(shape=[0, 1 << 62], offsets=(0, 0))).encode())
    elif NAME == "nan-values":
        tensor_file(path, json.dumps(entry()).encode(), b"\0\0\xc0\x7f")
    elif NAME == "link":
        Path(path).symlink_to("/etc/passwd")
    elif NAME == "pipe":
        os.mkfifo(path)
    elif NAME == "device":
        Path(path).symlink_to("/dev/zero")
    elif NAME == "folder":
        Path(path).mkdir()
    else:
        return False
    return True


def misbehave(request) -> bool:
    """Do it; True when the request is answered, or never will be."""
    op, number = request["op"], request["id"]
    if op == "outputs" and write_badly(request["path"]):
        say({"id": number, "ok": {"tensors": 1}})
        return True
    if AT and op != AT:
        return False
    if NAME == "daemon":
        daemon(marked=True)
    elif NAME == "secret-daemon":
        daemon(marked=False)
    elif NAME == "pipe-holder":
        # Keeps standard output open after its parent is gone.
        subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
        os.kill(os.getpid(), signal.SIGKILL)
    elif NAME == "many":
        for _ in range(60):
            subprocess.Popen([sys.executable, "-S", "-c", SLEEP], start_new_session=True)
        time.sleep(600)
    elif NAME == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(b"x") * (16 << 20))
            time.sleep(0.005)
    elif NAME == "childs-memory":
        code = "import time; x = bytearray(b'x') * (600 << 20); time.sleep(600)"
        subprocess.run([sys.executable, "-c", code], check=False)
    elif NAME == "address-space":
        bytearray(1 << 40)
    elif NAME == "disk":
        with Path("large").open("wb") as file:
            while True:
                file.write(b"x" * (1 << 20))
                file.flush()
    elif NAME == "many-files":
        for index in range(10_000):
            Path(f"part-{index}").write_bytes(b"x" * (1 << 20))
            time.sleep(0.002)
    elif NAME == "locked-folder":
        Path("locked/deep").mkdir(parents=True, exist_ok=True)
        Path("locked/deep/file").write_text("x")
        Path("locked").chmod(0)
        return False
    elif NAME == "half-then-silent":
        sys.stdout.write(f'{{"id": {number}, "ok": {{')
        sys.stdout.flush()
        time.sleep(600)
    elif NAME == "closes-output":
        os.close(1)
        time.sleep(600)
    elif NAME == "deaf":
        time.sleep(600)
    elif NAME == "deep-json":
        deep = '{"a":' * 100_000 + "1" + "}" * 100_000
        say(f'{{"id":{number},"ok":{deep}}}')
        return True
    elif NAME == "line-flood":
        while True:
            say("x" * 100_000)
    elif NAME == "unasked":
        say({"id": number, "ok": answer(request)})
        say({"id": number + 1, "ok": {}})
        return True
    elif NAME == "late":
        say({"id": number - 1, "ok": answer(request)})
        return True
    elif NAME == "infinity":
        say(f'{{"id":{number},"ok":{{"load_ns":Infinity,"parameters":1,"parameter_bytes":4}}}}')
        return True
    elif NAME == "huge-number":
        say(f'{{"id":{number},"ok":{{"load_ns":{"9" * 400},"parameters":1,"parameter_bytes":4}}}}')
        return True
    elif NAME == "long-load":
        say({"id": number, "ok": {"load_ns": 10**18, "parameters": 1, "parameter_bytes": 4}})
        return True
    elif NAME == "log-flood":
        for _ in range(200):
            os.write(2, b"z" * (1 << 20))
    elif NAME == "log-escape":
        os.write(2, b"\x1b[2J\x1b]0;owned\x07 the end\n")
        os._exit(3)
    elif NAME == "stops-itself":
        os.kill(os.getpid(), signal.SIGSTOP)
    return False


def main() -> None:
    if sys.argv[-1] == "describe":
        say(fake_runner.DESCRIPTION)
        return
    say({"event": "ready", **fake_runner.DESCRIPTION})
    for line in sys.stdin:
        request = json.loads(line)
        if not misbehave(request):
            say({"id": request["id"], "ok": answer(request)})
        if request["op"] == "shutdown":
            return


if __name__ == "__main__":
    main()
