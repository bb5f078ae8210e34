"""Which points an ablation tries."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.spec.optimise import read_optimise
from harness.studies.passes import of_backend, of_file


def settings(points):
    return {name: dict(point.settings) for name, point in points.items()}


def test_with_both_lists_single_passes_are_asked_for_by_name_and_left_out_by_name():
    names = {"passes": ["Fuse", "Fold", "Extra"], "disabled_passes": ["Fuse", "Fold"]}
    found = of_backend(names, backend="b")
    assert found.known == ("Fuse", "Fold", "Extra")
    assert (found.off.settings, found.on.settings) == ({"passes": []}, {})
    assert settings(found.alone) == {one: {"passes": [one]} for one in found.known}
    assert settings(found.without) == {one: {"disabled_passes": [one]} for one in ("Fuse", "Fold")}
    assert found.ways["Extra"] == ("alone",)
    assert found.ways["Fuse"] == ("alone", "without")


def test_where_passes_can_only_be_switched_off_one_alone_is_all_others_switched_off():
    found = of_backend({"disabled_passes": ["A", "B", "C"]}, backend="b")
    assert found.off.settings == {"disabled_passes": ["A", "B", "C"]}
    assert found.alone["B"].settings == {"disabled_passes": ["A", "C"]}
    assert found.without["B"].settings == {"disabled_passes": ["B"]}


def test_points_are_called_by_what_they_are_and_never_by_a_hash():
    found = of_backend({"disabled_passes": ["A", "B"]}, backend="b")
    labels = [point.label for point in found.points]
    assert labels == ["all off", "all on", "only A", "only B", "all but A", "all but B"]


def test_chosen_passes_keep_the_compilers_order_and_the_others_stay_part_of_all_off():
    found = of_backend({"disabled_passes": ["A", "B", "C"]}, backend="b", chosen=["C", "A"])
    assert found.chosen == ("A", "C")
    assert list(found.alone) == ["A", "C"]
    assert found.off.settings == {"disabled_passes": ["A", "B", "C"]}


def test_one_arm_alone_says_that_there_was_another():
    found = of_backend({"disabled_passes": ["A", "B"]}, backend="b", arms=["alone"])
    assert found.without == {}
    assert found.ways == {"A": ("alone", "without"), "B": ("alone", "without")}


def test_an_unknown_pass_is_refused_with_near_ones_and_how_many_there_are():
    with pytest.raises(UsageError, match=r"no pass OpFusion; it has 2.*FuseOps"):
        of_backend({"disabled_passes": ["FuseOps", "Fold"]}, backend="tvm", chosen=["OpFusion"])


def test_a_backend_without_passes_is_refused():
    with pytest.raises(UsageError, match="offers no passes by name"):
        of_backend({"something": ["A"]}, backend="b")


def test_settings_that_name_passes_themselves_are_refused():
    with pytest.raises(UsageError, match="disabled_passes is what an ablation changes"):
        of_backend({"disabled_passes": ["A"]}, backend="b", given={"disabled_passes": ["A"]})


def test_a_tools_points_are_wishes_that_a_sweep_file_understands():
    found = of_file("onnxoptimizer", ["nop", "fuse_bn"], ["fuse_bn"])
    asked = {point.label: point.wishes.get("optimise", "none") for point in found.points}
    assert asked == {
        "all off": "none",
        "all on": "onnxoptimizer",
        "only nop": "onnxoptimizer=nop",
        "only fuse_bn": "onnxoptimizer=fuse_bn",
        "all but fuse_bn": "onnxoptimizer-fuse_bn",
    }
    read = {label: read_optimise(text) for label, text in asked.items()}
    assert read["all off"] is None
    assert read["only nop"].options == {"passes": ["nop"]}
    assert read["all but fuse_bn"].options == {"disabled_passes": ["fuse_bn"]}
