"""What XLA's optimised text says of the kernels that run."""

from __future__ import annotations

from runner.support.xla_hlo import operators

TEXT = """HloModule jit_call, is_scheduled=true

%region_0.1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  ROOT %add.5 = f32[] add(%a, %b)
}

%fused_computation.1 (param_0.1: f32[1,7,7,320], param_1.1: f32[1,1,320,8]) -> f32[1,7,7,8] {
  %param_0.1 = f32[1,7,7,320]{3,2,1,0} parameter(0)
  ROOT %convolution.52 = f32[1,7,7,8]{3,2,1,0} convolution(%param_0.1, %param_1.1), window={size=1x1}
}

ENTRY %main.2 (x.1: f32[1,3,224,224]) -> f32[1,1001] {
  %x.1 = f32[1,3,224,224]{3,2,1,0} parameter(0)
  %constant.1 = f32[32]{0} constant({...})
  %copy_fusion = f32[1,224,224,3]{3,2,1,0} fusion(%x.1), kind=kLoop, calls=%fused_computation.107
  %ynn_fusion.52 = f32[1,7,7,8]{3,2,1,0} fusion(%copy_fusion, %constant.1), kind=kCustom, calls=%fused_computation.1, backend_config={"fusion_config":{"kind":"__ynn_fusion"},"outer_dimension_partitions":[]}
  %cudnn = (f32[1,8]{1,0}, u8[0]{0}) custom-call(%ynn_fusion.52), custom_call_target="__cudnn$convForward"
  %get = f32[1,8]{1,0} get-tuple-element(%cudnn), index=0
  %dot.1 = f32[1,1001]{1,0} dot(%get, %constant.133), lhs_contracting_dims={0}
  ROOT %add_fusion = f32[1,1001]{1,0} fusion(%constant.105, %dot.1), kind=kLoop, calls=%fused_computation.53
}
"""


def test_kernels_are_counted_with_the_library_that_computes_them() -> None:
    assert operators(TEXT) == {
        "loop fusion (XLA)": 2,
        "convolution (YNNPACK)": 1,
        "custom-call (__cudnn$convForward)": 1,
        "dot (XLA)": 1,
    }
