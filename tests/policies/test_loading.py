"""One door: the kind of a file is told from its content, and every other file gets one sentence."""

import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest

from niwaki.policies import loading
from niwaki.policies.loading import load_policy
from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.types import NiwakiError

POLICY = NetworkPolicy((Layer(np.eye(3, 2), np.zeros(3), "relu"), Layer(np.ones((2, 3)), np.ones(2))))


@pytest.fixture
def teachers(tmp_path, monkeypatch):
    """Two bundled teachers."""
    folder = tmp_path / "teachers"
    folder.mkdir()
    for name in ("cartpole", "pendulum"):
        save_policy(POLICY, folder / f"{name}.safetensors")
    monkeypatch.setattr(loading, "_teachers_folder", lambda: folder)
    return folder


def write_torch(path, **kwargs):
    torch = pytest.importorskip("torch")
    tensors = {f"{i}.weight": torch.tensor(layer.weight) for i, layer in zip((0, 2), POLICY.layers, strict=True)}
    tensors |= {f"{i}.bias": torch.tensor(layer.bias) for i, layer in zip((0, 2), POLICY.layers, strict=True)}
    torch.save(tensors, path, **kwargs)


def write_onnx(path):
    onnx = pytest.importorskip("onnx")
    tensors, nodes, flowing = [], [], "obs"
    for i, layer in enumerate(POLICY.layers):
        tensors += [onnx.numpy_helper.from_array(v, f"{k}{i}") for k, v in (("w", layer.weight), ("b", layer.bias))]
        nodes.append(onnx.helper.make_node("Gemm", [flowing, f"w{i}", f"b{i}"], [f"g{i}"], transB=1))
        flowing = f"g{i}"
        if i == 0:
            nodes.append(onnx.helper.make_node("Relu", [flowing], ["r"]))
            flowing = "r"
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [None, 2]) for n in ("obs", "g1")]
    graph = onnx.helper.make_graph(nodes, "mlp", ends[:1], ends[1:], tensors)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())


WRITERS = {
    "PyTorch state_dict": write_torch,
    "PyTorch state_dict, legacy": lambda path: write_torch(path, _use_new_zipfile_serialization=False),
    "ONNX": write_onnx,
    "niwaki": lambda path: save_policy(POLICY, path),
}


@pytest.mark.parametrize("kind", sorted(WRITERS))
@pytest.mark.parametrize("name", ["policy.zip", "policy.pth", "policy"])
def test_the_content_decides_not_the_suffix(tmp_path, kind, name):
    WRITERS[kind](tmp_path / name)
    policy = load_policy(tmp_path / name, activation="relu" if "PyTorch" in kind else None)
    observations = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_allclose(policy(observations), POLICY(observations), atol=1e-6)


def test_a_bundled_teacher_is_loaded_by_name(teachers):
    assert loading.teacher_names() == ("cartpole", "pendulum")
    assert load_policy("cartpole").sizes == POLICY.sizes


def test_an_unknown_name_gets_the_nearest_teachers(teachers):
    with pytest.raises(NiwakiError, match=r"there is no file 'cartpoel'; bundled teachers: cartpole$"):
        load_policy("cartpoel")
    with pytest.raises(NiwakiError, match=r"there is no file 'xyz'; bundled teachers: cartpole, pendulum$"):
        load_policy("xyz")


def test_a_file_comes_before_a_teacher_and_a_folder_after_it(teachers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cartpole").mkdir()
    assert load_policy("cartpole").sizes == POLICY.sizes
    save_policy(NetworkPolicy((Layer(np.eye(1), np.zeros(1)),)), tmp_path / "pendulum")
    assert load_policy("pendulum").sizes == (1, 1)


def make_zip(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")


def test_every_other_file_gets_one_sentence(tmp_path):
    path = tmp_path / "file"
    whole = tmp_path / "whole"
    save_policy(POLICY, whole)
    cases = {
        "no policy that niwaki knows: it takes a Stable-Baselines3 agent": b"hello world, this is text",
        "file is empty": b"",
        "zip file cannot be read": b"PK\x03\x04" + bytes(40),
        "ONNX": b"\x08\x01",
        "a Python pickle, which niwaki does not open": pickle.dumps({"a": 1}),
        "no policy that niwaki": whole.read_bytes()[:60],
    }
    for message, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(NiwakiError, match=message) as caught:
            load_policy(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("file")
    make_zip(path, ["readme.txt", "weights.bin"])
    with pytest.raises(NiwakiError, match=r"neither .* nor a PyTorch file: it holds readme\.txt, weights\.bin"):
        load_policy(path)
    with pytest.raises(NiwakiError, match="is a folder: give a policy file inside it"):
        load_policy(tmp_path)
    for missing in (tmp_path / "absent", "a\0b", "x" * 5000):
        with pytest.raises(NiwakiError, match=r"there is no file|no usable file name"):
            load_policy(missing)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NiwakiError, match="there is no file"):
        load_policy(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("kind", "option", "message"),
    [
        ("niwaki", {"activation": "relu"}, "is a niwaki policy, to which activation does not apply"),
        ("niwaki", {"layers": (2, 3, 2)}, "to which layers does not apply"),
        ("ONNX", {"vecnormalize": "x.pkl"}, "is an ONNX model, to which vecnormalize does not apply"),
        ("PyTorch state_dict", {"vecnormalize": "x.pkl"}, "is a PyTorch state_dict, to which vecnormalize"),
    ],
)
def test_options_that_do_not_apply_are_not_ignored(tmp_path, kind, option, message):
    WRITERS[kind](tmp_path / "policy")
    with pytest.raises(NiwakiError, match=message):
        load_policy(tmp_path / "policy", **option)


def test_false_means_no_normalisation_for_every_kind(tmp_path):
    save_policy(POLICY, tmp_path / "policy")
    assert load_policy(tmp_path / "policy", vecnormalize=False).normalizer is None


def test_statistics_beside_an_agent_are_taken_unless_told_otherwise(shared, tmp_path):
    source = shared / "agents/ppo/HalfCheetah-v3"
    agent, beside = tmp_path / "HalfCheetah-v3.zip", tmp_path / "vecnormalize.pkl"
    shutil.copyfile(source / agent.name, agent)
    assert load_policy(agent).normalizer is None
    shutil.copyfile(source / beside.name, beside)
    policy = load_policy(agent)
    assert policy.normalizer is not None
    assert ("vecnormalize", "vecnormalize.pkl") in policy.origin
    assert load_policy(agent, vecnormalize=False).normalizer is None
    assert "vecnormalize" not in dict(load_policy(agent, vecnormalize=False).origin)
    other = tmp_path / "other.pkl"
    shutil.copyfile(shared / "agents/ppo/HalfCheetah-v3/vecnormalize.pkl", other)
    assert ("vecnormalize", "other.pkl") in load_policy(agent, vecnormalize=other).origin
    shutil.copyfile(beside, tmp_path / "vec_normalize.pkl")
    with pytest.raises(NiwakiError, match="say which one"):
        load_policy(agent)


@pytest.mark.parametrize("vecnormalize", ["absent.pkl", ""])
def test_statistics_that_are_asked_for_must_exist(shared, vecnormalize):
    agent = shared / "agents/ppo/CartPole-v1/CartPole-v1.zip"
    with pytest.raises(NiwakiError, match=r"there is no file 'absent\.pkl'|is a folder"):
        load_policy(agent, vecnormalize=vecnormalize)


def test_a_niwaki_file_that_begins_like_a_pickle_is_a_niwaki_file(tmp_path):
    """Its first bytes are a length, and 80 04 is also how a pickle of protocol 4 begins."""
    path = tmp_path / "policy.safetensors"
    layer = Layer(np.ones((1, 2)), np.zeros(1))
    for filler in range(2000):
        save_policy(NetworkPolicy((layer,), origin=(("source", "x" * filler),)), path)
        if path.read_bytes()[:2] == b"\x80\x04":
            break
    else:
        pytest.fail("no header of that length came about")
    assert load_policy(path).sizes == (2, 1)
