"""Our own file: the same bits come back, a half-written file never appears, a hostile one gives a sentence."""

import contextlib
import itertools
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load, save

from niwaki.policies.gaussian import GaussianPolicy, LogStd
from niwaki.policies.network import ACTIVATIONS, Head, Layer, NetworkPolicy, Normalizer
from niwaki.policies.storage import load_gaussian, load_niwaki, save_policy
from niwaki.types import NiwakiError

SQUASHED = NetworkPolicy(
    (
        Layer(np.array([[0.1, -0.0], [1e-42, 3.0], [0.0, -2.5]]), np.array([0.0, -1.0, 0.3]), "silu"),
        Layer(np.ones((1, 3)) / 3, np.array([0.2])),
    ),
    Head("squash", np.array([-1.0]), np.array([2.5]), 2.0),
    Normalizer(np.array([1 / 3, 0.1]), np.array([0.7, 1e-9]), 10.0),
    (("source", "agent.zip"), ("algorithm", "SAC")),
)
PLAIN = NetworkPolicy((Layer(np.eye(2), np.zeros(2)),))
CHOICE = NetworkPolicy((Layer(np.eye(2), np.zeros(2), "relu"),), Head("argmax"), Normalizer(np.zeros(2), np.ones(2)))
UNBOUNDED = NetworkPolicy((Layer(np.eye(1), np.zeros(1)),), Head("clip", np.array([-np.inf]), np.array([np.inf])))


def assert_identical(a, b):
    """Equal to the last bit in every field."""
    assert (a.origin, a.head.kind, a.head.limit) == (b.origin, b.head.kind, b.head.limit)
    assert [layer.activation for layer in a.layers] == [layer.activation for layer in b.layers]
    pairs = [(a.head.low, b.head.low), (a.head.high, b.head.high)]
    pairs += [
        pair for p, q in zip(a.layers, b.layers, strict=True) for pair in ((p.weight, q.weight), (p.bias, q.bias))
    ]
    assert (a.normalizer is None) == (b.normalizer is None)
    if a.normalizer is not None:
        pairs += [(a.normalizer.mean, b.normalizer.mean), (a.normalizer.scale, b.normalizer.scale)]
        assert a.normalizer.clip == b.normalizer.clip
    for p, q in pairs:
        assert (p.dtype, p.shape, p.tobytes()) == (q.dtype, q.shape, q.tobytes())


@pytest.mark.parametrize("policy", [SQUASHED, PLAIN, CHOICE, UNBOUNDED])
def test_a_saved_policy_comes_back_to_the_last_bit(tmp_path, policy):
    save_policy(policy, tmp_path / "p.safetensors")
    assert_identical(load_niwaki(tmp_path / "p.safetensors"), policy)


numbers = st.floats(-(2.0**40), 2.0**40, width=32)


@st.composite
def policies(draw):
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    layers = tuple(
        Layer(
            draw(arrays.arrays(np.float32, (b, a), elements=numbers)),
            draw(arrays.arrays(np.float32, b, elements=numbers)),
            draw(st.sampled_from(ACTIVATIONS)),
        )
        for a, b in itertools.pairwise(sizes)
    )
    low = draw(arrays.arrays(np.float32, sizes[-1], elements=st.floats(-8, 0, width=32)))
    kind = draw(st.sampled_from(["raw", "argmax", "clip", "squash"]))
    bounded = kind in ("clip", "squash")
    limit = draw(st.one_of(st.just(float("inf")), st.floats(0.1, 10)))
    head = Head(kind, low, low + 1, limit) if bounded else Head(kind)
    scale = arrays.arrays(np.float64, sizes[0], elements=st.floats(1e-9, 1e9))
    normalizer = Normalizer(draw(scale) - 1, draw(scale), draw(st.floats(1e-3, 1e3))) if draw(st.booleans()) else None
    return NetworkPolicy(layers, head, normalizer, tuple(draw(st.lists(st.tuples(st.text(), st.text()), max_size=2))))


@settings(max_examples=50, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(policy=policies())
def test_any_policy_comes_back_and_the_same_policy_gives_the_same_file(tmp_path, policy):
    save_policy(policy, tmp_path / "a")
    save_policy(load_niwaki(tmp_path / "a"), tmp_path / "b")
    assert_identical(load_niwaki(tmp_path / "b"), policy)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_killed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    save_policy(PLAIN, path)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NiwakiError, match="cannot be written: No space left"):
        save_policy(SQUASHED, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(NiwakiError, match=r"nowhere/p' cannot be written: No such file"):
        save_policy(PLAIN, tmp_path / "nowhere" / "p")


def test_a_saved_file_is_readable_by_others(tmp_path):
    save_policy(PLAIN, tmp_path / "p")
    (tmp_path / "q").touch()
    assert (tmp_path / "p").stat().st_mode == (tmp_path / "q").stat().st_mode


def edited(folder, metadata=None, tensors=None, policy=SQUASHED):
    """A policy file with metadata fields and arrays replaced; None takes an array out."""
    path = folder / "edited.safetensors"
    save_policy(policy, path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    described = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["niwaki"]) | (metadata or {})
    kept = {name: array for name, array in (load(data) | (tensors or {})).items() if array is not None}
    path.write_bytes(save(kept, {"niwaki": json.dumps(described)}))
    return path


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": 3}, "format 3, this niwaki reads formats 1 and 2: update niwaki"),
        ({"activations": "relu"}, "no list of activations"),
        ({"activations": [["relu"], "relu"]}, "no list of activations"),
        ({"activations": ["gelu", "relu"]}, "unknown activation 'gelu'"),
        ({"activations": ["relu"]}, "do not match its metadata"),
        ({"activations": ["relu"] * 3}, "do not match its metadata, first at 'layer2.bias'"),
        ({"activations": []}, "do not match its metadata"),
        ({"head": "magic"}, "unknown action head 'magic'"),
        ({"head": ["raw"]}, "unknown action head"),
        ({"limit": -1}, "limit must be a positive number"),
        ({"limit": float("nan")}, "limit must be a positive number"),
        ({"limit": 10**400}, "limit must be a positive number"),
        ({"limit": "2"}, "limit must be a positive number"),
        ({"limit": True}, "limit must be a positive number"),
        ({"normalizer": None}, "do not match its metadata, first at 'normalizer.mean'"),
        ({"normalizer": [1]}, "no usable normaliser"),
        ({"normalizer": {"clip": 0}}, "clip must be a positive number"),
        ({"origin": {"a": "b"}}, "no list of origins"),
        ({"origin": [["a", 1]]}, "no list of origins"),
        ({"origin": [["a"]]}, "no list of origins"),
    ],
)
def test_hostile_metadata_is_refused(tmp_path, metadata, message):
    with pytest.raises(NiwakiError, match=message) as caught:
        load_niwaki(edited(tmp_path, metadata))
    assert str(caught.value).startswith("edited.safetensors: ")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"extra": np.zeros(1, np.float32)}, "first at 'extra'"),
        ({"layer0.bias": None}, "first at 'layer0.bias'"),
        ({"layer0.bias": np.zeros(3)}, r"first at 'layer0.bias' \(float"),
        ({"layer0.bias": np.zeros(2, np.float32)}, "needs weights"),
        ({"layer0.weight": np.full((3, 2), np.nan, np.float32)}, "not finite"),
        ({"layer1.weight": np.zeros((1, 2), np.float32)}, "layers do not fit"),
        ({"head.low": None}, "first at 'head.high'"),
        ({"head.low": np.full(1, 9, np.float32)}, "low < high"),
        ({"head.high": np.full(1, np.inf, np.float32)}, "finite bounds"),
        ({"normalizer.scale": np.zeros(2)}, "positive, finite scales"),
        ({"normalizer.scale": np.ones(3)}, "differ in size"),
    ],
)
def test_arrays_that_do_not_belong_are_refused(tmp_path, tensors, message):
    with pytest.raises(NiwakiError, match=message):
        load_niwaki(edited(tmp_path, tensors=tensors))


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(save({"w": np.zeros(2)}))
    with pytest.raises(NiwakiError, match="is not a niwaki policy: it has no niwaki metadata"):
        load_niwaki(path)
    path.write_bytes(save({"w": np.zeros(2)}, {"niwaki": "[" * 10**5}))
    with pytest.raises(NiwakiError, match="metadata cannot be read"):
        load_niwaki(path)
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(NiwakiError, match="safetensors file cannot be read"):
        load_niwaki(path)


@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_mutated_files_load_or_are_refused(tmp_path, changes, keep):
    path, whole = tmp_path / "mutated.safetensors", tmp_path / "whole.safetensors"
    if not whole.exists():
        save_policy(SQUASHED, whole)
    data = bytearray(whole.read_bytes())
    for where, byte in changes:
        data[int(where * len(data))] = byte
    path.write_bytes(data[: max(1, int(keep * len(data)))])
    with contextlib.suppress(NiwakiError):
        load_niwaki(path)


NOISY = GaussianPolicy(
    NetworkPolicy(
        (Layer(np.ones((2, 2)) / 3, np.array([0.1, -1.0])),), normalizer=SQUASHED.normalizer, origin=SQUASHED.origin
    ),
    SQUASHED.head,
    LogStd("tanh", -5.0, 2.0),
)


def noisy_file(folder, **changes):
    """A saved stochastic policy with some fields of its metadata replaced."""
    path = folder / "noisy.safetensors"
    save_policy(NOISY, path)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    fields = {**json.loads(header["__metadata__"]["niwaki"]), **changes}
    path.write_bytes(save(load(data), {"niwaki": json.dumps(fields)}))
    return path


def test_a_stochastic_policy_comes_back_to_the_last_bit(tmp_path):
    save_policy(NOISY, tmp_path / "p.safetensors")
    loaded = load_gaussian(tmp_path / "p.safetensors")
    assert_identical(loaded.network, NOISY.network)
    assert_identical(loaded.deterministic, NOISY.deterministic)
    assert (loaded.log_std.form, loaded.log_std.low, loaded.log_std.high) == ("tanh", -5.0, 2.0)
    assert_identical(load_niwaki(tmp_path / "p.safetensors"), NOISY.deterministic)


def test_a_reader_that_knows_only_deterministic_policies_refuses_a_stochastic_one_by_its_format(tmp_path):
    """What it compares is the number: a stochastic policy must never pass for its network."""
    data = noisy_file(tmp_path).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["niwaki"])["format"] == 2


def test_a_deterministic_policy_is_no_stochastic_one(tmp_path):
    save_policy(SQUASHED, tmp_path / "p.safetensors")
    with pytest.raises(NiwakiError, match=r"p\.safetensors: this policy is deterministic"):
        load_gaussian(tmp_path / "p.safetensors")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"log_std": None}, "no usable log-std, got {}"),
        ({"log_std": {"form": "exp", "low": -5, "high": 2}}, "no usable log-std"),
        ({"log_std": {"form": "tanh", "low": "-5", "high": 2}}, "no usable log-std"),
        ({"log_std": {"form": "tanh", "low": -(10**400), "high": 2}}, "no usable log-std"),
        ({"log_std": {"form": "tanh", "low": 2, "high": -5}}, "low < high within -80 and 80, got 2.0 and -5.0"),
        ({"log_std": {"form": "tanh", "low": -5, "high": 1e9}}, "low < high within"),
        ({"head": "argmax"}, "needs continuous actions"),
        ({"head": "raw"}, "needs continuous actions"),
        ({"format": 1}, "1 action bounds for 2 network outputs"),
    ],
)
def test_a_hostile_stochastic_policy_gives_a_sentence(tmp_path, changes, words):
    with pytest.raises(NiwakiError, match=words):
        load_gaussian(noisy_file(tmp_path, **changes))
