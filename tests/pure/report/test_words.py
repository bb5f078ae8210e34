"""Numbers and cells in words."""

from __future__ import annotations

import pytest

from harness.report import words


def cell(key: str, **columns: object) -> dict[str, object]:
    base = {"key": key, "model": "m", "environment": "e-1", "backend": "b", "settings": {}}
    return {**base, "precision": "f32", "threads": 1, "batch": 1, "role": "cell", **columns}


def test_numbers() -> None:
    assert words.count(50000) == "50,000"
    assert [words.percent(v) for v in (0, 0.004, 0.3, 0.00001, None)] == [
        "0 %",
        "0.40 %",
        "30.0 %",
        "0.001 %",
        "\u2013",
    ]
    assert [words.duration(v) for v in (512, 5.41e6, 14.5e6, 2.5e9, 1.2e5, None)] == [
        "512 ns",
        "5.41 ms",
        "14.5 ms",
        "2.50 s",
        "120 µs",
        "\u2013",
    ]
    assert [words.ratio(v) for v in (1.0444, 1.3, 0.9, 0.9996, None)] == [
        "1.044\u00d7",
        "1.30\u00d7",
        "0.90\u00d7",
        "1.000\u00d7",
        "\u2013",
    ]
    assert words.interval(0.998, 1.2149) == "0.998 to 1.21"
    assert [words.rate(v) for v in (12345.6, 123.456, 1.234, None)] == [
        "12,346",
        "123",
        "1.23",
        "\u2013",
    ]
    assert [words.p_value(v) for v in (0.0341, 3.14e-5, None)] == ["0.034", "3.1e-05", "\u2013"]
    assert words.interval(1.02, None) == "\u2013"
    assert words.difference(0.0, identical=True) == "bit-identical"
    assert [words.plural(n, "cell") for n in (0, 1, 2, 1000)] == [
        "0 cells",
        "1 cell",
        "2 cells",
        "1,000 cells",
    ]
    assert words.moment("2026-11-21T15:23:52.040+01:00") == "2026-11-21 14:23 UTC"
    assert words.moment("yesterday") == "yesterday"
    assert words.size(3 * 2**20) == "3.0 MiB"


def test_an_environment_with_one_cell_is_its_name() -> None:
    assert words.names([cell("a"), cell("b", environment="e-2", settings={"level": "all"})]) == {
        "a": "e-1",
        "b": "e-2",
    }


def test_cells_of_one_environment_are_told_apart_by_what_differs() -> None:
    found = words.names(
        [
            cell("a", settings={"level": "all", "same": 1}),
            cell("b", settings={"level": "basic", "same": 1}),
            cell("c", settings={"same": 1}, precision="default"),
        ]
    )
    assert found == {
        "a": "e-1, level=all, f32 precision",
        "b": "e-1, level=basic, f32 precision",
        "c": "e-1, no settings, default precision",
    }


def test_backend_says_what_is_not_usual() -> None:
    assert words.backend(cell("a")) == "b"
    assert words.backend(cell("a", settings={"x": True}, threads=4, precision="default")) == (
        "b · x=true · default precision · 4 threads"
    )


def test_reasons_are_short_and_name_files_without_their_folders() -> None:
    said = "/tmp/a b.c/x/model.onnx: see https://example.org/a/b and '/opt/y/z.py'"
    assert words.reason("no such operator") == "no such operator"
    assert "https://example.org/a/b and 'z.py'" in words.reason(said)
    assert words.reason("word " * 50, 20) == "word word word word …"


def test_why_a_compiled_form_is_not_shown_is_said_without_its_kind() -> None:
    assert words.not_shown("unsupported: keras: it hides it") == "keras: it hides it"
    assert words.not_shown("crash: it died") == "crash: it died"


def test_what_was_asked_of_conversions_is_said_beside_the_backend() -> None:
    asked = {"opset": 17, "quantisation": "float16", "folding": False, "layout": "nhwc"}
    expected = "b · opset 17 · float16 quantisation · not folded · nhwc layout"
    assert words.backend(cell("a", **asked)) == expected
    own = {"opset": "own", "quantisation": "none", "folding": "own", "layout": "own"}
    assert words.backend(cell("a", **own)) == "b"


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.998, 1.21, "0.998 to 1.21"),
        (1.2951, 1.3049, "1.295 to 1.305"),
        (2.0, 2.0, "2.0000 to 2.0000"),
        (None, 1.2, words.NOTHING),
    ],
)
def test_the_ends_of_an_interval_are_told_apart(low: float | None, high: float, told: str) -> None:
    assert words.interval(low, high) == told
