"""The emitted C as text and as a user's compiler sees it."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.policies.arithmetic import mirror_act
from niwaki.policies.c_kernels import c_float
from niwaki.policies.c_source import MOST_TERMS, c_source, written_out
from niwaki.policies.compact import compact
from niwaki.policies.compiled import write_sources
from niwaki.policies.grid import grid_of, step_for
from niwaki.policies.network import Head, Layer, NetworkPolicy, Normalizer
from niwaki.types import NiwakiError

SQUASH = Head("squash", [-1, -2, 0], [1, 2, 0.5], limit=3.0)
# Between them: every kernel, both loops of `wide`, `narrow` with and without a rest, every head, normaliser; all layers
# of the sparse one are written out, narrow and wide; those of the last one have weights of one byte.
VARIED = {
    "squash": ((8, 67, 40, 3), ("tanh", "elu"), SQUASH, True),
    "argmax": ((21, 9, 33, 4), ("sigmoid", "silu"), Head("argmax"), True),
    "clip": ((5, 16, 16, 2), ("relu", "leaky_relu"), Head("clip", [-1, -np.inf], [1, 0.25]), False),
    "sparse": ((21, 9, 33, 4), ("relu", "tanh"), Head("clip", [-1] * 4, [1] * 4), True),
    "bytes": ((21, 67, 9, 41, 3), ("tanh", "relu", "elu"), SQUASH, True),
}
WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef", "-Werror")
MCU = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-ffreestanding")


@pytest.fixture(scope="session", params=VARIED)
def varied(request, make_network):
    """A policy, 3000 observations and the mirror's actions."""
    sizes, activations, head, normalized = VARIED[request.param]
    policy = make_network(sizes, activations, head, normalized=normalized)
    if request.param == "sparse":
        policy = compact(thinned(policy, 0.3))
        assert all(written_out(layer) for layer in policy.layers)
    if request.param == "bytes":
        policy = rounded(policy)
        assert all(grid_of(layer.weight) for layer in policy.layers)
    observations = (np.random.default_rng(1).normal(size=(3000, sizes[0])) * 3).astype(np.float32)
    return policy, observations, mirror_act(compact(policy), observations)


def thinned(policy, share):
    """The policy with this share of its weights, at random, and every other bias."""
    rng = np.random.default_rng(7)
    return replace(
        policy,
        layers=tuple(
            Layer(
                np.where(rng.random(layer.weight.shape) < share, layer.weight, 0),
                np.where(np.arange(layer.bias.size) % 2, layer.bias, 0),
                layer.activation,
            )
            for layer in policy.layers
        ),
    )


def rounded(policy):
    """The policy with weights of one byte."""
    steps = [step_for(layer.weight) for layer in policy.layers]
    weights = [np.rint(layer.weight / step) * step for layer, step in zip(policy.layers, steps, strict=True)]
    return policy.with_parts([*weights, *(layer.bias for layer in policy.layers)])


def compile_object(c, folder, command):
    """Compile <name>.c to an object file; returns what the compiler said."""
    write_sources(c, folder)
    done = subprocess.run(
        [*command, "-c", f"{c.name}.c", "-o", f"{c.name}.o"], cwd=folder, capture_output=True, text=True
    )
    return done.stderr if done.returncode else ""


def test_the_same_policy_gives_the_same_text_in_every_process(make_network):
    program = (
        "import numpy as np; from niwaki.policies.c_source import c_source; from niwaki.policies.network import *\n"
        "layers = tuple(Layer(np.full((4, 4), 0.1), np.ones(4), a) for a in ACTIVATIONS)\n"
        "print(c_source(NetworkPolicy(layers)).source)"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_literal_is_the_float_it_was_made_from(value):
    text = c_float(value)
    assert re.fullmatch(r"-?0x[01](\.[0-9a-f]+)?p[+-]\d+f", text)
    assert np.float32(float.fromhex(text[:-1])).tobytes() == np.float32(value).tobytes()


def test_the_tables_hold_the_weights_exactly(make_network):
    policy = make_network((5, 20, 3), normalized=True)
    c = c_source(policy)

    def table(name):
        start = rf"static const float {name}\[\d+\] ALIGNED = "
        body = re.search(start + r"{(?: /\*.*?\*/)?\n(.*?)};", c.source, re.S).group(1)
        return np.array([float.fromhex(v.strip().removesuffix("f")) for v in body.split(",")], np.float32)

    np.testing.assert_array_equal(table("weights_0").reshape(5, 20).T, policy.layers[0].weight)  # wide
    np.testing.assert_array_equal(table("weights_1").reshape(3, 20), policy.layers[1].weight)  # narrow
    np.testing.assert_array_equal(table("biases_1"), policy.layers[1].bias)
    assert c.table_bytes == 4 * (5 * 20 + 20 + 20 * 3 + 3 + 3 * 5)


def test_weights_of_one_byte_are_stored_as_such(make_network):
    policy = rounded(make_network((5, 20, 3)))
    c = c_source(policy)
    start = r"static const int8_t weights_1\[60\] ALIGNED = "
    body = re.search(start + r"{(?: /\*.*?\*/)?\n(.*?)};", c.source, re.S).group(1)
    weight = policy.layers[1].weight
    np.testing.assert_array_equal(np.array(body.split(","), int).reshape(3, 20) * step_for(weight), weight)
    assert c.table_bytes == (5 * 20 + 20 * 3) + 4 * (20 + 3)


def test_a_sparse_layer_stores_only_what_is_not_zero(make_network):
    policy = thinned(make_network((6, 8, 2), ("tanh",)), 0.3)
    c = c_source(policy)
    assert "weights_" not in c.source
    assert "wide" not in c.source
    terms = policy.nonzero_weights + sum(np.count_nonzero(layer.bias) for layer in policy.layers)
    assert len(re.findall(r"f \* [ab]|f \* observation", c.source)) == policy.nonzero_weights
    assert c.table_bytes == 4 * terms


@pytest.mark.parametrize(
    ("shape", "nonzero", "written"),
    [((2, 8), 8, True), ((2, 8), 9, False), ((40, 40), MOST_TERMS, True), ((40, 40), MOST_TERMS + 1, False),
     ((2, 8), 0, False)],
)  # fmt: skip
def test_a_layer_is_written_out_where_that_is_less_than_its_table(shape, nonzero, written):
    weight = np.zeros(shape)
    weight.flat[:nonzero] = 1.5
    assert written_out(Layer(weight, np.zeros(shape[0]))) == written


@pytest.mark.parametrize("name", ["", "1st", "a b", "a-b", "a.c", "../a", "int", "return", "é", "a" * 64, "a\n"])
def test_a_name_that_is_no_c_identifier_is_refused(make_network, name):
    with pytest.raises(NiwakiError, match="must be a C identifier"):
        c_source(make_network((1, 1)), name=name)


HOSTILE = [
    "*/ #include </etc/passwd> /*",
    "* / **//",
    "??/",
    "?\x01?/",
    "\\",
    "a\n#error",
    "/* // é ☃ \x00 \x7f \u2028",
    "%s {0} */",
]


@pytest.mark.parametrize("origin", HOSTILE)
def test_a_hostile_origin_stays_inside_its_comment(make_network, require_tool, tmp_path, origin):
    plain = make_network((2, 2))
    hostile = c_source(replace(plain, origin=((origin, origin),)))
    first, rest = hostile.source.split("\n", 1)
    assert first.startswith("/* policy.c: written by niwaki")
    assert first.endswith(" */")
    assert first.count("*/") == first.count("/*") == 1
    assert first.isascii()
    assert rest == c_source(plain).source.split("\n", 1)[1]
    assert compile_object(hostile, tmp_path, [require_tool("gcc"), "-std=c99", *WARNINGS]) == ""


@pytest.mark.parametrize("compiler", ["gcc", "clang", "aarch64-linux-gnu-gcc", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("level", ["-O0", "-Os", "-O2", "-O3"])
def test_it_compiles_without_a_warning_and_needs_no_library(varied, require_tool, tmp_path, compiler, level):
    command = [require_tool(compiler), "-std=c99", level, *WARNINGS]
    command += MCU if compiler.startswith("arm-none") else ("-ffreestanding",)
    assert compile_object(c_source(compact(varied[0])), tmp_path, command) == ""
    symbols = subprocess.run([require_tool("nm"), "-P", "policy.o"], cwd=tmp_path, capture_output=True, text=True)
    table = [line.split() for line in symbols.stdout.splitlines()]
    assert [row[0] for row in table if row[1] == "U"] == []  # not even memset
    assert sorted(row[0] for row in table if row[1] == "T") == ["policy_act", "policy_self_test"]
    assert [row[0] for row in table if row[1] in "BbDd"] == []  # no variables: reentrant


def test_denormal_and_huge_weights_compile_without_a_warning(require_tool, tmp_path):
    layer = Layer([[1e-45, -1e-40], [3e38, -3.4e38]], [0, 1e-45])
    policy = NetworkPolicy((layer,), Head("clip", [-1, -1], [1, 1]), Normalizer(np.zeros(2), np.full(2, 1e4), 1e-30))
    assert compile_object(c_source(policy), tmp_path, [require_tool("gcc"), "-std=c99", *WARNINGS]) == ""


def test_cpp_can_call_it(make_network, require_tool, tmp_path):
    assert compile_object(c_source(make_network((2, 2))), tmp_path, [require_tool("gcc"), "-std=c99"]) == ""
    (tmp_path / "main.cpp").write_text('#include "policy.h"\nint main() { return policy_self_test(); }\n')
    subprocess.run([require_tool("g++"), "main.cpp", "policy.o", "-o", "main"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"]).returncode == 0


# The modes in which compilers fuse multiply and add unless they are told not to, and the widest vectors there are.
FUSING = ("-O3", "-march=native", "-std=gnu17")
BUILDS = [("-O0", "-std=c99"), ("-O1", "-std=c99"), ("-O2", "-std=gnu17"), ("-O3", "-std=c99"), FUSING]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", BUILDS, ids=" ".join)
def test_every_build_gives_the_mirrors_bits(varied, require_tool, run_program, assert_same_bits, compiler, flags):
    policy, observations, expected = varied
    assert_same_bits(run_program(policy, observations, [require_tool(compiler), *flags]), expected)


AARCH64 = ("aarch64-linux-gnu-gcc", "qemu-aarch64", ())
ARM = ("arm-linux-gnueabihf-gcc", "qemu-arm", ("-mfpu=neon-vfpv4", "-mfloat-abi=hard"))


@pytest.mark.parametrize(("compiler", "emulator", "target"), [AARCH64, ARM], ids=["aarch64", "arm"])
@pytest.mark.parametrize("flags", [("-O2", "-std=c99"), ("-O3", "-std=gnu17")], ids=" ".join)
def test_arm_processors_give_the_mirrors_bits(
    varied, require_tool, run_program, assert_same_bits, compiler, emulator, target, flags
):
    policy, observations, expected = varied
    command = [require_tool(compiler), *target, *flags, "-static"]
    assert_same_bits(run_program(policy, observations, command, (require_tool(emulator),)), expected)


def without_pragmas(source):
    """The source as it would be without the ban on fusing, its self-test switched off."""
    return re.sub("#pragma.*", "", source).replace("_self_test(void)\n{", "_self_test(void)\n{ return 0;")


def test_without_the_pragma_a_fusing_build_would_give_other_bits(make_network, require_tool, run_program):
    """The trap is real: this is what the two tests above would catch."""
    policy, x = make_network((8, 64, 40, 3)), np.random.default_rng(1).normal(size=(100, 8)).astype(np.float32)
    command = [require_tool("aarch64-linux-gnu-gcc"), "-O3", "-std=gnu17", "-static"]
    lax = run_program(policy, x, command, (require_tool("qemu-aarch64"),), change=without_pragmas)
    assert (lax != mirror_act(policy, x)).any()


@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_fast_math_is_refused(make_network, require_tool, tmp_path, compiler, flag):
    said = compile_object(c_source(make_network((2, 2))), tmp_path, [require_tool(compiler), flag])
    assert "-ffast-math changes the results" in said


def test_a_target_with_half_precision_hardware_is_not_refused(make_network, require_tool, tmp_path):
    command = [require_tool("aarch64-linux-gnu-gcc"), "-march=armv8.2-a+fp16", "-std=gnu17"]
    assert compile_object(c_source(make_network((2, 2))), tmp_path, command) == ""


def test_nothing_is_read_or_written_outside_an_array(varied, require_tool, run_program, assert_same_bits):
    policy, observations, expected = varied
    command = [require_tool("gcc"), "-std=c99", "-O1", "-march=native", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all"]
    assert_same_bits(run_program(policy, observations[:200], command), expected[:200])


def flip_a_sign(source):
    """The source with the sign bit of the first weight flipped."""
    return re.sub(r"(weights_0\[.*\n  )(-?)", lambda match: match[1] + ("" if match[2] else "-"), source, count=1)


def test_a_flipped_weight_bit_fails_the_self_test(make_network, require_tool, run_program):
    policy = make_network((4, 16, 2))
    x, command = np.zeros((1, 4)), [require_tool("gcc"), "-O1"]
    assert len(run_program(policy, x, command)) == 1
    with pytest.raises(AssertionError, match=r"^\(9,"):
        run_program(policy, x, command, change=flip_a_sign)


def test_a_policy_that_overflows_on_ordinary_observations_is_refused():
    policy = NetworkPolicy((Layer([[3e38]], [3e38]), Layer([[3e38]], [0])))
    with pytest.raises(NiwakiError, match="overflow float32"):
        c_source(policy)


def test_a_limit_and_a_clip_beyond_float32_are_none(make_network):
    free, far = (
        replace(
            make_network((2, 2), head=Head("squash", [-1, -1], [1, 1], limit=limit), normalized=True),
            normalizer=Normalizer(np.zeros(2), np.ones(2), limit),
        )
        for limit in (np.inf, 1e300)
    )
    assert c_source(far).source == c_source(free).source
