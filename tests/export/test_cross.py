"""The size on a Cortex-M4: what the cross compiler makes of the C."""

import subprocess

import pytest

from niwaki.export import cross
from niwaki.export.cross import cortex_m4_size
from niwaki.policies.c_source import c_source
from niwaki.policies.compiled import write_sources
from niwaki.policies.network import Head
from niwaki.types import NiwakiError

ARGMAX = Head("argmax")


@pytest.fixture
def c(make_network, require_tool):
    require_tool(cross.COMPILER)
    return c_source(make_network((8, 64, 64, 4), ("tanh",), ARGMAX, normalized=True), name="lander")


def test_the_flash_holds_the_tables_and_about_a_kilobyte_of_code(c):
    size = cortex_m4_size(c)
    assert c.table_bytes + 300 < size.flash_bytes < c.table_bytes + 2000
    assert c.stack_bytes <= size.ram_bytes < c.stack_bytes + 400
    assert "arm-none-eabi-gcc" in size.compiler
    assert "-mcpu=cortex-m4" in size.flags


def test_the_flash_is_what_a_linker_keeps(c, tmp_path, require_tool):
    """Second route: link a program that calls nothing but `act`, and count its sections."""
    write_sources(c, tmp_path)
    (tmp_path / "main.c").write_text(
        '#include "lander.h"\nextern float seen[8];\nfloat seen[8];\nvoid _start(void) { lander_act(seen); }\n'
    )
    link = [require_tool(cross.COMPILER), *cross.FLAGS, "-nostdlib", "-Wl,--gc-sections", "lander.c", "main.c"]
    subprocess.run([*link, "-o", "program.elf"], cwd=tmp_path, check=True)
    said = subprocess.run(["arm-none-eabi-size", "program.elf"], cwd=tmp_path, capture_output=True, text=True)
    text, data, _ = map(int, said.stdout.splitlines()[1].split()[:3])
    assert text + data == pytest.approx(cortex_m4_size(c).flash_bytes, abs=40)  # `_start` and alignment


def test_the_stack_is_that_of_a_call_and_the_two_deepest_below_it():
    frames = cross._frames("p.c:1:2:wide\t40\tstatic\np.c:3:4:block.part.0\t60\tstatic\np.c:5:6:relu_all\t8\tstatic")
    frames |= {"p_act": 100, "p_self_test": 999}
    assert cross._deepest_stack(frames, "p_act", "p_self_test") == 200


def test_the_self_test_is_counted_apart(c):
    size = cortex_m4_size(c)
    assert 4 * (4 * 8 + 4) < size.self_test_bytes < 4 * (4 * 8 + 4) + 200


def test_a_continuous_policy_without_hidden_layers_needs_hardly_any_memory(make_network, require_tool):
    require_tool(cross.COMPILER)
    size = cortex_m4_size(c_source(make_network((4, 2))))
    assert size.ram_bytes < 100
    assert size.flash_bytes < 600


def test_without_the_cross_compiler_there_is_no_size(make_network, monkeypatch):
    monkeypatch.setattr(cross, "COMPILER", "no-such-compiler")
    assert cortex_m4_size(c_source(make_network((1, 1)))) is None


def test_a_cross_compiler_that_refuses_is_quoted(c, monkeypatch):
    monkeypatch.setattr(cross, "FLAGS", ("-mcpu=cabbage",))
    with pytest.raises(NiwakiError, match=r"fails on the policy.*cabbage"):
        cortex_m4_size(c)
