"""Writes a tiny PyTorch state dictionary (zip form) without PyTorch: the fixture of the checkpoint tests."""
import io, pickle, struct, sys, types, zipfile, collections
cfg = dict(d=8, n=4, p=4, vocab=264)   # expand 2, 1 layer, ngroups 1, d_conv 4
d, n, p, v = cfg["d"], cfg["n"], cfg["p"], cfg["vocab"]
e, h = 2 * d, 2 * d // p
c = e + 2 * n
shapes = [("backbone.embedding.weight", [v, d]), ("backbone.layers.0.norm.weight", [d]),
  ("backbone.layers.0.mixer.in_proj.weight", [e + c + h, d]), ("backbone.layers.0.mixer.conv1d.weight", [c, 1, 4]),
  ("backbone.layers.0.mixer.conv1d.bias", [c]), ("backbone.layers.0.mixer.dt_bias", [h]), ("backbone.layers.0.mixer.A_log", [h]),
  ("backbone.layers.0.mixer.D", [h]), ("backbone.layers.0.mixer.norm.weight", [e]), ("backbone.layers.0.mixer.out_proj.weight", [d, e]),
  ("backbone.norm_f.weight", [d])]
torch = types.ModuleType("torch"); utils = types.ModuleType("torch._utils")
class FloatStorage: pass
FloatStorage.__module__ = "torch"; FloatStorage.__qualname__ = "FloatStorage"
def _rebuild_tensor_v2(*a): return None
_rebuild_tensor_v2.__module__ = "torch._utils"; _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
torch.FloatStorage = FloatStorage; utils._rebuild_tensor_v2 = _rebuild_tensor_v2; torch._utils = utils
sys.modules["torch"] = torch; sys.modules["torch._utils"] = utils
class Storage:
    def __init__(self, key, count): self.key, self.count = key, count
class Tensor:
    def __init__(self, storage, shape): self.storage, self.shape = storage, shape
    def __reduce__(self):
        stride, s = [], 1
        for x in reversed(self.shape): stride.insert(0, s); s *= x
        return (_rebuild_tensor_v2, (self.storage, 0, tuple(self.shape), tuple(stride), False, collections.OrderedDict()))
class P(pickle.Pickler):
    def persistent_id(self, o):
        return ("storage", FloatStorage, o.key, "cpu", o.count) if isinstance(o, Storage) else None
state, data = collections.OrderedDict(), []
for i, (name, shape) in enumerate(shapes):
    count = 1
    for x in shape: count *= x
    # A value tells tensor and position: i + k/1024.
    values = [(i + (k % 512) / 1024) / 16 for k in range(count)]
    data.append(struct.pack("<%df" % count, *values))
    state[name] = Tensor(Storage(str(i), count), shape)
buf = io.BytesIO(); P(buf, protocol=2).dump(state)
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_STORED) as z:
    def put(name, blob):
        info = zipfile.ZipInfo("archive/" + name, (1980, 1, 1, 0, 0, 0)); z.writestr(info, blob)
    put("data.pkl", buf.getvalue()); put("byteorder", b"little"); put("version", b"3\n")
    for i, blob in enumerate(data): put("data/%d" % i, blob)
