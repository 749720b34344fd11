"""The studies as data: names, presets, and the papers' numbers."""

import json

import pytest
from typer.testing import CliRunner

from semicon_fast.cli import app
from semicon_fast.studies import catalog, dsh, exchnet, plan, semicon, shc
from semicon_fast.studies.study import RADIUS_2, Ensemble, Features, Missing, Shallow, Train
from semicon_fast.training import presets

STUDIES = list(catalog.STUDIES.values())


def works(work):
    """A work and all that it needs."""
    yield work
    for need in work.needs:
        yield from works(need)


def all_works():
    for study in STUDIES:
        for row in study.rows:
            for work in (row.work, row.small):
                if work is not None:
                    yield from works(work)
                    if isinstance(work, Shallow):
                        yield from works(work.features.of)


def value(study, row, metric="mAP"):
    (found,) = [r for r in catalog.study_of(study).rows if r.name == row]
    return found.published[metric]


def test_every_preset_exists_and_takes_its_settings():
    for work in set(w for w in all_works() if isinstance(w, Train)):
        config = presets.preset(work.preset).override(work.settings)
        from semicon_fast import methods

        methods.build(config.method.name, **config.method.options)


def test_the_networks_of_settings_can_be_built():
    """Options of the network are checked by building it, each kind of change once."""
    from semicon_fast import models

    seen = set()
    for work in all_works():
        if isinstance(work, Train) and work.preset.startswith("folder-small") and work.settings:
            kind = tuple(s.partition("=")[0] for s in work.settings)
            if kind not in seen:
                seen.add(kind)
                model = presets.preset(work.preset).override(work.settings).model
                length = {"network": model.network, "code_length": model.code_length}
                models.build({**length, **model.options}, seed=0)
    assert ("model.options.attention", "model.options.icon") in seen


def test_works_of_one_name_are_the_same():
    """They share a folder, so they must be trained alike; members differ in their seeds alone."""
    known = {}
    for work in all_works():
        if not isinstance(work, Missing):
            same = work
            if isinstance(work, Train):
                same = (work.preset, work.settings, work.start, work.similarity, work.topk)
            assert known.setdefault(work.name, same) == same, work.name


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_rows_have_a_label_for_each_column_and_names_of_their_own(study):
    names = [row.name for row in study.rows]
    assert len(set(names)) == len(names) and study.name == study.name.lower()
    for row in study.rows:
        assert len(row.labels) == len(study.columns), row.name
        assert set(row.published) <= set(study.metrics), row.name
        assert all(0 < score < 1 for score in row.published.values()), row.name
    for figure in study.figures:
        assert {figure.x, figure.line, figure.panel} - {""} <= set(study.columns), figure
        assert figure.kind != "lines" or figure.metric in study.metrics
    assert study.small and study.protocol and study.chosen("small")


def test_what_the_papers_have_is_covered():
    wanted = {"semicon-table1", "semicon-table2", "dsh-figures7-18", "shc-table1", "exchnet-table1"}
    wanted |= {f"semicon-supplement-figure{n}" for n in range(1, 8)}
    wanted |= {f"dsh-table{n}" for n in range(1, 5)} | {f"dsh-figure{n}" for n in range(1, 7)}
    assert wanted <= set(catalog.names())


def test_numbers_of_semicon_are_the_papers():
    assert value("semicon-table1", "cub-12-itq") == 0.068
    assert value("semicon-table1", "cub-48-semicon") == 0.7967
    assert value("semicon-table1", "nabirds-12-a2net") == 0.082
    assert value("semicon-table1", "vegfru-48-exchnet") == 0.693
    assert value("semicon-table2", "aircraft-24-maps") == 0.7014
    assert value("semicon-table2", "food101-32-sem") == 0.8007
    # Section 4.3 gives the improvements over A2-Net at 24 bits on Aircraft and 32 bits on VegFru.
    table = semicon.TABLE1
    assert table["aircraft"][24][7] - table["aircraft"][24][6] == pytest.approx(11.42)
    assert table["vegfru"][32][7] - table["vegfru"][32][6] == pytest.approx(17.17)
    # The two tables agree but for two values of CUB200-2011.
    differing = [
        (data, bits)
        for data in semicon.ABLATED
        for number, bits in enumerate(semicon.BITS)
        if semicon.TABLE2[data]["icon"][number] != table[data][bits][7]
    ]
    assert differing == [("cub", 32), ("cub", 48)]
    for data in semicon.ABLATED:
        columns = [table[data][bits][4] for bits in semicon.BITS]
        assert list(semicon.TABLE2[data]["vanilla"]) == columns


def test_numbers_of_dsh_are_the_papers():
    assert value("dsh-table1", "nuswide-sigmoid-2", RADIUS_2) == 0.5418
    assert value("dsh-table2", "cifar10-finetuned-36", RADIUS_2) == 0.6377
    assert value("dsh-table3", "cifar10-M1-M2-M3-M4") == 0.7106
    assert value("dsh-table3", "nuswide-M2-M3", RADIUS_2) == 0.5776
    assert value("dsh-table4", "ours-cca-itq") == 0.6576
    # One network stands in three tables: alpha = 0.01, 12 bits from scratch, M1.
    assert dsh.TABLE1["alpha-0.01"][1:] == dsh.TABLE2["scratch", 12] == dsh.TABLE3[(1,)][1]


def test_numbers_of_shc_and_exchnet_are_the_papers():
    assert value("shc-table1", "cars-32-vgg16") == 0.8521
    assert value("shc-table1", "imagenet100-64-resnet50") == 0.8982
    assert value("exchnet-table1", "512-L16-N3000", exchnet.PRECISION_AT_10) == 0.7769
    assert all(isinstance(row.work, Missing) for row in catalog.study_of("exchnet-table1").rows)
    assert len(catalog.study_of("shc-table1").rows) == len(shc.TABLE1) * 3 == 27


def test_ensembles_are_made_of_the_networks_of_single_rows():
    study = catalog.study_of("dsh-table3")
    jobs = plan.jobs(study, plan.Setup(plan.Path("out"), {"": "."}, "small"))
    trained = [job for job in jobs if isinstance(job.work, Train)]
    assert [job.config.run.seed for job in trained] == [68, 69, 70, 71]
    assert sum(isinstance(job.work, Ensemble) for job in jobs) == 11
    place = {job.folder: number for number, job in enumerate(jobs)}
    assert all(place[need] < place[job.folder] for job in jobs for need in job.needs)
    (whole,) = [job for job in jobs if job.rows == ("cifar10-M1-M2-M3-M4",)]
    assert [place[need] for need in whole.needs] == [0, 1, 2, 3]


def test_features_come_before_the_methods_that_hash_them():
    study = catalog.study_of("semicon-table1")
    setup = plan.Setup(plan.Path("out"), {"": "."})
    jobs = plan.jobs(study, setup, ("cub-12-itq", "cub-12-sdh", "cub-24-itq"))
    assert [type(job.work) for job in jobs] == [Features, Shallow, Shallow, Shallow]
    assert len({job.folder for job in jobs}) == 4


@pytest.mark.parametrize(
    "only, names",
    [
        (("cub-12",), [f"cub-12-{step}" for step in ("vanilla", "maps", "sem", "icon")]),
        (("cub-12-sem", "food101-48-icon"), ["cub-12-sem", "food101-48-icon"]),
        (("aircraft-*-maps",), [f"aircraft-{bits}-maps" for bits in (12, 24, 32, 48)]),
    ],
)
def test_rows_are_chosen_by_name_by_its_beginning_and_by_pattern(only, names):
    found = catalog.study_of("semicon-table2").chosen("paper", only)
    assert [row.name for row in found] == names


def test_unknown_rows_and_studies_are_refused():
    study = catalog.study_of("semicon-table2")
    with pytest.raises(ValueError, match="'cub-1' names no row of semicon-table2 in the paper"):
        study.chosen("paper", ("cub-1",))
    with pytest.raises(ValueError, match="in the small setting, which has cub-12-vanilla"):
        study.chosen("small", ("aircraft-12",))
    with pytest.raises(ValueError, match="'semicon-table' does not exist; the nearest are"):
        catalog.study_of("semicon-table")


def test_the_cost_of_a_study_is_its_networks_and_their_passes():
    # 4 data rows of Table 2 on 3 data sets at 4 lengths; 40 or 50 iterations of 30 passes.
    study = catalog.study_of("semicon-table2")
    per_row = {"cub": 40, "aircraft": 40, "food101": 50}
    assert plan.cost(study, "paper") == (48, sum(16 * n * 30 * 2000 for n in per_row.values()))
    assert plan.cost(catalog.study_of("readme-cifar10"), "small") == (5, (3 * 45 + 2 * 36) * 50_000)


def test_list_says_what_there_is_and_what_it_costs():
    found = json.loads(CliRunner().invoke(app, ["study", "list", "--json"]).stdout)
    assert list(found) == catalog.names()
    assert found["readme-cifar10"]["cost"]["paper"] == {"networks": 5, "image passes": 10_350_000}
    assert "cub-12-sem" in found["semicon-table2"]["rows"]
    shown = CliRunner().invoke(app, ["study", "list"])
    assert shown.exit_code == 0 and "semicon-table1" in shown.stdout


def test_roots_are_found_by_the_name_of_the_data_set(tmp_path):
    (tmp_path / "cub").mkdir()
    setup = plan.Setup(tmp_path, {"": str(tmp_path), "food101": "elsewhere"})
    assert setup.root_of("cub") == str(tmp_path / "cub")
    assert setup.root_of("food101") == "elsewhere"
    assert setup.root_of("aircraft") == str(tmp_path)
    assert setup.root_of("birdlets") is None and plan.Setup(tmp_path).root_of("cub") is None
