"""Tokens a second of llama.cpp decoding a netssmd checkpoint's weights on this CPU: what `netssmd bench generate` is compared with.

    python llamacpp_decode.py configs/models/default [--batches 1,16,64] [--seconds 4]

Reads config.json and model.safetensors of the checkpoint, writes them as a GGUF file of the architecture `mamba2` and decodes
that many sequences side by side, a token each a call, every logit wanted. The side information that our model reads beside each
token has no place in llama.cpp, so its rows are left out: llama.cpp computes slightly less a token than netssmd, and it
neither samples nor knows a grammar. Weights stay f32, as in the checkpoint. Prints one JSON object a batch size.
Needs llama-cpp-python, gguf, numpy and safetensors.
"""

import argparse
import json
import pathlib
import tempfile
import time

import gguf
import llama_cpp as ll
import numpy as np
from safetensors.numpy import load_file


class Checkpoint:
    """Sizes and tensors under the reference implementation's names."""

    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        ssm = config["ssm_cfg"]
        self.layers, self.width, self.vocab = config["n_layer"], config["d_model"], config["vocab_size"]
        self.epsilon = config["norm_epsilon"]
        self.taps, self.groups, self.state = ssm["d_conv"], ssm["ngroups"], ssm["d_state"]
        self.inner = ssm["expand"] * self.width
        self.heads = self.inner // ssm["headdim"]
        self.tensors = load_file(folder / "model.safetensors")

    def get(self, name, *shape):
        return np.ascontiguousarray(self.tensors["backbone." + name].astype(np.float32).reshape(shape))


def write_gguf(checkpoint, path):
    c = checkpoint
    out = gguf.GGUFWriter(path, "mamba2")
    out.add_context_length(1 << 20)
    out.add_embedding_length(c.width)
    out.add_feed_forward_length(0)
    out.add_head_count(0)
    out.add_block_count(c.layers)
    out.add_ssm_conv_kernel(c.taps)
    out.add_ssm_inner_size(c.inner)
    out.add_ssm_state_size(c.state)
    out.add_ssm_time_step_rank(c.heads)
    out.add_ssm_group_count(c.groups)
    out.add_layer_norm_rms_eps(c.epsilon)
    out.add_tokenizer_model("no_vocab")
    out.add_vocab_size(c.vocab)

    channels = c.inner + 2 * c.groups * c.state
    # The table may have padding rows after the last token.
    out.add_tensor("token_embd.weight", c.get("embedding.weight", -1, c.width)[: c.vocab])
    out.add_tensor("output_norm.weight", c.get("norm_f.weight", c.width))
    for i in range(c.layers):
        ours = lambda part, *shape: c.get(f"layers.{i}.{part}", *shape)
        theirs = f"blk.{i}."
        out.add_tensor(theirs + "attn_norm.weight", ours("norm.weight", c.width))
        out.add_tensor(theirs + "ssm_in.weight", ours("mixer.in_proj.weight", c.inner + channels + c.heads, c.width))
        out.add_tensor(theirs + "ssm_conv1d.weight", ours("mixer.conv1d.weight", channels, c.taps))
        out.add_tensor(theirs + "ssm_conv1d.bias", ours("mixer.conv1d.bias", channels))
        out.add_tensor(theirs + "ssm_dt.bias", ours("mixer.dt_bias", c.heads))
        out.add_tensor(theirs + "ssm_a", -np.exp(ours("mixer.A_log", c.heads, 1)))
        out.add_tensor(theirs + "ssm_d", ours("mixer.D", c.heads, 1))
        out.add_tensor(theirs + "ssm_norm.weight", ours("mixer.norm.weight", c.groups, c.inner // c.groups))
        out.add_tensor(theirs + "ssm_out.weight", ours("mixer.out_proj.weight", c.width, c.inner))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def measure(model, vocab, batch, threads, seconds):
    """Tokens a second, and the seconds it took."""
    params = ll.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = max(4096, 64 * batch), 2048, 512
    params.n_seq_max = batch
    params.n_threads = params.n_threads_batch = threads
    context = ll.llama_init_from_model(model, params)
    assert context, f"llama.cpp refused {batch} sequences"
    tokens = ll.llama_batch_init(batch, 0, 1)

    def step(position):
        tokens.n_tokens = batch
        for row in range(batch):
            tokens.token[row], tokens.pos[row] = (row * 7 + position) % vocab, position
            tokens.n_seq_id[row], tokens.logits[row] = 1, 1
            tokens.seq_id[row][0] = row
        assert ll.llama_decode(context, tokens) == 0, "llama.cpp could not decode"

    for position in range(5):
        step(position)
    position, begun = 5, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        step(position)
        position += 1
    ll.llama_synchronize(context)
    took = time.perf_counter() - begun
    ll.llama_batch_free(tokens)
    ll.llama_free(context)
    return batch * (position - 5) / took, took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--batches", default="1,16,64")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4)
    a = parser.parse_args()
    checkpoint = Checkpoint(a.checkpoint)
    # llama.cpp logs to standard error. Show its errors only.
    quiet = ll.llama_log_callback(lambda level, text, _: level == 4 and print(text.decode(), end=""))
    ll.llama_log_set(quiet, None)
    ll.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "model.gguf")
        write_gguf(checkpoint, path)
        params = ll.llama_model_default_params()
        params.use_mmap = False
        model = ll.llama_model_load_from_file(path.encode(), params)
    assert model, "llama.cpp refused the file"
    for batch in map(int, a.batches.split(",")):
        rate, took = measure(model, checkpoint.vocab, batch, a.threads, a.seconds)
        print(json.dumps({
            "rival": "llama.cpp", "version": ll.__version__, "threads": a.threads, "batch": batch,
            "seconds": round(took, 2), "tokens_per_second": round(rate, 1),
        }), flush=True)


if __name__ == "__main__":
    main()
