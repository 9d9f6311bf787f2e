"""Export: all files or none, verified first, with a result that says what was and was not checked."""

import json
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from niwaki.export import export as module
from niwaki.export import verification
from niwaki.export.export import export_policy
from niwaki.export.verification import CHUNK
from niwaki.policies.c_source import c_source
from niwaki.policies.compact import compact
from niwaki.policies.network import Head, Layer
from niwaki.types import NiwakiError

pytest.importorskip("onnxruntime")
FILES = {"policy.c", "policy.h", "policy.onnx"}


@pytest.fixture(scope="module")
def policy(make_network):
    return make_network((5, 20, 3), head=Head("squash", [-1] * 3, [1] * 3), normalized=True, density=0.5)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_it_writes_three_files_and_says_what_it_found(policy, tmp_path, require_tool):
    require_tool("cc")
    out = tmp_path / "a" / "b"
    result = export_policy(policy, out, tested_inputs=20_000)
    assert names(out) == FILES
    assert [Path(file).name for file in result.files] == ["policy.c", "policy.h", "policy.onnx"]
    assert (result.bit_exact, result.tested_inputs) == (True, 20_000)
    assert (result.onnx_agrees, result.onnx_inputs) == (True, 20_000)
    assert 0 < result.onnx_max_abs_difference < 1e-5
    assert (result.constant, result.notes, result.argmax_ties) == (False, (), 0)
    assert result.ns_per_call > 0
    assert "-O3" in result.compiler
    assert result.table_bytes == c_source(compact(policy)).table_bytes
    assert json.loads(json.dumps(asdict(result)))["bit_exact"] is True


def test_the_files_are_those_of_the_compacted_policy_and_can_be_built(policy, tmp_path, require_tool):
    export_policy(policy, tmp_path, name="arm", tested_inputs=100)
    c = c_source(compact(policy), name="arm")
    assert ((tmp_path / "arm.c").read_text(), (tmp_path / "arm.h").read_text()) == (c.source, c.header)
    (tmp_path / "main.c").write_text('#include "arm.h"\nint main(void) { return arm_self_test(); }\n')
    subprocess.run([require_tool("cc"), "arm.c", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"]).returncode == 0


def test_no_file_appears_before_everything_is_verified(policy, tmp_path):
    seen = []
    export_policy(policy, tmp_path, tested_inputs=5000, progress=lambda done, _: seen.append((done, names(tmp_path))))
    assert [done for done, _ in seen][-2:] == [5000 // CHUNK * CHUNK, 5000]
    assert not any(FILES & present for _, present in seen)
    assert names(tmp_path) == FILES


def test_other_files_are_left_alone_and_old_ones_replaced(policy, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "policy.c").write_text("old")
    export_policy(policy, tmp_path, tested_inputs=100)
    assert names(tmp_path) == {*FILES, "notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "policy.c").read_text() != "old"


FAILURES = [NiwakiError("no"), KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError()]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("step", ["_write", "verify", "cortex_m4_size", "_move"])
def test_a_failure_on_the_way_leaves_everything_as_it_was(policy, tmp_path, monkeypatch, step, failure):
    def fail(*_, **__):
        raise failure

    old = tmp_path / "old"
    old.mkdir()
    (old / "policy.c").write_text("old")
    monkeypatch.setattr(module, step, fail)
    for out in (old, tmp_path / "new"):
        with pytest.raises(NiwakiError if isinstance(failure, OSError) else type(failure)):
            export_policy(policy, out, tested_inputs=100)
    assert names(tmp_path) == {"old"}
    assert names(old) == {"policy.c"}
    assert (old / "policy.c").read_text() == "old"


@pytest.mark.parametrize("before", [{}, {"policy.c": "old c"}, {"policy.c": "old c", "policy.onnx": "old onnx"}])
def test_a_move_that_fails_half_way_is_undone(policy, tmp_path, monkeypatch, before):
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    replace_file, calls = os.replace, []

    def fail_third(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise OSError(5, "Input/output error")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", fail_third)
    with pytest.raises(NiwakiError, match=r"cannot export to .*Input/output error"):
        export_policy(policy, tmp_path, tested_inputs=100)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_a_folder_in_the_way_of_a_file_is_reported_and_nothing_is_replaced(policy, tmp_path):
    (tmp_path / "policy.onnx").mkdir()
    with pytest.raises(NiwakiError, match="cannot export to"):
        export_policy(policy, tmp_path, tested_inputs=100)
    assert names(tmp_path) == {"policy.onnx"}


def test_an_out_that_cannot_be_a_folder_is_reported(policy, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NiwakiError, match=f"cannot export to {out}"):
            export_policy(policy, out, tested_inputs=100)


def test_a_file_changed_while_it_was_compiled_is_refused(policy, tmp_path, monkeypatch, require_tool):
    require_tool("cc")
    write = module._write

    def tampered(c, model, folder):
        result = write(c, model, folder)
        (folder / "policy.c").write_text(c.source.replace("p-1f", "p-2f", 1))
        return result

    monkeypatch.setattr(module, "_write", tampered)
    with pytest.raises(NiwakiError, match="does not hold what was compiled"):
        export_policy(policy, tmp_path / "out", tested_inputs=100)
    assert not (tmp_path / "out").exists()


def test_without_a_compiler_nothing_is_claimed_about_bits(policy, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent")
    result = export_policy(policy, tmp_path, tested_inputs=3000)
    assert names(tmp_path) == FILES
    assert (result.bit_exact, result.tested_inputs, result.compiler, result.ns_per_call) == (None, 0, None, None)
    assert (result.onnx_agrees, result.onnx_inputs) == (True, 3000)
    assert len(result.notes) == 1
    assert "no C compiler found" in result.notes[0]


def test_other_bits_are_reported_and_not_raised(policy, tmp_path, monkeypatch, require_tool):
    require_tool("cc")

    def other(policy, c, folder):
        last = policy.layers[-1]
        nudged = replace(policy, layers=(*policy.layers[:-1], Layer(last.weight * 1.001, last.bias)))
        return module.CompiledPolicy(nudged, name=c.name)

    monkeypatch.setattr(module, "_compile", other)
    result = export_policy(policy, tmp_path, tested_inputs=1000)
    assert result.bit_exact is False
    assert result.onnx_agrees is True


def test_a_policy_that_ignores_its_input_is_exported_and_named_constant(make_network, tmp_path, require_tool):
    require_tool("cc")
    policy = make_network((5, 8, 3), head=Head("argmax"), normalized=True, density=0.0)
    result = export_policy(policy, tmp_path, tested_inputs=1000)
    assert (result.constant, result.bit_exact, result.onnx_agrees) == (True, True, True)
    assert result.onnx_max_abs_difference is None
    assert "always does the same" in result.notes[0]


@pytest.mark.parametrize("arguments", [{"tested_inputs": 0}, {"tested_inputs": -5}, {"seed": -1}, {"name": "a/b"}])
def test_arguments_that_make_no_sense_are_refused_before_anything_is_written(policy, tmp_path, arguments):
    with pytest.raises(NiwakiError, match="got"):
        export_policy(policy, tmp_path / "out", **arguments)
    assert names(tmp_path) == set()


def test_a_long_run_needs_no_memory_for_all_inputs_at_once(policy, tmp_path, monkeypatch):
    largest, draw = [], verification.random_observations

    def counted(network, n, **options):
        largest.append(n)
        return draw(network, n, **options)

    monkeypatch.setattr(verification, "random_observations", counted)
    export_policy(policy, tmp_path, tested_inputs=50_000)
    assert sum(largest) == 50_000
    assert max(largest) <= CHUNK
