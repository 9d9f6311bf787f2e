"""Plain state_dicts: the one chain of Linear layers is found by name and size, or asked for."""

import contextlib
import itertools
import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from niwaki.policies.state_dict import load_state_dict
from niwaki.policies.torch_file import to_arrays
from niwaki.types import NiwakiError

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402


def mlp(*sizes):
    """Sequential: Linear, ReLU, Linear ..."""
    parts = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts[:-1])


def named(prefix, module):
    return {f"{prefix}.{key}": value for key, value in module.state_dict().items()}


def save(value, folder, **kwargs):
    path = folder / "actor.pth"
    torch.save(value, path, **kwargs)
    return path


def assert_same_outputs(policy, module):
    observations = torch.randn(1000, policy.observation_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = module(observations).numpy()
    np.testing.assert_allclose(policy.outputs(observations.numpy()), expected, rtol=0, atol=1e-5)
    assert policy.head.kind == "raw"


@pytest.mark.parametrize("name", ["ppo_actorLunarLanderContinuous-v2_0.7", "ppo_actor_refinedLunarLanderContinuous-v2"])
def test_published_pruned_actors_load_with_their_zeros(shared, name):
    path = shared / "sanp_lander" / f"{name}.pth"
    policy = load_state_dict(path, layers=(8, 128, 128, 2), activation="relu")
    assert policy.sizes == (8, 128, 128, 2)
    assert 0.5 < 1 - policy.nonzero_weights / policy.weights < 0.75
    with pytest.raises(NiwakiError, match="does not say its activation: pass it, for example --activation relu"):
        load_state_dict(path)
    tensors = torch.load(path, weights_only=True)
    module = mlp(8, 128, 128, 2)
    module.load_state_dict(dict(zip(module.state_dict(), tensors.values(), strict=True)))
    assert_same_outputs(policy, module)


ACTOR, CRITIC = mlp(4, 16, 8, 2), mlp(4, 16, 8, 1)
LAYOUTS = {
    "Isaac Lab, rsl_rl": {
        "model_state_dict": {"std": torch.ones(2), **named("actor", ACTOR), **named("critic", CRITIC)},
        "optimizer_state_dict": {"state": {}, "param_groups": []},
        "iter": 3,
    },
    "CleanRL, continuous": {
        **named("critic", CRITIC),
        **named("actor_mean", ACTOR),
        "actor_logstd": torch.zeros(1, 2),
    },
    "CleanRL, discrete": {**named("critic", CRITIC), **named("actor", ACTOR)},
    "CleanRL, DQN": named("network", ACTOR),
    "with a target network": {**named("actor", ACTOR), **named("actor_target", mlp(4, 16, 8, 2))},
    "policy and value": {**named("policy", ACTOR), **named("value", CRITIC)},
    "pi and vf": {**named("pi", ACTOR), **named("vf", CRITIC)},
    "pi and two Qs": {**named("pi", ACTOR), **named("q1", CRITIC), **named("q2", CRITIC)},
    "nested, Lightning": {"state_dict": named("actor", ACTOR), "epoch": 2},
    "nested, actor": {"actor": ACTOR.state_dict(), "critic": CRITIC.state_dict()},
    "bare": ACTOR.state_dict(),
    "numbered names": {
        f"layer{i}.{kind}": ACTOR.state_dict()[f"{step}.{kind}"]
        for i, step in enumerate((0, 2, 4))
        for kind in ("weight", "bias")
    },
    "a list of layers": {
        f"layers.{i}.{kind}": ACTOR.state_dict()[f"{step}.{kind}"]
        for i, step in enumerate((0, 2, 4))
        for kind in ("weight", "bias")
    },
    "a trunk shared with the critic": {
        "trunk.0.weight": ACTOR[0].weight.detach(),
        "trunk.0.bias": ACTOR[0].bias.detach(),
        "trunk.2.weight": ACTOR[2].weight.detach(),
        "trunk.2.bias": ACTOR[2].bias.detach(),
        "actor.weight": ACTOR[4].weight.detach(),
        "actor.bias": ACTOR[4].bias.detach(),
        "critic.weight": torch.ones(1, 8),
        "critic.bias": torch.ones(1),
    },
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("zipped", [True, False])
def test_known_layouts_give_the_actor(tmp_path, layout, zipped):
    path = save(LAYOUTS[layout], tmp_path, _use_new_zipfile_serialization=zipped)
    policy = load_state_dict(path, activation="relu")
    assert policy.sizes == (4, 16, 8, 2)
    assert_same_outputs(policy, ACTOR)


def test_a_single_layer_without_bias_needs_no_activation(tmp_path):
    linear = nn.Linear(3, 2, bias=False)
    assert_same_outputs(load_state_dict(save(named("net", linear), tmp_path)), linear)


UNNAMED = {**named("first", ACTOR), **named("second", CRITIC)}


def test_two_unnamed_networks_are_told_apart_by_their_widths_only(tmp_path):
    path = save(UNNAMED, tmp_path)
    with pytest.raises(NiwakiError, match=r"do not form one chain: pass the actor's widths, for example --layers"):
        load_state_dict(path, activation="relu")
    assert_same_outputs(load_state_dict(path, layers=(4, 16, 8, 2), activation="relu"), ACTOR)
    assert_same_outputs(load_state_dict(path, layers=(4, 16, 8, 1), activation="relu"), CRITIC)


@pytest.mark.parametrize("layers", [(4, 16, 2), (4,), (), (4, 16, 8, 3)])
def test_widths_that_are_not_there_are_refused(tmp_path, layers):
    with pytest.raises(NiwakiError, match="0 sequences of layers are"):
        load_state_dict(save(named("actor", ACTOR), tmp_path), layers=layers, activation="relu")


def test_widths_that_fit_twice_are_refused(tmp_path):
    twins = {**named("first", ACTOR), **named("second", mlp(4, 16, 8, 2))}
    with pytest.raises(NiwakiError, match="2 sequences of layers are 4-16-8-2"):
        load_state_dict(save(twins, tmp_path), layers=(4, 16, 8, 2), activation="relu")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({**named("actor", ACTOR), "actor.1.weight": torch.ones(16)}, r"'actor.1.weight' of shape \(16,\)"),
        ({"conv.weight": torch.ones(4, 3, 3, 3)}, "only plain MLPs"),
        ({**named("actor", ACTOR), "action_scale": torch.ones(2)}, "'action_scale'"),
        ({**named("actor", ACTOR), "lstm.weight_ih_l0": torch.ones(8, 4)}, "'lstm.weight_ih_l0'"),
        ({**named("actor", ACTOR), "actor.4.scale": torch.ones(2)}, "'actor.4.scale'"),
        ({**named("actor", ACTOR), "obs_normalizer.mean": torch.ones(4)}, "looks like observation statistics"),
        ({"model_state_dict": named("actor", ACTOR), "obs_norm_state_dict": {}}, "looks like observation statistics"),
        ({"a.0.weight": torch.ones(4, 4), "a.3.weight": torch.ones(4, 4)}, r"Linear layers at \[0, 3\]"),
        ({"a.weight": torch.ones(2, 2), "a.bias": torch.ones(3)}, "needs weights"),
        ({"a.weight": torch.full((2, 2), torch.nan)}, "not finite"),
        (named("critic", CRITIC), "no Linear layer of an actor"),
        ({"iter": 3}, "holds no state_dict"),
        ([torch.ones(2)], "holds no state_dict"),
        (torch.ones(2), "holds no state_dict"),
        ({"state_dict": {"state_dict": {"state_dict": {"state_dict": {}}}}}, "holds no state_dict"),
    ],
)
def test_what_is_not_one_plain_mlp_is_refused(tmp_path, value, message):
    with pytest.raises(NiwakiError, match=message) as caught:
        load_state_dict(save(value, tmp_path), activation="relu")
    assert str(caught.value).startswith("actor.pth: ")


def test_an_unknown_activation_is_refused(tmp_path):
    with pytest.raises(NiwakiError, match="unknown activation 'gelu'"):
        load_state_dict(save(named("actor", ACTOR), tmp_path), activation="gelu")


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_is_refused_by_name_and_never_run(tmp_path, zipped):
    payload = {"a.weight": torch.ones(2, 2), "x": Payload(tmp_path / "ran")}
    with pytest.raises(NiwakiError, match=r"refused: the file asks for 'posix\.system'"):
        load_state_dict(save(payload, tmp_path, _use_new_zipfile_serialization=zipped))
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_module_is_refused(tmp_path):
    with pytest.raises(NiwakiError, match=r"asks for 'torch\.nn\.modules.*save model\.state_dict\(\) instead"):
        load_state_dict(save(ACTOR, tmp_path))


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused(tmp_path):
    path = tmp_path / "actor.pth"
    torch.jit.save(torch.jit.script(ACTOR), path)
    with pytest.raises(NiwakiError, match="TorchScript"):
        load_state_dict(path)


def test_tensors_cannot_claim_more_bytes_than_the_file_has():
    """Older PyTorch versions believe the size that a file claims for a tensor."""
    assert to_arrays({"w": torch.ones(25)}, file_size=100)["w"].sum() == 25
    with pytest.raises(NiwakiError, match="'v' claims more numbers than the file holds"):
        to_arrays({"w": torch.ones(25), "v": torch.ones(1)}, file_size=100)


def test_a_number_cannot_be_spread_over_a_huge_tensor(tmp_path):
    wide = {"a.weight": torch.ones(1, 1).expand(2**14, 2**14)}
    with pytest.raises(NiwakiError, match="claims more numbers than the file holds"):
        load_state_dict(save(wide, tmp_path))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=3000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zipped=st.booleans(),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_mutated_files_load_or_are_refused(tmp_path, zipped, changes):
    path = save(named("actor", mlp(3, 4, 2)), tmp_path, _use_new_zipfile_serialization=zipped)
    data = bytearray(path.read_bytes())
    for where, byte in changes:
        data[int(where * len(data))] = byte
    path.write_bytes(data)
    with contextlib.suppress(NiwakiError):
        load_state_dict(path, activation="relu")


def test_a_bare_pickle_is_no_state_dict(tmp_path):
    path = tmp_path / "actor.pth"
    path.write_bytes(pickle.dumps(Payload(tmp_path / "ran"), 2))
    with pytest.raises(NiwakiError, match=r"posix\.system|cannot be read"):
        load_state_dict(path)
    assert not (tmp_path / "ran").exists()
