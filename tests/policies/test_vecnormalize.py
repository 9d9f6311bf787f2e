"""The VecNormalize pickle: its numbers come through, and nothing else of it does."""

import contextlib
import io
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from niwaki.policies import inert_pickle
from niwaki.policies.inert_pickle import Built, read_pickle
from niwaki.policies.vecnormalize import find_beside, load_vecnormalize
from niwaki.types import NiwakiError

OLD_FILES = [
    *("a2c/Acrobot-v1", "ars/LunarLanderContinuous-v2", "ppo/BipedalWalker-v3", "ppo/HalfCheetah-v3"),
    *("ppo/MountainCarContinuous-v0", "trpo/BipedalWalker-v3"),
]


class Call:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class Renamed(pickle._Pickler):
    """Writes classes of this file under the names they have in Stable-Baselines3."""

    def save_global(self, obj, name=None):
        places = {
            VecNormalize: "stable_baselines3.common.vec_env.vec_normalize",
            RunningMeanStd: "stable_baselines3.common.running_mean_std",
        }
        if obj not in places:
            return super().save_global(obj, name)
        self.save(places[obj])
        self.save(obj.__name__)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, type: save_global}


class VecNormalize:
    pass


class RunningMeanStd:
    pass


def pickled(protocol=4, **changes):
    """A VecNormalize pickle with some attributes changed."""
    statistics = RunningMeanStd()
    statistics.mean = changes.pop("mean", np.array([0.5, -1.0, 2.0]))
    statistics.var = changes.pop("var", np.array([1.0, 4.0, 0.25]))
    vec = VecNormalize()
    vec.__dict__ |= {"norm_obs": True, "obs_rms": statistics, "clip_obs": 10.0, "epsilon": 1e-8} | changes
    file = io.BytesIO()
    Renamed(file, protocol).dump(vec)
    return file.getvalue()


def write(folder: Path, data: bytes) -> Path:
    path = folder / "vecnormalize.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("agent", OLD_FILES)
def test_files_of_python_3_7_and_old_numpy_load(shared, agent):
    path = shared / "agents" / agent / "vecnormalize.pkl"
    normalizer = load_vecnormalize(path)
    assert normalizer.clip == 10.0
    assert normalizer.mean.size in (2, 6, 8, 17, 24)


def test_a_file_saved_by_the_installed_version_loads_exactly(tmp_path):
    pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv
    from stable_baselines3.common.vec_env import VecNormalize as Original

    original = Original(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")] * 2), clip_obs=3.0)
    original.seed(1)
    original.observation_space.seed(3)  # puts a random generator into the pickle
    original.reset()
    for _ in range(20):
        original.step(original.action_space.sample()[None].repeat(2, axis=0))
    original.save(str(tmp_path / "vec.pkl"))
    normalizer = load_vecnormalize(tmp_path / "vec.pkl")
    assert normalizer.mean.tolist() == original.obs_rms.mean.tolist()
    assert normalizer.scale.tolist() == np.sqrt(original.obs_rms.var + original.epsilon).tolist()
    assert normalizer.clip == 3.0


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_gives_the_same_numbers(tmp_path, protocol):
    if protocol == 2:
        with pytest.raises(NiwakiError, match=r"_codecs\.encode"):
            load_vecnormalize(write(tmp_path, pickled(protocol)))
        return
    normalizer = load_vecnormalize(write(tmp_path, pickled(protocol)))
    assert normalizer.mean.tolist() == [0.5, -1.0, 2.0]
    assert normalizer.scale.tolist() == np.sqrt(np.array([1.0, 4.0, 0.25]) + 1e-8).tolist()


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", "<f2", "<i8"])
def test_number_types_and_byte_orders_are_kept(tmp_path, dtype):
    normalizer = load_vecnormalize(write(tmp_path, pickled(mean=np.array([1, -2, 3], dtype=dtype))))
    assert normalizer.mean.tolist() == [1.0, -2.0, 3.0]


def test_numpy_scalars_are_numbers(tmp_path):
    assert load_vecnormalize(write(tmp_path, pickled(clip_obs=np.float32(5.0)))).clip == 5.0


def test_observations_left_alone_need_no_normaliser(tmp_path):
    assert load_vecnormalize(write(tmp_path, pickled(norm_obs=False))) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obs_rms": {"a": 1}}, "dictionary observations"),
        ({"obs_rms": 3}, "no attributes"),
        ({"mean": np.zeros((2, 2))}, "not one vector"),
        ({"mean": np.array([1.0, "x"], dtype=object)}, "holds objects"),
        ({"mean": np.array(["a", "b"])}, "holds objects"),
        ({"mean": np.array([1 + 2j])}, "holds objects"),
        ({"mean": np.array([1.0])}, "differ in size"),
        ({"mean": np.array([np.nan, 0, 0])}, "finite"),
        ({"var": np.array([-1.0, 1, 1])}, "finite"),
        ({"clip_obs": -1.0}, "clip must be positive"),
        ({"clip_obs": "10"}, "'clip_obs'"),
        ({"epsilon": 10**5000}, "'epsilon'"),
        ({"epsilon": float("nan")}, "'epsilon'"),
    ],
)
def test_unusable_statistics_are_refused_in_one_sentence(tmp_path, changes, message):
    with pytest.raises(NiwakiError, match=message) as caught:
        load_vecnormalize(write(tmp_path, pickled(**changes)))
    assert str(caught.value).startswith("vecnormalize.pkl: ")


def test_another_object_is_not_taken_for_a_vecnormalize(tmp_path):
    for data in (pickle.dumps([1, 2]), pickle.dumps(np.zeros(3))):
        with pytest.raises(NiwakiError, match="not a Stable-Baselines3 VecNormalize"):
            load_vecnormalize(write(tmp_path, data))


def test_a_file_above_the_size_limit_is_not_read(tmp_path):
    path = tmp_path / "vecnormalize.pkl"
    with path.open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(NiwakiError, match="more than the"):
        load_vecnormalize(path)


def payloads(marker: str) -> dict[str, object]:
    return {
        "posix.system": Call(os.system, f"touch {marker}"),
        "builtins.eval": Call(eval, f"open({marker!r}, 'w')"),
        "builtins.exec": Call(exec, f"open({marker!r}, 'w')"),
        "builtins.getattr": Call(getattr, Call(__import__, "os"), "system"),
        "io.open": Call(open, marker, "w"),
        "numpy.save": Call(np.save, marker, np.zeros(1)),
    }


@pytest.mark.parametrize("name", sorted(payloads("")))
@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("place", ["top", "attribute", "statistics", "object array", "list"])
def test_payloads_are_refused_by_name_and_never_run(tmp_path, name, protocol, place):
    marker = tmp_path / "ran"
    payload = payloads(str(marker))[name]
    if place == "top":
        data = pickle.dumps(payload, protocol)
    elif place == "attribute":
        data = pickled(protocol, old_obs=payload)
    elif place == "statistics":
        data = pickled(protocol, obs_rms=payload)
    elif place == "list":
        data = pickled(protocol, reset_infos=[[payload]])
    else:
        data = pickled(protocol, mean=np.array([payload, 1.0, 2.0], dtype=object))
    with pytest.raises(NiwakiError, match=f"refused: the file asks for '{name}'" if name != "numpy.save" else "numpy"):
        load_vecnormalize(write(tmp_path, data))
    assert not marker.exists()


def test_the_payload_of_these_tests_is_a_live_one(tmp_path):
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(payloads(str(marker))["posix.system"]))
    assert marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "f2py.crackfortran.myeval"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.core", "multiarray._reconstruct"),
        ("numpy.testing._private.utils", "runstring"),
        ("collections", "namedtuple"),
        ("collections", "abc.sys.modules"),
        ("gymnasium_evil", "Box"),
        ("torch", "load"),
        ("", "os.system"),
        ("os\nsystem", ""),
    ],
)
def test_names_near_the_known_ones_are_refused(module, name):
    texts = b"".join(b"X" + len(text).to_bytes(4, "little") + text for text in (module.encode(), name.encode()))
    with pytest.raises(NiwakiError, match="refused: the file asks for"):
        read_pickle(b"\x80\x04" + texts + b"\x93.")


def test_a_shell_is_never_called_whatever_it_is_given():
    """stable_baselines3 is importable here: calling the named function would fail or write a file."""
    found = read_pickle(b"\x80\x02cstable_baselines3.common.save_util\nopen_path\n(X\x01\x00\x00\x00xtR.")
    assert isinstance(found, Built)
    assert str(found.maker) == "stable_baselines3.common.save_util.open_path"
    assert found.args == ("x",)


@pytest.mark.parametrize(
    "program",
    {
        "calls a value": b"K\x01)R.",
        "calls an object it made": b"cgym.a\nB\n)\x81)R.",
        "state of a number": b"K\x01}b.",
        "state of a class": b"cgym.a\nB\n}b.",
        "arguments that are no tuple": b"cgym.a\nB\n]R.",
        "INST": b"(ios\nsystem\n.",
        "OBJ": b"(cgym.a\nB\no.",
        "EXT1": b"\x82\x01.",
        "PERSID": b"Pabc\n.",
        "BINPERSID": b"K\x01Q.",
        "NEXT_BUFFER": b"\x97.",
        "too few values": b"\x87.",
        "takes from below a mark": b"K\x01(\x85.",
        "no mark": b"K\x01t.",
        "empty stack": b".",
        "unknown memo": b"h\x05.",
        "no end": b"K\x01",
        "length beyond the file": b"\x8e" + (2**62).to_bytes(8, "little") + b".",
        "integer beyond the file": b"\x8b" + (2**31 - 1).to_bytes(4, "little") + b".",
        "bytearray beyond the file": b"\x96" + (2**40).to_bytes(8, "little") + b".",
    }.items(),
    ids=lambda item: item[0],
)
def test_hostile_programs_are_refused(program):
    tracemalloc.start()
    with pytest.raises(NiwakiError):
        read_pickle(b"\x80\x04" + program[1])
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_bombs_cost_no_more_than_their_own_size():
    """A memo index of two billion; a tower of tuples that takes 2^200 steps to hash or to print; an endless list."""
    tower = b")" + b"q\x00h\x00\x86" * 200
    programs = [
        b"K\x01r\xff\xff\xff\x7f.",
        b"}" + tower + b"K\x01s.",
        b"\x8f(" + tower + b"\x90.",
        b"(" + tower + b"\x91.",
        b"]q\x00h\x00a.",
    ]
    tracemalloc.start()
    for program in programs:
        read_pickle(b"\x80\x04" + program)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_the_number_of_instructions_is_bounded(monkeypatch):
    monkeypatch.setattr(inert_pickle, "OPCODE_LIMIT", 100)
    with pytest.raises(NiwakiError, match="more than 100 instructions"):
        read_pickle(b"\x80\x04" + b"N0" * 60 + b"N.")


def test_claimed_shapes_must_match_the_bytes_that_are_there(tmp_path):
    honest = pickled(4, mean=np.arange(3.0))
    assert honest.count(b"K\x03\x85") >= 1
    lying = honest.replace(b"K\x03\x85", b"\x8a\x06\x00\x00\x00\x00\x00\x10\x85", 1)  # 2^44 numbers
    with pytest.raises(NiwakiError, match="does not fit the shape"):
        load_vecnormalize(write(tmp_path, lying))


def test_the_file_beside_an_agent_is_found_and_two_are_not_guessed_between(tmp_path):
    agent = tmp_path / "CartPole-v1.zip"
    assert find_beside(agent) is None
    inner = tmp_path / "CartPole-v1"
    inner.mkdir()
    (inner / "vecnormalize.pkl").touch()
    assert find_beside(agent) == inner / "vecnormalize.pkl"
    (tmp_path / "vec_normalize.pkl").touch()
    with pytest.raises(NiwakiError, match=r"vec_normalize\.pkl and CartPole-v1/vecnormalize\.pkl"):
        find_beside(agent)


@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    protocol=st.sampled_from([3, 4]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_mutated_files_load_or_are_refused(tmp_path, protocol, changes, keep):
    data = bytearray(pickled(protocol))
    for where, byte in changes:
        data[int(where * len(data))] = byte
    path = write(tmp_path, bytes(data[: max(1, int(keep * len(data)))]))
    with contextlib.suppress(NiwakiError):
        load_vecnormalize(path)
