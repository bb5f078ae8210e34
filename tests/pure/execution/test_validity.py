"""Which sessions are believed: made-up ones, as quiet or as disturbed as a test wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.execution.standing import OF_THE_MOMENT
from harness.execution.validity import judge

MS = 1_000_000
ROUND_NS = 250 * MS


class Session:
    """A session on a shared virtual machine, from a seed.

    Each cell's query takes 10 ms and often a little more, and each round's level wanders by 2 %.
    A share of the turns meets `bursts` of other work. In `hogged` rounds one leased core is shared
    by halves with another program.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        rounds: int = 16,
        queries: int = 25,
        bursts: float = 0.02,
        cores: int = 1,
        hogged: frozenset[int] = frozenset(),
        keys: tuple[str, ...] = ("a", "b", "control"),
    ) -> None:
        chance = np.random.default_rng(seed)
        self.document: dict[str, Any] = {
            "schema_version": 2,
            "scenario": "single_stream",
            "members": [{"key": key, "position": at} for at, key in enumerate(keys)],
            "reference": "a",
            "control": "control",
            "cores": list(range(1, cores + 1)),
            "warmup": {key: {"steady": True} for key in keys},
            "turns": [],
            "outputs_equal": {key: {"equal": True, "max_abs_diff": 0.0} for key in keys},
            "min_queries": 100,
            "min_ns": 2_000_000_000,
            "control_bound": 0.05,
        }
        self.samples: list[dict[str, Any]] = []
        self.times: dict[tuple[str, int], NDArray[np.float64]] = {}
        self.keys = keys
        now = 0
        for number in range(rounds):
            for key in keys if number % 2 == 0 else keys[::-1]:
                slow = 2.0 if number in hogged else 1.0
                level = 10 * MS * slow * np.exp(chance.normal(0, 0.02))
                spread = 1 + chance.exponential(0.05, queries)
                self.times[key, number] = level * spread
                own = int(ROUND_NS * cores)
                wall = int(ROUND_NS * slow)
                # Some turns meet a burst; the rest is what a system does by itself.
                burst = 0.3 if chance.random() < bursts else chance.uniform(0, 0.03)
                waited = (wall - ROUND_NS) + int(burst * wall)
                # The other cores of the cell spin while they wait for the one that is shared.
                own += (wall - ROUND_NS) * (cores - 1)
                steps = chance.uniform(-10 * MS, 10 * MS, cores).sum()
                self.document["turns"].append(
                    {
                        "key": key,
                        "round": number,
                        "start_ns": now,
                        "end_ns": now + wall,
                        "cpu_ns": own,
                        "wait_ns": int(waited + chance.uniform(0, 0.02) * wall),
                        "idle_cpu_ns": int(chance.uniform(0, 3 * MS)),
                        "busy_ns": int(own + waited + steps),
                        "steal_ns": int(chance.choice([0, 0, 0, 10 * MS])),
                        "frozen": False,
                    }
                )
                self.samples.append({"t_ns": now + wall // 2, "load": 1.0})
                now += wall

    def turns(self, key: str) -> list[dict[str, Any]]:
        return [turn for turn in self.document["turns"] if turn["key"] == key]

    def slow(self, key: str, factors: dict[int, float]) -> None:
        for number, factor in factors.items():
            self.times[key, number] = self.times[key, number] * factor

    def judged(self) -> dict[str, Any]:
        where = {key: at for at, key in enumerate(self.keys)}
        return judge(
            self.document,
            np.concatenate([np.full(len(ns), number) for (_, number), ns in self.times.items()]),
            np.concatenate([np.full(len(ns), where[key]) for (key, _), ns in self.times.items()]),
            np.concatenate(list(self.times.values())).astype(np.int64),
            self.samples,
        )

    def kinds(self, key: str | None = None) -> list[str]:
        judged = self.judged()
        reasons = judged["session"] if key is None else judged["cells"][key]["reasons"]
        return [reason["kind"] for reason in reasons]

    def message(self, key: str | None = None) -> str:
        judged = self.judged()
        (reason,) = judged["session"] if key is None else judged["cells"][key]["reasons"]
        return str(reason["message"])


def test_a_quiet_session_is_valid() -> None:
    judged = Session().judged()
    assert judged["session"] == []
    assert judged["cells"] == {key: {"valid": True, "reasons": []} for key in ("a", "b", "control")}


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_ordinary_noise_is_nearly_always_valid(cores: int) -> None:
    sessions = [Session(seed, cores=cores).judged() for seed in range(40)]
    bad = [s for s in sessions if not all(cell["valid"] for cell in s["cells"].values())]
    # Each has three cells and the control, each with several kinds of reasons.
    assert len(bad) <= 1, bad


@pytest.mark.parametrize("cores", [1, 2, 8])
@pytest.mark.parametrize("seed", range(5))
def test_a_hog_beside_a_core_for_a_third_of_the_rounds_is_a_busy_machine(
    seed: int, cores: int
) -> None:
    session = Session(seed, cores=cores, hogged=frozenset(range(5, 10)))
    judged = session.judged()
    for key in session.keys:
        assert not judged["cells"][key]["valid"]
        assert [r["kind"] for r in judged["cells"][key]["reasons"]] == ["busy-machine"]


def test_a_busy_machine_says_how_busy_and_what_to_do() -> None:
    message = Session(1, hogged=frozenset(range(5, 10))).message("b")
    assert message.startswith("In 5 of 16 turns other programs used 5")
    assert "its threads waited for a core 5" in message
    assert "more than 10% in more than 20% of the turns" in message
    assert "End what else runs" in message


def test_a_neighbour_that_stays_for_all_rounds_is_seen_too() -> None:
    assert Session(hogged=frozenset(range(16))).kinds("a") == ["busy-machine"]


def test_only_the_cell_whose_turns_suffered_is_busy() -> None:
    session = Session()
    for turn in session.turns("b")[:6]:
        turn["busy_ns"] += 100 * MS
    judged = session.judged()
    assert [cell["valid"] for cell in judged["cells"].values()] == [True, False, True]


def test_three_disturbed_rounds_of_sixteen_are_forgiven() -> None:
    session = Session(bursts=0)
    for turn in session.turns("b")[:3]:
        turn["busy_ns"] += 100 * MS
    assert session.kinds("b") == []
    session.turns("b")[3]["busy_ns"] += 100 * MS
    assert session.kinds("b") == ["busy-machine"]


def test_threads_of_a_cell_that_wait_for_each_other_in_all_rounds_are_no_neighbours() -> None:
    session = Session()
    for turn in session.turns("b"):
        turn["wait_ns"] += int(0.8 * ROUND_NS)
    assert session.kinds("b") == []


def test_waiting_alone_tells_where_the_kernel_shows_no_cores() -> None:
    session = Session(hogged=frozenset(range(5, 10)))
    for turn in session.document["turns"]:
        turn["busy_ns"] = None
    assert session.kinds("b") == ["busy-machine"]
    judged = session.judged()
    assert "other programs used" not in judged["cells"]["b"]["reasons"][0]["message"]
    assert any("beside all cells all the time" in text for text in judged["unjudged"])


def test_busy_time_alone_tells_where_the_kernel_counts_no_waiting() -> None:
    session = Session(hogged=frozenset(range(5, 10)))
    for turn in session.document["turns"]:
        turn["wait_ns"] = None
    assert session.kinds("b") == ["busy-machine"]
    assert "waited" not in session.message("b")


def test_counters_that_do_not_show_the_cell_itself_are_not_believed() -> None:
    session = Session()
    for turn in session.document["turns"]:
        turn["busy_ns"] = 0
    judged = session.judged()
    assert judged["cells"]["a"]["valid"]
    assert any("do not even show the cell's own work" in text for text in judged["unjudged"])


def test_stolen_time_is_told_apart_from_programs() -> None:
    session = Session()
    for turn in session.turns("b")[2:8]:
        turn["steal_ns"] = 120 * MS
    assert session.kinds("b") == ["stolen"]
    assert session.kinds("a") == []
    assert "In 6 of 16 turns" in session.message("b")
    assert "(48% of it in those)" in session.message("b")


def test_a_cell_that_computes_while_it_should_wait_spins() -> None:
    session = Session()
    for turn in session.turns("b"):
        turn["idle_cpu_ns"] = 400 * MS
    session.document["not_frozen"] = {"b": "its container cannot be paused."}
    message = session.message("b")
    assert session.kinds("b") == ["spinning"]
    assert session.kinds("a") == []
    # It waited through the turns of two others, or for none where it ended a round and began one.
    assert "80% of a core" in message
    assert "OMP_WAIT_POLICY" in message
    assert message.endswith("It could not be stopped meanwhile: its container cannot be paused.")


def test_one_that_was_frozen_after_its_first_rounds_is_forgiven() -> None:
    session = Session()
    for turn in session.turns("b")[:3]:
        turn["idle_cpu_ns"] = 400 * MS
    assert session.kinds("b") == []


def test_a_trend_through_the_rounds_is_drift() -> None:
    session = Session()
    session.slow("b", {number: 1 + 0.25 * number / 15 for number in range(16)})
    assert session.kinds("b") == ["drift"]
    assert session.kinds("a") == []
    assert "rise by 2" in session.message("b")
    assert "more than 10%" in session.message("b")


def test_times_that_fall_are_drift_too() -> None:
    session = Session()
    session.slow("b", {number: 1.3 - 0.3 * number / 15 for number in range(16)})
    assert "drift" in session.kinds("b")


def test_a_drift_that_all_share_is_told_apart_from_one_of_a_cell() -> None:
    session = Session()
    for key in session.keys:
        session.slow(key, {number: 1 + 0.25 * number / 15 for number in range(16)})
    assert [session.kinds(key) for key in session.keys] == [["shared-drift"]] * 3
    assert "All cells drift alike, so their ratios hold" in session.message("b")
    session.slow("b", {number: 1 + 0.2 * number / 15 for number in range(16)})
    assert session.kinds("b") == ["drift"]
    alone = Session(keys=("a",))
    alone.slow("a", {number: 1 + 0.25 * number / 15 for number in range(16)})
    assert alone.kinds("a") == ["drift"]


def test_a_small_trend_and_a_few_outlying_rounds_are_none() -> None:
    session = Session()
    session.slow("b", {number: 1 + 0.05 * number / 15 for number in range(16)})
    session.slow("a", {13: 1.8, 15: 1.8})
    session.slow("control", {13: 1.8, 15: 1.8})
    assert session.kinds("b") == []
    assert session.kinds("a") == []


def test_a_warm_up_that_ended_early_is_judged_by_the_first_rounds() -> None:
    session = Session()
    session.document["warmup"]["b"]["steady"] = False
    assert session.kinds("b") == []
    session.slow("b", dict.fromkeys(range(4), 1.08))
    assert session.kinds("b") == ["not-steady"]
    assert "first 4 rounds are " in session.message("b")
    session.document["warmup"]["b"]["steady"] = True
    assert session.kinds("b") == []


def test_of_fresh_processes_what_is_left_of_a_warm_up_is_looked_for_in_each_round() -> None:
    session = Session()
    session.document.update(fresh_processes=True, starts={})
    for key in session.keys:
        steady = key != "b"
        session.document["starts"][key] = [{"round": n, "steady": steady} for n in range(16)]
    for times in (session.times[key, n] for key in ("a", "b") for n in range(16)):
        times.sort()
        times[:] = times[::-1]
    assert session.kinds("b") == ["not-steady"]
    assert "In 16 rounds its warm-up ended before" in session.message("b")
    # One that was steady when its rounds began may be as uneven as it likes.
    assert session.kinds("a") == []
    for number in range(16):
        session.times["b", number] = session.times["b", number][::-1][np.arange(25) * 7 % 25]
    assert session.kinds("b") == []


def test_the_slices_of_a_turn_are_its_length_and_the_time_between_them_is_not() -> None:
    """Cut in ten, its counters are wrong by more, and a program that takes half of it stands out."""
    for hogged, kinds in ((frozenset(), []), (frozenset({0, 4, 7, 11, 15}), ["busy-machine"])):
        session = Session(hogged=hogged)
        for turn in session.document["turns"]:
            wall = turn["end_ns"] - turn["start_ns"]
            starts = [turn["start_ns"] + 2 * part * wall // 10 for part in range(10)]
            turn["slices"] = [[start, start + wall // 10] for start in starts]
            turn["end_ns"] = turn["slices"][-1][1]
            turn["idle_ns"] = 9 * wall // 10
        assert session.kinds("a") == kinds


def test_fewer_than_fifteen_rounds_are_too_few() -> None:
    assert Session(rounds=15).kinds("a") == []
    assert Session(rounds=14).kinds("a") == ["too-few-rounds"]
    assert "14 rounds, and fewer than 15" in Session(rounds=14).message("a")


def test_fewer_queries_than_asked_for_or_needed_are_too_few() -> None:
    session = Session(queries=6)
    session.document["min_ns"] = 0
    assert session.kinds("a") == ["too-few-samples"]
    assert "96 times, and 100 are needed" in session.message("a")
    session.document["min_queries"] = 10
    assert session.kinds("a") == []
    session = Session(queries=3)
    session.document.update(min_ns=0, min_queries=10)
    assert "48 times, and 64 are needed to know a 90th percentile" in session.message("a")


def test_rounds_that_a_slow_warm_up_made_too_short_are_taken_again() -> None:
    session = Session(queries=5)
    session.document["min_queries"] = 64
    assert session.kinds("a") == ["not-steady"]
    assert "0.84 s in all, and 2 s were asked for" in session.message("a")
    assert set(session.kinds("a")) <= OF_THE_MOMENT


def test_offline_every_image_of_a_batch_is_a_query() -> None:
    session = Session(queries=3)
    session.document.update(scenario="offline", min_ns=0, batch={"a": 16, "b": 16, "control": 1})
    assert session.kinds("a") == []
    assert session.kinds("control") == ["too-few-samples"]


def test_a_control_that_differs_from_itself_concerns_the_session() -> None:
    session = Session()
    session.slow("control", dict.fromkeys(range(16), 1.08))
    judged = session.judged()
    assert session.kinds() == ["control-off"]
    assert "takes 1.08" in session.message()
    assert "more than 5%" in session.message()
    assert not any(cell["valid"] for cell in judged["cells"].values())
    assert all(cell["reasons"] == [] for cell in judged["cells"].values())


def test_the_bound_of_the_control_is_the_sessions_own() -> None:
    session = Session()
    session.slow("control", dict.fromkeys(range(16), 1.08))
    session.document["control_bound"] = 0.10
    assert session.kinds() == []


def test_a_control_as_noisy_as_its_difference_is_not_off() -> None:
    session = Session()
    session.slow("control", {number: 2.0 if number % 4 == 0 else 0.9 for number in range(16)})
    assert session.kinds() == []


def test_a_session_without_a_control_says_that_it_has_none() -> None:
    session = Session()
    session.document["control"] = None
    judged = session.judged()
    assert judged["session"] == []
    assert (
        "the control (A/A): the session has no control that was timed in all rounds"
        in judged["unjudged"]
    )


def test_outputs_that_are_not_those_of_the_answers_are_a_reason() -> None:
    session = Session()
    session.document["outputs_equal"]["b"] = {"equal": False, "max_abs_diff": 0.25}
    session.document["outputs_equal"]["a"] = {"absent": "it keeps none"}
    judged = session.judged()
    assert session.kinds("b") == ["unequal-outputs"]
    assert "differ by up to 0.25" in session.message("b")
    assert judged["cells"]["a"]["valid"]
    assert "outputs of a: it keeps none" in judged["unjudged"]


def clocked(mhz: list[float]) -> Session:
    """A session whose samples hold these clocks, in order and again."""
    session = Session()
    for at, sample in enumerate(session.samples):
        sample["mhz"] = {"1": mhz[at % len(mhz)]}
    return session


def test_clocks_that_stay_within_a_few_percent_are_well() -> None:
    assert clocked([3000.0, 2900.0, 3100.0]).kinds() == []


def test_clocks_that_fall_in_the_middle_are_changed() -> None:
    session = clocked([3000.0])
    for sample in session.samples[30:]:
        sample["mhz"] = {"1": 2400.0}
    assert session.kinds() == ["clocks-changed"]
    assert "from 2400 to 3000 MHz: 18 of 48 samples" in session.message()


def test_a_cell_may_have_a_clock_of_its_own() -> None:
    """Wide vector instructions lower it: that is the cell's, and the machine has not changed."""
    session = Session()
    for sample, turn in zip(session.samples, session.document["turns"], strict=True):
        sample["mhz"] = {"1": 2400.0 if turn["key"] == "b" else 3000.0}
    assert session.kinds() == []


def test_throttling_of_the_processor_is_counted() -> None:
    session = Session()
    for at, sample in enumerate(session.samples):
        sample["throttle_count"] = 100 + max(0, at - 40)
    assert session.kinds() == ["throttled"]
    assert "slowed 7 times" in session.message()
    for at, sample in enumerate(session.samples):
        sample["throttle_count"] = 100 + max(0, at - 44)
    assert session.kinds() == []


@pytest.mark.parametrize(
    ("working", "kinds"), [(3000.0, []), (2000.0, ["clocks-changed"])], ids=["steady", "held back"]
)
def test_only_clocks_of_cores_that_work_count(working: float, kinds: list[str]) -> None:
    """Leased for a cell of eight threads, the others sleep while one of a single thread runs."""
    session = clocked([3000.0])
    chance = np.random.default_rng(3)
    for at, sample in enumerate(session.samples):
        asleep = {str(core): chance.uniform(800, 3000) for core in range(2, 9)}
        sample["mhz"] = {"1": working if at % 3 == 0 else 3000.0, **asleep}
        sample["busy_ns"] = {"1": 500 * MS, **dict.fromkeys(asleep, 0)}
    assert session.kinds() == kinds


def gpu_session(**each: list[Any]) -> Session:
    session = Session()
    for at, sample in enumerate(session.samples):
        sample["gpu"] = {name: values[at % len(values)] for name, values in each.items()}
    return session


def test_a_gpu_at_its_power_limit_is_not_throttled() -> None:
    assert gpu_session(sm_mhz=[1900], throttle_reasons=[0x4], utilisation=[99]).kinds() == []


def test_a_gpu_that_is_too_hot_is_throttled_with_the_reason_in_words() -> None:
    session = gpu_session(sm_mhz=[1900], throttle_reasons=[0x4, 0x4, 0x44, 0x20])
    assert session.kinds() == ["throttled"]
    message = session.message()
    assert "24 of 48 samples: too hot (slowed by the driver), too hot (slowed by the" in message
    assert "mask 0x60" in message


def test_an_idle_gpu_may_lower_its_clocks() -> None:
    session = gpu_session(sm_mhz=[1900, 210], throttle_reasons=[0, 0x9], utilisation=[99, 0])
    assert session.kinds() == []


def test_a_gpu_whose_clock_moves_at_work_is_not_believed() -> None:
    session = gpu_session(sm_mhz=[1900, 1900, 1400], throttle_reasons=[0, 0, 0x4])
    for sample, turn in zip(session.samples, session.document["turns"], strict=True):
        sample["gpu"]["sm_mhz"] = 1400 if turn["round"] > 10 else 1900
    assert session.kinds() == ["clocks-changed"]
    assert "The GPU's clock went from 1400 to 1900 MHz" in session.message()


@pytest.mark.parametrize(("loaded", "kinds"), [(range(10, 30), ["busy-machine"]), (range(8), [])])
def test_a_load_on_the_second_hardware_thread_makes_the_machine_busy(
    loaded: range, kinds: list[str]
) -> None:
    session = Session()
    for at in range(1, len(session.samples)):
        elapsed = session.samples[at]["t_ns"] - session.samples[at - 1]["t_ns"]
        share = 0.9 if at in loaded else 0.05
        session.samples[at]["sibling_busy_ns"] = {"3": int(share * elapsed)}
    assert session.kinds() == kinds
    if kinds:
        assert "In 20 of 47 samples other programs used 90%" in session.message()


def test_what_a_machine_does_not_show_is_said_with_its_reason() -> None:
    session = Session()
    session.samples[0]["absent"] = {"mhz": "no cpufreq here", "gpu": "the driver is gone"}
    unjudged = session.judged()["unjudged"]
    assert "clocks: no cpufreq here" in unjudged
    assert "clocks of the GPU: the driver is gone" in unjudged
    assert "throttling of the processor: this machine does not show it" in unjudged


def test_a_session_that_recorded_next_to_nothing_is_judged_by_its_rounds_alone() -> None:
    session = Session()
    session.samples = []
    session.document = {"members": session.document["members"]}
    judged = session.judged()
    assert all(cell["valid"] for cell in judged["cells"].values())
    assert judged["session"] == []
    assert judged["unjudged"] == [
        "the warm-up: the session does not say how it ended",
        "other programs on the cores of all cells: neither their busy time nor the cell's waiting "
        "time was recorded",
        "steal time of all cells: the kernel does not show it",
        "what all cells did while others had their turn: it was not recorded",
        "throttling of the processor: no samples of the machine were taken",
        "clocks: no samples of the machine were taken",
        "the control (A/A): the session has no control that was timed in all rounds",
        "outputs of all cells: they were not looked at",
    ]


def test_a_session_of_nothing_is_judged() -> None:
    none = np.empty(0, dtype=np.int64)
    assert judge({}, none, none, none, [])["cells"] == {}
