from limbeck.audit.statistics.seeds import groups_of, over_seeds
from limbeck.audit.subjects import Panel, Subject


def member(name: str, role: str, method: str, seed: int | None) -> Subject:
    return Subject(name, role, None, method, seed)


def test_networks_without_seeds_or_of_one_seed_all_count():
    panel = Panel(
        member("teacher", "teacher", "", None),
        tuple(member(f"kd{k}", "student", "kd", None) for k in range(3)),
        (member("control-s0", "control", "control", 0), member("again", "control", "control", 0)),
    )
    groups = groups_of(panel)
    assert [sorted(group.values()) for group in groups] == [["again", "control-s0"], ["kd0", "kd1", "kd2"]]
    values = {"kd0": 1.0, "kd1": 2.0, "kd2": 3.0, "control-s0": 0.0, "again": 2.0}
    students, controls = ["kd0", "kd1", "kd2"], ["control-s0", "again"]
    (part,) = over_seeds(values, students, controls, groups, couples=(), per_seed={})
    within = (2.0 + 2.0) / 3  # squares about each group's mean over all degrees of freedom
    assert (part.variance, part.freedom) == (within / 3 + within / 2, 3)
