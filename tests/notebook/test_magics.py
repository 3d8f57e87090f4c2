"""The magics in a real shell, on a real source and a real target."""

from __future__ import annotations

import pytest
from fakes.shop import ORDERS, PIPELINE

from hwm_magics.errors import ConfigError, HwmError
from hwm_magics.jobs.load_job import LoadJob
from hwm_magics.jobs.load_jobs import LoadJobs

PARAMETRIC = """\
name: load_orders
params: {folder: raw}
read: {connection: shop, query: "SELECT * FROM orders WHERE id <= ${most}", incremental: {column: updated_at}}
write: {connection: lake, path: "${folder}/orders"}
"""


def load(line: str = "", body: str = ORDERS) -> str:
    return f"%%hwm_load {line}\n{body}"


def test_headless_a_cell_loads_everything_and_then_only_what_is_new(shell, project):
    first = shell(load("job"))
    assert first.error is None
    assert project.ids() == [1, 2, 3]
    assert shell.names["job"].result.rows_written == 3
    project.add(4)
    second = shell(load("job"))
    assert second.error is None
    assert project.ids() == [1, 2, 3, 4]
    assert shell.names["job"].plan.decision == "INCREMENTAL"
    assert shell.names["job"].result.rows_written == 1
    third = shell(load("job"))
    assert third.value.result.rows_written == 0
    assert project.ids() == [1, 2, 3, 4]


def test_the_first_line_says_which_mode_was_chosen_and_why(shell, project, monkeypatch):
    assert shell(load()).printed.splitlines()[0].startswith("Mode: run (headless")
    monkeypatch.setenv("HWM_MAGICS_MODE", "plan")
    assert shell(load()).printed.splitlines()[0] == "Mode: plan (HWM_MAGICS_MODE=plan)"
    assert shell(load("--run")).printed.splitlines()[0] == "Mode: run (--run)"


def test_config_and_hwm_yaml_choose_the_mode_in_their_turn(shell, project):
    file = project.folder / "hwm.yaml"
    file.write_text(file.read_text() + "defaults: {mode: plan}\n")
    assert shell(load()).printed.startswith("Mode: plan (hwm.yaml says mode: plan)")
    shell("%config HwmMagics.mode = 'dry-run'")
    assert shell(load()).printed.startswith("Mode: dry-run (%config HwmMagics.mode = 'dry-run')")
    assert project.ids() == []


def test_plan_and_dry_run_write_nothing(shell, project):
    for line in ("job --plan", "job --dry-run"):
        cell = shell(load(line))
        assert cell.error is None
        assert "FIRST RUN" in cell.everything
        assert not (project.folder / "lake").exists() or list((project.folder / "lake").rglob("*")) == []
    assert shell.names["job"].result.status == "dry_run"
    assert shell.names["job"].result.rows_read == 3


def test_the_job_is_the_value_of_the_cell_unless_it_is_to_be_quiet(shell, project):
    cell = shell(load())
    assert isinstance(cell.value, LoadJob)
    assert shell(load("--quiet")).value is None


def test_headless_no_widget_is_shown(shell, project):
    cell = shell(load())
    assert not [each for each in cell.shown if "application/vnd.jupyter.widget-view+json" in each]
    assert "FIRST RUN" in cell.shown[-1]["text/html"]


def test_with_a_person_in_front_the_cell_shows_buttons_and_loads_on_the_click(shell, project):
    shell.front(allow_stdin=True)
    cell = shell(load("job"))
    assert cell.printed.startswith("Mode: ask (a person seems to be here")
    assert "application/vnd.jupyter.widget-view+json" in cell.shown[1]
    assert project.ids() == []
    card = shell.shell.magics_manager.registry["HwmMagics"].session.cards[0]
    card.buttons["Run"].click()
    assert shell.names["job"].wait(60).rows_written == 3
    assert project.ids() == [1, 2, 3]


def test_running_the_cell_again_retires_its_old_card(shell, project):
    shell.front(allow_stdin=True)
    shell(load("old"))
    magics = shell.shell.magics_manager.registry["HwmMagics"].session
    card = magics.cards[0]
    shell(load("new"))
    assert shell.names["old"].status == "CANCELLED"
    card.buttons["Run"].click()
    assert project.ids() == []
    assert [each.jobs[0] for each in magics.cards] == [shell.names["new"]]


def test_in_a_terminal_without_anybody_the_cell_refuses_with_words(shell, project):
    shell.front(allow_stdin=None)
    cell = shell(load("job"))
    assert "nobody can be asked here" in str(cell.error)
    assert "--run" in str(cell.error)
    assert "FIRST RUN" in cell.everything
    assert project.ids() == []


def test_a_pipeline_loads_in_the_order_of_its_dependencies(shell, project):
    cell = shell(load("jobs", PIPELINE))
    assert cell.error is None
    assert isinstance(shell.names["jobs"], LoadJobs)
    assert [job.spec.node for job in shell.names["jobs"]] == ["first", "second"]
    assert project.ids("raw/first") == project.ids("raw/second") == [1, 2, 3]


def test_node_takes_some_of_a_pipeline(shell, project):
    shell(load("job --node second", PIPELINE))
    assert project.ids("raw/second") == [1, 2, 3]
    assert project.ids("raw/first") == []
    assert "did you mean 'first'?" in str(shell(load("--node frist", PIPELINE)).error)


def test_values_come_from_params_and_from_notebook_variables(shell, project):
    shell.names["most"] = 2
    cell = shell(load("--param folder=bronze", PARAMETRIC))
    assert cell.error is None, cell.everything
    assert project.ids("bronze/orders") == [1, 2]


def test_braces_and_dollars_reach_the_yaml_as_they_stand(shell, project):
    shell.names["folder"] = "wrong"
    body = ORDERS.replace("raw/orders", '"{folder}/$folder"')
    cell = shell(load("", body))
    assert cell.error is None, cell.everything
    assert project.ids("{folder}/$folder") == [1, 2, 3]


def test_an_engine_in_a_notebook_variable_is_a_connection(shell, project):
    import sqlalchemy

    shell.names["warehouse"] = sqlalchemy.create_engine(f"sqlite:///{project.folder / 'shop.db'}")
    cell = shell(load("", ORDERS.replace("connection: shop", "connection: warehouse")))
    shell.names["warehouse"].dispose()
    assert cell.error is None, cell.everything
    assert project.ids() == [1, 2, 3]


def test_a_function_of_the_notebook_transforms_the_rows(shell, project):
    shell("def doubled(frame):\n    return frame.assign(id=frame.id * 2)")
    cell = shell(load("", ORDERS.replace("name: load_orders", "name: load_orders\ntransform: doubled")))
    assert cell.error is None, cell.everything
    assert project.ids() == [2, 4, 6]


def test_force_first_run_replaces_all_rows(shell, project):
    shell(load())
    cell = shell(load("job --force-first-run"))
    assert cell.error is None, cell.everything
    assert shell.names["job"].plan.decision == "FULL RELOAD"
    assert project.ids() == [1, 2, 3]


def test_backfill_loads_a_window_again(shell, project):
    shell(load())
    cell = shell(load("job --backfill 2024-06-01..2024-06-02"))
    assert cell.error is None, cell.everything
    assert shell.names["job"].plan.decision == "BACKFILL"
    assert project.ids() == [1, 2, 3]


@pytest.mark.parametrize("front", [True, False, None])
def test_a_wrong_configuration_fails_the_cell_whoever_is_there(shell, project, front):
    shell.front(allow_stdin=front)
    cell = shell(load("job --ask" if front else "job", ORDERS.replace("table: orders", "tabel: orders")))
    assert isinstance(cell.error, ConfigError)
    assert "line 5" in str(cell.error)
    assert "did you mean 'table'?" in str(cell.error)
    assert shell.names["job"].status == "FAILED"
    assert shell.names["job"].error is cell.error


def test_a_failure_is_assigned_too_and_told_in_a_few_lines(shell, project):
    cell = shell(load("job", ORDERS.replace("table: orders", "table: oders")))
    assert shell.names["job"].status == "FAILED"
    assert type(shell.names["job"].error).__name__ == "QueryError"
    lines = cell.error._render_traceback_()
    assert len(lines) < 8
    assert not any("Traceback" in line for line in lines)


def test_an_older_job_does_not_stand_for_a_cell_that_failed(shell, project):
    shell(load("job"))
    shell(load("job", "nonsense: [1"))
    assert shell.names["job"].status == "FAILED"


def test_unknown_options_are_told_as_a_configuration_error(shell, project):
    cell = shell(load("--rum"))
    assert isinstance(cell.error, ConfigError)
    assert "--rum" in str(cell.error)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--plan --run", "contradict"),
        ("9lives", "can't be the name of a variable"),
        ("--param most", "is not NAME=VALUE"),
        ("--param folder=a --param folder=b", "given twice"),
        ("--param foldr=a", "did you mean 'folder'?"),
        ("--engine panda", "did you mean 'pandas'?"),
        ("--backfill 2024", "is not LOW..HIGH"),
        ("--backfill 1..2 --force-first-run", "contradict"),
        ("'--run", "close the quotes"),
    ],
)
def test_wrong_options_say_what_to_write(shell, project, line, told):
    shell.names["most"] = 5
    cell = shell(load(line, PARAMETRIC))
    assert isinstance(cell.error, ConfigError)
    assert told in str(cell.error)
    assert project.ids() == []


def test_a_full_reload_of_several_nodes_at_once_is_refused(shell, project):
    assert "is for one node, and there are 2" in str(shell(load("--force-first-run", PIPELINE)).error)


def test_an_unexpected_error_leaves_in_a_class_of_ours_and_debug_shows_the_traceback(shell, project):
    shell("import sqlalchemy")
    shell("def broken(frame):\n    raise ZeroDivisionError('on purpose')")
    cell = shell(load("job", ORDERS.replace("name: load_orders", "name: load_orders\ntransform: broken")))
    assert isinstance(cell.error, HwmError)
    assert "on purpose" in str(cell.error)
    told = shell("%hwm_debug").printed
    assert "ZeroDivisionError: on purpose" in told
    assert "Traceback" in told
    assert "in broken" in told


def test_debug_shows_the_last_error_whichever_magic_it_came_from(shell, project):
    shell(load("--run", ORDERS.replace("table: orders", "table: oders")))
    shell("%%hwm_connections\nshop: {type: nothing}")
    told = shell("%hwm_debug").printed
    assert "nothing" in told
    assert "oders" not in told
    shell(load("--run", ORDERS))
    assert shell("%hwm_debug").printed.strip() == "There was no error."


def test_debug_without_an_error_says_so(shell):
    assert shell("%hwm_debug").printed.strip() == "There was no error."


@pytest.mark.parametrize("cell", ["%%hwm_load", "%%hwm_load\n", "%%hwm_load --help", "%%hwm_load\n\n"])
def test_an_empty_cell_or_help_shows_the_options_and_an_example(shell, project, cell):
    told = shell(cell)
    assert told.error is None
    assert "--force-first-run" in told.printed
    assert "%%hwm_load job" in told.printed


@pytest.mark.parametrize("name", ["plan", "status", "history", "watermark", "connections"])
def test_every_magic_has_help(shell, name):
    cell = shell(f"%hwm_{name} --help")
    assert cell.error is None
    assert f"hwm_{name}" in cell.printed


def test_line_magics_are_about_the_last_cell(shell, project):
    shell(load())
    project.add(4)
    plan = shell("%hwm_plan")
    assert plan.value.plan.decision == "INCREMENTAL"
    assert project.ids() == [1, 2, 3]
    status = shell("%hwm_status").value
    assert "load_orders" in status.text
    assert "2024-06-03 12:00:00" in status.text
    history = shell("%hwm_history").value
    assert "first_run" in history.text
    assert "<table" in history.html
    assert "| " in history.markdown


def test_line_magics_are_about_a_variable_a_file_or_a_node(shell, project):
    path = project.file()
    shell(load("jobs", PIPELINE))
    shell(load("job"))
    assert "first" in shell("%hwm_status jobs").value.text
    assert "raw/second" in shell("%hwm_history --node second").value.text
    assert "load_orders" in shell(f"%hwm_status {path.name}").value.text
    assert "load_orders" in shell("%hwm_status job").value.text
    assert "neither a variable" in str(shell("%hwm_status nothing").error)
    assert "did you mean 'second'?" in str(shell("%hwm_status --node secnd").error)


def test_line_magics_without_a_load_say_what_to_do(shell, project):
    assert "run a %%hwm_load cell first" in str(shell("%hwm_status").error)


def test_the_watermark_is_shown_set_and_adopted(shell, project):
    shell(load())
    assert "2024-06-03 12:00:00" in shell("%hwm_watermark").value.text
    cell = shell("%hwm_watermark --set 2024-06-02")
    assert cell.error is None, cell.everything
    assert "the watermark is now updated_at = 2024-06-02" in cell.printed
    assert "2024-06-02" in shell("%hwm_watermark").value.text
    cell = shell("%hwm_watermark --adopt")
    assert "2024-06-03 12:00:00" in cell.printed
    assert "contradict" in str(shell("%hwm_watermark --adopt --set 1").error)
    shell(load())
    assert project.ids() == [1, 2, 3]


def test_a_watermark_of_several_nodes_is_refused(shell, project):
    shell(load("", PIPELINE))
    assert "belongs to one node" in str(shell("%hwm_watermark --adopt").error)


def test_connections_are_added_listed_and_tested(shell, project):
    cell = shell(
        "%%hwm_connections\nother: {type: sqlite, database: other.db}\nbin: {type: local, root: ./bin}"
    )
    assert cell.error is None, cell.everything
    listed = shell("%hwm_connections").value.text
    for name in ("other", "bin", "shop", "lake"):
        assert name in listed
    assert "this session" in listed
    tested = shell("%hwm_connections test").value
    outcomes = {row[0]: row[-1] for row in tested.rows}
    assert outcomes["shop"] == outcomes["lake"] == "ok"
    assert outcomes["other"] != "ok"
    assert "did you mean 'test'?" in str(shell("%hwm_connections tets").error)


def test_a_wrong_connections_cell_fails_with_its_line(shell, project):
    cell = shell("%%hwm_connections\nshop: {type: sqllite, database: shop.db}")
    assert isinstance(cell.error, ConfigError)
    assert "line 2" in str(cell.error)


def test_an_edited_hwm_yaml_counts_at_once(shell, project):
    shell(load())
    (project.folder / "hwm.yaml").write_text("connections: {}\n")
    assert "there is no connection named 'shop'" in str(shell(load()).error)


SECRET = "hunter2-Tr0ub4dor"


@pytest.mark.usefixtures("impatient")
def test_a_secret_leaves_in_no_output_and_no_error(shell, project, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    shell(
        "%%hwm_connections\n"
        "pg: {type: postgres, host: 127.0.0.1, port: 9, database: x, username: u, password: '${env:SHOP_PASSWORD}'}\n"
        f"url: {{type: sql, url: 'mysql+nothing://u:{SECRET}@127.0.0.1:9/x'}}"
    )
    told = [shell("%hwm_connections"), shell("%hwm_connections test")]
    for name in ("pg", "url"):
        told.append(shell(load("job", ORDERS.replace("connection: shop", f"connection: {name}"))))
        assert told[-1].error is not None
        told.append(shell("%hwm_debug"))
        told.append(shell("job.to_dict()"))
    for cell in told:
        assert SECRET not in cell.everything
        assert SECRET not in str(cell.value)
        assert SECRET not in str(getattr(cell.value, "html", ""))


def test_hostile_names_and_values_are_escaped_wherever_they_are_shown(shell, project):
    hostile = "<script>alert(1)</script>"
    shell.names["hostile"] = hostile
    body = ORDERS.replace("load_orders", f'"{hostile}"').replace(
        "raw/orders", f'"raw/{hostile.replace("/", "_")}"'
    )
    for cell in (shell(load("job", body)), shell("%hwm_history"), shell("%hwm_status")):
        html = "".join(each.get("text/html", "") for each in cell.shown)
        html += getattr(cell.value, "html", "")
        assert html or cell.error is not None
        assert "<script>" not in html
