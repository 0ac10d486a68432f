"""Tokens a second of training a Mamba-2 in PyTorch, on this CPU or GPU: what `netssmd train` is compared with.

    python torch_train.py [--seconds 20] [--which compact,transformers] [--device cuda --bf16 --compile]

Two rivals, both with the sizes of the model that ships unless flags say otherwise. `transformers` is Hugging Face's
Mamba2ForCausalLM, which takes its path of plain tensor operations on a CPU, and on a GPU where its extensions are not installed. `compact` is the chunked form of state-space
duality (Dao and Gu, arXiv 2405.21060, section 6) in as few tensor operations as we could, because the first is not written for
speed: a rival should be a fair one. `--check` compares the second with a loop over tokens and stops.

A step is forward, cross-entropy, backward, gradient clipping and AdamW on random tokens; side information, which netssmd's
model reads and PyTorch's does not, is left out, so PyTorch computes slightly less a token. Prints one JSON object a rival:
the median step counts. Needs torch, and transformers for the first rival.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    """One Mamba-2 mixer with one group: projection, convolution, scan by chunks, gated norm, projection."""

    def __init__(self, d, n, p, k, chunk):
        super().__init__()
        self.e, self.n, self.p, self.h, self.chunk = 2 * d, n, p, 2 * d // p, chunk
        self.into = nn.Linear(d, 2 * self.e + 2 * n + self.h, bias=False)
        self.conv = nn.Conv1d(self.e + 2 * n, self.e + 2 * n, k, groups=self.e + 2 * n, padding=k - 1)
        self.dt_bias = nn.Parameter(torch.rand(self.h) * 4 - 6)
        self.a_log = nn.Parameter(torch.log(torch.rand(self.h) * 15 + 1))
        self.skip = nn.Parameter(torch.ones(self.h))
        self.norm = nn.Parameter(torch.ones(self.e))
        self.out = nn.Linear(self.e, d, bias=False)

    def parts(self, u):
        """z, x by heads, B, C and the steps of every token."""
        length = u.shape[1]
        z, xbc, dt = self.into(u).split([self.e, self.e + 2 * self.n, self.h], -1)
        xbc = F.silu(self.conv(xbc.transpose(1, 2))[..., :length].transpose(1, 2))
        x, b, c = xbc.split([self.e, self.n, self.n], -1)
        return z, x.unflatten(-1, (self.h, self.p)), b, c, F.softplus(dt + self.dt_bias)

    def scan(self, x, b, c, dt):
        batch, length, h, p = x.shape
        q = self.chunk
        by_chunk = lambda t: t.unflatten(1, (length // q, q))
        log_decay = by_chunk(dt * -self.a_log.exp()).transpose(2, 3).cumsum(-1)  # (b, c, h, q)
        xs, bs, cs = by_chunk(x * dt.unsqueeze(-1)).transpose(2, 3), by_chunk(b), by_chunk(c)  # xs (b, c, h, q, p)
        # Inside a chunk: a masked matmul, as in attention.
        gaps = log_decay.unsqueeze(-1) - log_decay.unsqueeze(-2)
        mask = torch.ones(q, q, dtype=torch.bool).tril()
        scores = (cs @ bs.transpose(2, 3)).unsqueeze(2) * gaps.masked_fill(~mask, -torch.inf).exp()
        y = scores @ xs
        # The state that each chunk adds, then the state carried from chunk to chunk, then its effect on the output.
        last = log_decay[..., -1:]
        states = bs.unsqueeze(2).transpose(3, 4) @ (xs * (last - log_decay).exp().unsqueeze(-1))  # (b, c, h, n, p)
        state, before = torch.zeros_like(states[:, 0]), []
        for i in range(states.shape[1]):
            before.append(state)
            state = state * last[:, i].exp().unsqueeze(-1) + states[:, i]
        y = y + (cs.unsqueeze(2) @ torch.stack(before, 1)) * log_decay.exp().unsqueeze(-1)
        return y.transpose(2, 3).reshape(batch, length, h, p) + x * self.skip.unsqueeze(-1)

    def loop(self, x, b, c, dt):
        """The recurrence, token by token: what `scan` has to equal."""
        state, out = x.new_zeros(x.shape[0], self.h, self.n, self.p), []
        decay = (dt * -self.a_log.exp()).exp()
        for t in range(x.shape[1]):
            step = (dt[:, t].unsqueeze(-1) * x[:, t]).unsqueeze(2) * b[:, t].unsqueeze(1).unsqueeze(-1)
            state = state * decay[:, t, :, None, None] + step
            out.append((state * c[:, t].unsqueeze(1).unsqueeze(-1)).sum(2))
        return torch.stack(out, 1) + x * self.skip.unsqueeze(-1)

    def forward(self, u):
        z, *rest = self.parts(u)
        gated = self.scan(*rest).flatten(2) * F.silu(z)
        return self.out(F.rms_norm(gated, (self.e,), self.norm, 1e-5))


class Compact(nn.Module):
    """Embedding, blocks with residuals, norm, the embedding again as head."""

    def __init__(self, a):
        super().__init__()
        self.embedding = nn.Embedding(a.vocab, a.dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.mixers = nn.ModuleList(Mixer(a.dim, a.state, a.head, a.conv, a.chunk) for _ in range(a.layers))
        self.norms = nn.ParameterList(torch.ones(a.dim) for _ in range(a.layers + 1))

    def forward(self, tokens):
        x = self.embedding(tokens)
        for norm, mixer in zip(self.norms, self.mixers):
            x = x + mixer(F.rms_norm(x, x.shape[-1:], norm, 1e-5))
        return F.rms_norm(x, x.shape[-1:], self.norms[-1], 1e-5) @ self.embedding.weight.t()


def transformers_model(a):
    from transformers import Mamba2Config, Mamba2ForCausalLM

    return Mamba2ForCausalLM(
        Mamba2Config(
            vocab_size=a.vocab, hidden_size=a.dim, num_hidden_layers=a.layers, state_size=a.state, head_dim=a.head,
            num_heads=2 * a.dim // a.head, n_groups=1, conv_kernel=a.conv, chunk_size=a.chunk, expand=2,
            tie_word_embeddings=True, use_cache=False, pad_token_id=0, bos_token_id=0, eos_token_id=0,
        )
    )


def measure(name, model, a):
    logits = (lambda t: model(t)) if name == "compact" else (lambda t: model(t).logits)
    model = model.to(a.device)
    if a.compile:
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)
    tokens = torch.randint(0, a.vocab, (a.batch, a.length + 1), device=a.device)
    took, begun = [], time.perf_counter()
    while len(took) < 3 or time.perf_counter() - begun < a.seconds:
        start = time.perf_counter()
        with torch.autocast(a.device, torch.bfloat16, enabled=a.bf16):
            loss = F.cross_entropy(logits(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if a.device == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    # The first step is left out, because it also allocates.
    middle = statistics.median(took[1:])
    parameters = sum(p.numel() for p in model.parameters())
    print(json.dumps({
        "rival": name, "torch": torch.__version__, "device": a.device, "bf16": a.bf16, "compiled": a.compile, "threads": a.threads, "parameters": parameters, "batch": a.batch,
        "length": a.length, "steps": len(took), "tokens_per_second": round(a.batch * a.length / middle, 1),
    }), flush=True)


def check(a):
    torch.manual_seed(1)
    mixer = Mixer(a.dim, a.state, a.head, a.conv, a.chunk).double()
    _, *parts = mixer.parts(torch.randn(2, 4 * a.chunk, a.dim, dtype=torch.double))
    off = (mixer.scan(*parts) - mixer.loop(*parts)).abs().max().item()
    assert off < 1e-9, f"the chunked scan differs from the loop by {off}"
    print(f"the chunked scan differs from the loop by {off:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    sizes = {"layers": 3, "dim": 256, "state": 32, "head": 64, "conv": 4, "vocab": 1064, "chunk": 64}
    for name, default in {**sizes, "batch": 8, "length": 512, "threads": 2}.items():
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--seconds", type=float, default=20, help="of each rival")
    parser.add_argument("--which", default="compact,transformers")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--bf16", action="store_true", help="products in bf16, weights in f32 (autocast)")
    parser.add_argument("--compile", action="store_true", help="through torch.compile, which needs Triton on a GPU")
    parser.add_argument("--check", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.check:
        return check(a)
    make = {"compact": Compact, "transformers": transformers_model}
    for name in a.which.split(","):
        torch.manual_seed(1)
        measure(name, make[name](a), a)


if __name__ == "__main__":
    main()
