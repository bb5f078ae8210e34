"""Passes by name in PyTorch and TensorFlow: which are left out, and what contradicts itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from support import fake_torch as fake

from runner.errors import RunnerError
from runner.support import named_passes, pass_log, tensorflow_grappler, torch_passes

THERE = ("fold", "fuse", "prune")


def given(**settings: Any) -> dict[str, Any]:
    return {"disabled_passes": None, "passes": None, **settings}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"disabled_passes": ()}, ()),
        ({"disabled_passes": ("prune", "fold")}, ("fold", "prune")),
        ({"passes": ()}, THERE),
        ({"passes": ("fuse",)}, ("fold", "prune")),
    ],
)
def test_an_empty_list_is_none_of_them_and_no_list_is_no_wish(
    settings: dict[str, Any], expected: tuple[str, ...] | None
) -> None:
    assert named_passes.left_out("toy", given(**settings), THERE) == expected


def test_both_lists_at_once_are_refused() -> None:
    with pytest.raises(RunnerError, match="give one of them") as caught:
        named_passes.left_out("toy", given(disabled_passes=(), passes=()), THERE)
    assert caught.value.kind == "unsupported"


class Rewriting(SimpleNamespace):
    """A made-up `RewriterConfig`, with no field for TFG."""

    def __init__(self) -> None:
        fields = {field for field, _ in tensorflow_grappler._SWITCHES.values()}
        super().__init__(**dict.fromkeys(fields - {"disable_tfg_optimizer"}, 0))


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorFlow's eager context, which takes over what it starts with but for `ignored`."""

    def proto() -> Any:
        return SimpleNamespace(graph_options=SimpleNamespace(rewrite_options=Rewriting()))

    class Context:
        _config: Any = None
        ignored: tuple[str, ...] = ()

        @property
        def config(self) -> Any:
            made = proto()
            for field, value in vars(self._config.graph_options.rewrite_options).items():
                if field not in self.ignored:
                    setattr(made.graph_options.rewrite_options, field, value)
            return made

    one = Context()
    modules = {
        "tensorflow.python.eager.context": SimpleNamespace(context=lambda: one),
        "tensorflow.core.protobuf.config_pb2": SimpleNamespace(ConfigProto=proto),
    }
    monkeypatch.setattr(tensorflow_grappler, "import_module", modules.__getitem__)
    return one


def test_optimizers_are_switched_off_where_tensorflow_looks(context: Any) -> None:
    tensorflow_grappler.switch_off("tensorflow.graph", ("remapper", "model_pruner"))
    taken = context.config.graph_options.rewrite_options
    assert (taken.remapping, taken.disable_model_pruning) == (2, True)
    assert taken.constant_folding == 0


def test_nothing_is_touched_where_nothing_is_left_out(context: Any) -> None:
    tensorflow_grappler.switch_off("tensorflow.graph", ())
    assert context._config is None


def test_an_optimizer_that_tensorflow_keeps_all_the_same_is_a_refusal(context: Any) -> None:
    context.ignored = ("remapping",)
    with pytest.raises(
        RunnerError, match=r"does not take over that remapper be left out"
    ) as caught:
        tensorflow_grappler.switch_off("tensorflow.graph", ("remapper", "layout"))
    assert caught.value.kind == "unsupported"


@pytest.mark.usefixtures("context")
def test_an_optimizer_that_a_version_can_not_leave_out_is_a_refusal() -> None:
    with pytest.raises(RunnerError, match="'tfg_optimizer'"):
        tensorflow_grappler.switch_off("tensorflow.graph", ("tfg_optimizer",))


def test_passes_beside_grappler_switched_off_are_refused() -> None:
    with pytest.raises(RunnerError, match="none of its optimizers runs"):
        tensorflow_grappler.left_out("g", given(grappler=False, passes=("layout",)))
    assert tensorflow_grappler.left_out("g", given(grappler=False)) == ()


def test_the_optimizers_that_ran_are_read_from_the_log_each_once() -> None:
    log = """
I0000 00:00:1 7 meta_optimizer.cc:1059] Starting optimization for grappler item: graph
I0000 00:00:1 7 meta_optimizer.cc:973] model_pruner: Graph size after: 41 nodes (0), 50 edges
I0000 00:00:1 7 meta_optimizer.cc:973] tfg_optimizer{any(a,b{c=0})}: Graph size after: 41 nodes
I0000 00:00:1 7 meta_optimizer.cc:973] function_optimizer did nothing. time = 0.1ms.
I0000 00:00:1 7 meta_optimizer.cc:973] model_pruner: Graph size after: 11 nodes (0), 10 edges
"""
    assert pass_log.optimizers(log) == ["model_pruner", "tfg_optimizer", "function_optimizer"]
    assert pass_log.optimizers("I0000 00:00:1 7 meta_optimizer.cc:1 Starting") is None


def test_asking_for_the_log_keeps_what_was_asked_for_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CPP_VMODULE", "executor=2")
    pass_log.ask()
    assert os.environ["TF_CPP_VMODULE"] == "executor=2,meta_optimizer=1"


def test_standard_error_is_kept_and_put_back(tmp_path: Any, capfd: Any) -> None:
    with pass_log.standard_error(str(tmp_path)) as said:
        os.write(2, b"from native code\n")
    os.write(2, b"afterwards\n")
    assert said.text == "from native code\n"
    assert capfd.readouterr().err == "afterwards\n"
    assert list(tmp_path.iterdir()) == []


def inductor(**changes: Any) -> Any:
    """A made-up `torch._inductor.config`."""
    cpp = SimpleNamespace(simdlen=None, weight_prepack=True, threads=-1, _secret=1)
    usual: dict[str, Any] = {
        "epilogue_fusion": True,
        "max_fusion_size": 64,
        "aggressive_fusion": False,
        "split_reductions": False,
        "disabled_passes": "",
        "cpp": cpp,
        "get_config_copy": lambda: {"epilogue_fusion": True, "cpp.simdlen": None},
    }
    return SimpleNamespace(**{**usual, **changes})


def test_only_what_a_version_has_and_has_switched_on_is_offered() -> None:
    names = torch_passes.names(inductor())
    assert {"epilogue_fusion", "cpp.weight_prepack", "fusion", "vectorisation"} <= set(names)
    assert "remove_noop_ops" in names
    assert not {"split_reductions", "aggressive_fusion", "pattern_matcher"} & set(names)
    older = inductor()
    del older.disabled_passes
    assert "remove_noop_ops" not in torch_passes.names(older)


def test_passes_are_switched_off_each_in_its_way() -> None:
    config = inductor()
    left = ("cpp.weight_prepack", "fusion", "remove_noop_ops", "remove_assert_ops")
    torch_passes.apply("torch.compile", config, given(disabled_passes=left))
    assert (config.cpp.weight_prepack, config.max_fusion_size) == (False, 1)
    assert config.disabled_passes == "remove_assert_ops,remove_noop_ops"
    assert config.epilogue_fusion is True


def test_no_passes_leaves_out_all_that_are_offered() -> None:
    config = inductor()
    torch_passes.apply("torch.compile", config, given(passes=()))
    assert (config.epilogue_fusion, config.cpp.simdlen, config.max_fusion_size) == (False, 1, 1)
    assert len(config.disabled_passes.split(",")) == 7


def test_names_over_graphs_are_no_parts_of_each_other() -> None:
    """Inductor looks for a name anywhere in the text that it is given."""
    names = torch_passes._OVER_GRAPHS
    assert [(a, b) for a in names for b in names if a != b and a in b] == []


def test_flags_are_set_by_inductors_own_names() -> None:
    config = inductor()
    flags = {"cpp.simdlen": 256, "aggressive_fusion": True, "max_fusion_size": 8}
    torch_passes.apply("torch.compile", config, given(flags=flags))
    assert (config.cpp.simdlen, config.aggressive_fusion, config.max_fusion_size) == (256, True, 8)


def test_a_switch_is_turned_off_where_a_version_has_it() -> None:
    config = inductor()
    torch_passes.switch_off(config, "cpp.weight_prepack")
    torch_passes.switch_off(config, "aot_inductor.precompile_headers")
    assert config.cpp.weight_prepack is False
    assert not hasattr(config, "aot_inductor")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"epilog_fusion": True}, "did you mean epilogue_fusion"),
        ({"cpp._secret": 2}, "has no 'cpp._secret'"),
        ({"aggressive_fusion": 1}, "a bool|bool, such as False"),
        ({"freezing": True}, "give the setting freezing"),
        ({"cpp.threads": 4}, "give the axis threads"),
    ],
)
def test_a_flag_that_is_unknown_or_decided_elsewhere_is_refused(
    flags: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        torch_passes.apply("torch.compile", inductor(), given(flags=flags))
    assert caught.value.kind == "unsupported"


class Script:
    """TorchScript's passes, which note their calls; the first changes something once."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.frozen: list[bool] = []

    def __getattr__(self, name: str) -> Callable[[Any], bool]:
        def run(graph: Any) -> bool:
            assert graph == "graph"
            self.calls.append(name.removeprefix("_jit_pass_"))
            return len(self.calls) == 1

        return run


@pytest.fixture
def script(with_framework: Callable[..., ModuleType]) -> tuple[ModuleType, Script]:
    passes = Script()
    torch = fake.fake_torch()
    torch.__dict__["_C"] = passes

    def freeze(module: Any, *, optimize_numerics: bool) -> Any:
        passes.frozen.append(optimize_numerics)
        return module

    torch.__dict__["jit"] = SimpleNamespace(freeze=freeze)
    return with_framework("runner.support.torch_script_passes", torch=torch), passes


def test_folding_passes_run_until_nothing_changes_and_others_once_after_them(
    script: tuple[ModuleType, Script],
) -> None:
    module, passes = script
    traced = SimpleNamespace(eval=lambda: SimpleNamespace(graph="graph"))
    module.freeze(traced, ("fold_conv_bn", "convert_to_mkldnn"))
    assert passes.frozen == [False]
    folding = ["fold_frozen_conv_bn"] * 2
    assert passes.calls == [*folding, "convert_frozen_ops_to_mkldnn"]


def test_what_torchscript_keeps_depends_on_what_it_optimises_for(
    script: tuple[ModuleType, Script],
) -> None:
    module, _ = script
    usual = {"freeze": True, "optimize_for_inference": False}
    assert module.kept("torch.jit", given(**usual)) is None
    assert module.kept("torch.jit", given(**usual, disabled_passes=("fold_conv_bn",))) == (
        "fold_conv_add_or_sub",
        "fold_conv_mul_or_div",
        "fold_linear_bn",
    )
    assert module.kept("torch.jit", given(**usual, passes=())) == ()
    with pytest.raises(RunnerError, match="one of optimize_for_inference"):
        module.kept("torch.jit", given(**usual, passes=("convert_to_mkldnn",)))
    with pytest.raises(RunnerError, match="over frozen graphs only"):
        module.kept("torch.jit", given(**{**usual, "freeze": False}, passes=()))
