"""netssmd beside its rivals on this CPU: llama.cpp for decoding, PyTorch for training, in turns, in one run.

    python3 tests/tools/rivals.py target/release/netssmd FOLDER [decode] [train] [--rounds 3]

Needs nothing but Python 3, a C++ compiler and the package index: makes two virtual environments in FOLDER (llama.cpp is compiled,
some minutes; PyTorch is some GB) and keeps them for the next time. Each round measures ours, then the rival's, so that whatever
else the machine does falls on both. Prints every number, then the medians and their ratio.

Decoding: the weights of the shipped model, `netssmd bench generate` (sampling, grammar and packets included) against
llamacpp_decode.py (neither). Training: sessions that the shipped model writes, `netssmd train` with its sizes against
torch_train.py; batch 8, windows of 512 tokens, AdamW.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

TOOLS = pathlib.Path(__file__).resolve().parent
MODEL = TOOLS.parent.parent / "configs/models/default"
BATCHES = "1,16,64"
PACKAGES = {
    "llama": ["llama-cpp-python", "gguf", "numpy", "safetensors"],
    "torch": ["torch", "transformers==5.23.0", "numpy"],
}
TRAIN = """
[model]
d_model = 256
n_layer = 3
d_state = 32
headdim = 64
[data]
batch = 8
bptt = 512
sequence_length = 8192
[run]
steps = {steps}
threads = {threads}
"""


def run(*command):
    """Standard output of a command that has to succeed."""
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def environment(folder, name):
    """The Python of a virtual environment with a rival's packages."""
    place = folder / name
    python = place / "bin/python"
    if not (place / "complete").exists():
        print(f"installing {', '.join(PACKAGES[name])} into {place}", flush=True)
        run(sys.executable, "-m", "venv", place)
        run(python, "-m", "pip", "install", "--quiet", *PACKAGES[name])
        (place / "complete").touch()
    return python


def lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def machine(program):
    cpu = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    commit = subprocess.run(
        ["git", "-C", TOOLS, "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    print(f"machine   {os.cpu_count()} x {cpu}, Linux {platform.release()}")
    print(f"load      {' '.join(f'{load:.2f}' for load in os.getloadavg())} (other work makes every number below worse)")
    print(f"commit    {commit or 'unknown'}, {run(program, '--version').strip()}", flush=True)


def tell(rates, ours, rivals):
    """Medians, and ours over the best of each rival."""
    middle = {name: statistics.median(values) for name, values in rates.items()}
    for name, value in middle.items():
        print(f"{name:<32} {value:>10.0f} tokens/s  of {', '.join(f'{v:.0f}' for v in rates[name])}")
    for mine in ours:
        for rival in rivals:
            best = max((name for name in middle if name.startswith(rival)), key=middle.get, default=None)
            if best:
                print(f"ratio: {mine} is {middle[mine] / middle[best]:.2f} times {best}")


def decode(program, folder, a):
    python = environment(folder, "llama")
    rates = {}
    for number in range(a.rounds):
        for precision in ("f32", "int8"):
            report = json.loads(run(
                *a.prefix, program, "bench", "generate", "--model", MODEL, "--label", "youtube", "--packets", 200, "--batches", BATCHES,
                "--threads", a.threads, "--precision", precision, "--seconds", a.seconds, "--json",
            ))
            for m in report["batches"]:
                rates.setdefault(f"netssmd {precision}, batch {m['batch']}", []).append(m["tokens_per_second"])
        for m in lines(run(
            *a.prefix, python, TOOLS / "llamacpp_decode.py", MODEL, "--batches", BATCHES, "--threads", a.threads,
            "--seconds", a.seconds,
        )):
            rates.setdefault(f"llama.cpp f32, batch {m['batch']}", []).append(m["tokens_per_second"])
        print(f"decoding, round {number + 1} of {a.rounds} done", flush=True)
    tell(rates, ["netssmd f32, batch 64", "netssmd int8, batch 64"], ["llama.cpp"])


def corpus(program, folder):
    """Sessions of the shipped model, as a corpus; the same every time."""
    place = folder / "corpus"
    if not place.exists():
        captures = folder / "captures/youtube"
        captures.mkdir(parents=True, exist_ok=True)
        for seed in range(24):
            run(
                program, "generate", "--model", MODEL, "--label", "youtube", "--sessions", 1, "--packets", 2000, "--seed", seed,
                "--out", captures / f"{seed}.pcap", "--json",
            )
        run(program, "prepare", "--in", folder / "captures", "--out", place)
    return place


def train(program, folder, a):
    python = environment(folder, "torch")
    place, rates = corpus(program, folder), {}
    config = folder / "train.toml"
    for number in range(a.rounds):
        config.write_text(TRAIN.format(steps=a.steps, threads=a.threads))
        out = folder / f"run-{os.getpid()}-{number}"
        run(*a.prefix, program, "train", "--corpus", place, "--config", config, "--out", out)
        events = lines((out / "train.jsonl").read_text())
        # netssmd reports a running mean over about twenty steps. It counts no padding tokens.
        last = [event["tokens_per_s"] for event in events if event["event"] == "step"][-1]
        rates.setdefault("netssmd train", []).append(last)
        rivals = run(*a.prefix, python, TOOLS / "torch_train.py", "--threads", a.threads, "--seconds", a.train_seconds)
        for m in lines(rivals):
            rates.setdefault(f"PyTorch {m['torch']} {m['rival']}", []).append(m["tokens_per_second"])
        print(f"training, round {number + 1} of {a.rounds} done", flush=True)
    tell(rates, ["netssmd train"], ["PyTorch"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("what", nargs="*", default=["decode", "train"], help="decode, train, or both if nothing is said")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=3, help="of each batch size")
    parser.add_argument("--steps", type=int, default=60, help="of netssmd's training")
    parser.add_argument("--prefix", type=str.split, default=[], help="what each measurement is run through, taskset for example")
    parser.add_argument("--train-seconds", type=float, default=10, help="of each of PyTorch's models")
    a = parser.parse_args()
    program, folder = a.program.resolve(), a.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    machine(program)
    for what in a.what:
        print(f"\n== {what}", flush=True)
        {"decode": decode, "train": train}[what](program, folder, a)


if __name__ == "__main__":
    main()
