"""Stable-Baselines3 zips: every agent gives the actions that Stable-Baselines3 gives, hostile zips give a sentence."""

import base64
import contextlib
import io
import json
import os
import pickle
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from niwaki.policies import files
from niwaki.policies.loading import load_policy, load_stochastic
from niwaki.policies.sb3 import load_sb3, load_sb3_gaussian
from niwaki.policies.sb3_space import read_action_space, read_observation_size
from niwaki.types import Box, NiwakiError

sb3 = pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
contrib = pytest.importorskip("sb3_contrib", reason="needs sb3-contrib")
torch = pytest.importorskip("torch")

import gymnasium  # noqa: E402
from gymnasium import spaces  # noqa: E402
from stable_baselines3.common.save_util import data_to_json  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

ALGORITHMS = {
    "a2c": sb3.A2C,
    "ars": contrib.ARS,
    "dqn": sb3.DQN,
    "ppo": sb3.PPO,
    "qrdqn": contrib.QRDQN,
    "sac": sb3.SAC,
    "trpo": contrib.TRPO,
}
# Spaces and normalisation of the public agents, written down by hand.
PUBLIC = [
    ("a2c/Acrobot-v1", 6, 3, True),
    ("a2c/LunarLander-v2", 8, 4, False),
    ("ars/CartPole-v1", 4, 2, False),
    ("ars/LunarLanderContinuous-v2", 8, [1.0] * 2, True),
    ("dqn/CartPole-v1", 4, 2, False),
    ("dqn/LunarLander-v2", 8, 4, False),
    ("ppo/BipedalWalker-v3", 24, [1.0] * 4, True),
    ("ppo/CartPole-v1", 4, 2, False),
    ("ppo/HalfCheetah-v3", 17, [1.0] * 6, True),
    ("ppo/LunarLander-v2", 8, 4, False),
    ("ppo/LunarLanderContinuous-v2", 8, [1.0] * 2, False),
    ("ppo/MountainCarContinuous-v0", 2, [1.0], True),
    ("ppo/Pendulum-v1", 3, [2.0], False),
    ("qrdqn/CartPole-v1", 4, 2, False),
    ("sac/MountainCarContinuous-v0", 2, [1.0], False),
    ("sac/Pendulum-v1", 3, [2.0], False),
    ("trpo/BipedalWalker-v3", 24, [1.0] * 4, True),
]
# Pickled by Python 3.7 and unreadable today: the policy does not depend on them.
UNREADABLE = {
    **dict.fromkeys(["ep_info_buffer", "ep_success_buffer", "replay_buffer_class", "rollout_buffer_class"]),
    **dict.fromkeys(["_last_obs", "_last_dones", "_last_episode_starts", "_last_original_obs", "action_noise"]),
    **dict.fromkeys(["lr_schedule", "clip_range", "exploration_schedule", "delta_std_schedule"], lambda _: 0.1),
    "learning_rate": 0.1,
    "train_freq": 1,
}


def assert_same_actions(policy, model, observations, normalised):
    """Equal within 1e-5; indices equal except where the two best outputs are closer than that."""
    expected, _ = model.predict(normalised, deterministic=True)
    actions = policy(observations)
    if not policy.discrete:
        np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
        return
    outputs = policy.outputs(observations)
    best = np.sort(outputs, axis=1)
    near = best[:, -1] - best[:, -2] < 1e-5 * np.maximum(1, np.abs(best[:, -1]))
    assert ((actions == expected) | near).all()
    assert near.mean() < 0.01


@pytest.fixture
def gym_names(monkeypatch):
    """Lets trusted old pickles find Gym's spaces in Gymnasium."""
    monkeypatch.setitem(sys.modules, "gym", gymnasium)
    monkeypatch.setitem(sys.modules, "gym.spaces", spaces)
    for name in ("box", "discrete"):
        monkeypatch.setitem(sys.modules, f"gym.spaces.{name}", getattr(spaces, name))


def test_the_table_of_public_agents_is_complete(shared):
    found = {f"{path.parent.parent.name}/{path.stem}" for path in (shared / "agents").glob("*/*/*.zip")}
    assert found == {name for name, *_ in PUBLIC}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("agent", "size", "actions", "has_statistics"), PUBLIC, ids=[row[0] for row in PUBLIC])
def test_public_agents_act_as_in_stable_baselines3(shared, gym_names, agent, size, actions, has_statistics):
    folder = shared / "agents" / agent
    path = folder / f"{folder.name}.zip"
    policy = load_policy(path)
    bound = np.array(actions, dtype=np.float32)
    acting = spaces.Discrete(actions) if isinstance(actions, int) else spaces.Box(-bound, bound)
    observing = spaces.Box(-np.inf, np.inf, (size,))
    overrides = {**UNREADABLE, "observation_space": observing, "action_space": acting}
    model = ALGORITHMS[folder.parent.name].load(path, device="cpu", custom_objects=overrides)
    observations = np.random.default_rng(0).normal(size=(2000, size)).astype(np.float32)
    normalised = observations
    if has_statistics:
        statistics = pickle.loads((folder / "vecnormalize.pkl").read_bytes())
        observations = (observations * np.sqrt(statistics.obs_rms.var) + statistics.obs_rms.mean).astype(np.float32)
        normalised = statistics.normalize_obs(observations)
    assert_same_actions(policy, model, observations, normalised)
    assert dict(policy.origin).get("vecnormalize") == ("vecnormalize.pkl" if has_statistics else None)


class Still(gymnasium.Env):
    """An environment that only has spaces."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


VECTOR = spaces.Box(-np.inf, np.inf, (5,))
CONTINUOUS = spaces.Box(np.array([-1.0, 0.0, -3.0], np.float32), np.array([2.0, 0.5, 7.25], np.float32))
CHOICE = spaces.Discrete(3)
SMALL = {"net_arch": [12, 10]}
ELU, LEAKY, SIGMOID, SILU = torch.nn.ELU, torch.nn.LeakyReLU, torch.nn.Sigmoid, torch.nn.SiLU
BUFFER = {"buffer_size": 10}
FRESH = {
    "ppo": (sb3.PPO, CONTINUOUS, SMALL, {}),
    "ppo, separate": (sb3.PPO, CHOICE, {"net_arch": {"pi": [7, 6, 5], "vf": [4]}, "activation_fn": ELU}, {}),
    "ppo, linear": (sb3.PPO, CONTINUOUS, {"net_arch": []}, {}),
    "ppo, gSDE": (sb3.PPO, CONTINUOUS, SMALL, {"use_sde": True}),
    "ppo, squashed": (sb3.PPO, CONTINUOUS, {**SMALL, "squash_output": True}, {"use_sde": True}),
    "a2c": (sb3.A2C, CHOICE, {**SMALL, "activation_fn": LEAKY}, {}),
    "trpo": (contrib.TRPO, CONTINUOUS, {**SMALL, "activation_fn": SIGMOID}, {}),
    "maskable ppo": (contrib.MaskablePPO, CHOICE, SMALL, {}),
    "dqn": (sb3.DQN, CHOICE, {**SMALL, "activation_fn": SILU}, BUFFER),
    "qrdqn": (contrib.QRDQN, CHOICE, {**SMALL, "n_quantiles": 7}, BUFFER),
    "sac": (sb3.SAC, CONTINUOUS, SMALL, BUFFER),
    "sac, linear": (sb3.SAC, CONTINUOUS, {"net_arch": {"pi": [], "qf": [4]}}, BUFFER),
    "sac, gSDE": (sb3.SAC, CONTINUOUS, SMALL, {**BUFFER, "use_sde": True}),
    "sac, own limit": (sb3.SAC, CONTINUOUS, {**SMALL, "clip_mean": 0.7}, {**BUFFER, "use_sde": True}),
    "sac, no limit": (sb3.SAC, CONTINUOUS, {**SMALL, "clip_mean": 0.0}, {**BUFFER, "use_sde": True}),
    "tqc": (contrib.TQC, CONTINUOUS, {**SMALL, "activation_fn": ELU}, BUFFER),
    "tqc, gSDE": (contrib.TQC, CONTINUOUS, SMALL, {**BUFFER, "use_sde": True}),
    "td3": (sb3.TD3, CONTINUOUS, SMALL, BUFFER),
    "ddpg": (sb3.DDPG, CONTINUOUS, SMALL, BUFFER),
    "ars": (contrib.ARS, CONTINUOUS, SMALL, {}),
    "ars, not squashed": (contrib.ARS, CONTINUOUS, {**SMALL, "squash_output": False}, {}),
    "ars, linear": (contrib.ARS, CONTINUOUS, "LinearPolicy", {}),
    "ars, choices": (contrib.ARS, CHOICE, SMALL, {}),
}


def make_agent(name, seed=0):
    """An untrained agent with weights wide enough to saturate every head now and then."""
    algorithm, actions, kwargs, settings = FRESH[name]
    policy, kwargs = (kwargs, {}) if isinstance(kwargs, str) else ("MlpPolicy", kwargs)
    env = Still(VECTOR, actions)
    model = algorithm(policy, env, policy_kwargs=dict(kwargs), device="cpu", seed=seed, **settings)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=noise) * 0.6)
    return model


def save(model, folder: Path) -> Path:
    path = folder / "agent.zip"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def ppo(tmp_path_factory):
    """The zip of a fresh PPO agent, and the model."""
    model = make_agent("ppo")
    return save(model, tmp_path_factory.mktemp("ppo")), model


@pytest.mark.parametrize("name", sorted(FRESH))
def test_fresh_agents_act_as_in_stable_baselines3(tmp_path, name):
    model = make_agent(name)
    policy = load_sb3(save(model, tmp_path))
    observations = np.random.default_rng(1).normal(size=(1000, 5)).astype(np.float32)
    assert_same_actions(policy, model, observations, observations)
    if not policy.discrete:
        assert np.ptp(policy(observations), axis=0).max() > 0.5


def test_the_head_says_what_the_algorithm_does(tmp_path):
    heads = {name: load_sb3(save(make_agent(name), tmp_path)).head for name in FRESH}
    assert [heads[name].kind for name in ("ppo", "a2c", "td3", "ars", "ars, linear")] == [
        *("clip", "argmax", "squash", "squash", "clip")
    ]
    assert [heads[name].limit for name in ("sac", "sac, gSDE", "sac, own limit", "sac, no limit")] == [
        *(float("inf"), 2.0, 0.7, float("inf"))
    ]
    assert heads["sac"].low.tolist() == [-1.0, 0.0, -3.0]
    assert heads["ppo"].high.tolist() == [2.0, 0.5, 7.25]


def test_origin_names_file_and_algorithm(tmp_path):
    names = {"ppo": "PPO", "a2c": "A2C", "trpo": "TRPO", "tqc": "TQC", "sac": "SAC", "dqn": "DQN", "qrdqn": "QR-DQN"}
    found = {name: dict(load_sb3(save(make_agent(name), tmp_path)).origin)["algorithm"] for name in names}
    assert found == names


def test_a_new_vecnormalize_is_baked_in(tmp_path, ppo):
    path, model = ppo
    env = VecNormalize(DummyVecEnv([lambda: Still(spaces.Box(-4, 9, (5,)), CONTINUOUS)]), clip_obs=1.5)
    env.reset()
    for _ in range(30):
        env.step(np.zeros((1, 3), np.float32))
    env.save(str(tmp_path / "statistics.pkl"))
    observations = np.random.default_rng(2).uniform(-4, 9, size=(1000, 5)).astype(np.float32)
    policy = load_sb3(path, vecnormalize=tmp_path / "statistics.pkl")
    assert_same_actions(policy, model, observations, env.normalize_obs(observations))
    assert ("vecnormalize", "statistics.pkl") in policy.origin


def test_statistics_of_another_size_are_refused(shared, ppo):
    statistics = shared / "agents/ppo/HalfCheetah-v3/vecnormalize.pkl"
    with pytest.raises(NiwakiError, match=r"vecnormalize\.pkl: the normaliser has 17 entries, the network takes 5"):
        load_sb3(ppo[0], vecnormalize=statistics)


def test_the_activation_can_be_overridden(ppo):
    assert [layer.activation for layer in load_sb3(ppo[0]).layers] == ["tanh", "tanh", "identity"]
    policy = load_sb3(ppo[0], activation="elu")
    assert [layer.activation for layer in policy.layers] == ["elu", "elu", "identity"]
    with pytest.raises(NiwakiError, match="unknown activation 'gelu'"):
        load_sb3(ppo[0], activation="gelu")


def rewrite(path: Path, folder: Path, **members: bytes) -> Path:
    """The zip with some members replaced (policy_pth for policy.pth)."""
    new = folder / "edited.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            archive.writestr(name, members.get(name.replace(".", "_"), old.read(name)))
    return new


def edit_tensors(path: Path, folder: Path, edit) -> Path:
    """The zip with its state_dict passed through `edit`."""
    with zipfile.ZipFile(path) as archive:
        tensors = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    return rewrite(path, folder, policy_pth=saved(edit(dict(tensors))))


def edit_data(path: Path, folder: Path, edit) -> Path:
    """The zip with its JSON passed through `edit`, which changes it in place."""
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
    edit(data)
    return rewrite(path, folder, data=json.dumps(data).encode())


def saved(value, **kwargs) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **kwargs)
    return file.getvalue()


def test_layers_shared_with_the_critic_come_first(tmp_path, ppo):
    """Agents saved before 2023 may have `shared_net` in front of `policy_net`."""
    renames = {"mlp_extractor.policy_net.0.": "mlp_extractor.shared_net.0.", "policy_net.2.": "policy_net.0."}

    def share(tensors):
        for old, new in renames.items():
            tensors = {key.replace(old, new): value for key, value in tensors.items()}
        return {key: value for key, value in tensors.items() if "mlp_extractor.value_net" not in key}

    path = edit_tensors(ppo[0], tmp_path, share)
    observations = np.random.default_rng(3).normal(size=(1000, 5)).astype(np.float32)
    assert_same_actions(load_sb3(path), ppo[1], observations, observations)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_are_converted(tmp_path, ppo, dtype):
    path = edit_tensors(ppo[0], tmp_path, lambda tensors: {key: value.to(dtype) for key, value in tensors.items()})
    np.testing.assert_allclose(load_sb3(path).layers[0].weight, load_sb3(ppo[0]).layers[0].weight, rtol=0.01)


NET = "mlp_extractor.policy_net."
REFUSED_TENSORS = {
    "an unknown part": (lambda t: {**t, "gate.weight": t["action_net.weight"]}, "'gate.weight', which is no part"),
    "LayerNorm": (lambda t: {**t, f"{NET}1.weight": torch.ones(12)}, "one activation between"),
    "a layer of unknown place": (lambda t: {k.replace("policy_net.2", "policy_net.3"): v for k, v in t.items()}, "one"),
    "a missing layer": (lambda t: {k: v for k, v in t.items() if "policy_net.0" not in k}, "one activation"),
    "a second bias": (lambda t: {**t, "action_net.0.bias": torch.ones(3)}, "one activation between"),
    "a scale": (lambda t: {**t, "action_net.scale": torch.ones(3)}, "it holds weight, bias, scale"),
    "a lone bias": (lambda t: {k: v for k, v in t.items() if k != f"{NET}0.weight"}, "one activation between"),
    "convolutions": (lambda t: {**t, "features_extractor.cnn.0.weight": torch.ones(1)}, "features extractor"),
    "recurrence": (lambda t: {**t, "lstm_actor.weight_ih_l0": torch.ones(1)}, "recurrent"),
    "NaN": (lambda t: {**t, f"{NET}0.bias": torch.full((12,), torch.nan)}, "not finite"),
    "infinity from float64": (
        lambda t: {**t, f"{NET}0.bias": torch.full((12,), 1e300, dtype=torch.float64)},
        "not finite",
    ),
    "complex numbers": (lambda t: {**t, f"{NET}0.bias": torch.ones(12, dtype=torch.complex64)}, "real numbers"),
    "sparse tensors": (lambda t: {**t, f"{NET}0.weight": torch.ones(12, 5).to_sparse()}, "plain array"),
    "sizes that do not fit": (lambda t: {**t, f"{NET}0.bias": torch.ones(11)}, "needs weights"),
    "layers that do not fit": (lambda t: {**t, f"{NET}2.weight": torch.ones(10, 9)}, "do not fit"),
    "another observation": (lambda t: {**t, f"{NET}0.weight": torch.ones(12, 6)}, "6 to 3, but the spaces are 5"),
    "nothing": (lambda t: {}, "holds no actor"),
    "a tower of expanded numbers": (lambda t: {**t, f"{NET}0.weight": torch.ones(1, 1).expand(2**20, 2**20)}, "claims"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", sorted(REFUSED_TENSORS))
def test_networks_that_are_not_the_known_ones_are_refused(tmp_path, ppo, case):
    edit, message = REFUSED_TENSORS[case]
    with pytest.raises(NiwakiError, match=message) as caught:
        load_sb3(edit_tensors(ppo[0], tmp_path, edit))
    assert str(caught.value).startswith("edited.zip: ")


REFUSED_DATA = {
    "a class of one's own": ("policy_class", {"__module__": "__main__"}, "comes from '__main__'"),
    "a class like ours": ("policy_class", {"__module__": "stable_baselines3_evil"}, "comes from"),
    "no class": ("policy_class", None, "comes from 'None'"),
    "an activation of one's own": ("policy_kwargs", {"activation_fn": "<class 'mine.Tanh'>"}, "unknown activation"),
    "a hard activation": ("policy_kwargs", {"activation_fn": "functools.partial(<class 'ELU'>)"}, "unknown activation"),
    "an extractor": ("policy_kwargs", {"features_extractor_class": "<class 'mine.Scale'>"}, "features extractor"),
    "no action space": ("action_space", None, "no action space"),
    "no observation space": ("observation_space", {":type:": "<class 'mine.Box'>"}, "no observation space"),
    "fewer actions": ("action_space", {":type:": "<class 'gym.spaces.discrete.Discrete'>", "n": 2}, "to 2 actions"),
}


@pytest.mark.parametrize("case", sorted(REFUSED_DATA))
def test_settings_that_are_not_the_known_ones_are_refused(tmp_path, ppo, case):
    key, value, message = REFUSED_DATA[case]
    with pytest.raises(NiwakiError, match=message):
        load_sb3(edit_data(ppo[0], tmp_path, lambda data: data.update({key: value})))


@pytest.mark.parametrize("value", ["-1", "nan", "two", None])
def test_a_mean_limit_that_is_no_positive_number_is_refused(tmp_path, value):
    path = save(make_agent("sac, own limit"), tmp_path)
    with pytest.raises(NiwakiError, match="clip_mean must be a positive number"):
        load_sb3(edit_data(path, tmp_path, lambda data: data["policy_kwargs"].update(clip_mean=value)))


def test_quantiles_that_do_not_divide_are_refused(tmp_path):
    path = save(make_agent("qrdqn"), tmp_path)
    with pytest.raises(NiwakiError, match="21 quantile outputs do not divide into 4 actions"):
        load_sb3(edit_data(path, tmp_path, lambda data: data["action_space"].update(n=4)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sb3.PPO("CnnPolicy", Still(spaces.Box(0, 255, (36, 36, 1), np.uint8), CHOICE)), "features extractor"),
        (lambda: sb3.PPO("MultiInputPolicy", Still(spaces.Dict(a=VECTOR), CHOICE)), "Dict"),
        (lambda: sb3.PPO("MlpPolicy", Still(VECTOR, spaces.MultiDiscrete([2, 3]))), "MultiDiscrete actions"),
        (lambda: sb3.PPO("MlpPolicy", Still(VECTOR, spaces.MultiBinary(3))), "MultiBinary actions"),
        (lambda: sb3.PPO("MlpPolicy", Still(spaces.Discrete(4), CHOICE)), "observations are a Discrete"),
        (lambda: sb3.PPO("MlpPolicy", Still(spaces.Box(0, 1, (2, 3)), CHOICE)), r"Box of shape \(2, 3\)"),
        (lambda: contrib.RecurrentPPO("MlpLstmPolicy", Still(VECTOR, CHOICE)), "recurrent"),
        (lambda: contrib.CrossQ("MlpPolicy", Still(VECTOR, CONTINUOUS), buffer_size=10), "one activation between"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, make, message):
    with pytest.raises(NiwakiError, match=message):
        load_sb3(save(make(), tmp_path))


def described(space):
    """A space as it is written into a zip."""
    return json.loads(data_to_json({"space": space}))["space"]


@pytest.mark.parametrize(
    ("low", "high"),
    [([-1.0], [1.0]), ([-0.0123456789, -1e-7, -100], [0.0123456789, 3, 1e9]), ([-np.inf, 0], [np.inf, 1])],
)
def test_action_bounds_survive_their_text(low, high):
    space = spaces.Box(np.array(low, np.float32), np.array(high, np.float32))
    read = read_action_space(described(space))
    assert isinstance(read, Box)
    np.testing.assert_allclose(read.low, space.low, rtol=1e-7)
    np.testing.assert_allclose(read.high, space.high, rtol=1e-7)


def test_shortened_bounds_are_read_from_their_short_form_or_refused():
    entry = described(spaces.Box(-1, 1, (1500,)))
    assert "..." in entry["low"]
    with pytest.raises(NiwakiError, match="low action bounds are not readable"):
        read_action_space(entry)
    assert read_action_space({**entry, "low_repr": "-1.0", "high_repr": "1.0"}).low == (-1.0,) * 1500


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (described(spaces.Discrete(3, start=1)), "start at 1"),
        (described(spaces.Box(-1, 1, (2, 2))), r"shape \(2, 2\)"),
        (described(spaces.Tuple([CHOICE])), "Tuple actions"),
        ({**described(CHOICE), "n": "9" * 5000}, "whole number"),
        ({**described(CONTINUOUS), "low": "[-1. x 2.]"}, "not readable"),
        ({**described(CONTINUOUS), "low": "[nan nan nan]"}, "not readable"),
        ({**described(CONTINUOUS), "_shape": [4]}, "for 4 actions"),
        ({**described(CONTINUOUS), "_shape": "3"}, "shape"),
        (["Box"], "no action space"),
    ],
)
def test_odd_action_spaces_are_refused(entry, message):
    with pytest.raises(NiwakiError, match=message):
        read_action_space(entry)


def test_the_observation_size_is_read_from_old_and_new_zips():
    assert read_observation_size(described(VECTOR)) == 5
    assert read_observation_size({":type:": "<class 'gym.spaces.box.Box'>", "shape": [7]}) == 7


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", ["torch zip", "torch legacy", "pickle 2", "pickle 4", "beside the tensors"])
def test_a_payload_in_the_weights_is_refused_and_never_run(tmp_path, ppo, form):
    payload = Payload(tmp_path / "ran")
    weights = {
        "torch zip": lambda: saved({"action_net.weight": payload}),
        "torch legacy": lambda: saved({"action_net.weight": payload}, _use_new_zipfile_serialization=False),
        "pickle 2": lambda: pickle.dumps(payload, 2),
        "pickle 4": lambda: pickle.dumps(payload, 4),
        "beside the tensors": lambda: saved({**ppo[1].policy.state_dict(), "x": payload}),
    }[form]()
    with pytest.raises(NiwakiError, match=r"posix\.system|cannot be read"):
        load_sb3(rewrite(ppo[0], tmp_path, policy_pth=weights))
    assert not (tmp_path / "ran").exists()


def test_a_payload_in_the_settings_stays_text(tmp_path, ppo):
    hostile = base64.b64encode(pickle.dumps(Payload(tmp_path / "ran"))).decode()

    def poison(data):
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = hostile
        data["extra"] = {":type:": "x", ":serialized:": hostile}

    assert load_sb3(edit_data(ppo[0], tmp_path, poison)).sizes == (5, 12, 10, 3)
    assert not (tmp_path / "ran").exists()
    pickle.loads(base64.b64decode(hostile))  # the payload is a live one
    assert (tmp_path / "ran").exists()


def test_only_settings_and_weights_are_read(tmp_path, ppo):
    path = rewrite(ppo[0], tmp_path, pytorch_variables_pth=b"not a tensor", policy_optimizer_pth=b"junk")
    assert load_sb3(path).sizes == (5, 12, 10, 3)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, ppo, monkeypatch):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b"{}")
        archive.writestr("policy.pth", bytes(20 * 2**20))
    monkeypatch.setattr(files, "FILE_LIMIT", 10 * 2**20)
    tracemalloc.start()
    with pytest.raises(NiwakiError, match="refused: the zip unpacks to"):
        load_sb3(path)
    # The directory may lie about the size: then the checksum is wrong, and still nothing large is unpacked.
    size = (20 * 2**20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(NiwakiError, match="zip file cannot be read"):
        load_sb3(path)
    assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    tracemalloc.stop()


def test_a_bomb_inside_the_weights_is_refused(tmp_path, ppo, monkeypatch):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(20 * 2**20))
    monkeypatch.setattr(files, "FILE_LIMIT", 10 * 2**20)
    with pytest.raises(NiwakiError, match="refused: the zip unpacks to"):
        load_sb3(rewrite(ppo[0], tmp_path, policy_pth=inner.getvalue()))


@pytest.mark.parametrize("text", [b"[]", b"{", b"", b"\xff\xfe", b"[" * 100_000, b'{"n": ' + b"9" * 10_000 + b"}"])
def test_settings_that_are_no_json_table_are_refused(tmp_path, ppo, text):
    with pytest.raises(NiwakiError, match=r"JSON|no table"):
        load_sb3(rewrite(ppo[0], tmp_path, data=text))


def test_weights_that_are_no_table_are_refused(tmp_path, ppo):
    for value in ([torch.ones(2)], torch.ones(2)):
        with pytest.raises(NiwakiError, match="holds no table"):
            load_sb3(rewrite(ppo[0], tmp_path, policy_pth=saved(value)))


@pytest.mark.parametrize("part", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_zip_is_refused(tmp_path, ppo, part):
    data = ppo[0].read_bytes()
    path = tmp_path / "short.zip"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(NiwakiError, match=r"short\.zip: this zip"):
        load_sb3(path)


def test_two_members_of_one_name_are_refused(tmp_path, ppo):
    path = rewrite(ppo[0], tmp_path)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("policy.pth", b"other")
    with pytest.raises(NiwakiError, match="two files of the same name"):
        load_sb3(path)


mutations = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)


def mutate(data: bytes, changes) -> bytes:
    mutated = bytearray(data)
    for where, byte in changes:
        mutated[int(where * len(data))] = byte
    return bytes(mutated)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=3000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=mutations, member=st.sampled_from(["whole", "data", "policy.pth"]))
def test_mutated_zips_load_or_are_refused(tmp_path, ppo, changes, member):
    """`data` and `policy.pth` are also changed under a right checksum, so that their own readers meet the damage."""
    if member == "whole":
        path = tmp_path / "mutated.zip"
        path.write_bytes(mutate(ppo[0].read_bytes(), changes))
    else:
        with zipfile.ZipFile(ppo[0]) as archive:
            data = archive.read(member)
        path = rewrite(ppo[0], tmp_path, **{member.replace(".", "_"): mutate(data, changes)})
    with contextlib.suppress(NiwakiError):
        load_sb3(path)


@pytest.mark.parametrize("name", ["sac", "sac, linear", "tqc", "ppo", "ppo, linear", "trpo"])
def test_stochastic_agents_have_the_distribution_of_stable_baselines3(tmp_path, name):
    model = make_agent(name)
    policy = load_sb3_gaussian(save(model, tmp_path))
    observations = np.random.default_rng(1).normal(size=(300, 5)).astype(np.float32)
    tensor = torch.from_numpy(observations)
    with torch.no_grad():
        if hasattr(model, "actor"):
            mean, log_std, _ = model.actor.get_action_dist_params(tensor)
            std, head = log_std.exp(), "squash"
        else:
            distribution = model.policy.get_distribution(tensor).distribution
            mean, std, head = distribution.mean, distribution.stddev, "clip"
    found = policy.distribution(observations)
    np.testing.assert_allclose(found.mean, mean, atol=1e-5)
    np.testing.assert_allclose(found.std, std, rtol=1e-5)
    assert policy.head.kind == head
    actions = found.mean + 0.3
    expected = torch.distributions.Normal(mean.double(), std.double()).log_prob(torch.from_numpy(actions)).sum(1)
    np.testing.assert_allclose(found.log_density(actions), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(policy.deterministic(observations), load_sb3(tmp_path / "agent.zip")(observations))


def test_a_stochastic_agent_keeps_its_statistics(tmp_path, ppo):
    env = VecNormalize(DummyVecEnv([lambda: Still(spaces.Box(-4, 9, (5,)), CONTINUOUS)]))
    env.reset()
    env.step(np.zeros((1, 3), np.float32))
    env.save(str(tmp_path / "statistics.pkl"))
    policy = load_stochastic(ppo[0], vecnormalize=tmp_path / "statistics.pkl")
    assert policy.network.normalizer is not None
    assert ("vecnormalize", "statistics.pkl") in policy.origin


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("td3", "this TD3 agent is deterministic"),
        ("ars", "this ARS agent is deterministic"),
        ("a2c", "discrete actions"),
        ("dqn", "discrete actions"),
        ("sac, gSDE", "state-dependent exploration"),
        ("ppo, gSDE", "state-dependent exploration"),
    ],
)
def test_an_agent_without_a_gaussian_of_each_step_is_refused(tmp_path, name, words):
    with pytest.raises(NiwakiError, match=words):
        load_stochastic(save(make_agent(name), tmp_path))


@pytest.mark.parametrize("size", [2, 5])
def test_a_log_std_of_another_size_is_refused(tmp_path, ppo, size):
    path = edit_tensors(ppo[0], tmp_path, lambda tensors: {**tensors, "log_std": torch.zeros(size)})
    with pytest.raises(NiwakiError, match=r"edited\.zip: the log-std is"):
        load_sb3_gaussian(path)


def test_a_policy_file_that_says_nothing_of_noise_is_refused(tmp_path):
    torch.save({"weight": torch.ones(1, 2), "bias": torch.ones(1)}, tmp_path / "net.pt")
    with pytest.raises(NiwakiError, match="says nothing of noise"):
        load_stochastic(tmp_path / "net.pt")
    with pytest.raises(NiwakiError, match="this policy is deterministic"):
        load_stochastic("cartpole")
