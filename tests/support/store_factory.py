"""A synthetic store in the layout that sweeps write, for tests that run no model."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from harness.canonical import key_of, write_json
from harness.execution.bundles import answers_folder, inputs_folder, seal, session_folder


@dataclass
class StoreFactory:
    """Writes bundles one by one; what it writes can be read back by `harness.store`."""

    root: Path
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)

    def inputs(
        self,
        count: int,
        labels: Sequence[int | None] | None = None,
        *,
        names: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        excluded: Sequence[tuple[str, str]] = (),
        salt: str = "",
        seed: str = "",
        images_key: str = "",
    ) -> str:
        """An inputs bundle; `salt` changes the key, `seed` the image hashes.

        `images_key` says that the images are the same, whoever made their pixels.
        """
        names = list(names or [f"images/{i:05d}.png" for i in range(count)])
        labels = list(labels) if labels is not None else [None] * count
        key = key_of({"names": names, "labels": labels, "salt": salt, "seed": seed})
        folder = inputs_folder(self.root, key)
        if folder.exists():
            return key
        folder.mkdir(parents=True)
        described = None
        if classes is not None:
            described = [
                {"index": i, "wnid": f"n{i:08d}", "name": name} for i, name in enumerate(classes)
            ]
        write_json(
            folder / "inputs.json",
            {
                "schema_version": 1,
                "key": key,
                "pixels_key": key_of({"names": names, "salt": salt, "seed": seed}),
                **({"images_key": images_key} if images_key else {}),
                "kind": "pixels",
                "layout": "unlabelled" if labels[0] is None else "labelled-files",
                "count": count,
                "excluded": [{"name": n, "reason": r} for n, r in excluded],
                "classes": described,
                "recipe": {"name": "tf"},
            },
        )
        shas = [hashlib.sha256(f"{seed}{name}".encode()).hexdigest() for name in names]
        _parquet(
            folder / "images.parquet",
            "CREATE TABLE t (image INTEGER, name VARCHAR, sha256 VARCHAR, label INTEGER)",
            [(i, names[i], shas[i], labels[i]) for i in range(count)],
        )
        seal(folder)
        return key

    def cell(
        self,
        inputs_key: str,
        outputs: Sequence[np.ndarray],
        *,
        model: str = "mobilenet",
        environment: str = "onnxruntime-1.17",
        backend: str = "onnxruntime",
        settings: dict[str, Any] | None = None,
        scores: int | None = 0,
        kind: str = "logits",
        class_offset: int = 0,
        role: str = "cell",
        precision: str = "f32",
        threads: int = 1,
        repeat: int = 0,
        sha256: str = "",
        names: Sequence[str] | None = None,
        identity: dict[str, Any] | None = None,
        told: dict[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """An answers bundle with these outputs [N, ...]; `scores` is the index of class scores.

        `told` adds to answers.json what a runner told (`compiled`), `more` to the cell's columns.
        """
        columns = {
            "model": model,
            "environment": environment,
            "stack": environment.rpartition("-")[0],
            "version": environment.rpartition("-")[2],
            "backend": backend,
            "settings": settings or {},
            "precision": precision,
            "device": "cpu",
            "device_name": "Some CPU",
            "threads": threads,
            "batch": 1,
            "executor": "venv",
            "repeat": repeat,
            "role": role,
            "route": "onnx",
            "inputs_key": inputs_key,
            **more,
        }
        checkpoint = {
            "class_offset": class_offset,
            "output": "auto",
            "format": "onnx",
            "sha256": sha256 or key_of(model),
        }
        key = key_of({**columns, "checkpoint": checkpoint, "identity": identity})
        folder = answers_folder(self.root, key)
        folder.mkdir(parents=True)
        described = []
        for index, values in enumerate(outputs):
            file = "logits.npy" if index == scores else f"output_{index}.npy"
            np.save(folder / file, values)
            name = names[index] if names else f"output{index}"
            described.append(
                {
                    "index": index,
                    "name": name,
                    "dtype": str(values.dtype),
                    "shape": list(values.shape),
                    "file": file,
                }
            )
        write_json(
            folder / "answers.json",
            {
                "schema_version": 1,
                "outputs": described,
                "scores": scores,
                "kind": kind,
                "kind_source": "declared",
                "nonfinite": int(sum((~np.isfinite(v)).sum() for v in outputs)),
                "load_ns": 40_000_000,
                "compile_ns": 12_000_000,
                "first_inference_ns": 9_000_000,
                "duration_ns": 1_000_000_000,
                "ran": {"providers": ["CPUExecutionProvider"], "precision": precision},
                **(told or {}),
            },
        )
        write_json(
            folder / "cell.json",
            {
                "schema_version": 1,
                "key": key,
                "identity": identity or {},
                **columns,
                "checkpoint": checkpoint,
            },
        )
        write_json(
            folder / "environment.json",
            {
                "schema_version": 1,
                "python": "3.11.9",
                "packages": {"numpy": "2.1.0", columns["stack"]: columns["version"]},
                "lock_sha256": key_of(environment),
                "cpu": {"model": "Some CPU", "cores": 2},
            },
        )
        (folder / "log.txt").write_text("loaded\n", encoding="utf-8")
        if scores is not None:
            _topk(folder / "topk.parquet", outputs[scores], class_offset)
        seal(folder)
        self.cells[key] = {"key": key, **columns, "checkpoint": checkpoint}
        return key

    def session(
        self,
        durations_ns: dict[str, np.ndarray],
        *,
        session_id: str = "session-1",
        control: str | None = None,
        created: str = "2026-01-01T00:00:00Z",
        **more: Any,
    ) -> str:
        """A session; `durations_ns` gives for each cell int [rounds, iterations].

        `more` adds to its document: `scenario`, `batch`, `floor`, `validity` and so on.
        """
        folder = session_folder(self.root, session_id)
        folder.mkdir(parents=True)
        keys = list(durations_ns)
        write_json(
            folder / "session.json",
            {
                "schema_version": 1,
                "id": session_id,
                "members": [{"key": k, "position": i} for i, k in enumerate(keys)],
                "reference": keys[0],
                "control": control,
                "rounds": len(next(iter(durations_ns.values()))),
                "order": [],
                "warmup": {},
                "machine": {},
                "created": created,
                **more,
            },
        )
        _parquet(
            folder / "timings.parquet",
            "CREATE TABLE t (cell VARCHAR, round INTEGER, iteration INTEGER, duration_ns BIGINT)",
            [
                (key, r, i, int(ns))
                for key, table in durations_ns.items()
                for r, row in enumerate(table)
                for i, ns in enumerate(row)
            ],
        )
        seal(folder)
        return session_id

    def sweep(
        self,
        keys: Sequence[str],
        *,
        sweep_id: str = "sweep-1",
        created: str = "2026-01-01T00:00:00Z",
        failed: Sequence[dict[str, Any]] = (),
        failures: Sequence[dict[str, Any]] = (),
        skipped: Sequence[dict[str, Any]] = (),
        sessions: Sequence[str] = (),
        baseline: str | None = None,
        problems: Sequence[dict[str, Any]] = (),
        inputs_key: str | None = None,
        study: bool = False,
    ) -> str:
        """A sweep's document over cells written before; `failed` adds cells without answers.

        `inputs_key` lists the cells with it, as a sweep does that found them finished. One that a
        `study` ran says so.
        """
        again = {"inputs_key": inputs_key} if inputs_key else {}
        cells = [{**self.cells[key], **again, "status": "done"} for key in keys]
        cells += [{**cell, "status": "failed"} for cell in failed]
        path = self.root / "sweeps" / sweep_id / "sweep.json"
        path.parent.mkdir(parents=True)
        write_json(
            path,
            {
                "schema_version": 1,
                "id": sweep_id,
                "created": created,
                "spec": {"models": [{"path": "mobilenet.onnx"}]},
                "cells": cells,
                "skipped": list(skipped),
                "failures": list(failures),
                "sessions": list(sessions),
                "baseline": baseline or (keys[0] if keys else None),
                "problems": list(problems),
                **({"study": True} if study else {}),
            },
        )
        return sweep_id

    def attempt(
        self, key: str, kind: str = "timeout", message: str = "took too long", **cell: Any
    ) -> Path:
        """A failed attempt; `cell` adds to what is known of its cell."""
        folder = self.root / "attempts" / key / "20260101T000000-abcd"
        folder.mkdir(parents=True)
        write_json(
            folder / "attempt.json",
            {
                "schema_version": 1,
                "key": key,
                "kind": kind,
                "message": message,
                "detail": "",
                "exit_status": None,
                "signal": 9,
                "started": "2026-01-01T00:00:00Z",
                "ended": "2026-01-01T00:01:00Z",
                "cell": {"model": "m", "environment": "e", "backend": "b", **cell},
            },
        )
        return folder

    def damage(self, key: str) -> None:
        """Cut the logits of a cell short."""
        path = answers_folder(self.root, key) / "logits.npy"
        path.write_bytes(path.read_bytes()[:-4])

    def remove(self, key: str) -> None:
        """Remove a cell's bundle."""
        shutil.rmtree(answers_folder(self.root, key))


def logits(count: int, classes: int, seed: int = 0) -> np.ndarray:
    """Seeded scores, float32 [count, classes]."""
    return np.random.default_rng(seed).normal(0, 3, (count, classes)).astype(np.float32)


def flip_first(scores: np.ndarray, number: int) -> np.ndarray:
    """The same scores, but the first `number` images have another best class."""
    changed = scores.copy()
    for row in range(number):
        best = changed[row].argmax()
        other = (best + 1) % changed.shape[1]
        changed[row, other] = changed[row, best] + 0.5
    return changed


def _topk(path: Path, scores: np.ndarray, class_offset: int) -> None:
    space = scores.reshape(len(scores), -1)[:, class_offset:]
    k = min(10, space.shape[1])
    order = np.argsort(-space, axis=1, kind="stable")[:, :k]
    rows = [
        (image, rank, int(c), float(space[image, c]))
        for image, classes in enumerate(order)
        for rank, c in enumerate(classes)
    ]
    _parquet(path, "CREATE TABLE t (image INTEGER, rank INTEGER, class INTEGER, score FLOAT)", rows)


def _parquet(path: Path, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.execute(table)
        if rows:
            names = [c[0] for c in connection.execute("SELECT * FROM t").description or []]
            columns = {n: list(c) for n, c in zip(names, zip(*rows, strict=True), strict=True)}
            selected = ", ".join(f"unnest(${n})" for n in names)
            connection.execute(f"INSERT INTO t SELECT {selected}", columns)
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
