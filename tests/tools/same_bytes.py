#!/usr/bin/env python3
"""Lists the SHA-256 of what netssmd generates: same_bytes.py PROGRAM CAPTURES > LIST

A change that must not change what comes out (a move, a rename, a faster path) gives the same list before and after:

    tests/tools/same_bytes.py OLD/netssmd DIR > before; tests/tools/same_bytes.py NEW/netssmd DIR > after; diff before after

The list has `generate` for five seeds of five labels in f32 and one in int8, `run --virtual-clock` for five seeds at three
speeds, and for every capture below CAPTURES `rewrite` with kept and with synthetic payload and `codec roundtrip` with both
codecs. Each line has the hash, then what was run. A command that fails is listed with its exit code.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile

LABELS = ["youtube", "HueBridge", "Withings", "D-LinkCam", "WeMoSwitch"]
SEEDS = [1, 2, 3, 42, 2**63]
SPEEDS = ["1.0", "0.7", "3.3"]
CAPTURES = {".pcap", ".pcapng", ".cap"}

PROFILE = """
name = "same-bytes"
seed = {seed}
[model]
device = "cpu"
[[traffic]]
label = "youtube"
packets = 40
[[traffic]]
label = "HueBridge"
packets = 30
weight = 2.0
[pool]
sessions = 8
reuse = 1
[schedule]
rate = 5.0
sessions = 10
speed = {speed}
[output.pcap]
directory = "{out}"
max_packets = 150
[metrics]
listen = "off"
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def run(program: str, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run([program, *args], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=600)


def files(folder: pathlib.Path, what: str, code: int) -> list[str]:
    """A line for each file that a command has left, and one for its failure."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "/." not in str(path.relative_to(folder.parent)))
    lines = [f"{sha256(path.read_bytes())}  {what}: {path.relative_to(folder)}" for path in found]
    return lines if code == 0 else [*lines, f"{'exit ' + str(code):<64}  {what}"]


def generate(program: str, label: str, seed: int, precision: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "out.pcap")
        done = run(program, "generate", "--label", label, "--sessions", "4", "--packets", "60", "--seed", str(seed),
                   "--precision", precision, "--out", str(out))
        return files(out.parent, f"generate {label} seed {seed} {precision}", done.returncode)


def virtual_clock(program: str, seed: int, speed: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "captures")
        profile = pathlib.Path(folder, "profile.toml")
        profile.write_text(PROFILE.format(seed=seed, speed=speed, out=out))
        done = run(program, "run", "--profile", str(profile), "--virtual-clock")
        if not out.is_dir():
            sys.exit(f"run wrote nothing: {done.stderr.decode(errors='replace')}")
        return files(out, f"run --virtual-clock seed {seed} speed {speed}", done.returncode)


def rewrite(program: str, captures: pathlib.Path, capture: pathlib.Path, *flags: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "out.pcap")
        done = run(program, "rewrite", str(capture), str(out), *flags)
        return files(out.parent, " ".join(["rewrite", str(capture.relative_to(captures)), *flags]), done.returncode)


def roundtrip(program: str, captures: pathlib.Path, capture: pathlib.Path, codec: str) -> list[str]:
    # The report counts packets, tokens, escapes and side bits, so another encoding shows as another hash.
    done = run(program, "codec", "roundtrip", "--json", "--codec", codec, str(capture))
    report = done.stdout.replace(os.fsencode(captures), b"")
    what = f"codec roundtrip {codec} {capture.relative_to(captures)}"
    lines = [f"{sha256(report)}  {what}"]
    return lines if done.returncode == 0 else [*lines, f"{'exit ' + str(done.returncode):<64}  {what}"]


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, captures = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    jobs = [(generate, label, seed, "f32") for label in LABELS for seed in SEEDS]
    jobs.append((generate, LABELS[0], SEEDS[0], "int8"))
    jobs += [(virtual_clock, seed, speed) for seed in SEEDS for speed in SPEEDS]
    found = sorted(path for path in captures.rglob("*") if path.suffix in CAPTURES)
    for capture in found:
        jobs += [(rewrite, captures, capture), (rewrite, captures, capture, "--synthetic-payload")]
        jobs += [(roundtrip, captures, capture, codec) for codec in ("flow", "bytes")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for lines in pool.map(lambda job: job[0](program, *job[1:]), jobs):
            print("\n".join(lines))


if __name__ == "__main__":
    main()
