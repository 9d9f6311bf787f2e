"""niwaki import, info, export, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from niwaki.policies.loading import load_policy

from .conftest import Run


def test_import_writes_a_file_that_acts_like_its_source(niwaki: Run, tmp_path: Path, shared: Path) -> None:
    agent = shared / "agents/ppo/Pendulum-v1/Pendulum-v1.zip"
    ran = niwaki("import", agent, "-o", "policy.safetensors", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["head"] == {"kind": "clip", "actions": 1, "low": [-2.0], "high": [2.0]}
    rows = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    assert np.array_equal(load_policy(tmp_path / "policy.safetensors")(rows), load_policy(agent)(rows))


def test_import_gives_a_bare_network_its_head_from_the_task(niwaki: Run, tmp_path: Path, shared: Path) -> None:
    source = next((shared / "sanp_lander").glob("*refined*.pth"))
    arguments = ("import", source, "--activation", "relu", "--json")
    assert niwaki(*arguments, "-o", "raw.safetensors").json["head"]["kind"] == "raw"
    ran = niwaki(*arguments, "-o", "landing.safetensors", "--task", "lunarlander-continuous")
    assert ran.json["head"]["kind"] == "clip"
    assert ran.json["policy"]["weights"] == 17_664


def test_info_shows_layers_and_what_is_dead(niwaki: Run, balancer: Path) -> None:
    report = niwaki("info", balancer, "--json").json
    assert [(x["inputs"], x["outputs"], x["nonzero_weights"]) for x in report["layers"]] == [(4, 3, 8), (3, 2, 4)]
    assert report["normalizer"] is None
    assert not report["constant"]
    assert report["policy"]["parameters"] == 23
    shown = niwaki("info", balancer).out
    assert "4-1-2" in shown  # without dead units


def test_a_policy_with_nan_weights_is_refused(niwaki: Run, tmp_path: Path, balancer: Path) -> None:
    arrays = safetensors.numpy.load_file(balancer)
    with safetensors.safe_open(balancer, "numpy") as file:
        metadata = file.metadata()
    name = next(key for key in arrays if key.endswith("weight"))
    arrays[name] = np.full_like(arrays[name], np.nan)
    safetensors.numpy.save_file(arrays, tmp_path / "nan.safetensors", metadata)
    ran = niwaki("info", "nan.safetensors")
    assert ran.code == 2
    assert "nan.safetensors" in ran.err
    assert "not finite" in ran.err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x00" * 100, b"not a policy at all"])
def test_a_file_that_is_no_policy_is_refused(niwaki: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.zip").write_bytes(content)
    ran = niwaki("import", "agent.zip", "-o", "out.safetensors")
    assert ran.code == 2
    assert "agent.zip" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(niwaki: Run, balancer: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full, a device that is always full, is not on this system")
    ran = niwaki("import", balancer, "-o", "/dev/full/policy.safetensors")
    assert ran.code == 2
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", ["import", "info", "evaluate", "export", "train", "play", "tasks"])
def test_every_command_explains_itself_with_an_example(niwaki: Run, command: str) -> None:
    ran = niwaki(command, "--help", COLUMNS="100")
    assert ran.code == 0
    assert f"Example: niwaki {command}" in ran.out
    assert "--json" in ran.out


EXPORT = {"files", "bit_exact", "tested_inputs", "onnx_max_abs_difference", "policy", "seconds"}


def test_export_writes_verified_files_and_says_so(niwaki: Run, tmp_path: Path, balancer: Path) -> None:
    ran = niwaki("export", balancer, "--task", "cartpole-v0", "--out", "out", "-n", 10, "--inputs", 5000, "--json")
    assert (ran.code, ran.err) == (0, "")
    report = ran.json
    assert set(report) >= EXPORT
    assert report["files"] == ["out/policy.c", "out/policy.h", "out/policy.onnx"]
    assert report["bit_exact"] is True
    assert report["tested_inputs"] == 5000
    assert report["policy"]["return_mean"] == 200.0
    assert report["policy"] == report["forms"]["c"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["policy.c", "policy.h", "policy.onnx"]


def test_export_ends_with_the_table_and_the_paths(niwaki: Run, balancer: Path) -> None:
    ran = niwaki("export", balancer, "--out", "out", "--inputs", 1000, "--name", "brain")
    assert ran.code == 0, ran.err
    assert "the same bits on 1,000 inputs" in ran.out
    assert ran.out.split()[-3:] == ["out/brain.c", "out/brain.h", "out/brain.onnx"]


def test_a_claim_that_does_not_hold_is_exit_code_1(niwaki: Run, tmp_path: Path, balancer: Path) -> None:
    """A compiler that miscompiles: it turns one weight into another, and the self-test off."""
    compiler = tmp_path / "cc"
    compiler.write_text(
        "#!/bin/sh\n"
        "sed -i -e '/^static const float weights_0/,/^}/s/0x1p+0f/0x1.8p+0f/' -e 's/return k + 1;/;/' policy.c\n"
        'exec gcc "$@"\n'
    )
    compiler.chmod(0o755)
    ran = niwaki("export", balancer, "--out", "out", "--inputs", 20_000, "--json", CC=str(compiler))
    assert ran.code == 1, ran.err
    assert ran.json["bit_exact"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "{policy}"), "cannot export to"),
        (("--out", "out", "--name", "int"), "must be a C identifier such as policy, got 'int'"),
        (("--out", "out", "--inputs", "0"), "at least one tested input"),
        (("--out", "out", "--episodes", "-3"), "episodes must not be negative, got -3"),
        (("--out", "out", "--task", "pendulum"), "takes 4 observations, pendulum gives 3"),
    ],
)
def test_export_says_what_is_wrong_and_leaves_nothing(
    niwaki: Run, tmp_path: Path, balancer: Path, arguments: tuple[str, ...], message: str
) -> None:
    ran = niwaki("export", balancer, *(a.format(policy=balancer) for a in arguments), "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert message in ran.err
    assert [p.name for p in tmp_path.iterdir()] == [balancer.name]
