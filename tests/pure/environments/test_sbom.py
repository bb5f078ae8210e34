"""The bill of materials lists every package with its address and its wheel's hash."""

from __future__ import annotations

from harness.environments.environment import Base, environment_of, image_environment_of
from harness.environments.interpreters import running
from harness.environments.sbom import sbom_document
from harness.environments.wheels import Wheel

BASE = Base("local:bookworm", f"sha256:{'1' * 64}", "3.11", "local", "2.36")
PROBE = {
    "python": "3.11.2",
    "packages": {"NumPy": "2.4.6", "onnxruntime": "9.9.0"},
    "distribution": {"id": "debian", "version": "12", "name": "Debian"},
    "system_packages": {"libc6": "2.36-9+deb12u10"},
}
WHEEL = Wheel("numpy", "2.4.6", "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl", "a" * 64)


def test_an_image_lists_python_its_packages_and_debians(make_folder):
    env = image_environment_of(make_folder(), BASE, "2" * 64)
    document = sbom_document(env, PROBE, [WHEEL])
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    parts = {part["name"]: part for part in document["components"]}
    assert parts["NumPy"]["purl"] == "pkg:pypi/numpy@2.4.6"
    assert parts["NumPy"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert "hashes" not in parts["onnxruntime"]
    assert (
        parts["libc6"]["purl"]
        == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12"
    )
    assert parts["python"]["version"] == "3.11.2"
    subject = document["metadata"]["component"]
    assert (subject["name"], subject["type"]) == ("onnxruntime-9.9", "container")
    said = {entry["name"]: entry["value"] for entry in subject["properties"]}
    assert said["harness:identity"] == env.identity
    assert said["harness:base-digest"] == BASE.digest
    whole = next(d for d in document["dependencies"] if d["ref"] == "environment")
    assert len(whole["dependsOn"]) == 4


def test_two_of_the_same_environment_are_equal(make_folder):
    env = image_environment_of(make_folder(), BASE, "2" * 64)
    assert sbom_document(env, PROBE, [WHEEL]) == sbom_document(env, PROBE, [WHEEL])


def test_a_wheel_of_another_version_gives_no_hash(make_folder):
    env = environment_of(make_folder(pythons=(running().minor,)), running())
    probe = {"packages": {"numpy": "2.4.7"}}
    (part,) = sbom_document(env, probe, [WHEEL])["components"]
    assert "hashes" not in part
